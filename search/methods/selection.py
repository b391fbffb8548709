"""What methods share that draw several rows, score them and keep some."""

from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from search import keys
from search.metering import BudgetSpent
from search.methods.feynman_kac import first_reason
from search.population import NoWeight, Population
from search.ports import Floats, Ints, Rows
from search.tools import Tools
from search.verdicts import Verdicts


def whole(rows: Rows, size: int) -> Rows:
    """As many rows as make whole groups of `size`. Raises BudgetSpent when a budget left not even one group."""
    if len(rows) < size:
        raise BudgetSpent("evaluations, previews or verifier_calls")
    return rows[: len(rows) // size * size]


class Scored(NamedTuple):
    """A population with verdicts on the finished rows that were asked about, and the reward of each row asked about.

    values: float [m], -inf where unscored. reason: why the first of those has no score.
    """

    population: Population
    values: Floats
    reason: str

    def readable(self) -> Self:
        """Itself. Raises NoWeight, naming step and reason, when previews were to be ranked and none was scored."""
        if np.isneginf(self.values).all() and not self.population.rows.done.all():
            step, n = self.population.step, len(self.values)
            remedy = "try a verifier that scores unfinished answers, or score later"
            raise NoWeight(f"step {step}: none of {n} answers was scored: {self.reason}; {remedy}")
        return self


async def scored(population: Population, index: Ints, tools: Tools, ranks: bool = False) -> Scored:
    """Ask for the verdicts of the rows `index`: on previews, and on answers of finished rows that have none yet.

    ranks: the values are standings, which compare previews among themselves and answers among themselves.
    """

    def values_of(verdicts: Verdicts) -> Floats:
        return verdicts.standing if ranks else verdicts.rewards

    done, values, reason = population.rows.done[index], np.full(len(index), np.nan), "no verifier"
    if not done.all():
        previewed = await tools.preview(population.rows[index[~done]])
        values[~done], reason = values_of(previewed), first_reason(previewed)
    if len(ended := index[done & (population.verdict[index] < 0)]):
        population = population.judged(ended, await tools.judge(population.rows[ended]))
    if done.any():
        values[done] = values_of(population.verdicts)[population.verdict[index[done]]]
    return Scored(population, np.where(np.isnan(values), -np.inf, values), reason)


def due(population: Population, every: int) -> bool:
    """Whether rows without verdict are to be scored: at multiples of `every` since memory `chosen`, and at the end."""
    pending = np.flatnonzero(population.verdict < 0)
    step = population.rows.step[pending].max()
    last = population.memory["chosen"][pending].max()
    return bool(population.rows.done[pending].all() or (step > last and step % every == 0))


def child(rows: Rows, j: Ints) -> Rows:
    """Child j[i] of each row i: that of `rows.fork`, without those before it."""
    return replace(rows, keys=keys.fold(rows.keys, np.uint32(keys.FORK), j.astype(np.uint32)))


def multiplied(population: Population, parents: Ints, ways: int) -> Population:
    """`ways` children of each of the rows `parents`, in order; a finished row stays what it is, once."""
    done = population.rows.done[parents]
    index = np.repeat(parents, np.where(done, 1, ways))
    forked, old = population.forked(index), population.rows[index]
    live = np.flatnonzero(~old.done)
    return forked.moved(old.updated(live, forked.rows[live])).remembering(chosen=old.step)
