"""Prometheus metrics, read from the store and the queue when somebody asks."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.api.fleet import Watch
from service.api.scaling import UNKNOWN_SHARD
from service.beat import Beat
from service.store import Store, counting
from service.store.counting import Left
from service.store.schema import jobs

TOTALS = ("candidates", "evaluations", "verifier_calls")


class Fleet(Collector):
    """Jobs and shards by state, work done, messages waiting, workers and how full their batches are."""

    def __init__(self, store: Store, watch: Watch) -> None:
        self.store, self.watch = store, watch

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._stored()
        left = self.store.read(counting.left_by_model, UNKNOWN_SHARD)
        yield from _left(left)
        seen = self.watch.look()
        up = int(seen is not None)
        yield GaugeMetricFamily("winnow_queue_up", "Whether Redis answers; if not, its metrics are left out", value=up)
        if seen:
            family = GaugeMetricFamily("winnow_queue_messages", "Messages in a stream", labels=["stream"])
            for name, n in seen.depth.items():
                family.add_metric([name], n)
            yield family
            yield from _leases(seen.leases)
            yield from _workers(seen.beats)
            yield from _batches(seen.beats)
            yield from _scaling(self.watch, left)

    def _stored(self) -> Iterator[Metric]:
        with self.store.reading() as connection:
            by_job, by_shard = counting.jobs_by_state(connection), counting.shards_by_state(connection)
            totals = connection.execute(sa.select(*(sa.func.sum(jobs.c[name]) for name in TOTALS))).one()
        family = GaugeMetricFamily("winnow_jobs", "Jobs by state", labels=["state"])
        for state, n in by_job.items():
            family.add_metric([state], n)
        yield family
        family = GaugeMetricFamily("winnow_shards", "Shards by model and state", labels=["model", "state"])
        for (model, state), n in by_shard.items():
            family.add_metric([model, state], n)
        yield family
        for name, total in zip(TOTALS, totals, strict=True):
            yield CounterMetricFamily(f"winnow_{name}", f"Total {name.replace('_', ' ')}", value=float(total or 0))


def _left(left: Mapping[str, Left]) -> Iterator[Metric]:
    text = "About how many evaluations accepted jobs have still to spend, in shards that wait or run"
    family = GaugeMetricFamily("winnow_work_left_evaluations", text, labels=["model"])
    for model, work in left.items():
        family.add_metric([model], work.evaluations)
    yield family


def _leases(leases: Mapping[str, Sequence[float]]) -> Iterator[Metric]:
    """Shards in workers' hands. An age beyond the lease says that nobody looks for what the dead have left."""
    held = GaugeMetricFamily("winnow_leases", "Shards in workers' hands", labels=["stream"])
    oldest = GaugeMetricFamily(
        "winnow_lease_age_seconds", "Time since the lease that waits longest for it was renewed", labels=["stream"]
    )
    for stream, ages in leases.items():
        held.add_metric([stream], len(ages))
        oldest.add_metric([stream], max(ages, default=0.0))
    yield from (held, oldest)


def _scaling(watch: Watch, left: Mapping[str, Left]) -> Iterator[Metric]:
    """Queue seconds: the work left of a model over the rate of the workers that hold it (see docs/operations.md)."""
    paces = watch.pace()
    workers = GaugeMetricFamily("winnow_model_workers", "Living workers that hold a model", labels=["model"])
    rate = GaugeMetricFamily(
        "winnow_model_evaluations_per_second", "Measured rate of the workers that hold a model", labels=["model"]
    )
    queue = GaugeMetricFamily(
        "winnow_queue_seconds", "Work left of a model over the rate of the workers that hold it", labels=["model"]
    )
    alone = GaugeMetricFamily(
        "winnow_queue_worker_seconds", "Work left of a model over the rate of one average worker", labels=["model"]
    )
    for model, pace in sorted(paces.items()):
        workers.add_metric([model], pace.workers)
        if pace.rate is not None:
            rate.add_metric([model], pace.rate)
    for model, found in watch.paces.queues(left, paces).items():
        queue.add_metric([model], found.seconds)
        alone.add_metric([model], found.alone)
    yield from (workers, rate, queue, alone)


def _workers(beats: Sequence[Beat]) -> Iterator[Metric]:
    """The living; one that is silent for too long has no samples."""
    up = GaugeMetricFamily("winnow_worker_up", "Workers that live", labels=["worker"])
    memory = GaugeMetricFamily("winnow_worker_resident_bytes", "Resident memory of a worker", labels=["worker"])
    for beat in beats:
        up.add_metric([beat.worker], 1)
        if beat.resident is not None:
            memory.add_metric([beat.worker], beat.resident)
    yield from (up, memory)


def _batches(beats: Sequence[Beat]) -> Iterator[Metric]:
    """Network calls of each worker for each model, and how full they were."""
    labels = ["worker", "model"]
    calls = CounterMetricFamily("winnow_batch_calls", "Network calls", labels=labels)
    rows = CounterMetricFamily("winnow_batch_rows", "Rows in network calls", labels=labels)
    padded = CounterMetricFamily("winnow_batch_padded_rows", "Rows that fill up calls, for nobody", labels=labels)
    limit = GaugeMetricFamily("winnow_batch_limit", "Rows that a network call may hold", labels=labels)
    fill = GaugeMetricFamily("winnow_batch_fill", "Mean rows of a network call over its limit", labels=labels)
    for beat in beats:
        for model, batches in beat.models.items():
            named = [beat.worker, model]
            calls.add_metric(named, batches.calls)
            rows.add_metric(named, batches.rows)
            padded.add_metric(named, batches.padded)
            limit.add_metric(named, batches.limit)
            if batches.fill is not None:
                fill.add_metric(named, batches.fill)
    yield from (calls, rows, padded, limit, fill)
