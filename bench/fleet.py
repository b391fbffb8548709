"""How a fleet grows, what its dispatcher moves, and what it costs to hold a large one together.

    python -m bench.fleet [--workers 1 2 4 8] [--seconds 12] [--shards 4000] [--peer-python PATH]

scaling: jobs on an endpoint (`generators.misbehaving`) that answers after 50 ms, one request in flight for each worker,
so that cores do not matter: samples a second with so many workers, over that many times the rate of the first.
queue: no-op shards a second by one process: through the queue client (publish, pull, end by the holder alone), and with
SQL's fence as well (what a pull brings is claimed and committed together); beside it, in a Python that has them, no-op
tasks of dramatiq and of streaq by one worker, which keep no record of what was done. All on a Redis with AOF.
keeping: what the feeder and the reconciler take of a core for 100 workers and 1,000,000 shards. Assumptions: a shard
takes 10 s, so the fleet ends 10 a second, and as many have to be published; a look at the windows comes every 0.5 s, a
reconciliation every 5 s, over the shards that are out. All of it is timed on a SQLite file that holds the million.
Prints one JSON object.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.endpoint import fake, job
from bench.printed import printed
from service import catalog
from service.children import end
from service.client import Client
from service.embedded import Stack
from service.feeder import Feeder
from service.queue import Broker
from service.redis_server import start_redis
from service.settings import Settings
from service.spec import JobSpec, Ticket
from service.store import Store, commits, creating, dispatch, shards
from service.store.commits import Results
from service.store.schema import shards as shards_table

LATENCY = 0.05
NOOP: dict[str, Any] = {"model": "toy/noop", "search": {"n": 1}, "verifiers": ["toy/linear"]}


def scaling(counts: Sequence[int], seconds: float) -> dict[str, Any]:
    """Samples a second by number of workers."""
    rates: dict[int, float] = {}
    with fake(LATENCY, flight=1) as _:
        for workers in counts:
            with tempfile.TemporaryDirectory() as name:
                settings = Settings(data_dir=Path(name) / "data", lanes=1)
                with Stack(settings, workers=workers, log=Path(name) / "log") as stack, Client(stack.url) as client:
                    view = client.submit(job(100_000))
                    while working(client) < workers:
                        time.sleep(0.1)
                    time.sleep(3)
                    before, start = client.job(view.id).counts.candidates, time.perf_counter()
                    time.sleep(seconds)
                    done = client.job(view.id).counts.candidates - before
                    rates[workers] = done / (time.perf_counter() - start)
                    client.cancel(view.id)
    first = rates[counts[0]] / counts[0]
    return {"samples_per_s": rates, "of_linear": {n: round(rate / (n * first), 3) for n, rate in rates.items()}}


def working(client: Client) -> int:
    """Workers that have made calls."""
    fleet = client.http.get("/v1/workers").json()["data"]
    return sum(any(model["calls"] for model in one["models"].values()) for one in fleet)


def prepared(store: Store, count: int) -> None:
    """A job of so many shards of one sample."""
    spec = JobSpec.model_validate({**NOOP, "items": [{}], "search": {"n": 1}})
    job_id = store.write(creating.create, catalog.prepare(spec)).id
    with store.writing() as connection:
        row = dict(connection.execute(sa.select(shards_table).where(shards_table.c.job == job_id)).mappings().one())
        del row["id"]
        for first in range(1, count, 50_000):
            rows = [{**row, "number": number} for number in range(first, min(count, first + 50_000))]
            connection.execute(sa.insert(shards_table), rows)


@contextmanager
def redis(folder: Path) -> Generator[str]:
    """URL of a Redis of our own."""
    folder.mkdir(parents=True)
    url, child = start_redis(folder)
    assert child
    try:
        yield url
    finally:
        end(child)


@contextmanager
def dispatcher(folder: Path, count: int) -> Generator[tuple[Store, Broker, Feeder]]:
    """A database with a job of so many shards, a queue, and what moves them from one to the other."""
    with redis(folder) as url:
        store, broker = Store(f"sqlite:///{folder / 'fleet.db'}", durable=False), Broker(url)
        store.migrate()
        prepared(store, count)
        yield store, broker, Feeder(store, broker, "bench", 256)
        store.close()


def queue(folder: Path, count: int) -> dict[str, float]:
    """No-op shards a second: through Redis alone, where only its holder can end a message; and with SQL's fence."""
    tickets = [Ticket(shard=i, job=0, model="toy/noop", lane="batch", share="") for i in range(count)]
    with dispatcher(folder, count) as (store, broker, feeder):
        start, done = time.perf_counter(), 0
        for first in range(0, count, 256):
            broker.publish(tickets[first : first + 256])
        while done < count:
            done += broker.finish_all("w", broker.pull("w", broker.streams([], []), 64, expired=False))
        alone = count / (time.perf_counter() - start)
        start, done = time.perf_counter(), 0
        while done < count:
            feeder.feed()
            while found := broker.pull("w", broker.streams([], []), 64, expired=False):
                pairs = {(one.message, one.ticket.shard): one for one in found}
                claims = store.write(shards.claim, "w", list(pairs)).claims
                good = store.write(commits.commit_all, [(claim, Results()) for claim in claims.values()])
                done += broker.finish_all("w", [pairs[pair] for pair, claim in claims.items() if claim in good])
        fenced = count / (time.perf_counter() - start)
    return {"winnow_client": alone, "winnow_with_sql": fenced}


def keeping(folder: Path, workers: int = 100, count: int = 1_000_000, shard_seconds: float = 10.0) -> dict[str, float]:
    """Share of a core that holding the fleet together takes."""

    def seconds(act: Callable[[], object], times: int = 5) -> float:
        found: list[float] = []
        for _ in range(times):
            start = time.process_time()
            act()
            found.append(time.process_time() - start)
        return statistics.median(found)

    with dispatcher(folder, count) as (store, broker, feeder):
        feeder.feed()
        look, check = seconds(lambda: store.read(dispatch.windows)), seconds(feeder.reconcile)

        def publish() -> None:
            tickets = store.read(dispatch.waiting, ("toy/noop", "batch", ""), 10)
            store.write(dispatch.published, broker.publish(tickets))

        ten = seconds(publish)
    share = look / 0.5 + check / 5 + ten / 10 * workers / shard_seconds
    return {"look_s": look, "reconcile_s": check, "publish_ten_s": ten, "share_of_a_core": round(share, 4)}


PEERS = {
    "dramatiq": """
import sys, threading, time, dramatiq
from dramatiq.brokers.redis import RedisBroker
url, n = sys.argv[1], int(sys.argv[2])
broker = RedisBroker(url=url); dramatiq.set_broker(broker)
done, last = [0], threading.Event()
lock = threading.Lock()
@dramatiq.actor
def nothing(i):
    with lock:
        done[0] += 1
        if done[0] == n: last.set()
start = time.perf_counter()
for i in range(n): nothing.send(i)
worker = dramatiq.Worker(broker, worker_threads=8); worker.start()
last.wait(); print(n / (time.perf_counter() - start)); worker.stop()
""",
    "streaq": """
import asyncio, sys, time
from streaq import Worker
url, n = sys.argv[1], int(sys.argv[2])
worker = Worker(redis_url=url, concurrency=64)
done, last = [0], asyncio.Event()
@worker.task()
async def nothing(i):
    done[0] += 1
    if done[0] == n: last.set()
async def main():
    start = time.perf_counter()
    async with worker:
        for first in range(0, n, 500):
            await worker.enqueue_many([nothing.enqueue(i) for i in range(first, min(n, first + 500))])
    run = asyncio.create_task(worker.run_async())
    await last.wait(); print(n / (time.perf_counter() - start), flush=True)
    import os; os._exit(0)
asyncio.run(main())
""",
}


def peers(python: str, folder: Path, count: int) -> dict[str, float | str]:
    """Tasks a second of each peer that this Python has."""
    found: dict[str, float | str] = {}
    for name, code in PEERS.items():
        with redis(folder / name) as url:
            words = [python, "-c", code, url, str(count)]
            said = subprocess.run(words, capture_output=True, text=True, timeout=300)  # noqa: S603 - our own words
        found[name] = float(said.stdout.split()[0]) if said.stdout else said.stderr[-300:]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--shards", type=int, default=4000)
    parser.add_argument("--peer-python")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"bench": "fleet"}
    with tempfile.TemporaryDirectory() as name:
        if options.workers:
            found["scaling"] = scaling(options.workers, options.seconds)
            print(found["scaling"], file=sys.stderr)
        found["queue"] = queue(Path(name) / "queue", options.shards)
        if options.peer_python:
            found["queue"] |= peers(options.peer_python, Path(name) / "peers", options.shards)
        print(found["queue"], file=sys.stderr)
        found["keeping"] = keeping(Path(name) / "keeping")
    printed(found, options.out)


if __name__ == "__main__":
    main()
