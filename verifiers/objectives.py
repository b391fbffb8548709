"""Several objectives as one value, and one value for several completions of an unfinished answer."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from pydantic import Field

from search.plugins import plugin
from search.population import log_mean_exp
from search.ports import Answer, Frozen, Many, Score, unscored
from search.scoring import Ask
from search.verdicts import value_of
from verifiers.composites import joined
from verifiers.parts import Composed, Composite, Part, PartField


class Weight(Frozen):
    """One summand."""

    verifier: PartField = Field(description="A name, or an object as in a job.")
    weight: float = Field(1.0, description="By which its value is multiplied; negative for what should be low.")


class Weighted(Composed):
    """A weighted sum."""

    terms: Many[Weight] = Field(min_length=2, max_length=16, description="What is added.")

    @property
    def parts(self) -> Sequence[Part]:
        """Of the terms."""
        return [term.verifier for term in self.terms]


class Factor(Frozen):
    """One factor."""

    verifier: PartField = Field(description="A name, or an object as in a job.")
    power: float = Field(1.0, gt=0, le=100, description="To which its value is raised.")
    passed: bool = Field(False, description="1 where it passes and 0 where it fails, in place of its value: a limit.")


class Product(Composed):
    """A product of values of 0 or more."""

    factors: Many[Factor] = Field(min_length=2, max_length=16, description="What is multiplied.")

    @property
    def parts(self) -> Sequence[Part]:
        """Of the factors."""
        return [factor.verifier for factor in self.factors]


class Soft(Composed):
    """The value of several completions."""

    verifier: PartField = Field(description="A name, or an object as in a job.")
    tilt: float = Field(1.0, ge=0, le=1e9, description="That of the search: 0 is the mean, large is the maximum.")

    @property
    def parts(self) -> Sequence[Part]:
        """One."""
        return [self.verifier]


@plugin(version="1")
def weighted(config: Weighted) -> Composite:
    """sum of weight times value."""

    def value(scores: Sequence[Score]) -> float:
        return math.fsum(term.weight * (score.value or 0.0) for term, score in zip(config.terms, scores, strict=True))

    return _together(config.parts, value)


@plugin(version="1")
def product(config: Product) -> Composite:
    """product of value to the power; unscored where a value is negative."""

    def one(factor: Factor, score: Score) -> float:
        if factor.passed:
            if score.passed is None:
                raise ValueError(f"{factor.verifier.name} gives no verdict; give it a `threshold`")
            return float(score.passed)
        if (score.value or 0.0) < 0:
            raise ValueError(f"{factor.verifier.name} has the value {score.value}; a factor must not be negative")
        return (score.value or 0.0) ** factor.power

    return _together(config.parts, lambda scores: math.prod(map(one, config.factors, scores)))


@plugin(version="1")
def soft(config: Soft) -> Composite:
    """1/tilt log mean exp(tilt r) over {"fills": [answers]}; any other answer has its own score."""

    async def combine(answers: Sequence[Answer], ask: Ask) -> Sequence[Score]:
        fills = [_fills(answer.value) for answer in answers]
        asked = [
            answer._replace(value=fill)
            for answer, many in zip(answers, fills, strict=True)
            for fill in ([answer.value] if many is None else many)
        ]
        scores = iter(await ask(0, asked) if asked else ())
        return [next(scores) if many is None else softened([next(scores) for _ in many], config.tilt) for many in fills]

    return Composite(config.parts, combine)


def softened(scores: Sequence[Score], tilt: float) -> Score:
    """One score of several completions; those without a score say nothing. Unscored when none has one."""
    values = value_of([score for score in scores if score.value is not None])
    if not len(values):
        return unscored(
            f"none of {len(scores)} completions was scored: {scores[0].reason if scores else 'no fills'}"[:900]
        )
    return Score(float(values.mean()) if tilt == 0 else log_mean_exp(tilt * values) / tilt)


def _fills(value: Any) -> list[Any] | None:
    if isinstance(value, dict) and isinstance(fills := cast(dict[str, Any], value).get("fills"), list):
        return cast(list[Any], fills)
    return None


def _together(parts: Sequence[Part], value: Callable[[Sequence[Score]], float]) -> Composite:
    """All parts asked of all answers; passes where all pass, unscored where one is."""

    async def combine(answers: Sequence[Answer], ask: Ask) -> Sequence[Score]:
        found = await asyncio.gather(*(ask(i, answers) for i in range(len(parts))))
        return [_one([scores[i] for scores in found]) for i in range(len(answers))]

    def _one(scores: Sequence[Score]) -> Score:
        said = joined(parts, scores, 0.0)
        if said.value is None:
            return said
        try:
            return said._replace(value=value(scores), reason=_reasons(parts, scores))
        except (ValueError, OverflowError) as error:
            return unscored(str(error)[:900])

    return Composite(parts, combine)


def _reasons(parts: Sequence[Part], scores: Sequence[Score]) -> str:
    """Every part's value, so that a trade-off can be read."""
    return ", ".join(f"{part.name} {score.value:.4g}" for part, score in zip(parts, scores, strict=True))[:900]
