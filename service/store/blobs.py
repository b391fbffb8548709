"""Small bytes beside the rows that name them."""

import sqlalchemy as sa

from service.artifacts import MEDIA, Bytes
from service.store.schema import blobs


def find(connection: sa.Connection, sha256: str) -> Bytes | None:
    """The bytes of that name, or None."""
    row = connection.execute(sa.select(blobs.c.data, blobs.c.suffix).where(blobs.c.sha256 == sha256)).first()
    return None if row is None else Bytes(row.data, MEDIA[row.suffix])
