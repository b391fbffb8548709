"""Moves pending shards into Redis, a bounded window at a time, and puts back what Redis has lost."""

import logging
import threading
import time
from dataclasses import dataclass, field

import redis
from sqlalchemy.exc import OperationalError

from service.queue import Broker, stream
from service.spec import Ticket
from service.store import Store, dispatch
from service.threads import Background

log = logging.getLogger("winnow.feeder")
LEADER = "winnow:feeder"
PAUSE, IDLE = 0.1, 0.5
RECONCILE = 2.0
GATHER = 0.01
"""Seconds in which jobs that come together are gathered: a round of feeding costs as much for one as for ten."""
LEAD, RENEW = 5.0, 1.0
"""Seconds that the lock lasts, and after which it is asked for again."""


@dataclass
class Feeder(Background):
    """A thread beside the API. Several may run: a short lock in Redis lets one of them work at a time."""

    called = "feeder"
    store: Store
    broker: Broker
    name: str
    window: int = 256
    wake: threading.Event = field(default_factory=threading.Event)
    leads: float = 0.0  # until when the lock need not be renewed
    behind: bool = False  # some shards wait for room in their window

    def stop(self) -> None:
        """Ask the thread to end, also while it idles."""
        super().stop()
        self.wake.set()

    def _run(self) -> None:
        due = 0.0
        while not self.stopping.is_set():
            try:
                if self._lead():
                    if time.monotonic() >= due:
                        self.reconcile()
                        due = time.monotonic() + RECONCILE
                    self.feed()
            except (redis.RedisError, OperationalError) as error:
                log.warning("cannot feed: %s; trying again", error)
                self.stopping.wait(1.0)
            except Exception:
                log.exception("feeder")
                self.stopping.wait(1.0)
            if self.wake.wait(PAUSE if self.behind else IDLE):
                self.stopping.wait(GATHER)
            self.wake.clear()

    def _lead(self) -> bool:
        """Whether this feeder holds the lock, which it renews."""
        now, life = time.monotonic(), int(1000 * LEAD)
        if now < self.leads:
            return True
        mine = bool(self.broker.redis.set(LEADER, self.name, nx=True, px=life))
        if not mine and self.broker.redis.get(LEADER) == self.name:
            mine = bool(self.broker.redis.pexpire(LEADER, life))
        self.leads = now + RENEW if mine else 0.0
        return mine

    def feed(self) -> int:
        """Publish pending shards up to the window of their model, lane and share; returns how many."""
        fed = 0
        self.behind = False
        for queue, out in self.store.read(dispatch.windows).items():
            room = max(0, self.window - out)
            tickets: list[Ticket] = self.store.read(dispatch.waiting, queue, room)
            if tickets:
                self.store.write(dispatch.published, self.broker.publish(tickets))
                fed += len(tickets)
            self.behind |= len(tickets) == room  # there may be more
        return fed

    def reconcile(self, older: float = 5.0) -> int:
        """Shards that are out but whose message Redis has lost wait again; returns how many. Empty streams go."""
        self.broker.sweep()
        out = self.store.read(dispatch.out, older)
        if not out:
            return 0
        gone = self.broker.missing([(stream(*queue), message) for _, queue, message in out])
        lost = {shard: message for (shard, _, message), missing in zip(out, gone, strict=True) if missing}
        if not lost:
            return 0
        count = self.store.write(dispatch.republish, lost)
        log.warning("Redis has lost the messages of %d shards; they wait again", count)
        return count
