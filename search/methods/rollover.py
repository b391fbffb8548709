"""Rollover budget forcing (Kim et al. 2025, arXiv 2503.19385).

Each step of an answer has a quota of candidates, drawn one after another. The first whose preview has a higher reward
than the answer's own is taken, and what is left of the quota is the next step's; else the best candidate is taken.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace

import numpy as np
from pydantic import Field

from search.configs import Independent
from search.methods.selection import Scored, child, scored, whole
from search.plugins import plugin
from search.population import NoWeight, Population
from search.ports import Bools, Ints, Rows, Task
from search.tools import Tools


class Rollover(Independent):
    """n answers for each item."""

    width: int = Field(4, ge=1, le=100_000, description="Quota of each step: candidates that may be drawn.")

    @property
    def trajectories(self) -> float:
        """All quotas, spent to the last; what the last step leaves is not spent."""
        return float(self.n * self.width)

    def verdicts(self, steps: int) -> int:
        """Of each candidate one; a row of the budget stands for one candidate at every step."""
        return steps


@plugin(version="1", needs=("preview", "stochastic_step"))
async def rollover(
    task: Task, tools: Tools, config: Rollover, resume: Population | None = None
) -> AsyncGenerator[Population]:
    """Three rows for each answer: itself, the best candidate of its step so far, and the candidate just drawn.

    A budget admits `width` rows for each answer, as many as its quotas could spend; answer i starts from row i width.
    """
    wide, before = config.width, task.first * (config.width - 1)
    population = resume or opened(whole(await tools.start(before, task.count * wide), wide)[::wide], wide)
    while True:
        while not population.rows.done[(answers := slots(population)[0])].all():
            yield population
            candidates = slots(population)[2]
            drawn = population.rows.step[candidates] > population.rows.step[answers]
            if drawn.any():
                population = decided(await scored(population, candidates[drawn], tools), drawn, wide)
            else:
                live = np.flatnonzero(~population.rows.done[answers])
                mine = population[answers[live]]
                moved = await tools.advance(child(mine.rows, mine.memory["drawn"]))  # x^j ~ p(x_t-1 | x_t)
                population = population.moved(population.rows.updated(candidates[live], moved))
        population = ended(population)
        yield population
        if (n := len(population)) >= task.count:
            return
        more = opened(whole(await tools.start(before + n * wide, (task.count - n) * wide), wide)[::wide], wide)
        population = population.joined(more.rows, **more.memory)


def opened(rows: Rows, width: int) -> Population:
    """Answers that nothing has been drawn for: the other two rows are copies until there is a candidate."""
    n = len(rows)
    memory = {"value": np.full(3 * n, -np.inf), "left": np.full(3 * n, width), "drawn": np.zeros(3 * n, np.int64)}
    return Population.of(rows[np.tile(np.arange(n), 3)], slot=np.repeat(np.arange(3), n), **memory)


def slots(population: Population) -> Ints:
    """Places of the answers in progress, of their best candidates and of the last drawn: int [3, n]."""
    return np.flatnonzero(population.memory["slot"] >= 0).reshape(3, -1)


def ended(population: Population) -> Population:
    """The answers alone."""
    settled = np.flatnonzero(population.memory["slot"] < 0)
    mine = population[np.concatenate([settled, slots(population)[0]])].found()
    return mine.remembering(slot=np.full(len(mine), -1))


def decided(found: Scored, drawn: Bools, width: int) -> Population:
    """Answers take their candidate or wait for another. drawn: bool [n], whose candidate was scored just now.

    Raises NoWeight when a quota is used up on unscored previews and no answer has a score.
    """
    population, values, reason = found
    rows, value, (answer, best, new) = population.rows, population.memory["value"].copy(), slots(population)
    value[new[drawn]] = values
    left, count = (population.memory[name][answer] + by * drawn for name, by in (("left", -1), ("drawn", 1)))
    first = rows.step[best] <= rows.step[answer]
    best = np.where(drawn & (first | (value[new] > value[best])), new, best)
    # Nothing is known of an answer before its first step, and candidates of noise may share their first evaluation.
    begins = rows.step[answer] == 0
    taken = drawn & (begins | (value[new] > value[answer]) | (left == 0))
    blind = taken & ~begins & ~rows.done[best] & np.isneginf(value[best])
    if blind.any() and np.isneginf(value[np.where(taken, best, answer)]).all():
        step = rows.step[best][blind][0]
        remedy = "try a verifier that scores unfinished answers"
        raise NoWeight(f"step {step}: none of {count[blind][0]} candidates was scored: {reason}; {remedy}")
    answer = np.where(taken, best, answer)
    best = np.where(taken, answer, best)
    settled = np.flatnonzero(population.memory["slot"] < 0)
    moved = population.remembering(value=value)[np.concatenate([settled, answer, best, answer])]
    _, best, new = now = slots(population)
    memory = {name: column.copy() for name, column in moved.memory.items()}
    memory["slot"][now] = np.arange(3)[:, None]
    memory["left"][now] = np.where(taken, left + width, left)
    memory["drawn"][now] = np.where(taken, 0, count)
    verdict = moved.verdict.copy()
    verdict[best[taken]] = verdict[new] = -1  # of each answer at most one row is found when the search is cut short
    return replace(moved, verdict=verdict, memory=memory)
