"""Denoiser evaluations per second: the whole service against a bare loop over the same network.

    python -m bench.engine [--jobs 64] [--images 4] [--steps 10] [--rounds 3] [--model digits]

The service is the embedded stack with one worker; `--jobs` jobs of `--images` images are kept in flight over HTTP, each
searched by `digit_classifier`. The bare loop calls the network alone, at its best batch size, with the same threads.
Both are measured in turns, `--rounds` times, so that a busy machine disturbs them alike. Prints one JSON object.
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
WARM = 5.0
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


def job(options: argparse.Namespace, number: int) -> dict[str, Any]:
    """One small job."""
    return {
        "model": {"name": options.model, "steps": options.steps},
        "items": [{"prompt": str(number % 10), "target": str(number % 10)}],
        "search": {"method": "best_of_n", "n": options.images},
        "verifiers": ["digit_classifier"],
        "seed": number,
    }


async def served(url: str, options: argparse.Namespace, seconds: float) -> float:
    """Evaluations per second of the jobs that end within `seconds`, once `--jobs` of them have been in flight a while.

    Each job that ends is followed by another until then, so that the jobs in flight are at every stage of their lives.
    """
    done: list[tuple[float, int]] = []
    number = 0
    begins = time.perf_counter() + WARM
    ends = begins + seconds

    async def client_of(client: AsyncClient) -> None:
        nonlocal number
        while time.perf_counter() < ends:
            number += 1
            view = await client.submit(job(options, number), wait=60)
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
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--model", default="digits")
    options = parser.parse_args()
    ratios: list[float] = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, program("service.cli", *SERVE, folder) as url:
        asyncio.run(served(url, options, 2))  # the worker loads and measures its network
        for _ in range(options.rounds):
            rates = bare(options.model, options.seconds / len(SIZES))
            service = asyncio.run(served(url, options, options.seconds))
            best = max(rates.values())
            ratios.append(service / best)
            sizes = {str(size): round(rate, 1) for size, rate in rates.items()}
            rows.append({"bare": sizes, "bare_best": round(best, 1), "service": round(service, 1)})
    out = {"bench": "engine", **vars(options), "cores": core_count(), "rounds": rows}
    print(json.dumps({**out, "ratio": round(statistics.median(ratios), 4)}))


if __name__ == "__main__":
    main()
