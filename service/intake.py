"""What a worker takes on: messages out of the queue, claims out of the store. Plain calls, one thread hop each."""

import contextlib
import logging
import time
from collections.abc import Container, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import redis
from sqlalchemy.exc import OperationalError

from service.queue import Broker, Delivery
from service.store import Store, shards

log = logging.getLogger("winnow.worker")
OUTAGES = (redis.RedisError, OperationalError, OSError)
"""The queue, the database or the disk did not do its part."""
PULL = 4
"""Messages at a time, at most: enough to fill a device in a few looks, too few to leave other workers idle."""


class Pulled(NamedTuple):
    """Messages to claim, and those whose shard has seen a worker die."""

    fresh: list[Delivery]
    suspects: list[Delivery]


@dataclass
class Intake:
    """One worker's way to its shards."""

    store: Store
    broker: Broker
    worker: str
    models: Sequence[str]
    turn: int = 0
    due: float = 0.0  # when to look for expired leases again
    left: list[Delivery] = field(default_factory=list[Delivery])  # pulled, and then the database did not answer

    def pull(self, loaded: Sequence[str], held: Container[Delivery]) -> Pulled:
        """Messages that this worker does not hold yet.

        Expired leases are looked for whenever the worker is idle (holds nothing), else once a second.
        """
        self.turn += 1
        streams = self.broker.streams(self.models, loaded, self.turn)
        due = not held or time.monotonic() >= self.due
        if due:
            self.due = time.monotonic() + 1.0
        # After a stall longer than the lease a worker may be handed what it still works on: that renews the lease.
        found = self._left() or [d for d in self.broker.pull(self.worker, streams, PULL, due) if d not in held]
        with self._kept(found):
            died = self.store.read(shards.suspected, [pair(d) for d in found]) if found else []
        return Pulled([d for d in found if pair(d) not in died], [d for d in found if pair(d) in died])

    def claim(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, shards.Claim]]:
        """What may be worked on; the messages of all else are stale, or dead letters, and taken away."""
        if not deliveries:
            return []
        with self._kept(deliveries):
            claimed = self.store.write(shards.claim, self.worker, [pair(d) for d in deliveries])
        with contextlib.suppress(redis.RedisError):  # what is claimed is worked on; the rest comes again
            for delivery in deliveries:
                if reason := claimed.dead.get(pair(delivery)):
                    log.warning("shard %d is set aside: %s", delivery.ticket.shard, reason)
                if pair(delivery) not in claimed.claims:
                    self.broker.finish(self.worker, delivery)
        return [(d, claimed.claims[pair(d)]) for d in deliveries if pair(d) in claimed.claims]

    @contextlib.contextmanager
    def _kept(self, deliveries: Sequence[Delivery]) -> Generator[None]:
        """Keep what was pulled when it cannot be claimed: nobody else sees it until its lease has run out."""
        try:
            yield
        except OUTAGES:
            self.left += deliveries
            raise

    def _left(self) -> list[Delivery]:
        """What could not be claimed before and has not gone to somebody else since."""
        lost = self.broker.renew(self.worker, self.left) if self.left else []
        found = [d for d in self.left if d not in lost]
        self.left = []
        return found

    def still_ours(self, delivery: Delivery) -> bool:
        """Whether a message has not gone to somebody else; renews its lease."""
        return not self.broker.renew(self.worker, [delivery])


def pair(delivery: Delivery) -> tuple[str, int]:
    """How the store knows a delivery: two streams may use the same message id."""
    return delivery.message, delivery.ticket.shard
