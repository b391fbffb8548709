"""Curves."""

from typing import Literal

from pydantic import Field

from service.views.base import Estimate, View


class Point(View):
    """One budget on a curve. `items`: those with at least k answers, over which the means are taken."""

    k: int
    items: int
    evaluations: float = Field(description="Mean evaluations spent on an item for k samples.")
    coverage: Estimate = Field(description="Share of items with a passing answer among k (pass@k).")
    selected: Estimate | None = Field(description="Share of items whose best-of-k by the one verifier passes.")


class CurveView(View):
    """Coverage and selected accuracy against budget, from one pool of samples."""

    job: str
    judge: str = Field(description="Whose passes count: a grader's, or the verifier's own when there is no grader.")
    verifier: str = Field(
        description="The first verifier. It selects, unless the job votes or ranks by several: then `selected` is null."
    )
    level: float
    estimator: Literal["pool", "prefix"] = Field(
        description="pool: unbiased over all subsets of k. prefix: the first k draws, where pools stop at a pass."
    )
    samples: int
    unscored: float = Field(description="Share of answers without a verdict; they count as failures here.")
    points: list[Point]
