"""Searches in company against the same searches apart, in one process, without a service around them.

    python -m bench.company [--jobs 32] [--seconds 6]

`together`: jobs at different steps share the calls of one engine. `apart`: one after another, a call holds one job's
rows, as the public implementations do. `bare`: the network alone at its best batch size. Each kind runs in a process
of its own with the environment of a worker; all are measured in turns, twice. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

from generators.builtin import GENERATORS
from generators.digits import model
from search import keys
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods.best_of_n import BestOfN, best_of_n
from search.ports import Generator, Item, Task
from search.run import run
from service.embedded import KEEP_MEMORY
from service.heartbeat import resident
from service.settings import core_count

SIZES = (16, 32, 64, 128, 256)
NO_LIMIT = Budget.model_validate({})


def digits(steps: int, dtype: str) -> Generator:
    """The digits network, sampled in so many steps."""
    found = GENERATORS.find("digits")
    return found.factory(found.config(steps=steps, dtype=dtype))  # type: ignore[call-arg]


def bare(weights: str, dtype: Any, seconds: float) -> dict[int, float]:
    """Evaluations per second of the network alone, at each batch size, `seconds` each."""
    import torch

    network: Any = model(weights, dtype).network
    rates: dict[int, float] = {}
    with torch.inference_mode():
        for size in SIZES:
            x = torch.randn(size, 4, 14, 14)
            t, c = torch.full((size,), 500), torch.arange(size) % 10
            for _ in range(3):
                network(x, t, c)
            calls, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                network(x, t, c)
                calls += 1
            rates[size] = calls * size / (time.perf_counter() - started)
    return rates


def apart(dtype: str, rows: int, seconds: float) -> float:
    """Evaluations per second of jobs one after another: a call has one job's rows."""
    generator = digits(10, dtype)

    def job(number: int) -> int:
        """Evaluations that one took."""
        state = generator.start([Item(prompt="7")] * rows, keys.rows(keys.problem(number, "7"), 0, rows))
        while not state.done.all():
            state = generator.advance(state)
        generator.finish(state)
        return 10 * rows

    job(0)  # the network is loaded when it is first asked
    done, number, started = 0, 1, time.perf_counter()
    while time.perf_counter() - started < seconds:
        done += job(number)
        number += 1
    return done / (time.perf_counter() - started)


async def together(dtype: str, rows: int, jobs: int, seconds: float) -> dict[str, Any]:
    """Evaluations per second of `jobs` jobs in company, each at its own step and of its own number of steps."""
    engine = Engine(core_count())
    models = [digits(8 + number % 5, dtype) for number in range(jobs)]
    item = Item(id="7", prompt="7")
    await engine.load("digits", models[0], item)
    filled = engine.batchers[models[0].batch_key, "advance"].filled
    finished = 0
    end = time.perf_counter() + seconds + 1

    async def client_of(number: int) -> None:
        nonlocal finished
        seed = number
        while time.perf_counter() < end:
            task = Task(item, seed, 0, rows)
            tools = Metered(Shared(engine, task, models[number], []), models[number], 0, NO_LIMIT)
            await run(best_of_n(task, tools, BestOfN.model_validate({"n": rows})), tools)
            seed += jobs
            finished += 1

    clients = [asyncio.create_task(client_of(number)) for number in range(jobs)]
    await asyncio.sleep(1)
    before, calls, started = filled.rows, filled.calls, time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (filled.rows - before) / (time.perf_counter() - started)
    mean = (filled.rows - before) / max(1, filled.calls - calls)
    await asyncio.gather(*clients)
    return {"rate": rate, "rows a call": mean, "limit": filled.limit, "jobs": finished}


async def memory(jobs: int) -> dict[str, float]:
    """Megabytes after a fifth of the jobs, and after all."""
    engine, generator, sizes = Engine(core_count()), digits(2, "float32"), list[float]()
    for number in range(jobs):
        task = Task(Item(id=str(number), prompt="7"), number, 0, 4)
        tools = Metered(Shared(engine, task, generator, []), generator, 0, NO_LIMIT)
        await run(best_of_n(task, tools, BestOfN.model_validate({"n": 4})), tools)
        if number in (jobs // 5, jobs - 1):
            sizes.append((resident() or 0) / 2**20)
    return {"after a fifth": sizes[0], "after all": sizes[1]}


def child(kind: str, threads: int, **options: Any) -> Any:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "bench.company", "--child", json.dumps({"kind": kind, **options})]
    env = {**os.environ, **KEEP_MEMORY, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    return json.loads(done.stdout)


def measured(kind: str, **options: Any) -> Any:
    """In the child."""
    if kind == "bare":
        return max(bare("digits", options["dtype"], options["seconds"] / len(SIZES)).values())
    if kind == "apart":
        return apart(**options)
    return asyncio.run(together(**options) if kind == "together" else memory(**options))


def measure(jobs: int, seconds: float, rounds: int = 2) -> dict[str, Any]:
    """All figures; threads: a lane has one, a call that is alone has all cores."""
    cores = core_count()
    rates: dict[str, list[float]] = {}
    details: list[Any] = []
    for _ in range(rounds):
        for dtype in ("float32", "bfloat16"):
            rates.setdefault(f"bare {dtype}", []).append(child("bare", cores, dtype=dtype, seconds=seconds))
            for rows in (1, 4):
                alone = child("apart", cores, dtype=dtype, rows=rows, seconds=seconds)
                rates.setdefault(f"apart {dtype} {rows}", []).append(alone)
                found = child("together", 1, dtype=dtype, rows=rows, jobs=jobs, seconds=seconds)
                rates.setdefault(f"together {dtype} {rows}", []).append(found["rate"])
                details.append({"dtype": dtype, "rows": rows, **found})
    mean = {name: sum(values) / len(values) for name, values in rates.items()}
    best = max(("float32", "bfloat16"), key=lambda dtype: mean[f"bare {dtype}"])
    return {
        "evaluations a second": {name: round(value, 1) for name, value in mean.items()},
        "best dtype": best,
        "together of bare, jobs of 4 rows": {
            dtype: round(mean[f"together {dtype} 4"] / mean[f"bare {dtype}"], 3) for dtype in ("float32", "bfloat16")
        },
        "together of apart": {
            f"{dtype} {rows}": round(mean[f"together {dtype} {rows}"] / mean[f"apart {dtype} {rows}"], 2)
            for dtype in ("float32", "bfloat16")
            for rows in (1, 4)
        },
        "calls": details,
        "megabytes over 1,000 jobs": child("memory", 1, jobs=1000),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(**json.loads(options.child))))
        return
    print(json.dumps({"bench": "company", "cores": core_count(), **measure(options.jobs, options.seconds)}))


if __name__ == "__main__":
    main()
