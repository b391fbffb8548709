"""What the floors around the search cost, as ratios to the least that each could cost.

    python -m bench.overheads [--requests 300] [--items 100] [--samples 1000]

submit: median `POST /v1/jobs` over the median of `bench.bare`, requests in turns against two servers.
flow: candidates a second of a no-op generator through worker, verifier and store, over plain SQLAlchemy batch inserts
of the very rows that it wrote. Prints one JSON object.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from service.client import Client
from service.embedded import Stack
from service.settings import Settings
from service.store import Store
from service.store.schema import candidates, metadata, scores

BODY: dict[str, Any] = {
    "model": "toy/noop",
    "items": [{"prompt": "a question", "target": "an answer"}],
    "search": {"method": "best_of_n", "n": 16},
    "verifiers": ["toy/linear"],
    "budget": {"evaluations": 4000},
    "metadata": {"experiment": "overheads"},
}


@contextmanager
def program(module: str, *arguments: str) -> Generator[str]:
    """A server of ours in its own process; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", module, *(a.format(port=port) for a in arguments)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command line
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(url + "/openapi.json", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        child.terminate()
        child.wait()


def submit(folder: Path, requests: int) -> dict[str, float]:
    """Medians of both servers, in milliseconds, and their ratio."""
    service = ("service.cli", "serve", "--port", "{port}", "--workers", "0", "--data-dir", str(folder / "service"))
    bare = ("bench.bare", "{port}", str(folder / "bare.db"))
    taken: dict[str, list[float]] = {"service": [], "bare": []}
    with program(*service) as first, program(*bare) as second, httpx.Client(trust_env=False) as http:
        for turn in range(requests + 20):
            for name, url in (("service", first), ("bare", second)):
                started = time.perf_counter()
                response = http.post(url + "/v1/jobs", json=BODY)
                seconds = time.perf_counter() - started
                response.raise_for_status()
                if turn >= 20:
                    taken[name].append(1e3 * seconds)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {**{f"{name}_ms": round(m, 3) for name, m in medians.items()}, "ratio": medians["service"] / medians["bare"]}


def flow(folder: Path, items: int, samples: int) -> dict[str, float]:
    """Candidates a second through the service and through plain inserts, and their ratio."""
    job = {**BODY, "items": [{} for _ in range(items)], "search": {"n": samples}, "budget": {}}
    settings = Settings(data_dir=folder / "flow")
    with Stack(settings, log=folder / "worker.log") as stack, Client(stack.url) as client:
        list(client.watch(client.submit({**job, "items": [{}]}).id))
        *_, last = client.watch(client.submit(job).id)
        service = last.counts.candidates / last.usage.seconds
    store = Store(settings.database)
    with store.reading() as connection:
        written = [
            [dict(row) for row in connection.execute(sa.select(table)).mappings()] for table in (candidates, scores)
        ]
    plain = Store(f"sqlite:///{folder / 'plain.db'}", durable=False)
    with plain.writing() as connection:
        metadata.create_all(connection)
    started = time.perf_counter()
    for first in range(0, len(written[0]), 2000):
        with plain.writing() as connection:
            for table, rows in zip((candidates, scores), written, strict=True):
                connection.execute(sa.insert(table), rows[first : first + 2000])
    inserts = len(written[0]) / (time.perf_counter() - started)
    return {"service_per_s": round(service), "inserts_per_s": round(inserts), "ratio": service / inserts}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = {
            "submit": submit(Path(name), options.requests),
            "flow": flow(Path(name), options.items, options.samples),
        }
    print(json.dumps({"bench": "overheads", **vars(options), **found}))


if __name__ == "__main__":
    main()
