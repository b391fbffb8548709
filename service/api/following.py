"""Following jobs: one look at the store a fifth of a second for all who follow, whatever their number."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.store import Store, jobs, results
from service.store.schema import events

PAUSE = 0.2


class Seen(NamedTuple):
    """Events of a job, oldest first; ended: asked before them, so that then they are all."""

    ended: bool
    rows: Sequence[sa.Row[Any]]


NOTHING = Seen(False, ())


@dataclass
class Followed:
    """A job that is followed. seen: what the last look found behind the one before; last: the newest event seen."""

    last: int = 0  # never what a follower says that it knows: that may be any number
    followers: int = 0
    seen: Seen = NOTHING
    turn: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Following:
    """Tells whoever follows a job of its events."""

    store: Store
    followed: dict[int, Followed] = field(default_factory=dict[int, Followed])
    watcher: asyncio.Task[None] | None = None

    async def events(self, job: int, after: int) -> AsyncGenerator[Seen]:
        """What has happened behind `after`, then what happens, until the follower leaves."""
        one = self.followed.setdefault(job, Followed())
        one.followers += 1
        if self.watcher is None or self.watcher.done():
            self.watcher = asyncio.create_task(self._watch())
        try:
            seen = await self.store.aread(behind, job, after)
            while True:
                after = seen.rows[-1].id if seen.rows else after
                yield seen
                if one.last > after:  # a look was faster than this follower
                    seen = await self.store.aread(behind, job, after)
                else:
                    await one.turn.wait()
                    seen = Seen(one.seen.ended, [row for row in one.seen.rows if row.id > after])
        finally:
            one.followers -= 1
            if not one.followers:
                self.followed.pop(job, None)

    async def _watch(self) -> None:
        while self.followed:
            with contextlib.suppress(SQLAlchemyError):  # it may answer again before they leave
                found = await self.store.aread(look, {job: one.last for job, one in self.followed.items()})
                for job, seen in found.items():
                    if (one := self.followed.get(job)) is not None:
                        one.seen, one.last = seen, max([one.last, *(row.id for row in seen.rows[-1:])])
                        one.turn.set()
                        one.turn = asyncio.Event()
            await asyncio.sleep(PAUSE)


def behind(connection: sa.Connection, job: int, after: int) -> Seen:
    """A job's events behind `after`."""
    return Seen(bool(jobs.ended(connection, [job])), results.events_after(connection, job, after))


def look(connection: sa.Connection, places: Mapping[int, int]) -> dict[int, Seen]:
    """The jobs, of those that are followed from these places, in which something has happened."""
    ended = set(jobs.ended(connection, list(places)))
    newest = (
        sa.select(events.c.job, sa.func.max(events.c.id)).where(events.c.job.in_(list(places))).group_by(events.c.job)
    )
    moved = {job for job, last in connection.execute(newest) if last > places[job]}
    return {
        job: Seen(job in ended, results.events_after(connection, job, places[job]) if job in moved else ())
        for job in ended | moved
    }
