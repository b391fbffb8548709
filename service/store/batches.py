"""Batches as transactions. Every step says from which state it comes: of two that take it, one changes something."""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.store.access import KEY, OWNER, found, mine, newest
from service.store.batch_tables import OPEN, batches
from service.store.schema import jobs

Row = sa.Row[Any]


def create(connection: sa.Connection, endpoint: str, window: tuple[str, float], file: str, labels: Any) -> Row:
    """Write a batch. window: as it was asked for, and in seconds. file: the input's public id."""
    now = time.time()
    row = {
        "name": f"batch_{int(now * 1000):011x}{secrets.token_hex(8)}",
        "state": "validating",
        "endpoint": endpoint,
        "window": window[0],
        "input": file,
        "labels": None if labels is None else json.dumps(labels),
        "created": now,
        "expires": now + window[1],
        "owner": OWNER.get(),
        "key": KEY.get(),
    }
    return connection.execute(sa.insert(batches).returning(batches), row).one()


def find(connection: sa.Connection, name: str) -> Row:
    """A batch by its public id. Raises Missing."""
    return found(connection, batches, name, "batch")


def page(connection: sa.Connection, limit: int, after: str | None) -> Sequence[Row]:
    """Batches, newest first, `after` the one of that public id."""
    query = sa.select(batches).where(mine(batches))
    return newest(connection, query, batches, limit, after, find)


def opened(connection: sa.Connection) -> Sequence[Row]:
    """Batches that are not at their end, oldest first."""
    return connection.execute(sa.select(batches).where(batches.c.state.in_(OPEN)).order_by(batches.c.id)).all()


def step(connection: sa.Connection, batch: Row, state: str, **values: Any) -> bool:
    """Move a batch on; False, and nothing changed, when it is no longer in the state in which it was read."""
    times = json.dumps({**json.loads(batch.times), state: time.time()})
    mine = sa.and_(batches.c.id == batch.id, batches.c.state == batch.state)
    change = sa.update(batches).where(mine).values(state=state, times=times, **values)
    return bool(connection.execute(change).rowcount)


def count(connection: sa.Connection, batch: int, completed: int, failed: int) -> None:
    """Lines that have an answer, and that have none."""
    change = sa.update(batches).where(batches.c.id == batch)
    connection.execute(change.values(completed=completed, failed=failed))


def cancel(connection: sa.Connection, name: str) -> Row:
    """Stop a batch; one at its end, or that is being written, stays as it is. Raises Missing."""
    batch = find(connection, name)
    if batch.state in ("validating", "in_progress"):
        step(connection, batch, "cancelling")
    return find(connection, name)


def key(batch: str, group: int) -> str:
    """Idempotency key of the job of one group of lines: made once, whoever makes it."""
    return f"{batch}:{group:06}"


def jobs_of(connection: sa.Connection, batch: int) -> Sequence[Row]:
    """A batch's jobs in the order of their groups, without specs."""
    columns = [column for column in jobs.c if column.name != "spec"]
    return connection.execute(sa.select(*columns).where(jobs.c.batch == batch).order_by(jobs.c.id)).all()
