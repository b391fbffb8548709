"""Feynman-Kac steering (Singhal et al. 2025, arXiv 2501.06848); correctors as targets (Skreta et al. 2025, 2503.02819).

Particles x_1..x_K move by M_t, are weighted by the potentials G_t and resampled; the weighted answers follow
p(x) exp(tilt r(x)), or prod q_i(x)^b_i exp(tilt r(x)) with a target. Every potential telescopes: the weight carried up
to a scoring point is exp(tilt_t m_t), whatever the statistic m_t of the rewards so far, and the last factor takes r of
the finished answer. So G_t = exp(tilt_t m_t - tilt_s m_s), s the scoring point before, m = 0 before the first.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from search import keys
from search.configs import MethodConfig
from search.plugins import plugin
from search.population import NoWeight, Population, ess
from search.ports import Floats, Frozen, Ints, Task
from search.resampling import Scheme
from search.tools import Tools
from search.verdicts import Verdicts

MOST = 10_000_000
"""Particles of one item, in all its populations."""


class Annealing(Frozen):
    """p(x)^power."""

    kind: Literal["annealing"]
    power: float = Field(gt=0, description="Above 1 sharpens the model, below 1 flattens it.")

    @property
    def exponents(self) -> tuple[float, ...]:
        """Of the model alone."""
        return (self.power,)


class Guidance(Frozen):
    """q(x)^(1 - strength) guide(x)^strength."""

    kind: Literal["guidance"]
    strength: float = Field(description="0 is the model, 1 the guide, more is away from the model.")

    @property
    def exponents(self) -> tuple[float, ...]:
        """Of the model and its guide."""
        return (1 - self.strength, self.strength)


class Product(Frozen):
    """q(x) guide(x)."""

    kind: Literal["product"]

    @property
    def exponents(self) -> tuple[float, ...]:
        """Of the model and its guide."""
        return (1.0, 1.0)


Target = Annotated[Annealing | Guidance | Product, Field(discriminator="kind")]

# m_t from what a row remembers: m (the statistic before), top, total and count of its rewards with the new one, r.
STATISTICS: dict[str, Callable[[Mapping[str, Floats], Floats], Floats]] = {
    "difference": lambda past, r: r,
    "max": lambda past, r: past["top"],
    "mean": lambda past, r: past["total"] / past["count"],
    "paper_max": lambda past, r: past["m"] + past["top"],  # literally exp(tilt max) at every point
    "paper_sum": lambda past, r: past["m"] + past["total"],
}


class FeynmanKac(MethodConfig):
    """K particles for each item, `repeats` times."""

    particles: int = Field(8, ge=2, le=1_000_000, description="Particles of one population.")
    repeats: int = Field(1, ge=1, le=100_000, description="Independent populations (islands); weights compare across.")
    tilt: float = Field(1.0, ge=0, le=1e9, description="Strength of the reward: the target is p(x) exp(tilt r(x)).")
    potential: Literal["difference", "max", "mean", "paper_max", "paper_sum"] = Field(
        "difference", description="Statistic of the rewards so far; the paper_ ones are kept to reproduce the paper."
    )
    every: int = Field(1, ge=1, description="Steps from one scoring of previews to the next.")
    begin: int = Field(1, ge=1, description="First step whose previews are scored.")
    ess: float = Field(0.5, gt=0, le=1, description="Resample when ESS < ess * particles; 1 is after every scoring.")
    resampling: Scheme = "systematic"
    schedule: Literal["constant", "linear", "adaptive"] = Field(
        "constant", description="Tilt over the steps; adaptive raises it as far as keeps the ESS at `ess`."
    )
    target: Target | None = Field(None, description="What to sample instead of the model; needs log_weights.")

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.particles * self.repeats > MOST:
            raise ValueError(f"particles x repeats may be {MOST:,} at most, not {self.particles * self.repeats:,}")
        return self

    @property
    def samples(self) -> int:
        """All populations' particles."""
        return self.particles * self.repeats

    @property
    def piece(self) -> int:
        """One population."""
        return self.particles

    @property
    def extends(self) -> str:
        """More populations."""
        return "repeats"

    @property
    def needs(self) -> frozenset[str]:
        """A target needs a model that weighs itself; without a tilt nothing is previewed."""
        return frozenset({"log_weights"}) if self.target else frozenset()

    @property
    def exponents(self) -> tuple[float, ...] | None:
        """Of the target."""
        return self.target.exponents if self.target else None

    def scores(self, step: int) -> bool:
        """Whether unfinished rows are scored after this step."""
        return self.tilt > 0 and step >= self.begin and (step - self.begin) % self.every == 0

    def verdicts(self, steps: int) -> int:
        """Scoring points of one row, its answer included."""
        return 1 + sum(self.scores(step) for step in range(1, steps))


@plugin(version="1", offers=("weights",), needs=("preview", "stochastic_step"))
async def feynman_kac(
    task: Task, tools: Tools, config: FeynmanKac, resume: Population | None = None
) -> AsyncGenerator[Population]:
    """Algorithm 1 of the paper in log space: weights are carried when resampling is skipped."""
    population = resume or opened(await tools.start(0, task.count), tools)
    while not population.idle:
        yield population
        if population.ess < config.ess * len(population) * (1 - 1e-9):
            u = keys.choices(task.seed, task.item.id, task.first, population.step, len(population))
            population = population.resampled(u, config.resampling)
        moving = ~population.rows.done
        population = population.moved(await tools.advance(population.rows))  # M_t
        population = population.weighted(np.where(moving, tools.increments(population.rows), 0.0))
        if config.scores(population.step):
            live = np.flatnonzero(~population.rows.done)
            previewed = await tools.preview(population.rows[live])
            population = weighed(population, live, previewed, config, tools.steps)  # G_t
        if len(ended := population.unjudged):
            verdicts = await tools.judge(population.rows[ended])
            population = weighed(population.judged(ended, verdicts), ended, verdicts, config, tools.steps)
    yield population


def opened(rows: Any, tools: Tools) -> Population:
    """The first generation: G_0 is the weight of the start."""
    zero = np.zeros(len(rows))
    memory = {"m": zero, "tilt": zero, "top": np.full(len(rows), -np.inf), "total": zero, "count": zero}
    return Population.of(rows, **memory).weighted(tools.increments(rows))


def weighed(population: Population, index: Ints, verdicts: Verdicts, config: FeynmanKac, steps: int) -> Population:
    """Rows `index` reweighted by their potential. An unscored preview says nothing, an unscored answer weighs 0."""
    if not len(index) or config.tilt == 0:
        return population
    final, r = bool(population.rows.done[index[0]]), verdicts.rewards
    scored = ~np.isnan(r)
    if not scored.any():
        raise NoWeight(f"step {population.step}: none of {len(index)} answers was scored: {first_reason(verdicts)}")
    mine = {name: column[index] for name, column in population.memory.items()}
    past = {
        "m": mine["m"],
        "top": np.fmax(mine["top"], r),
        "total": mine["total"] + np.where(scored, r, 0.0),
        "count": mine["count"] + scored,
    }
    m = r if final else np.where(scored, STATISTICS[config.potential](past, r), mine["m"])
    before = mine["tilt"] * mine["m"]
    now = config.tilt if final else tilted(config, population, index, m, before, steps)
    increments = np.zeros(len(population))
    increments[index] = np.where(scored, now * m - before, -np.inf if final else 0.0)
    memory = {**past, "m": m, "tilt": np.where(scored, now, mine["tilt"])}
    new = {name: population.memory[name].copy() for name in memory}
    for name, column in memory.items():
        new[name][index] = column
    return population.weighted(increments).remembering(**new)


def tilted(config: FeynmanKac, population: Population, index: Ints, m: Floats, before: Floats, steps: int) -> float:
    """This point's tilt. adaptive: the largest that leaves the ESS at its target, by bisection; it never falls."""
    if config.schedule == "constant":
        return config.tilt
    if config.schedule == "linear":
        return config.tilt * population.step / steps
    low, high = float(population.memory["tilt"].max()), config.tilt

    def enough(tilt: float) -> bool:
        log_weights = population.log_weights.copy()
        log_weights[index] += tilt * m - before
        return ess(log_weights) >= config.ess * len(population)

    if enough(high):
        return high
    start = low
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low if low > start or enough(start) else start


def first_reason(verdicts: Verdicts) -> str:
    """Why the first unscored answer has no score."""
    reasons = (score.reason for scores in verdicts.scores.values() for score in scores if score.value is None)
    return next(reasons, None) or "no verifier"
