"""A service under load and faults for half an hour: nothing may grow that should not, and nothing may be lost.

    python -m bench.soak [--minutes 30] [--rate 50] [--worker-every 45] [--queue-every 240]

`rate` requests a second come in a fixed mixture, each in its own time whether or not those before are answered: half
submit jobs, the others read them, follow their events, cancel them or send nonsense. Now a
worker is killed (SIGKILL), now the queue. Every ten seconds: resident memory and open files of the API and of Redis,
keys, messages and bytes in Redis, rows that only unfinished work has. A worker's own growth is that of the oldest of
its lives. Growth is by Theil and Sen's line (the median of all slopes) over the second half, an hour's worth, and told
beside the level; at the end every job that was accepted must have ended, with the answers that it asked for.
Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import redis
import sqlalchemy as sa

from bench.overheads import program
from bench.printed import printed
from service.store import Store
from service.store.outbox import deliveries
from service.store.schema import TERMINAL, jobs, shards

JOB: dict[str, Any] = {"model": "toy/gaussian_mixture", "items": [{}], "search": {"n": 4}, "verifiers": ["toy/linear"]}
MIXTURE = (*["submit"] * 10, *["read"] * 4, *["curve"] * 2, *["events", "cancel", "nonsense", "workers"])
EVERY = 10.0
WORKER = b"service.cli\0worker"


@dataclass
class Load:
    """What was asked and answered so far."""

    url: str
    http: httpx.AsyncClient
    asked: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[str] = field(default_factory=Counter[str])
    made: list[str] = field(default_factory=list[str])
    cancelled: set[str] = field(default_factory=set[str])

    async def one(self, kind: str, number: int) -> None:
        """One request; what it was answered is counted, whatever it is."""
        self.asked[kind] += 1
        try:
            status = await self._sent(kind, number)
        except httpx.HTTPError as error:
            status = type(error).__name__
        self.statuses[f"{kind} {status}"] += 1

    async def _sent(self, kind: str, number: int) -> int | str:
        if kind == "submit":
            reply = await self.http.post("/v1/jobs", json={**JOB, "seed": number})
            if reply.is_success:
                self.made.append(reply.json()["id"])
            return reply.status_code
        if kind == "nonsense":
            return (await self.http.post("/v1/jobs", json={**JOB, "search": {"n": -number}})).status_code
        if kind == "workers":
            return (await self.http.get("/v1/workers")).status_code
        if not self.made:
            return "nothing yet"
        job = self.made[-1 - number * 31 % min(200, len(self.made))]
        if kind == "events":
            async with self.http.stream("GET", f"/v1/jobs/{job}/events") as reply:
                async for _ in reply.aiter_lines():
                    pass
            return reply.status_code
        if kind == "cancel":
            self.cancelled.add(job)
            return (await self.http.post(f"/v1/jobs/{job}/cancel")).status_code
        return (await self.http.get(f"/v1/jobs/{job}{'/curve' if kind == 'curve' else ''}")).status_code


def children(pid: int) -> list[int]:
    """Processes that it started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def named(pid: int, word: bytes) -> list[int]:
    """Its children with this word in their command."""
    found: list[int] = []
    for child in children(pid):
        try:
            if word in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue
    return found


def process(pid: int) -> dict[str, float]:
    """Resident MB and open files."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"mb": resident / 2**20, "files": len(os.listdir(f"/proc/{pid}/fd"))}


def queued(url: str) -> dict[str, float]:
    """Keys of Redis, messages in its streams, and the MB that it uses."""
    client = redis.Redis.from_url(url, decode_responses=True)
    streams: list[str] = list(client.scan_iter(_type="stream"))
    info: Any = client.info("memory")
    used = float(info["used_memory"])
    return {
        "keys": float(client.dbsize()),
        "messages": float(sum(client.xlen(one) for one in streams)),
        "mb": used / 2**20,
    }


def transient(connection: sa.Connection) -> dict[str, float]:
    """Rows that only unfinished work has: shards that wait or run, jobs and deliveries that are not at their end."""
    waiting = shards.c.state.in_(("pending", "queued", "running"))
    counts = {
        "shards": sa.select(sa.func.count()).where(waiting),
        "jobs": sa.select(sa.func.count()).where(jobs.c.state.not_in(TERMINAL)),
        "deliveries": sa.select(sa.func.count()).where(deliveries.c.state == "pending"),
    }
    return {name: float(connection.execute(query).scalar_one()) for name, query in counts.items()}


@dataclass
class Soak:
    """One run: the load, the faults and what was seen."""

    load: Load
    api: int
    store: Store
    queue: str
    series: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    killed: Counter[str] = field(default_factory=Counter[str])

    async def requests(self, rate: float, seconds: float) -> None:
        """The load: each request at its time."""
        start, under_way = time.monotonic(), set[asyncio.Task[None]]()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            task = asyncio.create_task(self.load.one(MIXTURE[number * 7 % len(MIXTURE)], number))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def faults(self, who: str, word: bytes, every: float) -> None:
        """Kill the youngest child of that name again and again."""
        while True:
            await asyncio.sleep(every)
            for pid in named(self.api, word)[-1:]:
                os.kill(pid, signal.SIGKILL)
                self.killed[who] += 1

    async def looks(self) -> None:
        """A row of figures, again and again."""
        start = time.monotonic()
        while True:
            await asyncio.sleep(EVERY)
            row = {"second": time.monotonic() - start}
            try:
                row |= {f"api_{name}": value for name, value in process(self.api).items()}
                row |= {f"redis_{name}": value for name, value in (await asyncio.to_thread(queued, self.queue)).items()}
                row |= {f"rows_{k}": v for k, v in (await asyncio.to_thread(self.store.read, transient)).items()}
                for pid in named(self.api, WORKER):
                    row[f"worker_{pid}"] = process(pid)["mb"]
            except (OSError, redis.ConnectionError):  # it has just been killed
                continue
            self.series.append(row)

    async def run(self, seconds: float, rate: float, worker_every: float, queue_every: float) -> None:
        """All at once; then wait until what was accepted has ended."""
        striking = [self.faults("worker", WORKER, worker_every), self.faults("queue", b"redis-server", queue_every)]
        beside = [asyncio.create_task(one) for one in (*striking, self.looks())]
        await self.requests(rate, seconds)
        for task in beside[:2]:
            task.cancel()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.store.read(transient)["jobs"]:
            await asyncio.sleep(1)
        beside[2].cancel()
        with suppress(asyncio.CancelledError):
            await beside[2]


def slope(times: list[float], values: list[float]) -> float:
    """Theil and Sen's: the median slope of all pairs, an hour."""
    pairs = combinations(range(len(times)), 2)
    return 3600 * float(np.median([(values[j] - values[i]) / (times[j] - times[i]) for i, j in pairs]))


def grown(series: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each figure over the second half: its median, its highest, and its growth an hour."""
    half = series[len(series) // 2 :]
    names = [name for name in half[0] if name != "second" and not name.startswith("worker_")]
    found: dict[str, dict[str, float]] = {}
    lives = Counter(name for row in series for name in row if name.startswith("worker_"))
    oldest = lives.most_common(1)[0][0]
    for name in [*names, oldest]:
        rows = [row for row in (series if name == oldest else half) if name in row]
        values = [row[name] for row in rows]
        found["worker_mb" if name == oldest else name] = {
            "median": round(float(np.median(values)), 2),
            "most": round(max(values), 2),
            "an_hour": round(slope([row["second"] for row in rows], values), 3),
        }
    return found


def audited(store: Store, load: Load) -> dict[str, Any]:
    """What became of every job that was accepted."""
    wanted = set(load.made)
    with store.reading() as connection:
        rows = connection.execute(sa.select(jobs.c.name, jobs.c.state, jobs.c.candidates)).all()
    found = {row.name: row for row in rows if row.name in wanted}
    short = [one.name for one in found.values() if one.state == "completed" and one.candidates != JOB["search"]["n"]]
    return {
        "accepted": len(wanted),
        "states": dict(Counter(row.state for row in found.values())),
        "lost": len(wanted - found.keys()),
        "with_other_than_their_answers": len(short),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--worker-every", type=float, default=45.0)
    parser.add_argument("--queue-every", type=float, default=240.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "d"
        with program("service.cli", "serve", "--port", "{port}", "--workers", "2", "--data-dir", str(data)) as url:
            (api,) = named(os.getpid(), b"service.cli\0serve")
            store = Store(f"sqlite:///{data / 'winnow.db'}")

            async def whole() -> Soak:
                limits = httpx.Limits(max_connections=400)
                async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as http:
                    soak = Soak(Load(url, http), api, store, f"unix://{data / 'redis' / 'redis.sock'}")
                    await soak.run(60 * options.minutes, options.rate, options.worker_every, options.queue_every)
                    return soak

            soak = asyncio.run(whole())
            audit = audited(store, soak.load)
            store.close()
    result: dict[str, Any] = {"bench": "soak", "minutes": options.minutes, "rate": options.rate}
    result |= {"killed": dict(soak.killed), "statuses": dict(sorted(soak.load.statuses.items()))}
    result |= {"audit": audit, "growth": grown(soak.series)}
    minutely = soak.series[:: max(1, int(60 / EVERY))]
    result["minutely"] = {
        name: [round(row[name], 1) for row in minutely] for name in ("api_mb", "api_files", "redis_mb")
    }
    printed(json.loads(json.dumps(result)), options.out)


if __name__ == "__main__":
    main()
