"""What advice is drawn from: the counts of a job's pools, its audits, and what right and wrong answers are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Audit(NamedTuple):
    """Answers labelled by a person, against the verifier's verdict on them.

    They may be picked at random or by verdict (some accepted, some rejected), but not by anything else.
    """

    accepted_right: int
    accepted_wrong: int
    rejected_wrong: int
    rejected_right: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """M items and their pools, on a grid of K budgets.

    ids: names of the items. drawn: int [M], n, at least 1. right: int [M], c, answers that the judge passes; None when
    it gives no passes. judge, verifier: labels; the same when there is no grader. accepted: int [M], A, answers that
    the verifier passes; None when it gives no passes. both: int [M], G, accepted and right; None unless a grader gives
    passes.

    grid: int [K], rising. solved, selected, majority: float64 [K, M], the chance that some of k, the best of k, or the
    majority of k, is right; nan where an item has fewer than k answers. None: the verifier does not select, or has no
    canonical answers.

    each: mean cost of a sample in each currency, `samples` 1. unscored: share of answers without a verdict.
    independent: each sample is drawn for itself; not so where drawing stops at a pass, or in a population, and then
    shares of a pool say nothing about other numbers of samples.
    value, loss, cost: of a right answer returned, a wrong one returned, and a sample, in one unit, >= 0. target:
    coverage in (0, 1) that is wanted.
    """

    ids: Sequence[str]
    drawn: Ints
    right: Ints | None
    judge: str
    verifier: str
    grid: Ints
    solved: Floats
    accepted: Ints | None = None
    both: Ints | None = None
    selected: Floats | None = None
    majority: Floats | None = None
    each: Mapping[str, float] = field(default_factory=lambda: {"samples": 1.0})
    audit: Audit | None = None
    unscored: float = 0.0
    independent: bool = True
    level: float = 0.95
    value: float = 1.0
    loss: float = 1.0
    cost: float = 0.0
    target: float = 0.9

    @property
    def graded(self) -> bool:
        """Whether a grader, which is not the verifier, says which answers are right."""
        return self.right is not None and self.judge != self.verifier
