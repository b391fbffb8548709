"""Files: rows that name bytes among the artifacts."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.store.access import OWNER, found, mine, newest
from service.store.batch_tables import OPEN, batches, files
from service.store.jobs import Conflict

Row = sa.Row[Any]


def create(connection: sa.Connection, filename: str, purpose: str, size: int, sha256: str) -> Row:
    """Write a file's row."""
    name = f"file-{int(time.time() * 1000):011x}{secrets.token_hex(8)}"
    row = {"name": name, "filename": filename, "purpose": purpose, "bytes": size, "sha256": sha256}
    return connection.execute(
        sa.insert(files).returning(files), row | {"created": time.time(), "owner": OWNER.get()}
    ).one()


def find(connection: sa.Connection, name: str) -> Row:
    """A file by its public id. Raises Missing."""
    return found(connection, files, name, "file")


def page(connection: sa.Connection, limit: int, after: str | None, purpose: str | None) -> Sequence[Row]:
    """Files, newest first, `after` the one of that public id."""
    query = sa.select(files).where(mine(files))
    if purpose is not None:
        query = query.where(files.c.purpose == purpose)
    return newest(connection, query, files, limit, after, find)


def delete(connection: sa.Connection, name: str) -> str | None:
    """Forget a file; the name of its bytes when no other file has them. Raises Missing, Conflict while it is needed."""
    row = find(connection, name)
    reader = sa.select(batches.c.name).where(batches.c.input == name, batches.c.state.in_(OPEN)).limit(1)
    if (batch := connection.execute(reader).scalar()) is not None:
        raise Conflict(f"file {name} is read by batch {batch}; cancel that first")
    connection.execute(sa.delete(files).where(files.c.id == row.id))
    left = connection.execute(sa.select(files.c.id).where(files.c.sha256 == row.sha256).limit(1)).first()
    return None if left else row.sha256
