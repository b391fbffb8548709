"""Searches in company against the same searches apart, in one process, without a service around them.

    python -m bench.company [--jobs 32] [--seconds 6]

`together`: jobs at different steps share the calls of one engine. `apart`: one after another, a call holds one job's
rows; our generator without an engine, whose network is traced as in `together`, so that only sharing makes the
difference. `apart_eager`: the same with the network and the scheduler as diffusers has them, the loop that the public
implementations run. `bare`: the network alone at its best batch size, as one call on all cores, and as one on each core
at once. Each kind runs in a process of its own with the environment of a worker; all are measured in turns, twice.
Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean
from typing import Any

from generators.builtin import GENERATORS
from generators.digits import images, loaded, model
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
STEPS = 10
"""Of a job that runs apart."""
DTYPES = ("float32", "bfloat16")
NO_LIMIT = Budget.model_validate({})


def digits(steps: int, dtype: str) -> Generator:
    """The digits network, sampled in so many steps."""
    found = GENERATORS.find("digits")
    return found.factory(found.config(steps=steps, dtype=dtype))  # type: ignore[call-arg]


def bare(weights: str, dtype: Any, seconds: float, lanes: int) -> dict[int, float]:
    """Evaluations per second of the network alone, at each batch size, `seconds` each, in so many calls at once."""
    import torch

    network: Any = model(weights, dtype).network

    def lane(size: int, seconds: float) -> float:
        """Evaluations per second of one call after another."""
        x, t, c = torch.randn(size, 4, 14, 14), torch.full((size,), 500), torch.arange(size) % 10
        calls, started = 0, time.perf_counter()
        with torch.inference_mode():
            while (passed := time.perf_counter() - started) < seconds:
                network(x, t, c)
                calls += 1
        return calls * size / passed

    rates: dict[int, float] = {}
    with ThreadPoolExecutor(lanes) as threads:
        for size in SIZES:
            for length in (seconds / 5, seconds):  # the first warms up
                rates[size] = sum(threads.map(lane, [size] * lanes, [length] * lanes))
    return rates


def apart(dtype: str, rows: int, seconds: float) -> float:
    """Evaluations per second of jobs one after another: a call has one job's rows."""
    generator = digits(STEPS, dtype)

    def job(number: int) -> None:
        state = generator.start([Item(prompt="7")] * rows, keys.rows(keys.problem(number, "7"), 0, rows))
        while not state.done.all():
            state = generator.advance(state)
        generator.finish(state)

    return STEPS * rows * repeated(job, seconds)


def apart_eager(dtype: str, rows: int, seconds: float) -> float:
    """Evaluations per second of the same jobs by diffusers alone: its network, its DDIM scheduler, a loop over both."""
    pipeline = Pipeline("digits", dtype)

    def job(number: int) -> None:
        pipeline(keys.normals(keys.rows(keys.problem(number, "7"), 0, rows), keys.START, 784), 7)

    return STEPS * rows * repeated(job, seconds)


class Pipeline:
    """As diffusers' class-conditional pipelines do it, here on our weights: the network is not traced."""

    def __init__(self, weights: str, dtype: str) -> None:
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        self._network, self._dtype = loaded(weights), dtype
        self._scheduler: Any = DDIMScheduler(
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            clip_sample=False,
        )

    def __call__(self, noise: Any, label: int, steps: int = STEPS) -> list[Any]:
        """Images from standard normals, [n, 784]."""
        import torch

        x = torch.tensor(noise, dtype=torch.float32).reshape(-1, 4, 14, 14)
        labels = torch.full((len(x),), label)
        self._scheduler.set_timesteps(steps)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._dtype == "bfloat16"):
            for t in self._scheduler.timesteps:
                v = self._network(x, t, class_labels=labels).sample
                x = self._scheduler.step(v.float(), t, x).prev_sample
        return images(x.numpy())


def repeated(job: Callable[[int], None], seconds: float) -> float:
    """Jobs per second, after one that does not count: the network is loaded when it is first asked."""
    job(0)
    number, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        number += 1
        job(number)
    return number / (time.perf_counter() - started)


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
        return bare("digits", options["dtype"], options["seconds"] / len(SIZES), options["lanes"])
    if kind in ("apart", "apart_eager"):
        return (apart if kind == "apart" else apart_eager)(**options)
    return asyncio.run(together(**options) if kind == "together" else memory(**options))


def measure(jobs: int, seconds: float, rounds: int = 2) -> dict[str, Any]:
    """All figures; threads: a lane has one, a call that is alone has all cores."""
    cores = core_count()
    rates: dict[str, list[float]] = {}
    sizes: dict[tuple[str, int], list[dict[str, float]]] = {}  # by dtype and calls at once
    details: list[Any] = []
    for _ in range(rounds):
        for dtype in DTYPES:
            for rows in (1, 4):
                for kind in ("apart", "apart_eager"):
                    alone = child(kind, cores, dtype=dtype, rows=rows, seconds=seconds)
                    rates.setdefault(f"{kind} {dtype} {rows}", []).append(alone)
                for lanes in (1, cores):
                    alone = child("bare", cores // lanes, dtype=dtype, seconds=seconds, lanes=lanes)
                    sizes.setdefault((dtype, lanes), []).append(alone)
                found = child("together", 1, dtype=dtype, rows=rows, jobs=jobs, seconds=seconds)
                rates.setdefault(f"together {dtype} {rows}", []).append(found["rate"])
                details.append({"dtype": dtype, "rows": rows, **found})
    mean = {name: fmean(values) for name, values in rates.items()}
    for (dtype, lanes), found in sizes.items():  # the best of the means: a maximum of each time would be one over noise
        mean[f"bare {dtype}, {lanes} at once"] = max(fmean(by_size[size] for by_size in found) for size in found[0])
    best = max(DTYPES, key=lambda dtype: mean[f"bare {dtype}, 1 at once"])

    def ratios(kind: str) -> dict[str, float]:
        pairs = [f"{dtype} {rows}" for dtype in DTYPES for rows in (1, 4)]
        return {pair: round(mean[f"together {pair}"] / mean[f"{kind} {pair}"], 2) for pair in pairs}

    return {
        "evaluations a second": {name: round(value, 1) for name, value in mean.items()},
        "best dtype": best,
        "together of bare, jobs of 4 rows": {
            f"{dtype}, {lanes} at once": round(mean[f"together {dtype} 4"] / mean[f"bare {dtype}, {lanes} at once"], 3)
            for dtype, lanes in sizes
        },
        "together of apart, our traced network": ratios("apart"),
        "together of apart, eager network and scheduler of diffusers": ratios("apart_eager"),
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
