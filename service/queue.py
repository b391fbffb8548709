"""The dispatcher: Redis Streams, one a model, lane and share, with one consumer group. All key names stand here
and in `turns`.

The pending entry of a message is its lease: Redis counts its idle time by its own clock, a worker renews it by
claiming its own message again, and a message that lies idle for longer than the lease may be claimed by anybody.

In a Cluster keys with the same text in braces lie on one node: the streams of a model, and all that is said of workers.
"""

import contextlib
import logging
import time
from collections.abc import Collection, Sequence
from typing import Any

import redis
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from service import tracing
from service.beat import Beat
from service.connecting import connected, durable
from service.messages import FORMAT, LEFT, TRACE_SECONDS, Delivery, fields_of, is_newer, remembered, sent_traces
from service.spec import Ticket
from service.turns import ordered, parts, queue, stream

log = logging.getLogger("winnow.queue")
GROUP = "workers"
STREAMS = "winnow:streams"
WORKERS = "winnow:{workers}"

# Atomic end of a delivery: only its holder may acknowledge and delete it. Stands against a worker whose lease ran out.
# A stream that is gone (swept, or lost) holds nothing: that is an answer, and no reason to leave the other streams.
FINISH = """
local ended = 0
for i = 3, #ARGV do
  local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if held[1] and held[1][2] == ARGV[2] then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
    ended = ended + 1
  end
end
return ended
"""

# Renewal: resets the idle time, unless the message has gone to another worker.
RENEW = """
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if not held[1] or held[1][2] ~= ARGV[3] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'JUSTID')
return 1
"""

# A stream that nobody needs: only while it is empty.
DROP = """
if redis.call('XLEN', KEYS[1]) > 0 then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""


def vitals(worker: str) -> str:
    """Where a worker's last beat stands until it expires."""
    return f"{WORKERS}:{worker}"


class Broker:
    """Typed moves on Redis. Plain calls: they run in threads, and the lease thread needs no event loop."""

    def __init__(self, url: str, lease: float = 60.0, timeout: float | None = None) -> None:
        """timeout: seconds after which a call is given up, tried twice; patient when left out."""
        self.url, self.lease_ms = url, int(lease * 1000)
        limits: dict[str, Any] = {"socket_timeout": timeout or 5, "socket_connect_timeout": timeout or 5}
        if timeout:
            limits["retry"] = Retry(NoBackoff(), 1)  # once: after a restart of Redis the first call finds a dead socket
        self.redis: Any = connected(url, decode_responses=True, **limits)
        self._left: dict[str, float] = {}  # streams, and until when they are left to newer workers
        self._finish: Any = self.redis.register_script(FINISH)
        self._renew: Any = self.redis.register_script(RENEW)
        self._drop: Any = self.redis.register_script(DROP)

    def publish(self, tickets: Sequence[Ticket]) -> dict[int, str]:
        """Put shards into their streams; returns the message of each."""
        names = {stream(ticket.model, ticket.lane, ticket.share) for ticket in tickets}
        traces = sent_traces(self.redis, tickets)
        for name in names:
            with contextlib.suppress(ResponseError):  # the group exists
                self.redis.xgroup_create(name, GROUP, id="0", mkstream=True)
        with self.redis.pipeline(transaction=False) as pipe:
            for ticket in tickets:
                pipe.xadd(stream(ticket.model, ticket.lane, ticket.share), fields_of(ticket, traces))
            messages: list[str] = pipe.execute()
        self.redis.sadd(STREAMS, *names)  # last, see sweep; in a Cluster a pipeline has no order
        return {ticket.shard: message for ticket, message in zip(tickets, messages, strict=True)}

    def remember(self, job: int) -> None:
        """Have the shards of a job go on with the trace that is open here. Does nothing where there is none."""
        if trace := tracing.here():
            with contextlib.suppress(redis.RedisError):  # a trace is no reason to refuse a job
                self.redis.set(remembered(job), trace, ex=TRACE_SECONDS)

    def streams(self, models: Sequence[str], held: Collection[str], turn: int = 0) -> list[str]:
        """Streams to pull from, in the order of this turn. No models: any."""
        return ordered(self.redis.smembers(STREAMS), models, held, turn)

    def sweep(self) -> int:
        """Forget the streams of shares that are empty; returns how many.

        One that is filled meanwhile is named again, by its publisher or here: each looks after the other has written.
        """
        swept = 0
        for name in self.redis.smembers(STREAMS):
            if parts(name)[2] and not self.redis.xlen(name):
                self.redis.srem(STREAMS, name)
                if self._drop(keys=[name]):
                    swept += 1
                else:
                    self.redis.sadd(STREAMS, name)
        return swept

    def pull(self, worker: str, streams: Sequence[str], count: int, expired: bool = True) -> list[Delivery]:
        """At most `count` messages: if `expired`, first those whose lease has run out; then new ones. Never blocks."""
        found: list[Delivery] = []
        for name in streams:
            if len(found) >= count:
                break
            if time.monotonic() < self._left.get(name, 0.0):
                continue
            try:
                if expired:
                    found += self._expired(name, worker, count - len(found))
                if len(found) < count:
                    new: Any = self.redis.xreadgroup(GROUP, worker, {name: ">"}, count=count - len(found))
                    pairs = [pair for _, pairs in _streams(new) for pair in pairs]
                    found += self._deliveries(name, worker, pairs)
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                with contextlib.suppress(ResponseError):  # emptied behind our back: the reconciler publishes again
                    self.redis.xgroup_create(name, GROUP, id="0")
        return found

    def _expired(self, name: str, worker: str, count: int) -> list[Delivery]:
        """Messages whose lease has run out, wherever they stand among those in workers' hands."""
        found: list[Delivery] = []
        cursor = "0-0"
        while len(found) < count:
            cursor, old, *_ = self.redis.xautoclaim(
                name, GROUP, worker, self.lease_ms, start_id=cursor, count=count - len(found)
            )
            found += self._deliveries(name, worker, [(message, fields) for message, fields in old if fields])
            if cursor == "0-0" or name in self._left:
                break
        return found

    def _deliveries(self, name: str, worker: str, pairs: Sequence[tuple[str, dict[str, str]]]) -> list[Delivery]:
        """Messages as deliveries. Newer ones are handed on; what is no ticket is thrown away: it would stop us."""
        found: list[Delivery] = []
        newer: list[str] = []
        self._left.pop(name, None)
        for message, fields in pairs:
            if is_newer(fields):
                newer.append(message)
                continue
            try:
                ticket = Ticket.model_validate_json(fields.get("ticket", ""))
                found.append(Delivery(name, message, ticket, fields.get("trace")))
            except ValidationError:
                log.warning("message %s of %s is no ticket; thrown away", message, name)
                self.redis.xack(name, GROUP, message)
                self.redis.xdel(name, message)
        if newer:
            self._hand_on(name, worker, newer)
        return found

    def _hand_on(self, name: str, worker: str, newer: list[str]) -> None:
        """Let newer workers have these at once, and leave them the stream for a while."""
        log.warning("%d messages of %s are of a newer format than %d; upgrade this worker", len(newer), name, FORMAT)
        self.redis.xclaim(name, GROUP, worker, 0, newer, idle=self.lease_ms + 1, justid=True)
        self._left[name] = time.monotonic() + LEFT

    def renew(self, worker: str, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Keep leases; returns the deliveries that were lost to others."""
        return [d for d in deliveries if not self._renew(keys=[d.stream], args=[GROUP, d.message, worker])]

    def finish(self, worker: str, delivery: Delivery) -> bool:
        """Take a message out of its stream; False when it was no longer this worker's."""
        return bool(self.finish_all(worker, [delivery]))

    def finish_all(self, worker: str, deliveries: Sequence[Delivery]) -> int:
        """Take messages out of their streams; how many were still this worker's."""
        by_stream: dict[str, list[str]] = {}
        for delivery in deliveries:
            by_stream.setdefault(delivery.stream, []).append(delivery.message)
        finish = self._finish
        return sum(finish(keys=[name], args=[GROUP, worker, *messages]) for name, messages in by_stream.items())

    def release(self, worker: str) -> int:
        """Let go of all that a dead worker held, so that others need not wait for its leases to run out."""
        released = 0
        for name in self.redis.smembers(STREAMS):
            with contextlib.suppress(ResponseError):
                pending = self.redis.xpending_range(name, GROUP, "-", "+", 1000, consumername=worker)
                ids = [entry["message_id"] for entry in pending]
                if ids:
                    self.redis.xclaim(name, GROUP, worker, 0, ids, idle=self.lease_ms + 1, justid=True)
                released += len(ids)
        return released

    def missing(self, messages: Sequence[tuple[str, str | None]]) -> list[bool]:
        """For each (stream, message): whether Redis has lost it."""
        with self.redis.pipeline(transaction=False) as pipe:
            for name, message in messages:
                pipe.xrange(name, message or "0-1", message or "0-1")
            return [not found for found in pipe.execute()]

    def depth(self) -> dict[str, int]:
        """Messages of each model and lane, in workers' hands or waiting."""
        found: dict[str, int] = {}
        for name in sorted(self.redis.smembers(STREAMS)):
            found[queue(name)] = found.get(queue(name), 0) + self.redis.xlen(name)
        return found

    def leases(self) -> dict[str, list[float]]:
        """Of each model and lane, seconds since each lease was last renewed, by Redis's clock."""
        found: dict[str, list[float]] = {}
        for name in sorted(self.redis.smembers(STREAMS)):
            ages = found.setdefault(queue(name), [])
            with contextlib.suppress(ResponseError):  # its group is gone
                pending = self.redis.xpending_range(name, GROUP, "-", "+", 10_000)
                ages += [entry["time_since_delivered"] / 1000 for entry in pending]
        return found

    def beat(self, beat: Beat, seconds: float) -> None:
        """Keep a worker's beat for so long."""
        with self.redis.pipeline() as pipe:
            pipe.sadd(WORKERS, beat.worker)
            pipe.set(vitals(beat.worker), beat.model_dump_json(), px=int(seconds * 1000))
            pipe.execute()

    def leave(self, worker: str) -> None:
        """Forget a worker's beat."""
        with self.redis.pipeline() as pipe:
            pipe.srem(WORKERS, worker)
            pipe.delete(vitals(worker))
            pipe.execute()

    def beats(self) -> list[Beat]:
        """The last beats of the workers that live, by name; one that cannot be read is left out."""
        names: list[str] = sorted(self.redis.smembers(WORKERS))
        found: list[Beat] = []
        for name, value in zip(names, self.redis.mget(map(vitals, names)) if names else [], strict=True):
            if value is None:
                self.redis.srem(WORKERS, name)  # silent for too long; if it lives, its next beat adds it again
                continue
            try:
                found.append(Beat.model_validate_json(value))
            except ValidationError as error:  # of another version
                log.warning("what worker %s says of itself cannot be read: %s", name, error)
        return found

    def durable(self) -> bool | None:
        """Whether a crash loses no acknowledged write; None where Redis does not let us ask."""
        return durable(self.redis)


def _streams(reply: Any) -> list[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """XREADGROUP's reply, which is a list of pairs under RESP2 and a mapping under RESP3."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return [(name, pairs[0] if pairs and isinstance(pairs[0], list) else pairs) for name, pairs in reply.items()]
    return reply
