"""Searches over the toys, alone on an engine, for tests against closed forms."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from generators.builtin import GENERATORS
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods import METHODS
from search.population import Population, log_mean_exp
from search.ports import Item, Task
from search.run import Outcome, run
from search.scoring import Judge
from verifiers.builtin import VERIFIERS


def made(registry: Any, name: str, **config: Any) -> Any:
    """A plug-in of that configuration."""
    found = registry.find(name)
    return found.factory(found.config(**config))


def model(name: str, **config: Any) -> Any:
    """A toy."""
    return made(GENERATORS, name, **config)


def verifier(name: str, **config: Any) -> Judge:
    """A toy's reward."""
    return Judge("v", (name, str(config)), made(VERIFIERS, name, **config))


async def outcome(
    engine: Engine,
    generator: Any,
    judge: Judge,
    name: str,
    config: dict[str, Any],
    seed: int,
    budget: Budget | None = None,
) -> Outcome:
    """One search."""
    checked: Any = METHODS.find(name).config(**config)
    task = Task(Item(id="exact"), seed, 0, checked.piece or checked.samples)
    if checked.exponents:
        generator = generator.toward(checked.exponents)
    shared = Shared(engine, task, generator, [judge])
    tools = Metered(shared, generator, 1, budget or Budget(), checked.verdicts(generator.steps))
    return await run(METHODS.find(name).factory(task, tools, checked), tools)


def populations(
    generator: Any, judge: Judge, name: str, config: dict[str, Any], seeds: Sequence[int]
) -> list[Population]:
    """The end of one search for each seed. Raises what ended one too early."""

    async def main() -> list[Outcome]:
        engine, found = Engine(), list[Outcome]()
        for i in range(0, len(seeds), 500):
            some = (outcome(engine, generator, judge, name, config, seed) for seed in seeds[i : i + 500])
            found += await asyncio.gather(*some)
        return found

    found = asyncio.run(main())
    for one in found:
        if one.error:
            raise one.error
    return [one.population.found() for one in found if one.population is not None]


def log_z(population: Population) -> float:
    """Log of the estimate of the normalising constant."""
    return population.log_z + log_mean_exp(population.log_weights)


def unbiased(estimates: Sequence[float], exact: float, z: float = 4.0) -> bool:
    """z-test of E[exp(log Z-hat)] / Z = 1: false by chance once in 16,000."""
    ratios = np.exp(np.array(estimates) - exact)
    return bool(abs(ratios.mean() - 1) < z * ratios.std(ddof=1) / np.sqrt(len(ratios)))
