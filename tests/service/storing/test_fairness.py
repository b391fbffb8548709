"""Whose turn it is: a key with a small job does not wait behind another key's thousands of shards."""

import time
from collections import Counter
from pathlib import Path

import httpx
from helping import SLOW, ended, job, prepared, service, until

from service.client import Client
from service.feeder import Feeder
from service.intake import Intake
from service.queue import STREAMS, Broker
from service.store import Store, access, creating, dispatch, shards
from service.turns import ordered, parts, stream


def submit(store: Store, owner: str | None, shards_: int, **changes: object) -> int:
    with access.acting(owner):
        row = store.write(creating.create, prepared(1, 1000 * shards_, **changes))
    assert row.shards == shards_
    return row.id


def taken(intake: Intake, looks: int) -> Counter[int]:
    """Shards of each job that a worker gets in so many looks."""
    found: Counter[int] = Counter()
    for _ in range(looks):
        found.update(delivery.ticket.job for delivery in intake.pull([], ()).fresh)
    return found


def test_owners_take_turns(store: Store, broker: Broker) -> None:
    """Ann's 1,000 shards fill her window; Bob's eight, submitted later, are out in four looks of four."""
    feeder, intake = Feeder(store, broker, "f", window=64), Intake(store, broker, "w", ())
    ann = submit(store, "ann", 1000)
    assert feeder.feed() == 64
    assert taken(intake, 2) == {ann: 8}
    bob = submit(store, "bob", 8)
    assert feeder.feed() == 8
    assert taken(intake, 4) == {ann: 8, bob: 8}
    eve, dan = submit(store, "eve", 9), submit(store, None, 9)
    feeder.feed()
    first = taken(intake, 8)
    assert min(first[name] for name in (ann, eve, dan)) >= 8
    assert broker.depth() == {"toy/gaussian_mixture:batch": 64 + 8 + 9 + 9}


def test_jobs_of_one_owner_take_turns(store: Store) -> None:
    first, second = submit(store, "ann", 100), submit(store, "ann", 2)
    (queue,) = store.read(dispatch.windows)
    assert [t.job for t in store.read(dispatch.waiting, queue, 6)] == [first, second, first, second, first, first]


def test_the_order_of_turns() -> None:
    """Over many turns each owner of each model is first equally often, but for the lanes."""
    names = [stream(model, "batch", share) for model in "ab" for share in ("", "x", "y")]
    first = Counter(ordered(names, (), ("a", "b"), turn)[0] for turn in range(6 * 8))
    assert first == dict.fromkeys(names, 8)
    busy = [*names, stream("c", "interactive", "x")]
    first = Counter(parts(ordered(busy, (), ("a", "b"), turn)[0])[1] for turn in range(48))
    assert first == {"interactive": 42, "batch": 6}
    loaded = Counter(parts(ordered(names, (), ("b",), turn)[0])[0] for turn in range(48))
    assert loaded == {"b": 42, "a": 6}
    assert all(sorted(ordered(names, (), ("b",), turn)) == sorted(names) for turn in range(48))
    assert {parts(name)[0] for name in ordered(names, ("b", "c"), (), 3)} == {"b"}


def test_streams_of_owners_come_and_go(store: Store, broker: Broker) -> None:
    """An empty one is forgotten, and comes again with the next shard; one that is in use never goes."""
    feeder, intake = Feeder(store, broker, "f"), Intake(store, broker, "w", ())
    for _ in range(2):
        submit(store, "ann", 1)
        assert feeder.feed() == 1
        name = stream("toy/gaussian_mixture", "batch", access.share("ann"))
        assert broker.sweep() == 0
        (delivery,) = intake.pull([], ()).fresh
        assert delivery.stream == name
        assert broker.sweep() == 0  # in a worker's hands
        ((_, claim),) = intake.claim([delivery])
        assert store.write(shards.fail, claim, "no")
        broker.finish("w", delivery)
        assert broker.sweep() == 1
        assert not broker.redis.exists(name)
        assert not broker.redis.sismember(STREAMS, name)


def test_a_small_job_beside_a_large_one(tmp_path: Path) -> None:
    """One worker has seven minutes of Ann's work before it; Bob's job of one shard ends while she has hardly begun."""
    with service(tmp_path, lanes=1) as (stack, _):
        store = Store(stack.settings.database)
        keys = [store.write(access.create, name, ("read", "write"), None, None)[1] for name in ("ann", "bob")]
        until(lambda: httpx.get(f"{stack.url}/v1/jobs", timeout=60).status_code == 401)
        with Client(stack.url, key=keys[0]) as ann, Client(stack.url, key=keys[1]) as bob:
            large = ann.submit(job(1, 40_000, model=SLOW))
            until(lambda: ann.job(large.id).counts.shards_done)
            started = time.monotonic()
            assert ended(bob, bob.submit(job(1, 4, model=SLOW)).id).state == "completed"
            waited, counts = time.monotonic() - started, ann.job(large.id).counts
            assert counts.shards == 400
            assert counts.shards_done < 30, waited
            ann.cancel(large.id)
        store.close()
