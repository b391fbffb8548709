"""Denoiser evaluations per second: the whole service against a bare loop over the same network.

    python -m bench.engine [--jobs 64] [--images 4] [--steps 10 50] [--rounds 3] [--model digits]

The service is the embedded stack with one worker; `--jobs` jobs of `--images` images are kept in flight over HTTP, each
searched by `digit_classifier`. The bare loop calls the network alone, at its best batch size, with the same threads.
Both are measured in turns, `--rounds` times, so that a busy machine disturbs them alike. The client, the API and the
queue share the cores with the worker: the fewer steps a job has, the more of its life is spent with them. Then the
engine without a service: jobs in company against the bare network and against jobs apart (`bench.company`). Prints one
JSON object.
"""

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from bench.company import SIZES, bare, measure
from bench.overheads import program
from service.settings import core_count

SERVE = ("serve", "--port", "{port}", "--data-dir")


def job(options: argparse.Namespace, steps: int, number: int) -> dict[str, Any]:
    """One small job."""
    return {
        "model": {"name": options.model, "steps": steps},
        "items": [{"prompt": str(number % 10), "target": str(number % 10)}],
        "search": {"method": "best_of_n", "n": options.images},
        "verifiers": ["digit_classifier"],
        "seed": number,
    }


def served(url: str, options: argparse.Namespace, steps: int, generations: int) -> float:
    """Evaluations per second while `--jobs` jobs are in flight, over all generations but the first and the last.

    Each of `--jobs` clients submits `generations` jobs, one after the other. Jobs that start together end together, so
    only whole generations are counted; the last one keeps the others company.
    """
    done: list[tuple[float, int]] = []

    def client_of(number: int) -> None:
        """Plain sockets: what a client costs is taken from the cores that it measures."""
        with closing(HTTPConnection(url.removeprefix("http://"), timeout=120)) as http:
            for generation in range(generations):
                spec = json.dumps(job(options, steps, number + generation * options.jobs))
                view = answer(http, "POST", "/v1/jobs", spec)
                while view["state"] in ("queued", "in_progress"):
                    view = answer(http, "GET", f"/v1/jobs/{view['id']}")
                if view["state"] != "completed":
                    raise RuntimeError(f"job {view['id']} is {view['state']}")
                done.append((time.perf_counter(), view["usage"]["evaluations"]))

    with ThreadPoolExecutor(options.jobs) as clients:
        list(clients.map(client_of, range(options.jobs)))
    first, last = options.jobs - 1, options.jobs * (generations - 1) - 1
    return sum(n for _, n in done[first + 1 : last + 1]) / (done[last][0] - done[first][0])


def answer(http: HTTPConnection, method: str, path: str, body: str | None = None) -> dict[str, Any]:
    """The JSON of one request, which waits for a job's end where it can. Raises RuntimeError for a refusal."""
    http.request(method, path, body, {"Content-Type": "application/json", "Prefer": "wait=60"})
    response = http.getresponse()
    text = response.read()
    if response.status >= 400:
        raise RuntimeError(f"{method} {path}: {response.status} {text[:200]!r}")
    return json.loads(text)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--company", type=int, default=32, help="jobs in company, without a service")
    parser.add_argument("--seconds", type=float, default=4, help="of each of its measurements")
    options = parser.parse_args()
    alone: list[dict[int, float]] = []
    whole: list[dict[int, float]] = []
    with tempfile.TemporaryDirectory() as folder, program("service.cli", *SERVE, folder) as url:
        served(url, options, 2, 3)  # the worker loads and measures its network
        for _ in range(options.rounds):
            alone.append(bare(options.model, "float32", 2, 1))
            # About half a minute each: the fewer steps, the more generations.
            whole.append({steps: served(url, options, steps, max(4, 80 // steps)) for steps in options.steps})
    means = {size: statistics.mean(rates[size] for rates in alone) for size in SIZES}
    best = max(means.values())  # of the means: the best of each round would be a maximum over noise
    ratio = {steps: round(statistics.mean(rates[steps] for rates in whole) / best, 4) for steps in options.steps}
    company = measure(options.company, options.seconds)
    found = {"bare by batch size": alone, "service by steps": whole, "ratio by steps": ratio, "company": company}
    print(json.dumps({"bench": "engine", **vars(options), "cores": core_count(), **found}))


if __name__ == "__main__":
    main()
