"""Several verifiers as one: by their mean rank, or the cheap one first and the dear one where it does not decide."""

import asyncio
from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from search.plugins import plugin
from search.ports import Answer, Floats, Frozen, Many, Score, unscored
from search.ranking import beaten
from search.scoring import Ask
from search.verdicts import value_of
from verifiers.parts import Composed, Composite, Part, PartField


class Ensemble(Composed):
    """Verifiers whose ranks are averaged."""

    verifiers: Many[PartField] = Field(min_length=2, max_length=16, description="Names, or objects as in a job.")

    @property
    def parts(self) -> Sequence[Part]:
        """All of them."""
        return self.verifiers


class Stage(Frozen):
    """A verifier of a cascade, and the values at which it decides."""

    verifier: PartField = Field(description="A name, or an object as in a job.")
    below: float | None = Field(None, description="A lower value is rejected here.")
    above: float | None = Field(None, description="This value or a higher one is accepted here.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.below is not None and self.above is not None and self.below > self.above:
            raise ValueError(f"below {self.below} is larger than above {self.above}: both would decide")
        return self

    def decides(self, score: Score) -> bool | None:
        """Accepted, rejected, or left to the next stage."""
        if score.value is None:
            return None
        if self.above is not None and score.value >= self.above:
            return True
        return False if self.below is not None and score.value < self.below else None


class Cascade(Composed):
    """Verifiers in order, the cheapest first."""

    stages: Many[Stage] = Field(min_length=2, max_length=8, description="In order; the last decides what is left.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Every stage but the last decides something, and the last everything."""
        for i, stage in enumerate(self.stages):
            bounds = (stage.below, stage.above) != (None, None)
            if bounds == (i == len(self.stages) - 1):
                wanted = "none: it decides all that is left" if bounds else "`below`, `above` or both"
                raise ValueError(f"stage {i} ({stage.verifier.name!r}): expected {wanted}")
        return self

    @property
    def parts(self) -> Sequence[Part]:
        """Of the stages."""
        return [stage.verifier for stage in self.stages]


def ranked(values: Floats) -> Floats:
    """Share of the others that each value beats, ties half, float64 [n]; nan for nan, 1/2 without others."""
    alone = np.count_nonzero(~np.isnan(values)) < 2
    return np.where(np.isnan(values), np.nan, 0.5) if alone else beaten(values)


@plugin(version="1", together=True)
def ensemble(config: Ensemble) -> Composite:
    """Mean rank under several verifiers, as of Ma et al. 2025 (arXiv 2501.09732): 1 is first under all, 0 last."""

    async def combine(answers: Sequence[Answer], ask: Ask) -> Sequence[Score]:
        if not answers:
            return []
        found = await asyncio.gather(*(ask(i, answers) for i in range(len(config.parts))))
        items = [answer.item.model_dump_json() for answer in answers]
        values = np.array([value_of(scores) for scores in found])
        ranks = np.full(values.shape, np.nan)
        for item in set(items):
            mine = np.array([one == item for one in items])
            ranks[:, mine] = [ranked(row) for row in values[:, mine]]
        mean = ranks.mean(0).tolist()
        return [joined(config.parts, [scores[i] for scores in found], mean[i]) for i in range(len(answers))]

    return Composite(config.parts, combine)


def joined(parts: Sequence[Part], scores: Sequence[Score], mean: float) -> Score:
    """One score of several: unscored where one part is; passes where all do; votes as the first that votes."""
    for part, score in zip(parts, scores, strict=True):
        if score.value is None:
            return unscored(f"{part.name}: {score.reason}"[:900])
    said = [score.passed for score in scores]
    passed = None if None in said else all(said)
    return Score(mean, passed, None, next((s.canonical for s in scores if s.canonical is not None), None))


@plugin(version="1")
def cascade(config: Cascade) -> Composite:
    """The first stage that decides gives value, verdict and vote; the reason says which it was."""

    async def combine(answers: Sequence[Answer], ask: Ask) -> Sequence[Score]:
        out: dict[int, Score] = {}
        left = list(range(len(answers)))
        for number, stage in enumerate(config.stages):
            if not left:
                break
            scores = await ask(number, [answers[i] for i in left])
            last = number == len(config.stages) - 1
            for i, score in zip(left, scores, strict=True):
                decision = score.passed if last else stage.decides(score)
                if last or decision is not None:
                    out[i] = decided(f"stage {number}, {stage.verifier.name}", score, decision)
            left = [i for i in left if i not in out]
        return [out[i] for i in range(len(answers))]

    return Composite(config.parts, combine)


def decided(who: str, score: Score, passed: bool | None) -> Score:
    """A stage's score as the cascade's, with who decided."""
    reason = f"decided by {who}" + (f": {score.reason}" if score.reason else "")
    return unscored(reason[:900]) if score.value is None else Score(score.value, passed, reason[:900], score.canonical)
