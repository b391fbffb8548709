"""What a worker does even while its event loop is blocked: it keeps its leases, and it tells how it fares.

Plain threads, each with its own connection.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from service.beat import Batches, Beat
from service.queue import Broker, Delivery
from service.threads import Background
from verifiers.programs import tiers

log = logging.getLogger("winnow.worker")
PERIOD = 2.0
"""Seconds between two beats."""
SILENT = 8.0
"""Seconds after which a worker that sent no beat is gone from /metrics."""


def keep_leases(
    broker: Broker,
    worker: str,
    held: Mapping[Delivery, object],
    suspects: Sequence[Delivery],
    stopping: Callable[[], bool],
) -> None:
    """Renew a worker's leases, four times in the length of one. held, suspects: as they are at each time."""
    mine = Broker(broker.url, broker.lease_ms / 1000)
    while not stopping():
        time.sleep(broker.lease_ms / 4000)
        try:
            lost = mine.renew(worker, [*held, *suspects])
        except redis.RedisError as error:
            log.warning("cannot renew leases: %s", error)
            continue
        for delivery in lost:
            if delivery in held:
                log.warning("shard %d: lease lost; its commit will be refused", delivery.ticket.shard)


@dataclass
class Heartbeat(Background):
    """A worker's counts in Redis, anew every two seconds; they vanish with it. models: its counts, from any thread."""

    called = "heartbeat"
    url: str
    worker: str
    models: Callable[[], dict[str, Batches]]

    def _now(self) -> Beat:
        tier = tiers.standing().tier  # looked at once, at the first beat
        return Beat(worker=self.worker, at=time.time(), resident=resident(), models=self.models(), programs=tier)

    def _run(self) -> None:
        """Beat, then say goodbye."""
        broker = Broker(self.url, timeout=PERIOD)
        while True:
            try:
                broker.beat(self._now(), SILENT)
            except Exception as error:  # whatever it is, the searches go on
                log.warning("cannot tell how this worker fares: %s", error)
            if self.stopping.wait(PERIOD):
                break
        try:
            broker.leave(self.worker)
        except redis.RedisError as error:
            log.warning("cannot say goodbye: %s; this worker is shown for %g s more", error, SILENT)


def resident() -> int | None:
    """Bytes of memory that this process holds; None where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
