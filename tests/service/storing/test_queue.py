"""The dispatcher against a real server: who holds a message, and what happens when Redis forgets."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from helping import SLOW, prepared, until
from sqlalchemy.exc import OperationalError

from service.artifacts import Artifacts
from service.beat import Batches, Beat
from service.feeder import LEADER, Feeder
from service.intake import Intake
from service.messages import FORMAT
from service.queue import GROUP, STREAMS, WORKERS, Broker, Delivery, stream, vitals
from service.spec import Lane, Ticket
from service.store import Store, creating, dispatch, jobs, shards
from service.store.schema import jobs as jobs_table
from service.store.schema import shards as table
from service.worker import Worker


def ticket(shard: int, model: str = "m", lane: Lane = "batch") -> Ticket:
    return Ticket(shard=shard, job=1, model=model, lane=lane)


def pull(broker: Broker, worker: str, count: int = 10) -> list[Delivery]:
    return broker.pull(worker, broker.streams([], []), count)


def old(broker: Broker, worker: str, delivery: Delivery) -> None:
    """A worker's lease runs out now: its idle time, which Redis counts, is longer than the lease."""
    ids = [delivery.message]
    broker.redis.xclaim(delivery.stream, GROUP, worker, 0, ids, idle=broker.lease_ms + 1, justid=True)


@pytest.fixture
def hasty(valkey: str) -> Iterator[Broker]:
    """For whom a lease lasts 0.2 s."""
    hasty = Broker(valkey, 0.2)
    yield hasty
    hasty.redis.close()


def test_publish_pull_finish(broker: Broker) -> None:
    messages = broker.publish([ticket(i) for i in range(5)])
    assert sorted(messages) == list(range(5))
    got = pull(broker, "a", 3)
    assert [d.ticket.shard for d in got] == [0, 1, 2]
    assert [d.message for d in got] == [messages[i] for i in range(3)]
    rest = pull(broker, "b")
    assert [d.ticket.shard for d in rest] == [3, 4]
    assert pull(broker, "a") == []
    assert broker.depth() == {"m:batch": 5}
    assert not broker.finish("b", got[0])  # not b's
    assert broker.finish("a", got[0])
    assert not broker.finish("a", got[0])  # once
    assert broker.depth() == {"m:batch": 4}
    assert broker.missing([(d.stream, d.message) for d in got]) == [True, False, False]
    assert broker.missing([(stream("m", "batch"), None)]) == [True]
    broker.publish([Ticket(shard=9, job=1, model="other", lane="batch", share="")])
    assert broker.finish_all("a", [*got, *rest]) == 2  # one was ended, two are b's
    assert broker.finish_all("b", [*rest, *pull(broker, "b")]) == 3
    assert broker.depth() == {"m:batch": 0, "other:batch": 0}
    assert broker.finish_all("b", []) == 0


def test_a_stream_that_is_gone_takes_no_lease_with_it(broker: Broker) -> None:
    broker.publish([ticket(1), Ticket(shard=2, job=1, model="other", lane="batch", share="")])
    gone, kept = sorted(pull(broker, "a"), key=lambda delivery: delivery.ticket.shard)
    broker.redis.delete(gone.stream)
    assert broker.renew("a", [gone, kept]) == [gone]
    assert broker.finish_all("a", [gone, kept]) == 1


def test_streams_in_order(broker: Broker) -> None:
    lanes: tuple[Lane, Lane] = ("batch", "interactive")
    broker.publish([ticket(i, model, lane) for i, (model, lane) in enumerate((m, n) for m in "ab" for n in lanes)])
    name = stream
    every = broker.streams([], [])
    assert set(every[:2]) == {name("a", "interactive"), name("b", "interactive")}
    assert set(every[2:]) == {name("a", "batch"), name("b", "batch")}
    loaded_first = [name(model, lane) for lane in ("interactive", "batch") for model in "ba"]
    assert broker.streams([], ["b"]) == loaded_first
    assert broker.streams([], ["b"], turn=1) == loaded_first
    # Now and then what would come last is first: what is never empty starves nobody.
    assert broker.streams([], ["b"], turn=4) == [name(m, lane) for lane in ("interactive", "batch") for m in "ab"]
    assert broker.streams([], ["b"], turn=7) == [name(m, lane) for lane in ("batch", "interactive") for m in "ba"]
    assert broker.streams([], [], turn=1)[0] == name("b", "interactive")  # of those alike, each in its turn
    assert broker.streams(["a", "unknown"], []) == [name("a", "interactive"), name("a", "batch")]


def test_lease_runs_out(broker: Broker, hasty: Broker) -> None:
    """How long a lease lasts is said by whoever claims."""
    broker.publish([ticket(1)])
    (held,) = pull(broker, "a")
    assert pull(broker, "b") == []
    (taken,) = until(lambda: pull(hasty, "b"))
    assert taken == held
    assert broker.renew("a", [held]) == [held]  # lost
    assert not broker.finish("a", held)
    assert broker.renew("b", [taken]) == []
    assert broker.finish("b", taken)
    assert broker.renew("b", [taken]) == [taken]


def test_renewal_keeps_a_lease(broker: Broker) -> None:
    broker.publish([ticket(1)])
    (held,) = pull(broker, "a")
    for _ in range(3):
        old(broker, "a", held)
        assert broker.renew("a", [held]) == []
        assert pull(broker, "b") == []
    old(broker, "a", held)
    assert pull(broker, "b") == [held]


def test_release_frees_at_once(broker: Broker) -> None:
    broker.publish([ticket(i) for i in range(3)])
    held = pull(broker, "dead")
    assert pull(broker, "b") == []
    assert broker.release("somebody") == 0
    assert broker.release("dead") == 3
    assert pull(broker, "b") == held


def test_an_expired_message_is_found_behind_many_live_ones(broker: Broker) -> None:
    broker.publish([ticket(i) for i in range(200)])
    held = pull(broker, "a", 200)
    assert pull(broker, "b") == []
    old(broker, "a", held[-1])
    assert pull(broker, "b") == [held[-1]]


def test_two_workers_never_hold_one_message(valkey: str, broker: Broker) -> None:
    broker.publish([ticket(i) for i in range(300)])
    holders: dict[int, list[str]] = {}
    lock = threading.Lock()

    def work(name: str) -> None:
        mine = Broker(valkey, 60)
        while got := mine.pull(name, mine.streams([], []), 4):
            for delivery in got:
                with lock:
                    holders.setdefault(delivery.ticket.shard, []).append(name)
                assert mine.finish(name, delivery)
        mine.redis.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, "abcdef"))
    assert sorted(holders) == list(range(300))
    assert all(len(names) == 1 for names in holders.values())
    assert broker.depth() == {"m:batch": 0}


def test_a_stream_without_its_group_is_repaired(broker: Broker) -> None:
    messages = broker.publish([ticket(1)])
    broker.redis.xgroup_destroy(stream("m", "batch"), GROUP)
    (delivery,) = until(lambda: pull(broker, "a"))
    assert delivery.message == messages[1]


def test_what_is_no_ticket_is_thrown_away(broker: Broker) -> None:
    broker.publish([ticket(1)])
    for fields in ({"ticket": "{}"}, {"ticket": "\ufffd"}, {"other": "1"}):
        broker.redis.xadd(stream("m", "batch"), fields)
    broker.publish([ticket(2)])
    assert [d.ticket.shard for d in pull(broker, "a")] == [1, 2]
    assert broker.depth() == {"m:batch": 2}


def test_formats_of_messages(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """One from before formats is read. A newer one is left to newer workers, at once, and older ones are read on."""
    name = stream("m", "batch")
    broker.publish([ticket(1)])
    broker.redis.xadd(name, {"ticket": ticket(2).model_dump_json()})
    later = Ticket(shard=3, job=1, model="m", lane="batch").model_dump() | {"new_field": 1}
    newer = broker.redis.xadd(name, {"ticket": json.dumps(later), "format": FORMAT + 1, "trace": "t"})
    assert [d.ticket.shard for d in pull(broker, "old")] == [1, 2]
    assert f"1 messages of {name} are of a newer format than {FORMAT}" in caplog.text
    # Whoever comes next has it without waiting for a lease of ten minutes; the old worker leaves the stream alone.
    ((message, _),) = broker.redis.xautoclaim(name, GROUP, "new", broker.lease_ms, count=9)[1]
    assert message == newer
    broker.publish([ticket(4)])
    assert pull(broker, "old") == []
    broker._left[name] = 0.0  # its time is over
    assert [d.ticket.shard for d in pull(broker, "old")] == [4]
    assert broker.depth() == {"m:batch": 4}


def test_durable(broker: Broker) -> None:
    assert broker.durable()


def test_beats_are_of_the_living(broker: Broker) -> None:
    batches = Batches(calls=2, rows=3, room=8, limit=4)
    beats = [Beat(worker=name, at=1.0, resident=None, models={"m": batches}) for name in "ab"]
    assert broker.beats() == []
    broker.beat(beats[1], 60)
    broker.beat(beats[0], 60)
    assert broker.beats() == beats
    broker.beat(beats[0], 0.1)
    until(lambda: broker.beats() == beats[1:])
    assert broker.redis.smembers(WORKERS) == {"b"}
    broker.beat(beats[0], 60)  # it was not dead
    broker.redis.set(vitals("b"), '{"worker": 7}')  # of another version
    assert broker.beats() == beats[:1]
    broker.leave("a")
    broker.leave("b")
    assert not broker.redis.exists(WORKERS, vitals("a"), vitals("b"))


def test_an_impatient_broker_gives_up_soon() -> None:
    """A server that accepts and never answers: two tries of 0.2 s, and some time for the machine."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        hasty = Broker(f"redis://127.0.0.1:{mute.getsockname()[1]}", timeout=0.2)
        started = time.monotonic()
        with pytest.raises(redis.RedisError):
            hasty.depth()
        assert time.monotonic() - started < 5  # one try of a patient one
        hasty.redis.close()


def add(store: Store, n: int = 3000) -> str:
    return store.write(creating.create, prepared(2, n)).name


def test_feeder_keeps_a_window(store: Store, broker: Broker) -> None:
    add(store)
    add(store)  # twelve shards
    feeder = Feeder(store, broker, "f", window=5)
    assert feeder.feed() == 5
    assert feeder.feed() == 0
    assert broker.depth() == {"toy/gaussian_mixture:batch": 5}
    (first, *_) = pull(broker, "w", 1)
    claim = store.write(shards.claim, "w", [(first.message, first.ticket.shard)])
    assert feeder.feed() == 0  # it is still out
    store.write(shards.fail, claim.claims[first.message, first.ticket.shard], "no")
    assert feeder.feed() == 1


def test_reconcile(store: Store, broker: Broker) -> None:
    add(store)
    feeder = Feeder(store, broker, "f")
    assert feeder.feed() == 6
    assert feeder.reconcile(older=-1) == 0  # all is there
    broker.redis.flushall()
    assert feeder.reconcile(older=60) == 0  # too soon to say
    assert feeder.reconcile(older=-1) == 6
    assert feeder.feed() == 6
    assert len(pull(broker, "w", 20)) == 6


def test_one_feeder_at_a_time(store: Store, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.feeder.LEAD", 600.0)
    one, two = Feeder(store, broker, "one"), Feeder(store, broker, "two")
    assert one._lead()
    assert not two._lead()
    assert one._lead()
    broker.redis.delete(LEADER)  # as when it dies
    assert two._lead()
    assert one.leads <= time.monotonic() + 1.0  # until then it does not ask: a shard published twice runs once
    one.leads = time.monotonic() + 60.0
    assert one._lead()
    one.leads = 0.0
    assert not one._lead()


@pytest.fixture
def worker(store: Store, broker: Broker, tmp_path: object) -> Iterator[Worker]:
    """A worker in this process, so that a test can look into it."""
    worker = Worker(store, broker, Artifacts(f"{tmp_path}/artifacts"), name="w")
    yield worker
    worker.engine.device.shutdown()
    worker.engine.threads.shutdown()


async def settled(worker: Worker) -> None:
    await asyncio.gather(*(held.task for held in list(worker.held.values()) if held.task))


def state(store: Store, name: str) -> str:
    return store.read(jobs.find, name).state


def test_two_feeders_at_once_count_nothing_twice(store: Store, broker: Broker, worker: Worker) -> None:
    """The lock is a courtesy: when it fails, every shard has two messages, and still one commit."""
    name = add(store)
    waiting = store.read(dispatch.waiting, ("toy/gaussian_mixture", "batch", ""), 100)
    broker.publish(waiting)
    Feeder(store, broker, "f").feed()
    assert broker.depth() == {"toy/gaussian_mixture:batch": 12}

    async def work() -> None:
        while await worker._pull() or worker.held:
            await settled(worker)

    asyncio.run(work())
    job = store.read(jobs.find, name)
    assert (job.state, job.candidates, job.evaluations) == ("completed", 6000, 12000)
    assert broker.depth() == {"toy/gaussian_mixture:batch": 0}


def test_a_worker_handed_its_own_message_goes_on(store: Store, broker: Broker, worker: Worker) -> None:
    """After a stall longer than the lease: no second search, no death, and the lease is renewed."""
    name = store.write(creating.create, prepared(1, 3, model=SLOW)).name
    Feeder(store, broker, "f").feed()
    go = threading.Event()
    worker.engine.device.submit(go.wait, 30)  # the search lasts until it is told to go on

    async def work() -> None:
        assert await worker._pull() == 1
        held = list(worker.held.values())
        for one in held:
            old(broker, "w", one.delivery)  # nobody renews here
        worker.intake.due = 0.0  # time to look for expired leases
        assert await worker._pull() == 0  # Redis hands it out again, and it is not taken on twice
        assert list(worker.held.values()) == held
        assert pull(broker, "other") == []  # its lease is new
        go.set()
        await settled(worker)

    asyncio.run(work())
    job = store.read(jobs.find, name)
    assert (job.state, job.candidates) == ("completed", 3)
    with store.reading() as connection:
        assert {(row.attempt, row.deaths) for row in connection.execute(table.select())} == {(1, 0)}
    assert broker.depth() == {"outside/slow:batch": 0}


def test_emptied_in_the_middle_of_a_job(store: Store, broker: Broker, worker: Worker) -> None:
    name = add(store)
    feeder = Feeder(store, broker, "f", window=4)
    feeder.feed()

    async def work() -> None:
        await worker._pull()
        broker.redis.flushall()
        await settled(worker)
        while state(store, name) not in ("completed", "failed"):
            feeder.reconcile(older=-1)
            feeder.feed()
            await worker._pull()
            await settled(worker)

    asyncio.run(asyncio.wait_for(work(), 120))
    job = store.read(jobs.find, name)
    assert (job.state, job.candidates, job.items_failed) == ("completed", 6000, 0)


def test_nothing_is_lost_when_redis_is_away(store: Store, broker: Broker) -> None:
    """A feeder without Redis says so and tries again; the job waits in SQL."""
    add(store)
    away = Broker("unix:///nowhere/redis.sock", 1)
    away.redis.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    feeder = Feeder(store, away, "f")
    thread = feeder.start()
    time.sleep(0.2)
    assert thread.is_alive()
    feeder.broker = broker
    until(lambda: broker.redis.exists(STREAMS))
    feeder.stop()
    thread.join(60)
    assert not thread.is_alive()
    with store.reading() as connection:
        assert connection.execute(jobs_table.select()).one().state == "queued"
    assert len(pull(broker, "w", 20)) == 6


def test_what_could_not_be_claimed_is_asked_for_again(tmp_path: Path, valkey: str) -> None:
    """An outage of the database between a message and its claim costs no lease, wherever it strikes."""
    patient, store = Broker(valkey, 60), Store(f"sqlite:///{tmp_path / 'winnow.db'}")
    patient.redis.flushall()
    store.migrate()
    row = store.write(creating.create, prepared(1, 1000))
    assert Feeder(store, patient, "f").feed() == 1
    intake, rename = Intake(store, patient, "w", ()), "alter table {} rename to {}"

    def move(old: str, new: str) -> None:
        with store.engine.begin() as connection:
            connection.execute(sa.text(rename.format(old, new)))

    move("shards", "away")
    for _ in range(2):
        with pytest.raises(OperationalError, match="no such table"):
            intake.pull([], ())
    move("away", "shards")
    (delivery,) = intake.pull([], ()).fresh
    assert intake.pull([], ()).fresh == []
    move("shards", "away")
    with pytest.raises(OperationalError, match="no such table"):
        intake.claim([delivery])
    move("away", "shards")
    ((again, claim),) = intake.claim(intake.pull([], ()).fresh)
    assert (again, claim.job, claim.deaths) == (delivery, row.id, 0)
    intake.left.append(delivery)  # and if another has it by then, it is the other's
    patient.redis.xclaim(delivery.stream, GROUP, "other", 0, [delivery.message])
    assert intake.pull([], ()).fresh == []
    patient.redis.close()
    store.close()
