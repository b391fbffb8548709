"""Jobs deleted, and then the bytes that nobody names any more."""

import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from service.artifacts import Artifacts
from service.store import Store, deleting

log = logging.getLogger("winnow.store")


def delete(store: Store, artifacts: Artifacts, name: str) -> sa.Row[Any]:
    """Delete a job that has ended; its row. Bytes that cannot be removed now are removed another time.

    Raises Missing, Conflict.
    """
    job = store.write(deleting.delete, name)
    try:
        sweep_all(store, artifacts)
    except (OSError, OperationalError) as error:
        log.warning("bytes of deleted jobs stay for now: %s", error)
    return job


def sweep_all(store: Store, artifacts: Artifacts) -> None:
    """Remove the bytes of deleted jobs that nobody names, a few in each transaction. Raises OSError."""
    while store.read(deleting.waiting) and store.write(deleting.sweep, artifacts.forget):
        pass
