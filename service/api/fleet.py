"""Routes of the fleet: workers by what they say of themselves, the queue, and how fast rows are computed."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import redis
from fastapi import APIRouter, Request

from service.api.guard import StrictRoute
from service.api.scaling import Pace, Paces
from service.beat import Batches, Beat
from service.queue import Broker
from service.store import Store, counting
from service.views import BatchesView, QueueView, ShardsView, StreamView, Workers, WorkerView

log = logging.getLogger("winnow.api")
router = APIRouter(prefix="/v1", tags=["fleet"], route_class=StrictRoute)
PATIENCE = 1.0
"""Seconds to wait for Redis, twice at most: a scrape of /metrics has ten in all."""
WINDOW = 10.0
"""Seconds over which the speed is taken, where somebody looks often enough."""


class Seen(NamedTuple):
    """What Redis says: messages in each stream, the workers' last beats, ages of the leases of each stream."""

    depth: dict[str, int]
    beats: list[Beat]
    leases: dict[str, list[float]]


class Watch:
    """Looks at the queue with little patience, and remembers the beats of the last seconds: speed is a difference."""

    def __init__(self, broker: Broker) -> None:
        self.broker = Broker(broker.url, timeout=PATIENCE)
        self._past: dict[str, deque[Beat]] = {}
        self._lock = threading.Lock()
        self.paces = Paces()

    def look(self) -> Seen | None:
        """What Redis says now; None when it does not answer."""
        try:
            seen = Seen(self.broker.depth(), self.broker.beats(), self.broker.leases())
        except redis.RedisError as error:
            log.warning("the queue does not answer: %s", error)
            return None
        self._remember(seen.beats)
        return seen

    def _remember(self, beats: Sequence[Beat]) -> None:
        """Keep, of each worker, the beats of the window before its last and one more; forget who is gone."""
        with self._lock:
            self._past = {beat.worker: self._past.get(beat.worker, deque()) for beat in beats}
            for beat in beats:
                past = self._past[beat.worker]
                if past and rows(beat) < rows(past[-1]):  # it has started again under its name
                    past.clear()
                if not past or beat.at > past[-1].at:
                    past.append(beat)
                while len(past) > 2 and past[0].at < past[-1].at - WINDOW:
                    past.popleft()

    def speed(self) -> float | None:
        """Rows a second over all workers that were seen twice; None when there is none."""
        with self._lock:
            pairs = [(past[0], past[-1]) for past in self._past.values() if len(past) > 1]
        return sum((rows(new) - rows(old)) / (new.at - old.at) for old, new in pairs) if pairs else None

    def pace(self) -> dict[str, Pace]:
        """How fast each model is computed by the workers that were seen last."""
        with self._lock:
            pairs = [(past[0] if len(past) > 1 else None, past[-1]) for past in self._past.values()]
        return self.paces.of(pairs)


def rows(beat: Beat) -> int:
    """Rows of network calls of all its models."""
    return sum(batches.rows for batches in beat.models.values())


def worker_view(beat: Beat, now: float) -> WorkerView:
    """A worker by its last beat."""
    models = {name: _batches(batches) for name, batches in sorted(beat.models.items())}
    age = max(0.0, now - beat.at)
    return WorkerView(
        worker=beat.worker, at=beat.at, age=age, resident=beat.resident, models=models, programs=beat.programs
    )


def _batches(batches: Batches) -> BatchesView:
    return BatchesView(calls=batches.calls, rows=batches.rows, limit=batches.limit, fill=batches.fill)


@router.get("/workers")
def workers(request: Request) -> Workers:
    """The workers that live; a silent one is gone after eight seconds."""
    watch: Watch = request.app.state.watch
    seen, now = watch.look(), time.time()
    return Workers(data=[worker_view(beat, now) for beat in seen.beats] if seen else [])


@router.get("/queue")
def queue(request: Request) -> QueueView:
    """Messages, shards, jobs, dead letters and rows a second. Answers without Redis too."""
    watch: Watch = request.app.state.watch
    store: Store = request.app.state.store
    seen = watch.look()
    with store.reading() as connection:
        jobs, shards = counting.jobs_by_state(connection), counting.shards_by_state(connection)
    return QueueView(
        up=seen is not None,
        streams=[StreamView(name=name, messages=n) for name, n in seen.depth.items()] if seen else [],
        shards=[ShardsView(model=model, state=state, n=n) for (model, state), n in shards.items()],
        jobs=jobs,
        dead=sum(n for (_, state), n in shards.items() if state == "failed"),
        rows_per_second=watch.speed() if seen else None,
    )
