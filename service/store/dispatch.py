"""Shards on their way into Redis, and those whose message it has lost."""

import time

import sqlalchemy as sa

from service.spec import Ticket
from service.store.schema import shards

Queue = tuple[str, str, str]
"""Model, lane and share: what has a stream of its own."""


QUEUE = sa.tuple_(shards.c.model, shards.c.lane, shards.c.share)
NEXT = (
    sa.select(shards.c.model, shards.c.lane, shards.c.share)
    .where(shards.c.state == "pending", sa.tuple_(*map(sa.bindparam, ("m", "l", "s"))) < QUEUE)
    .order_by(shards.c.model, shards.c.lane, shards.c.share)
    .limit(1)
)


def windows(connection: sa.Connection) -> dict[Queue, int]:
    """For each queue that has pending shards, how many of its shards are out. Jumps over those that wait."""
    columns = (shards.c.model, shards.c.lane, shards.c.share)
    live = sa.select(*columns, sa.func.count()).where(shards.c.state.in_(("queued", "running"))).group_by(*columns)
    out = {(model, lane, share): n for model, lane, share, n in connection.execute(live)}
    found: dict[Queue, int] = {}
    place: Queue = ("", "", "")
    while (row := connection.execute(NEXT, dict(zip("mls", place, strict=True))).first()) is not None:
        place = (row.model, row.lane, row.share)
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
