"""Search over noise (Ma et al. 2025, arXiv 2501.09732): random search, zero-order search and search over paths."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import cache
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from search.configs import MethodConfig
from search.metering import BudgetSpent
from search.methods.best_of_n import BestOfN, best_of_n
from search.methods.selection import child, scored, whole
from search.plugins import plugin
from search.population import Population
from search.ports import Rows, Task
from search.tools import Tools

LONGEST = 1000
"""Steps up to which the cost of a path search is looked up; it is nearly constant beyond."""


class Round(NamedTuple):
    """Of a path search: the step to which rows are renoised, and the one at which their previews are ranked."""

    renoised: int
    ranked: int


class Course(NamedTuple):
    """The whole steps of a path search: rows go to step `begin`, then through every round; the last ends at the end."""

    begin: int
    rounds: tuple[Round, ...]


class NoiseSearch(MethodConfig):
    """The best answers in noise space."""

    algorithm: Literal["random", "zero_order", "paths"] = Field(
        "zero_order",
        description="random: n answers; zero_order: n pivots, each moving to the best of its neighbours; "
        "paths: n rows that are renoised, denoised and ranked by their previews.",
    )
    n: int = Field(4, ge=1, le=100_000, description="random: answers; zero_order: searches; paths: N, rows kept.")
    neighbours: int = Field(4, ge=1, le=10_000, description="zero_order: K, answers of one round.")
    rounds: int = Field(4, ge=1, le=1_000, description="zero_order: rounds.")
    cosine: float = Field(0.95, gt=-1, lt=1, description="zero_order: cosine between the noise of pivot and neighbour.")
    ways: int = Field(8, ge=1, le=10_000, description="paths: M, ways in which each row is renoised.")
    start: float = Field(0.11, gt=0, lt=1, description="paths: part of the steps left when the search begins.")
    forward: float = Field(0.78, gt=0, lt=1, description="paths: part of the steps by which rows are renoised.")
    backward: float = Field(0.81, gt=0, le=1, description="paths: part of the steps by which they are denoised then.")

    @model_validator(mode="after")
    def _advances(self) -> Self:
        if self.backward <= self.forward:
            raise ValueError(f"backward must be above forward, {self.forward}, not {self.backward}: paths never end")
        return self

    @property
    def samples(self) -> int:
        """Every answer that is evaluated; of paths, the n best of the last round."""
        return self.n * (self.piece or 1) if self.algorithm == "zero_order" else self.n

    @property
    def piece(self) -> int | None:
        """random: none; zero_order: a pivot and all its neighbours; paths: all n."""
        return {"random": None, "zero_order": 1 + self.rounds * self.neighbours, "paths": self.n}[self.algorithm]

    @property
    def extends(self) -> str | None:
        """More answers, or more searches; of paths, all n are one search."""
        return None if self.algorithm == "paths" else "n"

    @property
    def trajectories(self) -> float:
        """As many as answers; of paths, the most over all numbers of steps: rounding makes few steps dearer."""
        if self.algorithm != "paths":
            return float(self.samples)
        return self.n * dearest(self.ways, self.start, self.forward, self.backward)

    @property
    def needs(self) -> frozenset[str]:
        """Of the algorithm."""
        both = {"random": (), "zero_order": ("neighbours",), "paths": ("preview", "renoise")}
        return frozenset(both[self.algorithm])

    def verdicts(self, steps: int) -> int:
        """One; of paths, one for each round."""
        return 1 if self.algorithm != "paths" or steps < 2 else len(self.course(steps).rounds)

    def course(self, steps: int) -> Course:
        """The rounds of a path search. Raises ValueError for a model of one step."""
        if steps < 2:
            raise ValueError(f"paths need a model of at least 2 steps, not {steps}: there is nothing to renoise")
        return course(steps, self.start, self.forward, self.backward)


def course(steps: int, start: float, forward: float, backward: float) -> Course:
    """Parts of the steps, from 0 to 1, as whole steps, at least one each."""
    begin = min(max(steps - round(start * steps), 1), steps - 1)
    back, on = max(1, round(forward * steps)), max(1, round((backward - forward) * steps))
    rounds = (Round(max(0, step - back), min(step + on, steps)) for step in range(begin, steps, on))
    return Course(begin, tuple(rounds))


@cache
def dearest(ways: int, start: float, forward: float, backward: float) -> float:
    """Whole trajectories for each row that is kept, at most, for models of 2 to LONGEST steps."""

    def cost(steps: int) -> float:
        begin, rounds = course(steps, start, forward, backward)
        return (begin + ways * sum(r.ranked - r.renoised for r in rounds)) / steps

    return max(map(cost, range(2, LONGEST + 1)))


@plugin(version="1")
def noise_search(
    task: Task, tools: Tools, config: NoiseSearch, resume: Population | None = None
) -> AsyncGenerator[Population]:
    """The algorithm that is configured."""
    match config.algorithm:
        case "random":
            return best_of_n(task, tools, BestOfN.model_validate({"n": config.n}), resume)
        case "zero_order":
            return zero_order(task, tools, config, resume)
        case "paths":
            return paths(task, tools, config, resume)


async def zero_order(
    task: Task, tools: Tools, config: NoiseSearch, resume: Population | None
) -> AsyncGenerator[Population]:
    """A pivot and rounds of K neighbours of the best so far; nothing is generated twice.

    Answer 1 + i of a search is child i of its pivot, whose own number in the search is kept in memory `pivot`.
    """
    population = resume or Population.of(await tools.start(0, 1), pivot=np.array([-1]))
    while True:
        while not population.idle:
            yield population
            if population.rows.done.all():
                ended = population.unjudged
                population = population.judged(ended, await tools.judge(population.rows[ended]))
            else:
                population = population.moved(await tools.advance(population.rows))
        yield population
        if (n := len(population)) >= task.count:
            return
        standing = population.verdicts.standing[population.verdict]
        pivot = int(np.where(np.isnan(standing), -np.inf, standing).argmax())  # the earliest of equals: no move
        row = await started(tools, config, path(population, pivot))
        pivots = child(row[np.zeros(config.neighbours, np.int64)], n - 1 + np.arange(config.neighbours))
        near = whole(await tools.neighbours(pivots, config.cosine), config.neighbours)
        population = population.joined(near, pivot=np.full(len(near), pivot))


def path(population: Population, answer: int) -> list[int]:
    """How a zero-order search came to its answer: from its first noise, which child, then which child of that..."""
    steps: list[int] = []
    while answer > 0:
        steps.insert(0, answer - 1)
        answer = int(population.memory["pivot"][answer])
    return steps


async def started(tools: Tools, config: NoiseSearch, path: Sequence[int]) -> Rows:
    """The row at step 0 that a path leads to; costs no evaluation."""
    row = await tools.start(0, 1)
    for j in path:
        row = await tools.neighbours(child(row, np.array([j])), config.cosine)
    return row


async def reproduced(tools: Tools, config: NoiseSearch, path: Sequence[int]) -> Rows:
    """The finished row of one answer of a zero-order search, from its path alone: one trajectory.

    The task of `tools` names the search: its seed, its item and the number of its first sample.
    """
    row = await started(tools, config, path)
    while not row.done.all():
        row = await tools.advance(row)
    return row


async def paths(task: Task, tools: Tools, config: NoiseSearch, resume: Population | None) -> AsyncGenerator[Population]:
    """N rows; in every round each is renoised in M ways, denoised further than before, and the best N are kept.

    Memory: the `round` begun (beyond the last: no other may be), the step `goal` at which it ranks, and whether it has
    `ranked`. When a budget ends the rounds, the rows that were kept are finished all the same.
    """
    begin, rounds = config.course(tools.steps)
    population = resume or planned(Population.of(await tools.start(0, task.count)), 0, begin, True)
    while not population.idle:
        yield population
        now, goal, ranked = (population.memory[name][0] for name in ("round", "goal", "ranked"))
        if population.step < goal:
            population = population.moved(await tools.advance(population.rows))
        elif not ranked:
            everyone = np.arange(len(population))
            population, values, _ = (await scored(population, everyone, tools, ranks=True)).readable()
            kept = population[np.argsort(-values, kind="stable")[: task.count]]
            population = planned(kept, now, goal, True)
        else:
            forked, cut = population.forked(np.repeat(np.arange(len(population)), config.ways)), len(rounds) + 1
            population = planned(population, cut, tools.steps, False)
            if now < len(rounds):
                with suppress(BudgetSpent):
                    rows = whole(await tools.renoise(forked.rows, rounds[now].renoised), config.ways)
                    after = now + 1 if len(rows) == len(forked) else cut
                    population = planned(forked[np.arange(len(rows))].moved(rows), after, rounds[now].ranked, False)
    yield (population := population.found())
    if len(population) < task.count or population.memory["round"][0] > len(rounds):
        raise BudgetSpent("evaluations, previews or verifier_calls")


def planned(population: Population, now: int, goal: int, ranked: bool) -> Population:
    """With what is next in memory."""
    n = len(population)
    return population.remembering(round=np.full(n, now), goal=np.full(n, goal), ranked=np.full(n, ranked))
