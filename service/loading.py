"""What a worker knows of the jobs it works for: their plug-ins, loaded once, and their networks' batchers."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from search.batching import Filled
from search.engine import Engine
from service import catalog, logs
from service.beat import Batches
from service.busy import Busy
from service.execute import Bench
from service.intake import OUTAGES
from service.registries import STORED
from service.spec import JobSpec
from service.store import Store, clock, shards
from service.store.schema import jobs

log = logging.getLogger("winnow.worker")
MOST = 64
"""Jobs to remember beyond those that are worked for."""


class Network(NamedTuple):
    """A network that is loaded here: its model, what it has done, evaluations that a row of a call costs.

    padded: asks for the rows that its calls have been filled up with.
    """

    model: str
    filled: Filled
    price: int = 1
    padded: Callable[[], int] = int


class Unloadable(Exception):
    """A job's plug-in cannot be made here."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        super().__init__(str(reason))


@dataclass
class Job:
    """What a worker knows of a job it works for."""

    name: str  # public id
    bench: Bench
    deadline: float
    filled: Filled  # its model's network calls
    extended: int  # how often it had been when it was loaded
    stopped: str | None = None


@dataclass
class Jobs:
    """One worker's, on its engine."""

    store: Store
    engine: Engine
    known: dict[int, Job] = field(default_factory=dict[int, Job])
    networks: dict[Hashable, Network] = field(default_factory=dict[Hashable, Network])
    busy: Busy = field(default_factory=Busy)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, claim: shards.Claim) -> Job:
        """The claim's job, loaded once. Raises Unloadable."""
        if (known := self._fresh(claim)) is not None:
            return known  # others need not wait while a network loads
        async with self.loading:
            if self._fresh(claim) is None:
                try:
                    self.known[claim.job] = await self._load(claim)
                except OUTAGES:
                    raise
                except Exception as error:  # an extra that is not installed, say: no other try would differ
                    log.exception("job %d cannot be loaded", claim.job)
                    raise Unloadable(error) from error
        return self.known[claim.job]

    def _fresh(self, claim: shards.Claim) -> Job | None:
        """What is known of the claim's job, unless it was extended since."""
        known = self.known.get(claim.job)
        return known if known is not None and known.extended >= claim.extended else None

    async def _load(self, claim: shards.Claim) -> Job:
        """What the job names, loaded and measured."""
        row, now = await self.store.aread(_job_row, claim.job)
        asked = time.monotonic()
        logs.bind(job=row.name)  # before what may fail
        bench = await asyncio.to_thread(_bench, row.spec)  # not behind the calls of the device
        seconds = bench.prepared.spec.budget.seconds
        left = float("inf") if seconds is None else seconds - row.worked - max(0.0, now - (row.started or now))
        prepared, network = bench.prepared, bench.generator.batch_key
        await self.engine.load(prepared.model.plugin.name, bench.generator, prepared.spec.items[0])
        filled = self.engine.batchers[network, "advance"].filled
        padded = partial(getattr, bench.generator, "padded", 0)
        self.networks.setdefault(network, Network(prepared.model.plugin.name, filled, bench.generator.price, padded))
        return Job(row.name, bench, asked + left, filled, row.extended)

    def forget(self, working: Collection[int]) -> None:
        """Let go of jobs that are not worked for, when there are many."""
        for job in [job for job in self.known if job not in working and len(self.known) > MOST]:
            del self.known[job]

    def batches(self) -> dict[str, Batches]:
        """What each model's networks have done; safe in any thread."""
        found: dict[str, Batches] = {}
        for name, filled, price, padded in list(self.networks.values()):
            calls, rows, limit = filled.calls, filled.rows, filled.limit
            done = {"calls": calls, "rows": rows, "room": calls * limit, "limit": limit, "evaluations": rows * price}
            done["padded"] = padded()
            found[name] = found.get(name, Batches()).beside(Batches(**done, seconds=self.busy.seconds(name)))
        return found


def _bench(spec: str) -> Bench:
    return Bench.of(catalog.prepare(JobSpec.model_validate_json(spec), STORED))


def _job_row(connection: sa.Connection, job: int) -> tuple[Any, float]:
    """The job, and the time by the clock that told when it was started."""
    columns = (jobs.c.name, jobs.c.spec, jobs.c.started, jobs.c.worked, jobs.c.extended)
    return connection.execute(sa.select(*columns).where(jobs.c.id == job)).one(), clock.now(connection)
