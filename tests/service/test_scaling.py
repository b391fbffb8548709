"""Queue seconds: work left over the measured rate, and what is said when nothing was measured."""

import pytest
from helping import prepared

from service.api.scaling import SHARD_SECONDS, UNKNOWN_SHARD, Pace, Paces, Queue, rate_of
from service.beat import Batches, Beat
from service.busy import Busy
from service.store import Store, commits, creating, jobs, shards
from service.store.commits import Results
from service.store.counting import Left, left_by_model

MODEL = "toy/gaussian_mixture"


def did(evaluations: int, seconds: float) -> Batches:
    return Batches(calls=1, rows=evaluations, room=evaluations, evaluations=evaluations, seconds=seconds)


def beat(worker: str, **models: Batches) -> Beat:
    return Beat(worker=worker, at=0.0, resident=None, models=models)


def test_seconds_are_those_with_work() -> None:
    clock = iter([0.0, 1.0, 3.0, 3.5, 10.0, 12.0])
    busy = Busy(now=lambda: next(clock))
    busy.take("m")  # at 0
    busy.take("m")  # a second shard beside it does not count twice, and asks for no time
    assert busy.seconds("m") == 1.0
    busy.let_go("m")
    busy.let_go("m")  # at 3
    assert busy.seconds("m") == 3.0
    busy.take("m")  # at 3.5: what lies between is not work
    busy.let_go("m")  # at 10
    assert (busy.seconds("m"), busy.seconds("n")) == (9.5, 0.0)


@pytest.mark.parametrize(
    ("old", "new", "rate"),
    [
        (did(100, 10), did(400, 20), 30.0),  # of the window
        (did(100, 10), did(110, 10.5), 110 / 10.5),  # too short a time: since it started
        (did(100, 10), did(100, 15), 100 / 15),  # a long call, or verifiers alone
        (None, did(50, 0.5), 100.0),
        (None, did(0, 3), None),
    ],
)
def test_rate(old: Batches | None, new: Batches, rate: float | None) -> None:
    assert rate_of(old, new) == rate


def test_paces_are_remembered() -> None:
    paces = Paces()
    three = [
        (None, beat("a", m=did(100, 10))),
        (None, beat("b", m=did(300, 10), n=did(0, 0))),
        (None, beat("c", m=did(0, 0))),
    ]
    assert paces.of(three) == {"m": Pace(3, 60.0), "n": Pace(1, None)}  # c counts as an average worker
    left = {"m": Left(8, 600.0), "never": Left(4, 9e9)}
    assert paces.queues(left, paces.of(three)) == {
        "m": Queue(10.0, 30.0),
        "n": Queue(0.0, 0.0),
        "never": Queue(4 * SHARD_SECONDS, 4 * SHARD_SECONDS),
    }
    # All have gone: as if one average worker held it. Two whom nobody has seen at work share what is assumed.
    assert paces.queues(left, paces.of([]))["m"] == Queue(30.0, 30.0)
    fresh = [(None, beat(name, never=did(0, 0))) for name in "ab"]
    assert paces.queues(left, paces.of(fresh))["never"] == Queue(2 * SHARD_SECONDS, 4 * SHARD_SECONDS)


def test_work_left(store: Store) -> None:
    """Of a shard that was never run: what is planned; then what others of the model cost; then what its job did."""

    def left() -> dict[str, Left]:
        return store.read(left_by_model, UNKNOWN_SHARD)

    def run(shard: int, evaluations: int) -> None:
        (claim,) = store.write(shards.claim, "w", [("1-0", shard)]).claims.values()
        assert store.write(commits.commit, claim, Results(evaluations=evaluations))

    assert left() == {}
    first = store.write(creating.create, prepared(2, 3000))  # six shards, 1 to 6
    assert left() == {MODEL: Left(6, 6 * UNKNOWN_SHARD)}
    run(1, 500)
    run(2, 700)
    assert left() == {MODEL: Left(4, 4 * 600.0)}
    second = store.write(creating.create, prepared(2, 3000))
    assert left() == {MODEL: Left(10, 10 * 600.0)}
    run(7, 100)
    assert left() == {MODEL: Left(9, 4 * 600.0 + 5 * 100.0)}
    store.write(jobs.cancel, first.name)
    assert left() == {MODEL: Left(5, 500.0)}
    store.write(jobs.cancel, second.name)
    assert left() == {}
