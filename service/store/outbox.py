"""What is to be told to others: written in the transaction of what happened, so that neither is without the other.

An attempt is counted before it is made, with the time when somebody else may make the next: whoever dies in between,
it is made again. Receivers know a message that comes twice by its id.
"""

import base64
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from service.store.schema import Number, metadata

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("key", Text, primary_key=True),  # public id; empty for a service without keys
    Column("secret", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("previous", Text),  # signs too, for OVERLAP seconds
)
OVERLAP = 24 * 3600.0
"""Seconds in which a receiver may learn of a new secret: what is sent meanwhile is signed with both."""

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # public id, the same in every attempt
    Column("job", Number, nullable=False),
    Column("key", Text, nullable=False),  # whose secret signs
    Column("url", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("state", Text, nullable=False),  # pending, delivered, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due", Float, nullable=False),  # when the next attempt may be made
    Column("status", Integer),  # of the last reply
    Column("error", Text),  # why the last attempt was none
    Column("created", Float, nullable=False),
    Column("changed", Float, nullable=False),
    sa.Index("webhook_deliveries_due", "state", "due"),
    sa.Index("webhook_deliveries_job", "job", "id"),
)
Row = sa.Row[Any]


def _renewing(insert: Any) -> sa.Insert:
    """Insert a secret, or put it in the place of the one that is there, which becomes the one before."""
    new = insert(webhook_secrets)
    values = {name: new.excluded[name] for name in ("secret", "created")} | {"previous": webhook_secrets.c.secret}
    return new.on_conflict_do_update(index_elements=["key"], set_=values)


RENEW = {"sqlite": _renewing(sqlite.insert), "postgresql": _renewing(postgresql.insert)}


def renew(connection: sa.Connection, key: str | None) -> str:
    """A new secret, with which all that is sent for a key is signed from now on, beside the last one for a day."""
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    connection.execute(RENEW[connection.dialect.name], {"key": key or "", "secret": secret, "created": time.time()})
    return secret


def secrets_of(connection: sa.Connection, key: str | None) -> list[str]:
    """A key's secrets that sign now, the newest first; none before it has one."""
    row = connection.execute(sa.select(webhook_secrets).where(webhook_secrets.c.key == (key or ""))).first()
    if row is None:
        return []
    return [row.secret, *([row.previous] if row.previous and time.time() - row.created < OVERLAP else [])]


def tell(connection: sa.Connection, job: Row) -> None:
    """A job has ended: if it says whom to tell, that is to be told. job: its row, as it is now."""
    if job.webhook is None:
        return
    now, kind = time.time(), f"job.{job.state}"
    names = ("state", "stop_reason", "error", "model", "items", "items_failed", "candidates")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    body = {"type": kind, "timestamp": at, "data": {"id": job.name, **{name: getattr(job, name) for name in names}}}
    row = {"name": f"msg_{secrets.token_hex(16)}", "job": job.id, "key": job.key or "", "url": job.webhook}
    row |= {"type": kind, "body": json.dumps(body), "state": "pending", "due": now, "created": now, "changed": now}
    connection.execute(sa.insert(deliveries), row)


def due(connection: sa.Connection, each: int) -> Sequence[Row]:
    """Deliveries whose time has come, the oldest `each` of every key."""
    rank = sa.func.row_number().over(partition_by=deliveries.c.key, order_by=deliveries.c.due)
    mine = sa.and_(deliveries.c.state == "pending", deliveries.c.due <= time.time())
    ranked = sa.select(*deliveries.c, rank.label("rank")).where(mine).subquery()
    return connection.execute(sa.select(ranked).where(ranked.c.rank <= each).order_by(ranked.c.due)).all()


def begin(connection: sa.Connection, delivery: Row, seconds: float) -> bool:
    """Count an attempt; False when somebody else was faster. seconds: after which others may make the next."""
    mine = sa.and_(
        deliveries.c.id == delivery.id, deliveries.c.attempts == delivery.attempts, deliveries.c.state == "pending"
    )
    now = time.time()
    values = {"attempts": delivery.attempts + 1, "due": now + seconds, "changed": now}
    return bool(connection.execute(sa.update(deliveries).where(mine).values(**values)).rowcount)


def end(connection: sa.Connection, delivery: Row, **values: Any) -> None:
    """What became of the attempt that was begun with `delivery`; nothing when another has begun since."""
    mine = sa.and_(deliveries.c.id == delivery.id, deliveries.c.attempts == delivery.attempts + 1)
    connection.execute(sa.update(deliveries).where(mine).values(**values, changed=time.time()))


def of(connection: sa.Connection, job: int) -> Sequence[Row]:
    """A job's deliveries, oldest first."""
    return connection.execute(sa.select(deliveries).where(deliveries.c.job == job).order_by(deliveries.c.id)).all()
