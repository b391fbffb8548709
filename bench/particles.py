"""A large population on a toy: how long 100,000 particles take through 50 steps, scored at every step or every fifth.

    python -m bench.particles [--particles 100000] [--steps 50] [--every 1 5]

Feynman-Kac steering on `toy/gaussian_mixture` with `toy/linear`, one process, no service. Prints one JSON object.
"""

import argparse
import asyncio
import json
import time
from typing import Any

from generators.builtin import GENERATORS
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods.feynman_kac import FeynmanKac, feynman_kac
from search.ports import Item, Task
from search.run import run
from search.scoring import Judge
from service.settings import core_count
from verifiers.builtin import VERIFIERS


def seconds(particles: int, steps: int, every: int) -> float:
    """Of one search."""
    model, reward = GENERATORS.find("toy/gaussian_mixture"), VERIFIERS.find("toy/linear")
    generator: Any = model.factory(model.config.model_validate({"steps": steps}))
    judge = Judge("v", "v", reward.factory(reward.config.model_validate({})))
    config = FeynmanKac.model_validate({"particles": particles, "every": every})
    task = Task(Item(id="x"), 0, 0, particles)

    async def main() -> None:
        shared = Shared(Engine(core_count()), task, generator, [judge])
        tools = Metered(shared, generator, 1, Budget.model_validate({}), config.verdicts(steps))
        outcome = await run(feynman_kac(task, tools, config), tools)
        if outcome.error or outcome.population is None or not outcome.population.idle:
            raise outcome.error or RuntimeError("the search did not end")

    started = time.perf_counter()
    asyncio.run(main())
    return time.perf_counter() - started


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 5])
    options = parser.parse_args()
    found = {every: round(seconds(options.particles, options.steps, every), 2) for every in options.every}
    print(json.dumps({"bench": "particles", **vars(options), "seconds by every": found}))


if __name__ == "__main__":
    main()
