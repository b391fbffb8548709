"""API keys, and whose rows a request may see.

A key reads `id.secret`: the id finds its row, of the secret only the SHA-256 is stored (256 random bits need no slow
hash).
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, Table, Text

from service.store.schema import Number, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # public id
    Column("owner", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # JSON
    Column("rate", Integer),  # requests a minute, at most
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("quotas", Text, nullable=False, server_default="{}"),  # JSON: currency -> total, day
)

OWNER: ContextVar[str | None] = ContextVar("owner", default=None)
"""Whose rows a request sees and makes. None: everybody's (without keys, for workers, for an admin)."""
KEY: ContextVar[str | None] = ContextVar("key", default=None)
"""The public id of the key that asks, which pays for what it submits. None: nobody pays."""
SCOPES = ("read", "write", "admin")


class Missing(LookupError):
    """No such key, job, file or batch, or none that may be seen."""


class Key(NamedTuple):
    """A key that was checked."""

    name: str
    owner: str
    scopes: tuple[str, ...]
    rate: int | None


def mine(table: Table) -> sa.ColumnElement[bool]:
    """Rows that may be seen."""
    owner = OWNER.get()
    return sa.true() if owner is None else table.c.owner == owner


def found(connection: sa.Connection, table: Table, name: str, what: str, *more: Any) -> sa.Row[Any]:
    """The row of that public id, if it may be seen. Raises Missing. more: columns beside the table's."""
    row = connection.execute(sa.select(table, *more).where(table.c.name == name, mine(table))).first()
    if row is None:
        raise Missing(f"no {what} {name[:100]!r}")
    return row


def newest(
    connection: sa.Connection,
    query: sa.Select[Any],
    table: Table,
    limit: int,
    after: str | None,
    find: Callable[[sa.Connection, str], sa.Row[Any]],
) -> Sequence[sa.Row[Any]]:
    """So many rows of a query over the table, the newest first, `after` the one that `find` finds by its public id."""
    if after is not None:
        query = query.where(table.c.id < find(connection, after).id)
    return connection.execute(query.order_by(table.c.id.desc()).limit(limit)).all()


def share(owner: str | None) -> str:
    """What stands for an owner in the names of streams: short, and without what an owner may be called."""
    return "" if owner is None else hashlib.blake2b(owner.encode(), digest_size=6).hexdigest()


@contextmanager
def acting(owner: str | None, key: str | None = None) -> Generator[None]:
    """Do something for somebody, at the cost of a key."""
    tokens = OWNER.set(owner), KEY.set(key)
    try:
        yield
    finally:
        OWNER.reset(tokens[0])
        KEY.reset(tokens[1])


def create(
    connection: sa.Connection,
    owner: str,
    scopes: Sequence[str],
    rate: int | None,
    expires: float | None,
    quotas: str = "{}",
) -> tuple[sa.Row[Any], str]:
    """A new key's row, and the key itself, which nobody sees again. quotas: as JSON."""
    name, secret = f"wk_{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    row = {"name": name, "owner": owner, "digest": hashed(secret), "scopes": json.dumps(list(scopes)), "rate": rate}
    row |= {"created": time.time(), "expires": expires, "quotas": quotas}
    return connection.execute(sa.insert(api_keys).returning(api_keys), row).one(), f"{name}.{secret}"


def hashed(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def listed(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """All keys, oldest first."""
    return connection.execute(sa.select(api_keys).order_by(api_keys.c.id)).all()


def exist(connection: sa.Connection) -> bool:
    """Whether any key was ever made: from then on nobody is let in without one."""
    return connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None


def checked(connection: sa.Connection, given: str) -> Key | None:
    """The key, if it is one that is good now."""
    name, _, secret = given.partition(".")
    row = connection.execute(sa.select(api_keys).where(api_keys.c.name == name)).first()
    same = hmac.compare_digest(hashed(secret), row.digest if row else hashed("nobody"))
    if row is None or not same or row.revoked is not None or (row.expires is not None and row.expires <= time.time()):
        return None
    return Key(row.name, row.owner, tuple(json.loads(row.scopes)), row.rate)


def find(connection: sa.Connection, name: str) -> sa.Row[Any]:
    """A key's row by its public id. Raises Missing."""
    row = connection.execute(sa.select(api_keys).where(api_keys.c.name == name)).first()
    if row is None:
        raise Missing(f"no key {name[:100]!r}")
    return row


def change(connection: sa.Connection, name: str, **values: Any) -> sa.Row[Any]:
    """Change a key's row. Raises Missing."""
    find(connection, name)
    return connection.execute(
        sa.update(api_keys).where(api_keys.c.name == name).values(**values).returning(api_keys)
    ).one()


def revoke(connection: sa.Connection, name: str) -> sa.Row[Any]:
    """Let a key in no longer. Raises Missing."""
    return change(connection, name, revoked=time.time())
