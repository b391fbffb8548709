"""Beam search over previews: partial answers are ranked by the reward of their previews, and the best are extended.

Beam search against a verifier as in Snell et al. 2024 (arXiv 2408.03314, section 5.1), on denoising steps.
"""

from collections.abc import AsyncGenerator
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from search.configs import MethodConfig
from search.methods.selection import due, multiplied, scored, whole
from search.plugins import plugin
from search.population import Population
from search.ports import Floats, Task
from search.tools import Tools


class Beam(MethodConfig):
    """One beam for each item, of which the best n answers are kept."""

    n: int = Field(1, ge=1, le=1_000_000, description="Answers for each item, at most `end`.")
    children: int = Field(4, ge=1, le=100_000, description="Candidates that extend each answer of the beam.")
    start: int = Field(4, ge=1, le=1_000_000, description="Width of the beam at first.")
    end: int = Field(4, ge=1, le=1_000_000, description="Width at the last step; in between it changes linearly.")
    every: int = Field(1, ge=1, description="Steps from one ranking to the next.")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.n > self.end:
            raise ValueError(f"n must be at most end: the last {self.end} answers of the beam cannot give {self.n}")
        return self

    @property
    def samples(self) -> int:
        """The best answers of the last beam."""
        return self.n

    @property
    def widest(self) -> int:
        """Rows at any time, at most."""
        return max(self.start, self.end) * self.children

    @property
    def trajectories(self) -> float:
        """The beam at its widest: exact with a constant width, and where a row takes one step."""
        return float(self.widest)

    def width(self, step: int, steps: int) -> int:
        """Answers that go on from `step`, rounded to the nearest."""
        return int(self.start + (self.end - self.start) * step / steps + 0.5)

    def verdicts(self, steps: int) -> int:
        """Rankings, the last one of finished answers."""
        return 1 + (steps - 1) // self.every


@plugin(version="1", needs=("preview", "stochastic_step"))
async def beam(task: Task, tools: Tools, config: Beam, resume: Population | None = None) -> AsyncGenerator[Population]:
    """Starts of their own for the first beam's candidates; later ones are forked from the best."""
    if (population := resume) is None:
        # A budget must afford the beam at its widest: half of it would be another search.
        rows = whole(await tools.start(task.first * (config.widest - 1), config.widest), config.widest)
        rows = rows[: config.start * config.children]
        population = Population.of(rows, chosen=rows.step)
    while not population.idle:
        yield population
        if due(population, config.every):
            everyone = np.arange(len(population))
            population, values, _ = (await scored(population, everyone, tools)).readable()
            population = best(population, values, task.count, config, tools.steps)
        else:
            population = population.moved(await tools.advance(population.rows))
    yield population.found()


def best(population: Population, values: Floats, n: int, config: Beam, steps: int) -> Population:
    """The beam's best, best first, and their children. Of finished answers no more than n can be among the best n."""
    width = config.width(population.step, steps)
    ranked = np.argsort(-values, kind="stable")[:width]
    done = population.rows.done[ranked]
    return multiplied(population, ranked[~done | (np.cumsum(done) <= n)], config.children)
