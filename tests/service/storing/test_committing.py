"""Shards that end together are written together, and none for another's fault."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from helping import outcome, prepared

from service.committing import Committer
from service.store import Store, commits, creating, jobs, shards
from service.store.schema import events
from service.store.shards import Claim


@pytest.fixture
def claims(store: Store) -> Sequence[Claim]:
    store.write(creating.create, prepared(1, 8000))
    return list(store.write(shards.claim, "w", [(f"{n}-0", n) for n in range(1, 9)]).claims.values())


class Slow(Store):
    """Its first transaction waits for the word; counts all."""

    def __init__(self, store: Store) -> None:
        self.real, self.go, self.sizes = store, threading.Event(), list[int]()

    def write(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.sizes.append(len(args[0]))
        assert self.go.wait(60)
        return self.real.write(work, *args, **kwargs)


async def all_at_once(store: Slow, pairs: Sequence[tuple[Claim, commits.Results]]) -> list[Any]:
    committer = Committer(store)
    tasks = [asyncio.create_task(committer.commit(*pair)) for pair in pairs]
    await asyncio.sleep(0.05)
    store.go.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_those_that_wait_go_together(store: Store, claims: Sequence[Claim]) -> None:
    slow = Slow(store)
    assert len(claims) == 8
    assert asyncio.run(all_at_once(slow, [(claim, outcome(claim)) for claim in claims])) == [True] * 8
    assert slow.sizes == [6, 2]  # 5,000 answers beside the first shard's
    (job,) = store.read(jobs.page, 10, None)
    assert (job.state, job.candidates, job.shards_done) == ("completed", 8000, 8)
    with store.reading() as connection:
        kinds = connection.execute(sa.select(events.c.type).order_by(events.c.id)).scalars().all()
    assert kinds == ["created", "in_progress", "progress", "completed"]


def test_one_that_cannot_be_written_takes_none_with_it(store: Store, claims: Sequence[Claim]) -> None:
    pairs = [(claim, outcome(claim)) for claim in claims]
    pairs[2][1].scores["toy/linear"] *= 2  # the same key twice
    stale = Claim(pairs[3][0].shard, pairs[3][0].job, 0, pairs[3][0].spans)
    found = asyncio.run(all_at_once(Slow(store), [*pairs, (stale, outcome(stale))]))
    assert [type(one) for one in found] == [bool] * 2 + [sa.exc.IntegrityError] + [bool] * 6
    assert [one for one in found if isinstance(one, bool)] == [True] * 7 + [False]
    (job,) = store.read(jobs.page, 10, None)
    assert (job.state, job.candidates, job.shards_done) == ("in_progress", 7000, 7)


def test_one_that_nobody_waits_for_any_more_is_written(store: Store, claims: Sequence[Claim]) -> None:
    async def main() -> None:
        slow = Slow(store)
        committer = Committer(slow)
        tasks = [asyncio.create_task(committer.commit(claim, outcome(claim))) for claim in claims[:3]]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        slow.go.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) != [True] * 3
        assert [task.cancelled() for task in tasks] == [False, True, False]

    asyncio.run(main())
    (job,) = store.read(jobs.page, 10, None)
    assert job.candidates == 3000
