"""Search methods on molecules at equal network calls, in the shape of SVDD's table (Li et al. 2024, arXiv 2408.08252).

    python -m bench.molecules [--answers 60] [--trajectories 8] [--out FOLDER]

For each reward and method: `--answers` searches that may spend `--trajectories` whole molecules each, 40 evaluations a
molecule. Of the answers that they return: median with an exact 95 % interval (order statistics), 10 % and 90 %
quantiles, the share without a score (it counts as below all others), and the difference of the median to that of best
of n with a 95 % bootstrap interval. `unscored` is the share of all candidates that were no molecules. Rewards: QED, and
QED where SA is at most 3.5 (else 0). Prints one JSON object; with --out also writes it there, and a figure.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from bench.printed import pictured
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.ports import Answer, Floats, Generator, Item, Task
from search.run import run
from search.scoring import Judge
from service import catalog
from service.settings import core_count
from service.spec import JobSpec

LIMIT = 3.5
EASY = {"verifier": {"name": "molecule/sa", "limit": LIMIT}, "passed": True}
REWARDS: dict[str, Any] = {
    "qed": "molecule/qed",
    "qed with sa <= 3.5": {"name": "product", "factors": [{"verifier": "molecule/qed"}, EASY]},
}


def searches(n: int) -> dict[str, dict[str, Any]]:
    """Every method at n trajectories' worth of network calls."""
    return {
        "best_of_n": {"method": "best_of_n", "n": n},
        "feynman_kac": {"method": "feynman_kac", "particles": n, "tilt": 30.0, "begin": 5, "every": 3},
        "soft_value alpha 0": {"method": "soft_value", "n": 1, "children": n, "alpha": 0.0},
        "soft_value alpha .02": {"method": "soft_value", "n": 1, "children": n, "alpha": 0.02},
    }


@dataclass(frozen=True)
class Watch:
    """Who looks on: a generator as it is used, and the tools of a search. `bench.molecules_pace` has another."""

    generator: Callable[[Any], Any] = lambda generator: generator
    tools: Callable[..., Shared] = Shared


async def found(
    verifier: Any, search: Mapping[str, Any], answers: int, company: int = 16, watch: Watch = Watch()
) -> dict[str, Any]:
    """One method under one reward, so many searches at once.

    `each` holds the values of the returned answers, -inf without a score.
    """
    job = {"model": "molecules", "items": [{}], "search": search, "verifiers": [verifier]}
    ready = catalog.prepare(JobSpec.model_validate(job))
    plan, factory = ready.plan, ready.method.plugin.factory
    generator = watch.generator(catalog.generator(ready.model))
    judge = catalog.judge(ready.of("verifier")[0])
    engine, gate = Engine(core_count()), asyncio.Semaphore(company)
    await warm(engine, generator, judge)
    values, spent, unscored = np.full(answers, -np.inf), list[Any](), list[float]()

    async def one(number: int) -> None:
        task = Task(Item(id=str(number)), number, 0, plan.samples)
        async with gate:
            tools = watch.tools(engine, task, generator, [judge])
            tools = Metered(tools, generator, 1, Budget.model_validate({}), plan.verdicts(generator.steps))
            outcome = await run(factory(task, tools, plan), tools)
        if outcome.population is None:
            raise outcome.error or RuntimeError("nothing found")
        rewards = outcome.population.found().verdicts.rewards
        unscored.append(float(np.isnan(rewards).mean()))
        values[number] = np.nanmax(rewards) if not np.isnan(rewards).all() else -np.inf
        spent.append(outcome.spent)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(answers)))
    wall = time.perf_counter() - began
    currencies = ("evaluations", "previews", "verifier_calls", "verifier_seconds")
    costs = {c: float(np.mean([getattr(one, c) for one in spent])) for c in currencies}
    return {"search": search, **costs, "seconds": wall / answers, "unscored": float(np.mean(unscored)), "each": values}


async def warm(engine: Engine, generator: Generator, judge: Judge) -> None:
    """Load the network and start the judge's processes: both are once a worker, and no part of a search."""
    await engine.load("molecules", generator, Item())
    tools = Shared(engine, Task(Item(id="warm"), 0, 0, 8), generator, [judge])
    await tools.preview(await tools.advance(await tools.start(0, 8)))
    await engine.judge(judge, [Answer("C" * n, Item()) for n in range(1, 65)])


def median(values: Floats) -> dict[str, float]:
    """The median, its exact interval between two order statistics (binomial), and two quantiles."""
    ordered, n = np.sort(values), len(values)
    low = int(binom.ppf(0.025, n, 0.5))
    numbers = {"median": np.median(ordered), "low": ordered[max(0, low - 1)], "high": ordered[min(n - 1, n - low)]}
    tails = {f"quantile {q:g}": np.quantile(ordered, q, method="nearest") for q in (0.1, 0.9)}
    return {name: float(value) for name, value in {**numbers, **tails}.items()}


def against(values: Floats, control: Floats, rounds: int = 2000) -> dict[str, float]:
    """Difference of the medians, with a bootstrap interval over both samples."""
    rng = np.random.default_rng(0)
    a, b = (np.median(rng.choice(x, (rounds, len(x))), axis=1) for x in (values, control))
    low, high = np.quantile(a - b, (0.025, 0.975), method="nearest")
    return {"difference": float(np.median(values) - np.median(control)), "low": float(low), "high": float(high)}


def compared(verifier: Any, every: Mapping[str, Mapping[str, Any]], answers: int) -> dict[str, Any]:
    """All methods under one reward."""
    results = {name: asyncio.run(found(verifier, search, answers)) for name, search in every.items()}
    control = results["best_of_n"]["each"]
    for name, result in results.items():
        each = result.pop("each")
        result |= median(each) | {"without a score": float(np.isneginf(each).mean())}
        if name != "best_of_n":
            result["against best_of_n"] = against(each, control)
    return results


def figure(rewards: Mapping[str, Any], path: Path) -> None:
    """Medians with intervals, and the quantiles, one panel a reward."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(1, len(rewards), figsize=(5 * len(rewards), 3.6), sharey=True, layout="constrained")
    for axis, (reward, methods) in zip(np.atleast_1d(axes), rewards.items(), strict=True):
        for i, result in enumerate(methods.values()):
            tails = [result["quantile 0.1"], result["quantile 0.9"]]
            axis.plot([i, i], tails, color="0.75", lw=6, solid_capstyle="butt", zorder=1)
            error = [[result["median"] - result["low"]], [result["high"] - result["median"]]]
            axis.errorbar(i, result["median"], error, fmt="o", capsize=4, zorder=2)
        axis.set_xticks(range(len(methods)), [name.replace(" ", "\n", 1) for name in methods], fontsize=8)
        axis.set(title=reward, ylim=(0, 1))
        axis.grid(axis="y", alpha=0.3)
    np.atleast_1d(axes)[0].set_ylabel("median of returned answers")
    picture.savefig(path, dpi=110)
    plt.close(picture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--trajectories", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    every = searches(options.trajectories)
    rewards = {name: compared(verifier, every, options.answers) for name, verifier in REWARDS.items()}
    whole = {
        "bench": "molecules",
        "answers": options.answers,
        "trajectories": options.trajectories,
        "rewards": rewards,
    }
    pictured(whole, options.out, lambda path: figure(rewards, path))


if __name__ == "__main__":
    main()
