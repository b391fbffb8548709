"""How long the accepted work of a model takes its workers: the number by which a fleet is scaled."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.beat import Batches, Beat
from service.planner import SHARD_EVALUATIONS
from service.store.counting import Left

LEAST = 1.0
"""Seconds of work from which a worker's newest rate is believed; until then its rate since it started is."""
UNKNOWN_SHARD = float(SHARD_EVALUATIONS)
"""Evaluations assumed of a shard of a model of which none was ever finished: what one is planned to cost, at most."""
SHARD_SECONDS = 10.0
"""Assumed of a shard of a model that nobody was ever seen to compute."""


class Pace(NamedTuple):
    """Living workers that hold a model, and evaluations a second of all of them together, None if never measured."""

    workers: int
    rate: float | None


class Queue(NamedTuple):
    """Seconds until the accepted work of a model is done by those that hold it, and by one average worker alone."""

    seconds: float
    alone: float


def rate_of(old: Batches | None, new: Batches) -> float | None:
    """Evaluations a second while the worker held work of the model, between two beats, else since it started."""
    for before in (old, Batches()):
        if before is not None and new.seconds - before.seconds >= LEAST and new.evaluations > before.evaluations:
            return (new.evaluations - before.evaluations) / (new.seconds - before.seconds)
    return new.evaluations / new.seconds if new.evaluations and new.seconds else None


@dataclass
class Paces:
    """Rates by model, remembered when the last worker has gone: a fleet of none must be told how many to start."""

    usual: dict[str, float] = field(default_factory=dict[str, float])  # of one worker, when last seen
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, pairs: Sequence[tuple[Beat | None, Beat]]) -> dict[str, Pace]:
        """By model, from each living worker's oldest beat of the window, if it has two, and its last.

        A worker that holds a model and has computed nothing yet counts as an average one.
        """
        rates: dict[str, list[float | None]] = {}
        for old, new in pairs:
            for model, batches in new.models.items():
                before = old.models.get(model) if old else None
                rates.setdefault(model, []).append(rate_of(before, batches))
        found: dict[str, Pace] = {}
        with self.lock:
            for model, each in rates.items():
                if measured := [rate for rate in each if rate is not None]:
                    self.usual[model] = sum(measured) / len(measured)
                one = self.usual.get(model)
                found[model] = Pace(len(each), None if one is None else one * len(each))
        return found

    def alone(self, model: str, left: Left) -> float:
        """Seconds in which one average worker would do the work."""
        one = self.usual.get(model)
        return left.shards * SHARD_SECONDS if one is None else left.evaluations / one

    def queues(self, left: Mapping[str, Left], paces: Mapping[str, Pace]) -> dict[str, Queue]:
        """Of every model that has work or a worker."""
        none, idle = Left(0, 0.0), Pace(0, None)
        found: dict[str, Queue] = {}
        for model in sorted({*left, *paces}):
            alone = self.alone(model, left.get(model, none))
            found[model] = Queue(alone / max(1, paces.get(model, idle).workers), alone)
        return found
