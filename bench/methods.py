"""Search methods at equal evaluations, searched by one judge and graded by another that the search never sees.

    python -m bench.methods [--models MODEL ...] [--answers 400] [--sizes 2 4 8 16] [--out FOLDER]

For each model, number of trajectories N and method: `--answers` items (ten digits in turn), each a search that may
spend N whole trajectories of `--steps` evaluations, steered by `digit_classifier_b`; its best answer is read by
`ccexam`. Reports the share read as the asked digit with its Wilson interval, the paired difference to best of n, and
the cost of an item in every currency. `seconds` are processor seconds of the whole run for each item: network,
previews, verifiers and search. All searches of a run share one engine. Prints one JSON object; with --out also writes
it there, and a figure.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.printed import pictured
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.ports import Item, Task
from search.run import run
from service import catalog
from service.catalog import Prepared
from service.curves.imperfect import wilson
from service.curves.paired import paired_proportions
from service.settings import core_count
from service.spec import JobSpec

NO_LIMIT = Budget.model_validate({})
Searches = Mapping[str, Mapping[str, Any]]


ROLLOVERS = {2: (1, 2), 4: (1, 4), 8: (3, 8), 16: (6, 8)}
"""(answers, width) of rollover at N trajectories: it stops early, and spends 26 evaluations an answer of 10 steps."""


def searches(n: int) -> dict[str, dict[str, Any]]:
    """Every method at n trajectories' worth of evaluations, or a little less; tilt, width and answers were
    chosen by looking at some of the same prompts and seeds, on digits-unconditional."""
    answers, width = ROLLOVERS.get(n, (max(1, 3 * n // 8), 8))
    found: dict[str, dict[str, Any]] = {
        "best_of_n": {"method": "best_of_n", "n": n},
        "feynman_kac": {"method": "feynman_kac", "particles": n, "tilt": 50.0, "begin": 2},
        "soft_value": {"method": "soft_value", "n": 1, "children": n},
        "rollover": {"method": "rollover", "n": answers, "width": width},
        "zero_order": {"method": "noise_search", "algorithm": "zero_order", "n": 1, "neighbours": n - 1, "rounds": 1},
    }
    if n >= 4:
        found["beam"] = {"method": "beam", "n": 1, "children": n // 2, "start": 2, "end": 2}
    return found


def prepared(model: Mapping[str, Any], search: Mapping[str, Any], item: Item) -> Prepared:
    """A job's plug-ins."""
    spec = {
        "model": model,
        "items": [item.model_dump()],
        "search": search,
        "verifiers": ["digit_classifier_b"],
        "graders": ["ccexam"],
    }
    return catalog.prepare(JobSpec.model_validate(spec))


async def graded(
    model: Mapping[str, Any], search: Mapping[str, Any], answers: int, company: int = 64
) -> dict[str, Any]:
    """One method on one model; `right` holds, for each item, whether the grader reads its best answer as asked."""
    ready = prepared(model, search, Item(id="0", prompt="0"))
    generator, plan, factory = catalog.generator(ready.model), ready.plan, ready.method.plugin.factory
    (verifier,), (grader,) = ([catalog.judge(judge) for judge in ready.of(role)] for role in ("verifier", "grader"))
    engine, gate = Engine(core_count()), asyncio.Semaphore(company)
    await engine.load("digits", generator, Item(prompt="7"))
    right, spent = np.zeros(answers, bool), list[Any]()

    async def one(number: int) -> None:
        item = Item(id=str(number), prompt=str(number % 10), target=str(number % 10))
        task = Task(item, number, 0, plan.samples)
        async with gate:
            tools = Metered(
                Shared(engine, task, generator, [verifier]), generator, 1, NO_LIMIT, plan.verdicts(generator.steps)
            )
            outcome = await run(factory(task, tools, plan), tools)
            if outcome.error or outcome.population is None:
                raise outcome.error or RuntimeError("nothing found")
            verdicts = outcome.population.found().verdicts
            best = int(np.nanargmax(verdicts.rewards))
            grades = await Shared(engine, task, generator, [grader]).judged([verdicts.answers[best]])
        right[number] = bool(grades.passed[0])
        spent.append(outcome.spent)

    started = time.process_time()
    await asyncio.gather(*(one(number) for number in range(answers)))
    seconds = time.process_time() - started
    interval = wilson(int(right.sum()), answers)
    currencies = ("evaluations", "previews", "verifier_calls", "verifier_seconds")
    costs = {c: float(np.mean([getattr(one, c) for one in spent])) for c in currencies}
    share = {"right": float(right.mean()), "low": interval.low, "high": interval.high}
    return {"search": search, **share, **costs, "seconds": seconds / answers, "each": right}


def compared(model: Mapping[str, Any], every: Searches, answers: int) -> dict[str, Any]:
    """All methods on the same items, each with its paired difference to best of n."""
    found = {name: asyncio.run(graded(model, search, answers)) for name, search in every.items()}
    control = found["best_of_n"]["each"]
    for result in found.values():
        each = result.pop("each")
        only, lost = int((each & ~control).sum()), int((control & ~each).sum())
        both, neither = int((each & control).sum()), int((~each & ~control).sum())
        interval = paired_proportions(both, only, lost, neither, 0.95)
        result["against best_of_n"] = {
            "difference": (only - lost) / answers,
            "low": interval.low,
            "high": interval.high,
        }
    return found


def figure(found: Mapping[str, Any], path: Path) -> None:
    """Share right against evaluations and against seconds, one row a model."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    picture, axes = plt.subplots(len(found), 2, figsize=(10, 4 * len(found)), squeeze=False, layout="constrained")
    for row, (model, sizes) in zip(axes, found.items(), strict=True):
        names = list(dict.fromkeys(name for methods in sizes.values() for name in methods))
        for name in names:
            points = [methods[name] for methods in sizes.values() if name in methods]
            right = np.array([[p["right"], p["low"], p["high"]] for p in points]).T
            for axis, unit in zip(row, ("evaluations", "seconds"), strict=True):
                error = np.abs(right[1:] - right[0])
                axis.errorbar([p[unit] for p in points], right[0], error, marker="o", capsize=2, label=name)
                axis.set(
                    xscale="log",
                    ylim=(0, 1.02),
                    xlabel=f"{'processor ' * (unit == 'seconds')}{unit} an item",
                    ylabel="read as the asked digit",
                    title=model,
                )
        for axis in row:
            axis.xaxis.set_minor_formatter("")
            axis.grid(alpha=0.3)
        row[0].legend(loc="lower right", fontsize=8)
    picture.savefig(path, dpi=110)
    plt.close(picture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["digits-unconditional", "digits-early"])
    parser.add_argument("--answers", type=int, default=400)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--search", nargs="+", default=[], type=json.loads, help="these, as JSON, against best of n")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    for name in options.models:
        model = {"name": name, "steps": options.steps, "dtype": options.dtype}
        for n in options.sizes:
            every = searches(n)
            if options.search:
                every = {"best_of_n": every["best_of_n"]} | {json.dumps(s): s for s in options.search}
            wanted = {m: s for m, s in every.items() if not options.methods or m in ("best_of_n", *options.methods)}
            found.setdefault(name, {})[str(n)] = compared(model, wanted, options.answers)
    whole = {"bench": "methods", "steps": options.steps, "answers": options.answers, "models": found}
    pictured(whole, options.out, lambda path: figure(found, path))


if __name__ == "__main__":
    main()
