"""Curves."""

from typing import Literal

from pydantic import Field

from service.views.base import Estimate, Spread, View


class Advice(View):
    """One thing to do or to know, as a sentence that names its figures and its assumption."""

    kind: str
    text: str
    numbers: dict[str, int | float | str | list[int] | list[float] | list[str] | None]


class Point(View):
    """One budget on a curve. `items`: those with at least k answers, over which the means are taken."""

    k: int
    items: int
    evaluations: float = Field(description="Mean evaluations spent on an item for k samples.")
    coverage: Estimate = Field(description="Share of items with a passing answer among k (pass@k).")
    selected: Estimate | None = Field(description="Share of items whose best-of-k by the one verifier passes.")
    draws: float = Field(description="Mean samples of an item when drawing stops at the first pass, at most k.")
    exact: Estimate | None = Field(default=None, description="Coverage of exactly these items, under other samples.")
    band: Estimate | None = Field(default=None, description="Coverage with a band that holds the whole curve at once.")
    majority: Estimate | None = Field(
        default=None, description="Share of items whose most frequent canonical answer of k passes."
    )
    voted: Estimate | None = Field(
        default=None, description="Share of items whose answer by the job's weighted vote of k passes."
    )
    value: Spread | None = Field(default=None, description="Mean of the highest value of k by the first verifier.")
    ignored: Estimate | None = Field(
        default=None, description="Coverage when unscored answers are left out; null when there are none."
    )
    right: float | None = Field(
        default=None,
        description="Share of items answered rightly when drawing until the verifier accepts, at most k times.",
    )
    wrong: float | None = Field(default=None, description="Share answered wrongly, in the same way.")
    abstain: float | None = Field(default=None, description="Share not answered: the verifier accepted none of k.")


class Beyond(View):
    """Coverage that models expect of more samples than were drawn: a model range, not an interval."""

    k: int
    floor: float = Field(description="Coverage of the last budget drawn: more samples do not lower it.")
    beta_binomial: float | None = Field(description="The chance of a right answer is Beta over items.")
    zero_inflated: float | None = Field(description="The same, and a share of the items is never solved.")
    power_law: float | None = Field(description="exp(a k^b).")


class CurveView(View):
    """Coverage and selected accuracy against budget, from one pool of samples."""

    job: str
    judge: str = Field(description="Whose passes count: a grader's, or the verifier's own when there is no grader.")
    verifier: str = Field(
        description="The first verifier. It selects, unless the job votes or ranks by several: then `selected` is null."
    )
    level: float
    estimator: Literal["pool", "prefix", "population"] = Field(
        description="pool: unbiased over all subsets of k. prefix: the first k draws, where drawing stops early. "
        "population: over all subsets of whole populations, whose answers depend on each other."
    )
    samples: int
    unscored: float = Field(description="Share of answers without a verdict; they count as failures here.")
    each: dict[str, float] = Field(description="Mean cost of one sample in each currency.")
    points: list[Point]
    beyond: list[Beyond] = Field(description="Models up to ten times the samples; empty where none can be fitted.")
    advice: list[Advice]
