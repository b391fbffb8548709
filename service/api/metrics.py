"""Prometheus metrics, read from the store and the queue when somebody asks."""

from collections.abc import Iterator

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.queue import Broker
from service.store import Store
from service.store.schema import jobs, shards

TOTALS = ("candidates", "evaluations", "verifier_calls")


class Fleet(Collector):
    """Jobs and shards by state, work done, messages waiting."""

    def __init__(self, store: Store, broker: Broker) -> None:
        self.store, self.broker = store, broker

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self.store.reading() as connection:
            by_job = connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)).all()
            by_shard = connection.execute(
                sa.select(shards.c.model, shards.c.state, sa.func.count()).group_by(shards.c.model, shards.c.state)
            ).all()
            totals = connection.execute(sa.select(*(sa.func.sum(jobs.c[name]) for name in TOTALS))).one()
        family = GaugeMetricFamily("winnow_jobs", "Jobs by state", labels=["state"])
        for state, n in by_job:
            family.add_metric([state], n)
        yield family
        family = GaugeMetricFamily("winnow_shards", "Shards by model and state", labels=["model", "state"])
        for model, state, n in by_shard:
            family.add_metric([model, state], n)
        yield family
        for name, total in zip(TOTALS, totals, strict=True):
            yield CounterMetricFamily(f"winnow_{name}", f"Total {name.replace('_', ' ')}", value=float(total or 0))
        family = GaugeMetricFamily("winnow_queue_messages", "Messages in a stream", labels=["stream"])
        for name, n in self.broker.depth().items():
            family.add_metric([name], n)
        yield family
