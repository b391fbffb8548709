"""Soft value-based decoding, SVDD-PM (Li et al. 2024, arXiv 2408.08252).

At each point every answer has M candidates x^1..x^M ~ p(x_t-1 | x_t); one is chosen with probability
prop. to exp(v / alpha), its value v the reward of its preview (of the finished answer at the end), and goes on.
"""

from collections.abc import AsyncGenerator

import numpy as np
from pydantic import Field

from search import keys
from search.configs import Independent
from search.methods.selection import due, multiplied, scored, whole
from search.plugins import plugin
from search.population import Population
from search.ports import Floats, Ints, Rows, Task
from search.tools import Tools


class SoftValue(Independent):
    """n answers for each item, each chosen step by step among `children`."""

    children: int = Field(8, ge=1, le=100_000, description="M: candidates among which one is chosen.")
    alpha: float = Field(
        0.0, ge=0, le=1e9, description="Temperature of the choice: 0 takes the best; exp(r / alpha) is the target."
    )
    every: int = Field(1, ge=1, description="Steps from one choice to the next; all steps or more is best of M.")

    @property
    def trajectories(self) -> float:
        """Every candidate's."""
        return float(self.n * self.children)

    def verdicts(self, steps: int) -> int:
        """Choices that one candidate takes part in; a single candidate is only judged."""
        return 1 if self.children == 1 else 1 + (steps - 1) // self.every

    def chooses(self, population: Population) -> bool:
        """Whether the next thing to do is to choose."""
        return due(population, self.every if self.children > 1 else np.iinfo(np.int64).max)


@plugin(version="1", needs=("preview", "stochastic_step"))
async def soft_value(
    task: Task, tools: Tools, config: SoftValue, resume: Population | None = None
) -> AsyncGenerator[Population]:
    """Algorithm 1 of the paper with the posterior mean as value; answer i starts from rows i M to i M + M - 1."""
    M = config.children  # noqa: N806
    before = task.first * (M - 1)
    population = resume or opened(whole(await tools.start(before, task.count * M), M), 0, M)
    while True:
        while not population.idle:
            yield population
            if config.chooses(population):
                pending = np.flatnonzero(population.verdict < 0)
                population, values, _ = (await scored(population, pending, tools)).readable()  # v
                population = chosen(population, pending, values, task, config)
            else:
                population = population.moved(await tools.advance(population.rows))  # x^m ~ p(x_t-1 | x_t)
        population = population.found()
        yield population
        if (n := len(population)) >= task.count:
            return
        more = opened(whole(await tools.start(before + n * M, (task.count - n) * M), M), n, M)
        population = population.joined(more.rows, **more.memory)


def opened(rows: Rows, first: int, ways: int) -> Population:
    """Groups `first`, `first` + 1, ... of `ways` rows each."""
    return Population.of(rows, group=first + np.arange(len(rows)) // ways, chosen=np.zeros(len(rows), np.int64))


def chosen(population: Population, pending: Ints, values: Floats, task: Task, config: SoftValue) -> Population:
    """One of each group goes on, as M children; a finished one stays, alone."""
    groups, v = pending.reshape(-1, config.children), values.reshape(-1, config.children)
    group, step = population.memory["group"], population.rows.step[groups].max(1)
    u = uniforms(task, group[groups[:, 0]], step)
    kept = np.setdiff1d(np.arange(len(population)), pending)
    parents = np.concatenate([kept, groups[np.arange(len(groups)), pick(v, config.alpha, u)]])
    return multiplied(population, parents[np.argsort(group[parents], kind="stable")], config.children)


def pick(v: Floats, alpha: float, u: Floats) -> Ints:
    """One place in each row of v: softmax(v / alpha) by u (float [n] in (0, 1)); of -inf only where all are."""
    if alpha == 0:
        return v.argmax(1)
    top = v.max(1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.exp(np.where(np.isneginf(top), 0.0, (v - top) / alpha))
    edges = np.cumsum(p, axis=1)
    return (edges / edges[:, -1:] < u[:, None]).sum(1)


def uniforms(task: Task, groups: Ints, steps: Ints) -> Floats:
    """keys.choices of each group (int [n], from 0) at its step, as of a search of its own; float64 [n]."""
    own = keys.rows(keys.problem(task.seed, task.item.id), task.first, task.count)[groups]
    return keys.uniforms(keys.fold(own, np.uint32(keys.CHOICE), 0), steps, 1)[:, 0]
