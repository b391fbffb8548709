"""/metrics: what workers say of their batches is what their jobs paid for, and it vanishes with them."""

import math
import mmap
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import pytest
from helping import SLOW, done, ended, job, pids, service, until
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from search.batching import Filled
from search.engine import Engine
from service import heartbeat
from service.api.fleet import Watch
from service.api.metrics import Fleet
from service.beat import Batches
from service.client import Client
from service.embedded import Stack
from service.heartbeat import Heartbeat, resident
from service.loading import Jobs, Network
from service.queue import Broker
from service.store import Store, creating

Samples = dict[str, dict[tuple[str, ...], float]]
GAUSS = "toy/gaussian_mixture"


def samples(text: str) -> Samples:
    """Values by name and labels."""
    found: Samples = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][tuple(sample.labels[label] for label in sorted(sample.labels, reverse=True))] = (
                sample.value
            )
    return found


def scraped(client: Client) -> Samples:
    response = client.http.get("/metrics", timeout=30)
    assert response.status_code == 200
    return samples(response.text)


def workers(client: Client) -> set[str]:
    return {name for (name,) in scraped(client)["winnow_worker_up"]}


@pytest.fixture(scope="module")
def pair(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    """A service with two workers."""
    with service(tmp_path_factory.mktemp("data"), workers=2) as (stack, client):
        until(lambda: len(workers(client)) == 2)
        yield stack, client


def test_counts_are_what_the_jobs_paid_for(pair: tuple[Stack, Client]) -> None:
    """A toy's row costs one evaluation a call, so the rows of all workers are the evaluations of all jobs."""
    stack, client = pair
    views = [done(client, job(6, 1500)), done(client, job(2, 7, model="toy/noop"))]
    paid = {name: view.usage.evaluations for name, view in zip((GAUSS, "toy/noop"), views, strict=True)}

    def told() -> Samples | None:
        found = scraped(client)
        total: dict[str, float] = defaultdict(float)
        for (_, model), value in found["winnow_batch_rows_total"].items():
            total[model] += value
        ended = not any(found["winnow_leases"].values())  # a lease ends just after its shard
        return found if total == paid and ended else None

    found = until(told)
    assert {name for (name,) in found["winnow_worker_up"]} == set(stack.children)
    assert set(found["winnow_worker_up"].values()) == {1}
    assert all(2**24 < held < 2**34 for held in found["winnow_worker_resident_bytes"].values())  # Python and numpy
    assert len(found["winnow_worker_resident_bytes"]) == 2
    for labels, fill in found["winnow_batch_fill"].items():
        calls, rows_ = found["winnow_batch_calls_total"][labels], found["winnow_batch_rows_total"][labels]
        limit = found["winnow_batch_limit"][labels]
        assert 1 <= limit == int(limit)
        assert calls * limit >= rows_ >= calls >= 1
        assert math.isclose(fill, rows_ / (calls * limit))
    assert found["winnow_queue_up"] == {(): 1}
    # Nothing is left to do, and both models have workers whose rates are known.
    assert found["winnow_work_left_evaluations"] == {}
    assert found["winnow_queue_seconds"] == {(GAUSS,): 0, ("toy/noop",): 0}
    assert set(found["winnow_model_workers"]) == set(found["winnow_model_evaluations_per_second"])
    assert all(rate > 0 for rate in found["winnow_model_evaluations_per_second"].values())
    assert set(found["winnow_leases"].values()) == set(found["winnow_lease_age_seconds"].values()) == {0}


def test_queue_seconds_are_work_over_rate(pair: tuple[Stack, Client]) -> None:
    _, client = pair
    n = 20_000  # 50 s of work and more, for both
    view = client.submit(job(1, n, model=SLOW))

    def at_work() -> Samples | None:
        found = scraped(client)
        both = found.get("winnow_model_workers", {}).get(("outside/slow",)) == 2
        return found if both and found["winnow_model_evaluations_per_second"].get(("outside/slow",)) else None

    found = until(at_work)
    slow = ("outside/slow",)
    left, rate = (found[f"winnow_{name}"][slow] for name in ("work_left_evaluations", "model_evaluations_per_second"))
    assert found["winnow_queue_seconds"][slow] == pytest.approx(left / rate)
    assert found["winnow_queue_worker_seconds"][slow] == pytest.approx(2 * left / rate)
    assert 0 < left <= n * 20
    assert 1 <= found["winnow_leases"]["outside/slow:batch",] <= n / 100
    assert 0 < found["winnow_lease_age_seconds"]["outside/slow:batch",] < 120
    client.http.post(f"/v1/jobs/{view.id}/cancel")
    ended(client, view.id)
    until(lambda: scraped(client)["winnow_queue_seconds"].get(slow) == 0)


def test_the_dead_vanish(pair: tuple[Stack, Client]) -> None:
    stack, client = pair
    killed, stopped = stack.children
    before = until(lambda: (seen := workers(client)) == {killed, stopped} and seen)
    os.kill(stack.children[killed].pid, signal.SIGKILL)
    until(lambda: killed not in stack.children and len(pids(stack)) == 2)
    until(lambda: killed not in workers(client))
    # One that ends in order says goodbye: it need not expire.
    child = stack.children[stopped]
    child.terminate()
    assert child.wait(60) == 0
    assert stopped not in workers(client)
    assert until(lambda: workers(client) == set(stack.children))
    assert not before & set(stack.children)


def test_a_stalled_queue_does_not_stop_metrics(pair: tuple[Stack, Client]) -> None:
    stack, client = pair
    completed = scraped(client)["winnow_jobs"]
    assert stack._queue
    os.kill(stack._queue.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        found = scraped(client)
        assert time.monotonic() - started < 10  # a scrape's usual patience
    finally:
        os.kill(stack._queue.pid, signal.SIGCONT)
    assert found["winnow_queue_up"] == {(): 0}
    assert found["winnow_jobs"] == completed
    assert not {"winnow_queue_messages", "winnow_worker_up"} & found.keys()
    until(lambda: len(workers(client)) == 2)  # who could not beat goes on


def test_without_a_queue(store: Store) -> None:
    from helping import prepared

    store.write(creating.create, prepared(2, 3))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet(store, Watch(Broker("unix:///nowhere/redis.sock"))))
    found = samples(generate_latest(registry).decode())
    assert found["winnow_jobs"] == {("queued",): 1}
    assert found["winnow_queue_up"] == {(): 0}


def test_a_heart_beats_on(broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error nor a queue that is gone ends it; stopped, it takes its beat away."""
    monkeypatch.setattr(heartbeat, "PERIOD", 0.02)
    counts = iter(range(10**6))

    def models() -> dict[str, Batches]:
        calls = next(counts)
        if calls % 2:
            raise RuntimeError("not now")
        return {"m": Batches(calls=calls)}

    heart = Heartbeat(broker.url, "w", models)
    thread = heart.start()

    def calls() -> int:
        return sum(beat.models["m"].calls for beat in broker.beats())

    until(lambda: calls() > 4)
    assert "cannot tell how this worker fares: not now" in caplog.text
    assert broker.redis.client_kill_filter(_type="normal", skipme=True)
    seen = calls()
    until(lambda: calls() > seen)
    heart.stopping.set()
    thread.join(60)
    assert not thread.is_alive()
    assert broker.beats() == []


def test_a_heart_without_a_queue_can_be_stopped() -> None:
    heart = Heartbeat("unix:///nowhere/redis.sock", "w", dict)
    thread = heart.start()
    assert thread in threading.enumerate()
    heart.stopping.set()
    thread.join(60)
    assert not thread.is_alive()


def test_networks_of_one_model_are_added_up(store: Store) -> None:
    held = Jobs(store, Engine())
    held.networks = {
        "a": Network("m", Filled(3, 10, 4), price=2, padded=lambda: 5),
        "b": Network("m", Filled(1, 16, 16), padded=lambda: 1),
        "c": Network("n", Filled(limit=8)),
    }
    found = held.batches()
    assert found["m"] == Batches(calls=4, rows=26, room=3 * 4 + 16, padded=6, limit=16, evaluations=2 * 10 + 16)
    assert found["m"].fill == 26 / 28
    assert (found["n"].limit, found["n"].fill) == (8, None)


def test_memory_is_that_of_this_process() -> None:
    before = resident()
    with mmap.mmap(-1, 2**26) as block:  # pages of its own, whatever the heap has lying about
        block.write(b"x" * 2**26)
        after = resident()
    assert before
    assert after
    assert after - before > 2**25  # others may have been freed meanwhile
