"""/v1/workers and /v1/queue: what a person sees of a fleet."""

import os
import signal
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from helping import done, job, prepared, until

from service.api import create_app
from service.api.fleet import WINDOW, Watch
from service.artifacts import Artifacts
from service.beat import Batches, Beat
from service.client import Client
from service.embedded import Stack
from service.queue import Broker
from service.settings import Settings
from service.store import Store, creating, shards
from service.views import QueueView, Workers, WorkerView
from verifiers.programs import tiers


def queue(client: Client | TestClient) -> QueueView:
    response = (client.http if isinstance(client, Client) else client).get("/v1/queue")
    assert response.status_code == 200, response.text
    return QueueView.model_validate_json(response.content)


def workers(client: Client | TestClient) -> Workers:
    response = (client.http if isinstance(client, Client) else client).get("/v1/workers")
    assert response.status_code == 200, response.text
    return Workers.model_validate_json(response.content)


def beat(worker: str, at: float, rows: int) -> Beat:
    return Beat(worker=worker, at=at, resident=None, models={"m": Batches(calls=1, rows=rows, room=1000, limit=4)})


@pytest.fixture
def app(store: Store, broker: Broker, tmp_path: Path) -> TestClient:
    """The API without its feeder: nothing takes what a test leaves in the store."""
    settings = Settings(data_dir=tmp_path)
    return TestClient(create_app(store, broker, Artifacts(str(tmp_path)), settings))


def test_workers_of_a_service(stack: Stack, client: Client) -> None:
    began = time.time()
    done(client, job(2, 5))

    def seen() -> WorkerView | None:
        """The one worker, once its beat tells of all calls: 2 items, 5 samples, 2 steps."""
        told = {worker.worker: worker for worker in workers(client).data}
        worker = told.get(*stack.children) if told.keys() == stack.children.keys() else None
        found = worker and worker.models.get("toy/gaussian_mixture")
        return worker if found and found.rows >= 20 else None

    worker = until(seen)
    now = time.time()
    batches = worker.models["toy/gaussian_mixture"]
    assert batches.calls >= 1
    assert batches.fill is not None
    # calls counted at the limit of their time, which grows
    assert batches.rows / (batches.calls * batches.limit) * (1 - 1e-9) <= batches.fill <= 1
    assert worker.programs == tiers.standing().tier
    assert worker.resident is not None
    assert worker.resident > 2**24
    assert began < worker.at + worker.age < now + 0.001  # when it was asked


def test_queue_of_a_service(client: Client) -> None:
    before = queue(client)
    done(client, job(3, 4))
    after = until(lambda: (view := queue(client)).up and view)
    assert after.jobs["completed"] == before.jobs.get("completed", 0) + 1

    def finished(view: QueueView) -> int:
        return sum(s.n for s in view.shards if (s.model, s.state) == ("toy/gaussian_mixture", "done"))

    assert finished(after) > finished(before)
    assert {"toy/gaussian_mixture:batch"} <= {stream.name for stream in after.streams}
    assert until(lambda: queue(client).rows_per_second is not None)  # the second beat
    assert queue(client).rows_per_second == pytest.approx(0, abs=1e6)


def test_counts_are_the_database_s(app: TestClient, store: Store) -> None:
    store.write(creating.create, prepared(2, 3))
    store.write(creating.create, prepared(1, 3))
    view = queue(app)
    assert (view.up, view.jobs, view.dead, view.rows_per_second) == (True, {"queued": 2}, 0, None)
    assert [(s.model, s.state) for s in view.shards] == [("toy/gaussian_mixture", "pending")]
    assert view.streams == []


def test_a_failed_shard_is_a_dead_letter(app: TestClient, store: Store) -> None:
    store.write(creating.create, prepared(1, 3))
    (claim,) = store.write(shards.claim, "w", [("1-0", 1)]).claims.values()
    assert queue(app).dead == 0
    assert store.write(shards.fail, claim, "boom")
    view = queue(app)
    assert view.dead == 1
    assert [(s.state, s.n) for s in view.shards] == [("failed", 1)]


def test_speed_is_a_difference_of_beats(app: TestClient, broker: Broker) -> None:
    for worker, at, n in (("a", 100.0, 50), ("b", 7.0, 10)):
        broker.beat(beat(worker, at, n), 60)
    assert queue(app).rows_per_second is None
    assert queue(app).rows_per_second is None  # the same beats, seen again
    broker.beat(beat("a", 102.0, 90), 60)
    assert queue(app).rows_per_second == 20
    broker.beat(beat("b", 11.0, 30), 60)
    assert queue(app).rows_per_second == 25
    assert [w.worker for w in workers(app).data] == ["a", "b"]
    broker.leave("a")
    assert queue(app).rows_per_second == 5


def test_speed_is_that_of_the_window(broker: Broker) -> None:
    watch = Watch(broker)
    for second in range(60):  # 100 rows a second for half a minute, then none
        broker.beat(beat("a", float(second), 100 * min(second, 30)), 60)
        watch.look()
    assert watch.speed() == 0
    broker.beat(beat("a", 59.0 + 10 * WINDOW, 3000 + 500), 60)  # nobody looked for long: all of that time
    watch.look()
    assert watch.speed() == pytest.approx(500 / (10 * WINDOW))


def test_a_worker_that_starts_again_under_its_name(broker: Broker) -> None:
    watch = Watch(broker)
    for at, n in ((1.0, 1000), (3.0, 1200), (5.0, 4)):
        broker.beat(beat("a", at, n), 60)
        watch.look()
    assert watch.speed() is None
    broker.beat(beat("a", 7.0, 44), 60)
    watch.look()
    assert watch.speed() == 20


def test_without_a_queue(store: Store, tmp_path: Path) -> None:
    store.write(creating.create, prepared(2, 3))
    settings = Settings(data_dir=tmp_path)
    app = TestClient(create_app(store, Broker("unix:///nowhere/redis.sock"), Artifacts(str(tmp_path)), settings))
    view = queue(app)
    assert (view.up, view.jobs, view.streams, view.rows_per_second) == (False, {"queued": 1}, [], None)
    assert workers(app).data == []


def test_a_stalled_queue_answers_in_time(stack: Stack, client: Client) -> None:
    assert stack._queue
    os.kill(stack._queue.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        view = queue(client)
        assert not view.up
        assert time.monotonic() - started < 10  # of which two are patience
    finally:
        os.kill(stack._queue.pid, signal.SIGCONT)
    assert until(lambda: queue(client).up)
