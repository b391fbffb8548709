"""Whether the variance of x0-hat along a trajectory tells broken digits from good ones, and its worth as a filter.

    python -m bench.hallucination [--items 300] [--steps 10] [--n 8] [--out FOLDER]

Each item (ten digits in turn) gets n images by `--model`; one is broken where `ccexam`, which no search sees, does not
read it as the asked digit. `auroc` is the chance that a broken image has the larger variance than a good one, over all
pairs (`any digit`) and over pairs of one digit (`same digit`); intervals are 95 % bootstraps over items. `filter`: of
the first k images the one of least variance, against the first alone and against one trajectory of k times the steps:
equal evaluations, paired intervals. `kept half`: the share right among the half of least variance of each item's n.
`beside a judge`: best of k by `digit_classifier_b` alone and by the mean rank of both. Prints one JSON object.
"""

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from bench.printed import printed
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.ports import Bools, Floats, Item, Task
from search.run import run
from search.verdicts import Verdicts, value_of
from service import catalog
from service.curves.imperfect import wilson
from service.curves.paired import paired_proportions, paired_t
from service.settings import core_count
from service.spec import JobSpec

NO_LIMIT = Budget.model_validate({})
STEADY, JUDGE, GRADER = "trajectory_variance", "digit_classifier_b", "ccexam"


class Pool(NamedTuple):
    """Of every item's answers [items, n]: whether they are right, and two verifiers' values."""

    right: Bools
    steady: Floats
    judged: Floats


def drawn(model: Mapping[str, Any], items: int, n: int, seed: int) -> Pool:
    """n answers to each item, searched by nobody."""
    spec = {"model": model, "items": [{"prompt": "0"}], "search": {"n": n}}
    ready = catalog.prepare(JobSpec.model_validate({**spec, "verifiers": [STEADY, JUDGE], "graders": [GRADER]}))
    verifiers, graders = ([catalog.judge(judge) for judge in ready.of(role)] for role in ("verifier", "grader"))
    generator, engine, gate = catalog.generator(ready.model), Engine(core_count()), asyncio.Semaphore(64)

    async def one(number: int) -> tuple[Verdicts, Verdicts]:
        task = Task(Item(id=str(number), prompt=str(number % 10)), seed, 0, n)
        async with gate:
            tools = Metered(Shared(engine, task, generator, verifiers), generator, 2, NO_LIMIT)
            outcome = await run(ready.method.plugin.factory(task, tools, ready.plan), tools)
            if outcome.error or outcome.population is None:
                raise outcome.error or RuntimeError("nothing found")
            found = outcome.population.found().verdicts
            return found, await Shared(engine, task, generator, graders).judged(found.answers)

    async def every() -> list[tuple[Verdicts, Verdicts]]:
        await engine.load("digits", generator, Item(prompt="7"))
        return await asyncio.gather(*(one(number) for number in range(items)))

    pairs = asyncio.run(every())
    values = [np.array([value_of(found.scores[name]) for found, _ in pairs]) for name in (STEADY, JUDGE)]
    return Pool(np.array([grades.passed for _, grades in pairs]), *values)


def auroc(values: Floats, broken: Bools) -> float:
    """Chance that a broken one has the larger value than one that is not, ties half; nan without either."""
    bad, good = int(broken.sum()), int((~broken).sum())
    if not bad or not good:
        return float("nan")
    return float((rankdata(values)[broken].sum() - bad * (bad + 1) / 2) / (bad * good))


def within(values: Floats, broken: Bools, group: np.ndarray[Any, Any]) -> float:
    """The same over pairs of one group, each pair counting once."""
    parts = [(auroc(values[group == g], broken[group == g]), broken[group == g]) for g in np.unique(group)]
    weights = [float(part.sum() * (~part).sum()) for _, part in parts]
    return float(sum(w * a for w, (a, _) in zip(weights, parts, strict=True) if w) / sum(weights))


def separated(pool: Pool, repeats: int = 1000) -> dict[str, Any]:
    """Both areas with bootstrap intervals over items."""
    rng, digit = np.random.default_rng(0), np.arange(len(pool.right)) % 10

    def areas(items: np.ndarray[Any, Any]) -> tuple[float, float]:
        values, broken = -pool.steady[items].ravel(), ~pool.right[items].ravel()
        return auroc(values, broken), within(values, broken, np.repeat(digit[items], pool.right.shape[1]))

    every = np.arange(len(digit))
    again = np.array([areas(rng.choice(every, len(every))) for _ in range(repeats)])
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    return {
        name: {"auroc": area, "low": float(low[i]), "high": float(high[i])}
        for i, (name, area) in enumerate(zip(("any digit", "same digit"), areas(every), strict=True))
    }


def share(right: Bools) -> dict[str, float]:
    """Share right with Wilson's interval."""
    interval = wilson(int(right.sum()), len(right))
    return {"right": float(right.mean()), "low": interval.low, "high": interval.high}


def against(first: Bools, second: Bools) -> dict[str, float]:
    """Paired difference of two ways to answer the same items."""
    cells = [
        int((first == a)[second == b].sum()) for a, b in ((True, True), (True, False), (False, True), (False,) * 2)
    ]
    difference = paired_proportions(*cells)
    return {"difference": difference.mean, "low": difference.low, "high": difference.high}


def best(pool: Pool, values: Floats) -> Bools:
    """Whether the answer of the highest value is right: values [items, k] of the first k."""
    return pool.right[np.arange(len(values)), values.argmax(1)]


def ranked(pool: Pool, k: int) -> Floats:
    """Minus the mean rank under both verifiers among the first k, as searches rank with several verifiers."""
    return -(rankdata(-pool.steady[:, :k], axis=1) + rankdata(-pool.judged[:, :k], axis=1)) / 2


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The JSON object that is printed."""
    model = {"name": options.model, "steps": options.steps, "eta": options.eta}
    pool = drawn(model, options.items, options.n, options.seed)
    filters: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    for k in (k for k in (2, 4, 8, 16) if k <= options.n):
        chosen, first = best(pool, pool.steady[:, :k]), pool.right[:, 0]
        long = drawn({**model, "steps": options.steps * k}, options.items, 1, options.seed).right[:, 0]
        filters[str(k)] = {
            "evaluations": options.steps * k,
            "least variance": share(chosen),
            "first": share(first),
            "one of more steps": share(long),
            "against first": against(chosen, first),
            "against one of more steps": against(chosen, long),
        }
        alone, both = best(pool, pool.judged[:, :k]), best(pool, ranked(pool, k))
        beside[str(k)] = {"judge": share(alone), "mean rank": share(both), "against judge": against(both, alone)}
    half = np.argsort(-pool.steady, axis=1)[:, : options.n // 2]
    shares = np.take_along_axis(pool.right, half, 1).mean(1), pool.right.mean(1)
    gained = paired_t(*shares)
    kept = {"kept": float(shares[0].mean()), "all": float(shares[1].mean()), "difference": gained.mean}
    kept |= {"low": gained.low, "high": gained.high}
    told = {name: getattr(options, name) for name in ("model", "items", "n", "steps", "eta", "seed")}
    broken = {"broken": float((~pool.right).mean())}
    rest = {"separation": separated(pool), "filter": filters, "kept half": kept, "beside a judge": beside}
    return {"bench": "hallucination", **told, **broken, **rest}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits-early")
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--n", type=int, default=8, help="images of an item")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the result")
    options = parser.parse_args()
    printed(measured(options), options.out)


if __name__ == "__main__":
    main()
