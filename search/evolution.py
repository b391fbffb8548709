"""Evolutionary search over the settings of a sampler (AutoDiffusion, Li et al. 2023, arXiv 2309.10438).

(mu + lambda): the best candidates so far are parents, children cross two of them gene by gene and change some genes.
Everything is a pure function of (seed, number of the candidate, what is known), so that a search may stop anywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self, cast

from pydantic import Field, JsonValue, model_validator

from search.keys import Words, problem, rows, uniforms
from search.ports import Frozen, Many

PARENTS = 4
"""One candidate in so many of a generation is a parent of the next."""
TRIES = 50
"""Draws for a candidate that is valid and new, before the search says that there is none."""
BLOCK, BLOCKS = 64, 65_536
"""Random numbers that are drawn at once, and the most such blocks of one draw."""

Genes = Mapping[str, JsonValue]


class Lever(Frozen):
    """What one setting may be: one of `choices`, a number, or a list of numbers from `low` to `high`."""

    choices: Many[JsonValue] | None = Field(None, min_length=1, max_length=1000, description="One of these values.")
    low: float | None = Field(None, ge=-1e12, le=1e12, description="The least value of a number.")
    high: float | None = Field(None, ge=-1e12, le=1e12, description="The greatest value of a number.")
    count: int | None = Field(None, ge=1, le=1000, description="A list of so many numbers; left out: one number.")
    whole: bool = Field(False, description="Whole numbers.")
    falling: bool = Field(False, description="A list of whole numbers, each below the one before: timesteps.")
    ordered: bool = Field(True, description="Near values are alike; if not, a change draws anew, as for `start`.")
    when: dict[str, Many[JsonValue]] = Field(
        default_factory=dict, description="Only where another lever has one of these values."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        low, high = self.low, self.high
        if self.choices is not None:
            if (low, high, self.count) != (None, None, None) or self.whole or self.falling:
                raise ValueError("a lever has `choices`, or `low` and `high`, and not both")
        elif low is None or high is None or not low < high:
            raise ValueError(f"a lever needs `choices`, or `low` below `high`, not {low} and {high}")
        elif (self.whole or self.falling) and (low != int(low) or high != int(high)):
            raise ValueError(f"`low` and `high` of whole numbers must be whole, not {low:g} and {high:g}")
        elif self.falling and (self.count is None or self.count > high - low + 1):
            raise ValueError(f"a falling list needs a `count`, at most {high - low + 1:g} within {low:g}..{high:g}")
        return self


class Tried(NamedTuple):
    """A candidate and what it is worth, higher is better; None: it could not be measured."""

    genes: Genes
    value: float | None


@dataclass
class Chance:
    """Uniform numbers in (0, 1) for one draw of one candidate, one after the other."""

    key: Words
    attempt: int
    used: int = 0
    block: list[float] = field(default_factory=list[float])

    @classmethod
    def of(cls, seed: int, candidate: int, attempt: int) -> Self:
        """Named by the search's seed, the candidate's number and the attempt."""
        return cls(rows(problem(seed, "evolution"), candidate, 1), attempt)

    def u(self) -> float:
        """The next."""
        at = self.used % BLOCK
        if at == 0:
            self.block = uniforms(self.key, self.attempt * BLOCKS + self.used // BLOCK, BLOCK)[0].tolist()
        self.used += 1
        return self.block[at]

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return min(n - 1, int(self.u() * n))

    def normal(self) -> float:
        """A standard normal."""
        return math.sqrt(-2 * math.log(self.u())) * math.cos(2 * math.pi * self.u())


def generation(
    levers: Mapping[str, Lever],
    seed: int,
    done: Sequence[Tried],
    size: int,
    valid: Callable[[Genes], bool] = lambda _: True,
) -> list[Genes]:
    """The next `size` candidates; fewer, or none, when no new ones are found that are valid.

    done: all candidates so far, in order. The first generation, with nobody measured, is drawn from the levers alone.
    """
    parents = fittest(done, max(2, size // PARENTS))
    found: list[Genes] = []
    for number in range(len(done), len(done) + size):
        for attempt in range(TRIES):
            chance = Chance.of(seed, number, attempt)
            genes = child(levers, parents, chance) if parents else drawn(levers, chance)
            if genes not in found and all(genes != one.genes for one in done) and valid(genes):
                found.append(genes)
                break
        else:
            break
    return found


def fittest(done: Sequence[Tried], count: int) -> list[Tried]:
    """The best that were measured, best first; of equals the earlier."""
    measured = [one for one in done if one.value is not None]
    return sorted(measured, key=lambda one: -cast(float, one.value))[:count]


def drawn(levers: Mapping[str, Lever], chance: Chance) -> Genes:
    """A candidate drawn evenly; a falling list has one number in each of as many equal parts of its range."""
    return active(levers, {name: _drawn(lever, chance) for name, lever in levers.items()})


def child(levers: Mapping[str, Lever], parents: Sequence[Tried], chance: Chance) -> Genes:
    """Of two parents, number by number, some of which change: at least about one, by 2 to 20 % of the range."""
    mother, father = (parents[chance.below(len(parents))].genes for _ in range(2))
    numbers = sum(lever.count or 1 for lever in levers.values())
    rate, scale = max(0.15, 1 / numbers), 0.02 * 10 ** chance.u()
    genes: dict[str, JsonValue] = {}
    for name, lever in levers.items():
        pair = [parent[name] for parent in (mother, father) if name in parent]
        if not pair:  # neither has it: it is drawn, and kept if it is wanted here
            genes[name] = _drawn(lever, chance)
        elif lever.count is None:
            genes[name] = _changed(lever, pair[chance.below(len(pair))], rate, scale, chance)
        else:
            lists = [cast(list[JsonValue], one) for one in pair]
            crossed = [lists[chance.below(len(lists))][i] for i in range(lever.count)]
            changed = [_changed(lever, value, rate, scale, chance) for value in crossed]
            genes[name] = _fallen(lever, cast(list[float], changed)) if lever.falling else changed
    return active(levers, genes)


def active(levers: Mapping[str, Lever], genes: Genes) -> Genes:
    """Without the levers whose condition does not hold; a condition on one that is left out does not."""
    kept = dict(genes)
    for _ in levers:  # a condition may hang on another's
        for name, lever in levers.items():
            if name in kept and any(kept.get(other) not in values for other, values in lever.when.items()):
                del kept[name]
    return kept


def _drawn(lever: Lever, chance: Chance) -> JsonValue:
    if lever.choices is not None:
        return lever.choices[chance.below(len(lever.choices))]
    low, high = cast(float, lever.low), cast(float, lever.high)
    if lever.count is None:
        return _number(lever, low + (high - low) * chance.u())
    if lever.falling:
        part = (high - low) / lever.count
        return _fallen(lever, [high - part * (i + chance.u()) for i in range(lever.count)])
    return [_number(lever, low + (high - low) * chance.u()) for _ in range(lever.count)]


def _changed(lever: Lever, value: JsonValue, rate: float, scale: float, chance: Chance) -> JsonValue:
    """A number or choice, most often as it was."""
    if chance.u() > rate:
        return value
    if lever.choices is not None:
        return lever.choices[chance.below(len(lever.choices))]
    low, high = cast(float, lever.low), cast(float, lever.high)
    if not lever.ordered:
        return _number(lever, low + (high - low) * chance.u())
    step = scale * (high - low) * chance.normal()
    if lever.whole or lever.falling:
        step = math.copysign(max(1.0, abs(step)), step)
    return _number(lever, cast(float, value) + step)


def _number(lever: Lever, value: float) -> int | float:
    """Within the range, to about four digits of it: settings are read by people."""
    low, high = cast(float, lever.low), cast(float, lever.high)
    value = min(max(value, low), high)
    if lever.whole or lever.falling:
        return round(value)
    return round(value, max(0, 4 - math.floor(math.log10(high - low))))


def _fallen(lever: Lever, values: Sequence[float]) -> list[JsonValue]:
    """The nearest list that falls: sorted, and each that is not below the one before moved to where there is room."""
    low, high = int(cast(float, lever.low)), int(cast(float, lever.high))
    numbers = sorted((round(min(max(value, low), high)) for value in values), reverse=True)
    for i in range(1, len(numbers)):
        numbers[i] = min(numbers[i], numbers[i - 1] - 1)
    for i in reversed(range(len(numbers))):  # no lower than the places left below
        numbers[i] = max(numbers[i], low + len(numbers) - 1 - i)
    assert all(a > b for a, b in pairwise(numbers))
    return list(numbers)
