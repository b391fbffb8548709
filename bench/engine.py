"""Denoiser evaluations per second: the whole service against a bare loop over the same network.

    python -m bench.engine [--jobs 64] [--images 4] [--steps 10 50] [--rounds 3] [--model digits]

The service is the embedded stack with one worker; `--jobs` jobs of `--images` images are kept in flight over HTTP, each
searched by `digit_classifier`. The bare loop calls the network alone, at its best batch size, with the same threads.
Both are measured in turns, `--rounds` times, so that a busy machine disturbs them alike. The client, the API and the
queue share the cores with the worker: the fewer steps a job has, the more of its life is spent with them. Prints one
JSON object.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from typing import Any

from bench.overheads import program
from generators.digits import model
from service.client import AsyncClient
from service.settings import core_count

SIZES = (16, 32, 64, 128, 256)
SERVE = ("serve", "--port", "{port}", "--data-dir")


def bare(name: str, seconds: float) -> dict[int, float]:
    """Evaluations per second of the network alone, at each batch size."""
    import torch

    network: Any = model(name, "float32").network
    rates: dict[int, float] = {}
    with torch.inference_mode():
        for size in SIZES:
            x = torch.randn(size, 4, 14, 14)
            t, c = torch.full((size,), 500), torch.arange(size) % 10
            network(x, t, c)
            calls, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                network(x, t, c)
                calls += 1
            rates[size] = calls * size / (time.perf_counter() - started)
    return rates


def job(options: argparse.Namespace, steps: int, number: int) -> dict[str, Any]:
    """One small job."""
    return {
        "model": {"name": options.model, "steps": steps},
        "items": [{"prompt": str(number % 10), "target": str(number % 10)}],
        "search": {"method": "best_of_n", "n": options.images},
        "verifiers": ["digit_classifier"],
        "seed": number,
    }


async def served(url: str, options: argparse.Namespace, steps: int, warm: float, seconds: float) -> float:
    """Evaluations per second of the jobs that end within `seconds`, after `warm` seconds with `--jobs` in flight.

    Each job that ends is followed by another until then, so that the jobs in flight are at every stage of their lives.
    """
    done: list[tuple[float, int]] = []
    number = 0
    begins = time.perf_counter() + warm
    ends = begins + seconds

    async def client_of(client: AsyncClient) -> None:
        nonlocal number
        while time.perf_counter() < ends:
            number += 1
            view = await client.submit(job(options, steps, number), wait=60)
            while not view.finished:
                view = await client.job(view.id)
            if view.state != "completed":
                raise RuntimeError(f"job {view.id} is {view.state}")
            done.append((time.perf_counter(), view.usage.evaluations))

    async with AsyncClient(url) as client:
        await asyncio.gather(*(client_of(client) for _ in range(options.jobs)))
    return sum(n for at, n in done if begins <= at < ends) / seconds


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="digits")
    options = parser.parse_args()
    ratios: dict[int, list[float]] = {steps: [] for steps in options.steps}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, program("service.cli", *SERVE, folder) as url:
        asyncio.run(served(url, options, 2, 0, 2))  # the worker loads and measures its network
        for _ in range(options.rounds):
            rates = bare(options.model, 2)
            best = max(rates.values())
            row: dict[str, Any] = {"bare": {str(size): round(rate, 1) for size, rate in rates.items()}}
            for steps in options.steps:
                # Warm for the life of one generation of jobs; count over another one and a half.
                life = options.jobs * options.images * steps / best
                service = asyncio.run(served(url, options, steps, 3 + life, max(10, 1.5 * life)))
                ratios[steps].append(service / best)
                row[f"service at {steps} steps"] = round(service, 1)
            rows.append(row)
    found = {f"at {steps} steps": round(statistics.median(each), 4) for steps, each in ratios.items()}
    print(json.dumps({"bench": "engine", **vars(options), "cores": core_count(), "rounds": rows, "ratio": found}))


if __name__ == "__main__":
    main()
