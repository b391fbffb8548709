"""Shards on their way into Redis, and those whose message it has lost."""

import time
from typing import Any

import sqlalchemy as sa

from service.spec import Ticket
from service.store.schema import shards

Queue = tuple[str, str, str]
"""Model, lane and share: what has a stream of its own."""


PLACE = (shards.c.model, shards.c.lane, shards.c.share)


def _behind(equal: int) -> Any:
    """The first queue with pending shards whose first `equal` names are these, and the one after them larger."""
    same = [PLACE[i] == sa.bindparam(f"p{i}") for i in range(equal)]
    larger = PLACE[equal] > sa.bindparam(f"p{equal}")
    return sa.select(*PLACE).where(shards.c.state == "pending", *same, larger).order_by(*PLACE).limit(1)


NEXT = [_behind(equal) for equal in (2, 1, 0)]
"""One after another: SQLite seeks by columns, while for (a, b, c) > (x, y, z) it reads all rows of a = x."""


def windows(connection: sa.Connection) -> dict[Queue, int]:
    """For each queue that has pending shards, how many of its shards are out. Jumps over those that wait."""
    live = sa.select(*PLACE, sa.func.count()).where(shards.c.state.in_(("queued", "running"))).group_by(*PLACE)
    out = {(model, lane, share): n for model, lane, share, n in connection.execute(live)}
    found: dict[Queue, int] = {}
    place: Queue | None = ("", "", "")
    while place is not None:
        known = {f"p{i}": name for i, name in enumerate(place)}
        rows = (connection.execute(query, known).first() for query in NEXT)
        row = next((row for row in rows if row is not None), None)
        place = None if row is None else (row.model, row.lane, row.share)
        if place is not None:
            found[place] = out.get(place, 0)
    return found


def waiting(connection: sa.Connection, queue: Queue, limit: int) -> list[Ticket]:
    """Pending shards, round-robin over jobs: every job's first shard comes before anybody's second."""
    model, lane, share = queue
    mine = sa.and_(shards.c.state == "pending", shards.c.model == model, shards.c.lane == lane, shards.c.share == share)
    query = sa.select(shards.c.id, shards.c.job).where(mine).order_by(shards.c.number, shards.c.job).limit(limit)
    return [
        Ticket(shard=shard, job=job, model=model, lane=lane, share=share)  # type: ignore[arg-type]
        for shard, job in connection.execute(query)
    ]


def published(connection: sa.Connection, messages: dict[int, str]) -> None:
    """Remember which message carries which shard, unless a worker was faster."""
    change = sa.update(shards).where(shards.c.id == sa.bindparam("s"), shards.c.state == "pending")
    rows = [{"s": shard, "m": message} for shard, message in messages.items()]
    connection.execute(change.values(state="queued", message=sa.bindparam("m"), changed=time.time()), rows)


def out(connection: sa.Connection, older: float) -> list[tuple[int, Queue, str | None]]:
    """(shard, queue, message) of shards that are queued or running and have not changed for `older` seconds."""
    live = sa.and_(shards.c.state.in_(("queued", "running")), shards.c.changed < time.time() - older)
    columns = (shards.c.id, shards.c.model, shards.c.lane, shards.c.share, shards.c.message)
    rows = connection.execute(sa.select(*columns).where(live))
    return [(shard, (model, lane, share), message) for shard, model, lane, share, message in rows]


def republish(connection: sa.Connection, lost: dict[int, str | None]) -> int:
    """Shards whose message is gone wait again; those that ran count a death. Returns how many."""
    changed = 0
    for shard, message in lost.items():
        mine = sa.and_(shards.c.id == shard, shards.c.message == message, shards.c.state.in_(("queued", "running")))
        died = sa.case((shards.c.state == "running", 1), else_=0)
        values = {"state": "pending", "message": None, "deaths": shards.c.deaths + died, "changed": time.time()}
        changed += connection.execute(sa.update(shards).where(mine).values(**values)).rowcount
    return changed
