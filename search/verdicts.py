"""Verdicts: what the judges of a search said of its finished answers, and what ranks them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.ports import Bools, Floats, Score, Values
from search.ranking import standing


def value_of(scores: Sequence[Score]) -> Floats:
    """Values, float64 [n], nan where unscored."""
    if isinstance(scores, Values):
        return scores.array
    return np.array([np.nan if score[0] is None else score[0] for score in scores], np.float64)


@dataclass(frozen=True, eq=False, repr=False)  # asyncio prints results of tasks
class Verdicts:
    """Finished answers of some rows and, for each judge by its label, their scores and the seconds that they took."""

    answers: Sequence[Any] = ()
    scores: Mapping[str, Sequence[Score]] = field(default_factory=dict[str, Sequence[Score]])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def rewards(self) -> Floats:
        """What steers a search: the mean of every judge's value, float64 [n]; nan where one has not scored."""
        if not self.scores:
            return np.full(len(self), np.nan)
        values = [value_of(scores) for scores in self.scores.values()]
        return values[0] if len(values) == 1 else np.mean(values, axis=0)

    @property
    def standing(self) -> Floats:
        """What ranks answers (`ranking.standing`), float64 [n], higher is better; nan where a judge has not scored."""
        if not self.scores:
            return self.rewards
        return standing(np.array([value_of(scores) for scores in self.scores.values()]))

    def __getitem__(self, index: NDArray[Any]) -> "Verdicts":
        """The verdicts at these places, in this order; seconds are those of all."""
        places: list[int] = index.tolist()
        return Verdicts(
            [self.answers[i] for i in places],
            {label: [scores[i] for i in places] for label, scores in self.scores.items()},
            self.seconds,
        )

    @property
    def passed(self) -> Bools:
        """Which answers every judge passed: bool [n]."""
        verdicts = [[score.passed is True for score in scores] for scores in self.scores.values()]
        return np.all(verdicts, axis=0) if verdicts else np.zeros(len(self), bool)

    def joined(self, more: "Verdicts") -> "Verdicts":
        """These answers and then those."""
        return Verdicts(
            [*self.answers, *more.answers],
            {n: [*self.scores.get(n, ()), *more.scores.get(n, ())] for n in {**self.scores, **more.scores}},
            {n: self.seconds.get(n, 0.0) + more.seconds.get(n, 0.0) for n in {**self.seconds, **more.seconds}},
        )
