"""Small bytes beside the rows that name them."""

import sqlalchemy as sa

from service.artifacts import MEDIA, Bytes
from service.store.schema import blobs

BYTES = 0x77696E6E6F78
"""PostgreSQL's advisory lock of bytes that answers name."""


def find(connection: sa.Connection, sha256: str) -> Bytes | None:
    """The bytes of that name, or None."""
    row = connection.execute(sa.select(blobs.c.data, blobs.c.suffix).where(blobs.c.sha256 == sha256)).first()
    return None if row is None else Bytes(row.data, MEDIA[row.suffix])


def together(connection: sa.Connection) -> None:
    """Until this transaction ends no sweep is under way."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(BYTES)))
