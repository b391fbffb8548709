"""Jobs deleted with all their rows, and the bytes that nobody else names.

Bytes are named by their content, so many jobs may name them. A deleted job leaves their names in `orphans`, in its own
transaction; a sweep removes those that no answer names. While it does, nobody commits answers that name bytes (SQLite:
nobody writes at all; PostgreSQL: an advisory lock), and whoever commits afterwards puts back what is gone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.store import jobs
from service.store.batch_tables import OPEN as OPEN_BATCH
from service.store.batch_tables import batches
from service.store.blobs import BYTES, together
from service.store.jobs import Conflict
from service.store.outbox import deliveries
from service.store.quotas import holds
from service.store.schema import (
    TERMINAL,
    audits,
    blobs,
    candidates,
    deleted,
    events,
    extensions,
    features,
    items,
    judges,
    orphans,
    pools,
    populations,
    scores,
    shards,
    tallies,
)
from service.store.tunes import OPEN as OPEN_TUNE
from service.store.tunes import trials, tunes

Row = sa.Row[Any]
SWEPT = 200
"""Names of one sweep, at most: others wait for its end."""
OF_JUDGE = (scores, tallies, pools, audits)
OF_JOB = (candidates, populations, features, items, shards, judges, events, extensions, deliveries, holds)
INSERT = {"sqlite": sqlite.insert(orphans), "postgresql": postgresql.insert(orphans)}


def delete(connection: sa.Connection, name: str) -> Row:
    """Delete a job that has ended, and all that is its own; its row. Raises Missing, Conflict."""
    jobs.hold(connection, jobs.find(connection, name).id)
    job = jobs.find(connection, name)
    if why := _needed(connection, job):
        raise Conflict(why)
    together(connection)
    mine = sa.select(candidates.c.artifact).distinct()
    mine = mine.where(candidates.c.job == job.id, candidates.c.artifact.is_not(None))
    named = INSERT[connection.dialect.name].from_select(["sha256"], mine)
    connection.execute(named.on_conflict_do_nothing())
    judged = sa.select(judges.c.id).where(judges.c.job == job.id).scalar_subquery()
    for table in OF_JUDGE:
        connection.execute(sa.delete(table).where(table.c.judge.in_(judged)))
    for table in OF_JOB:
        connection.execute(sa.delete(table).where(table.c.job == job.id))
    connection.execute(sa.delete(jobs.jobs).where(jobs.jobs.c.id == job.id))
    connection.execute(sa.insert(deleted), {"job": job.id})
    return job


def _needed(connection: sa.Connection, job: Row) -> str | None:
    """Why a job cannot be deleted now, and what would let it."""
    if job.state not in TERMINAL:
        return f"job {job.name} is {job.state}; cancel it first: POST /v1/jobs/{job.name}/cancel"
    table = jobs.jobs
    running = sa.select(table.c.name).where(table.c.rescores == job.name, table.c.state.not_in(TERMINAL))
    if (other := connection.execute(running.limit(1)).scalar()) is not None:
        return f"the answers of job {job.name} are being judged again by job {other}; cancel that first"
    batch = sa.select(batches.c.name).where(batches.c.id == job.batch, batches.c.state.in_(OPEN_BATCH))
    if job.batch is not None and (other := connection.execute(batch).scalar()) is not None:
        return f"job {job.name} answers lines of batch {other}, which has not ended; cancel that first"
    tune = sa.select(tunes.c.name).join(trials, trials.c.tune == tunes.c.id)
    tune = tune.where(trials.c.job == job.name, tunes.c.state.in_(OPEN_TUNE))
    if (other := connection.execute(tune.limit(1)).scalar()) is not None:
        return f"job {job.name} is a trial of tune {other}, which has not ended; cancel that first"
    return None


def waiting(connection: sa.Connection) -> bool:
    """Whether deleted jobs have left names."""
    return connection.execute(sa.select(orphans.c.sha256).limit(1)).first() is not None


def sweep(connection: sa.Connection, forget: Callable[[str], None]) -> int:
    """Remove bytes of deleted jobs that no answer names, at most SWEPT; how many names were looked at.

    forget: removes bytes that are not in the database. If it raises, all of them are looked at again another time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(BYTES)))
    names: Sequence[str] = connection.execute(sa.select(orphans.c.sha256).limit(SWEPT)).scalars().all()
    if not names:
        return 0
    named = sa.select(candidates.c.artifact).distinct().where(candidates.c.artifact.in_(names))
    free = set(names) - set(connection.execute(named).scalars())
    small = sa.delete(blobs).where(blobs.c.sha256.in_(free)).returning(blobs.c.sha256)
    for name in sorted(free - set(connection.execute(small).scalars())):
        forget(name)
    connection.execute(sa.delete(orphans).where(orphans.c.sha256.in_(names)))
    return len(names)
