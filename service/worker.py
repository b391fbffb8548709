"""One process a device: pulls shards of the models it holds, runs many searches at once, commits what they found."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

import redis
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from search.engine import Engine
from service import catalog, deleting, given, logs, tracing
from service.artifacts import Artifacts
from service.checkpoints import Checkpoints
from service.committing import Committer
from service.execute import Bench, Finding, execute
from service.heartbeat import Heartbeat, keep_leases
from service.intake import OUTAGES, Intake
from service.loading import Job, Jobs, Unloadable
from service.queue import Broker, Delivery
from service.settings import Settings
from service.store import Store, shards
from service.writing import written

log = logging.getLogger("winnow.worker")


def new_name() -> str:
    """A worker's name: where it runs, and unlike any other."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(eq=False)
class Held:
    """A shard in this worker's hands."""

    delivery: Delivery
    claim: shards.Claim
    rows: int
    task: asyncio.Task[None] | None = None
    checkpoints: Checkpoints | None = None


@dataclass
class Worker:
    """Pulls while there is room: about four full batches of rows keep the device busy without hoarding."""

    store: Store
    broker: Broker
    artifacts: Artifacts
    models: Sequence[str] = ()
    name: str = field(default_factory=new_name)
    checkpoint_seconds: float = 10.0
    engine: Engine = field(default_factory=Engine)
    held: dict[Delivery, Held] = field(default_factory=dict[Delivery, Held])
    suspects: list[Delivery] = field(default_factory=list[Delivery])  # not yet claimed
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # there is room again, or an end

    def __post_init__(self) -> None:
        self.intake = Intake(self.store, self.broker, self.name, self.models)
        self.jobs = Jobs(self.store, self.engine)
        self.committer = Committer(self.store, self.artifacts.put)

    async def run(self) -> None:
        """Work until told to stop; then hand back what is unfinished."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        leases = (self.broker, self.name, self.held, self.suspects, self.stopping.is_set)
        threading.Thread(target=keep_leases, args=leases, name="leases", daemon=True).start()
        heartbeat = Heartbeat(self.broker.url, self.name, self.jobs.batches)
        beating = heartbeat.start()
        watch = asyncio.create_task(self._watch_cancelled())
        with contextlib.suppress(*OUTAGES):
            await asyncio.to_thread(self.artifacts.sweep, 86_400)
            await asyncio.to_thread(deleting.sweep_all, self.store, self.artifacts)
        try:
            await self._pull_until_stopped()
        finally:
            watch.cancel()
            await self._hand_back_all()
            heartbeat.stop()
            await asyncio.to_thread(beating.join, 1)  # without Redis its goodbye is not worth the wait
            for key, filled in self.engine.filled().items():
                log.info("%s: %.1f rows a call of at most %d, %d calls", key, filled.mean, filled.limit, filled.calls)

    def _stop(self) -> None:
        self.stopping.set()
        self.wake.set()

    async def _pull_until_stopped(self) -> None:
        pause = 0.05
        while not self.stopping.is_set():
            try:
                busy = await self._pull()
            except OUTAGES as error:
                log.warning("cannot pull: %s; trying again", error)
                busy, pause = 0, 1.0
            pause = 0.02 if busy else min(0.25, pause * 1.5)
            with contextlib.suppress(TimeoutError):
                self.wake.clear()
                await asyncio.wait_for(self.wake.wait(), pause)

    def _room(self) -> float:
        """Full batches that may still be taken on; a shard's rows count by the batch that pays for its own model."""
        limits = {number: job.filled.limit for number, job in self.jobs.known.items()}
        batches = [held.rows / limits.get(held.claim.job, 64) for held in self.held.values()]
        return 2 + 2 * self.engine.lanes - sum(batches)

    async def _pull(self) -> int:
        """Take on shards while there is room; returns how many."""
        if self._room() <= 0 or any(held.claim.deaths for held in self.held.values()):
            return 0
        if self.suspects:
            return 0 if self.held else await self._take_alone(self.suspects.pop(0))
        fresh, suspects = await asyncio.to_thread(self.intake.pull, list(self.engine.loaded), self.held)
        self.suspects += suspects
        await self._take(fresh)
        return len(fresh) + len(suspects)

    async def _take_alone(self, delivery: Delivery) -> int:
        """A shard that has seen a worker die runs by itself: if it is the cause, it takes no other with it."""
        if not await asyncio.to_thread(self.intake.still_ours, delivery):
            return 0
        await self._take([delivery])
        return 1

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        """Claim shards and start on them."""
        for delivery, claim in await asyncio.to_thread(self.intake.claim, deliveries):
            held = Held(delivery, claim, sum(span.count for span in claim.spans))
            self.held[delivery] = held
            self.jobs.busy.take(delivery.ticket.model)
            held.task = asyncio.create_task(self._work(held))

    async def _work(self, held: Held) -> None:
        """One shard from claim to its end."""
        claim, delivery = held.claim, held.delivery
        logs.bind(shard=claim.shard)
        about = {"shard": claim.shard, "attempt": claim.attempt, "worker": self.name}
        with tracing.span("shard", delivery.trace, "consumer", model=delivery.ticket.model, **about):
            await self._done(held)
        await self._let_go(held)

    async def _done(self, held: Held) -> None:
        """Search and commit. Whatever goes wrong, the shard is left to somebody."""
        claim = held.claim
        try:
            job = await self.jobs.of(claim)
            logs.bind(job=job.name)
            kept = held.checkpoints = Checkpoints(self.artifacts, claim, job.bench.prepared, self.checkpoint_seconds)

            def search(bench: Bench) -> Awaitable[list[Finding]]:
                return execute(claim, bench, self.engine, job.deadline, lambda: job.stopped, kept)

            found = await given.searched(job.bench, claim, self.store, self.artifacts, search)
            await self._commit(claim, job, found)
            if kept.stored:
                await asyncio.to_thread(kept.drop)
        except asyncio.CancelledError:
            raise
        except Unloadable as error:
            with contextlib.suppress(*OUTAGES):  # its lease will run out
                await self.store.awrite(shards.fail, claim, catalog.reason(error.reason))
        except OUTAGES as error:
            # The queue's and the database's outages are nobody's fault; a full disk would be tried for ever.
            fault = isinstance(error, redis.RedisError | OperationalError) and "full" not in str(error)
            log.warning("shard %d: %s; handed back", claim.shard, error)
            await self._hand_back(held, None if fault else catalog.reason(error))
            await asyncio.sleep(1)
        except Exception as error:
            log.exception("shard %d failed", claim.shard)
            await self._hand_back(held, catalog.reason(error))

    async def _commit(self, claim: shards.Claim, job: Job, found: Sequence[Finding]) -> None:
        """Artifacts first, then the rows that name them: all of them or, when the claim is no longer good, none."""
        with tracing.span("commit"):
            results = await asyncio.to_thread(written, claim, job.bench.prepared, found, self.artifacts)
            if not await self.committer.commit(claim, results):
                log.warning("shard %d: another worker has it, nothing written", claim.shard)

    async def _hand_back(self, held: Held, error: str | None = None) -> None:
        try:
            await self.store.awrite(shards.hand_back, held.claim, error)
        except (*OUTAGES, SQLAlchemyError) as outage:
            log.warning("shard %d: %s; it will be published again", held.claim.shard, outage)

    async def _let_go(self, held: Held) -> None:
        if self.held.pop(held.delivery, None):
            self.jobs.busy.let_go(held.delivery.ticket.model)
        self.wake.set()
        try:
            await asyncio.to_thread(self.broker.finish, self.name, held.delivery)
        except OUTAGES as outage:
            log.warning("shard %d: %s; its message stays until its lease runs out", held.claim.shard, outage)

    async def _hand_back_all(self) -> None:
        for held in list(self.held.values()):
            if held.task:
                held.task.cancel()
            if held.checkpoints:
                await asyncio.to_thread(held.checkpoints.save)
            await self._hand_back(held)
            await self._let_go(held)
        if self.suspects or self.intake.left:
            with contextlib.suppress(*OUTAGES):
                await asyncio.to_thread(self.broker.release, self.name)

    async def _watch_cancelled(self) -> None:
        """Searches of cancelled jobs stop at their next step."""
        while True:
            await asyncio.sleep(0.5)
            working = {held.claim.job for held in self.held.values()}
            self.jobs.forget(working)
            try:
                stopped = await self.store.aread(shards.cancelling, list(working)) if working else set[int]()
            except OUTAGES:
                continue
            for job in stopped & self.jobs.known.keys():
                self.jobs.known[job].stopped = "cancelled"


def main(settings: Settings, models: Sequence[str], name: str) -> None:
    """Run a worker until SIGTERM."""
    lanes = settings.lanes_of(1)
    if lanes > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
    # A network lets go of the interpreter at every layer; by default it would wait 5 ms to have it back from a thread
    # that writes results, many times a call.
    sys.setswitchinterval(1e-4)
    assert settings.redis_url is not None
    store = Store(settings.database, durable=False)  # a lost commit is computed again
    broker = Broker(settings.redis_url, settings.lease_seconds)
    artifacts, seconds = Artifacts(settings.artifacts), settings.checkpoint_seconds
    worker = Worker(store, broker, artifacts, models, name, seconds, Engine(lanes))
    try:
        asyncio.run(worker.run())
    finally:
        store.close()
