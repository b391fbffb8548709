"""Votes for canonical answers: how much each weighs, and when a vote is settled before all of it is cast."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from search.ports import Floats, Frozen, Score


class Ballot(NamedTuple):
    """What an answer's vote for its canonical form weighs, by the verdict on it.

    count: 1. value: the verifier's value. odds: `passed` or `failed`, log-odds that the form is right. An answer
    without a form, or without that verdict, does not vote.
    """

    kind: Literal["count", "value", "odds"]
    passed: float = 0.0
    failed: float = 0.0

    @classmethod
    def of_rates(cls, tpr: float, fpr: float) -> "Ballot":
        """Bayes' rule for a verifier that passes right answers with chance `tpr` and wrong ones with `fpr`."""
        return cls("odds", log(tpr / fpr), log((1 - tpr) / (1 - fpr)))


class Lossless(Frozen):
    """Stop when the leader cannot be overtaken: the answer is that of the full vote."""

    rule: Literal["lossless"]

    def wanting(self, votes: Sequence[int], left: int) -> int:
        """Answers that must come before the vote can be settled; 0 if it is. votes: highest first."""
        lead = votes[0] - votes[1]
        return 0 if lead > left else (left - lead) // 2 + 1  # all for the leader: lead + m > left - m


class Confident(Frozen):
    """Adaptive-Consistency (Aggarwal et al. 2023, arXiv 2305.11860): stop when the leader probably stays ahead."""

    rule: Literal["beta"]
    confidence: float = Field(0.95, gt=0.5, lt=1, description="P(leader > runner-up) at which drawing stops.")

    def wanting(self, votes: Sequence[int], left: int) -> int:
        """Answers that must come before the vote can be settled; 0 if it is. votes: highest first."""
        return bisect_right(range(left), self.confidence, key=lambda m: ahead(votes[0] + m, votes[1]))


Stop = Annotated[Lossless | Confident, Field(discriminator="rule")]


def ahead(v1: int, v2: int) -> float:
    """P(q > 1/2) for q ~ Beta(v1 + 1, v2 + 1) = P(B <= v1) for B ~ Binomial(v1 + v2 + 1, 1/2)."""
    n = v1 + v2 + 1
    j = np.arange(n)
    log_ways: Floats = np.concatenate([[0.0], np.cumsum(np.log((n - j) / (j + 1)))])  # log C(n, j)
    return float(np.exp(log_ways[: v1 + 1] - n * log(2)).sum())


def two_highest(scores: Sequence[Score]) -> list[int]:
    """Votes of the leader and of the runner-up; unparsable answers never vote."""
    votes = Counter(score.canonical for score in scores if score.canonical is not None)
    return [n for _, n in votes.most_common(2)] + [0] * (2 - min(2, len(votes)))
