"""What a worker takes on: messages out of the queue, claims out of the store. Plain calls, one thread hop each."""

import contextlib
import logging
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
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
        found = [d for d in self.broker.pull(self.worker, streams, PULL, due) if d not in held]
        died = self.store.read(shards.suspected, [pair(d) for d in found]) if found else []
        return Pulled([d for d in found if pair(d) not in died], [d for d in found if pair(d) in died])

    def claim(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, shards.Claim]]:
        """What may be worked on; the messages of all else are stale, or dead letters, and taken away."""
        if not deliveries:
            return []
        claimed = self.store.write(shards.claim, self.worker, [pair(d) for d in deliveries])
        with contextlib.suppress(redis.RedisError):  # what is claimed is worked on; the rest comes again
            for delivery in deliveries:
                if reason := claimed.dead.get(pair(delivery)):
                    log.warning("shard %d is set aside: %s", delivery.ticket.shard, reason)
                if pair(delivery) not in claimed.claims:
                    self.broker.finish(self.worker, delivery)
        return [(d, claimed.claims[pair(d)]) for d in deliveries if pair(d) in claimed.claims]

    def still_ours(self, delivery: Delivery) -> bool:
        """Whether a message has not gone to somebody else; renews its lease."""
        return not self.broker.renew(self.worker, [delivery])


def pair(delivery: Delivery) -> tuple[str, int]:
    """How the store knows a delivery: two streams may use the same message id."""
    return delivery.message, delivery.ticket.shard
