"""Dead letters: shards that failed for good. SQL has them; to requeue one opens its items, and its job, again."""

import json
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service import catalog
from service.registries import STORED
from service.spec import JobSpec, Span
from service.store import quotas
from service.store.access import Missing, mine, newest
from service.store.jobs import Conflict, emit, find, hold
from service.store.schema import TERMINAL, items, jobs, shards

FAILED = shards.c.state == "failed"
COLUMNS: list[sa.ColumnElement[Any]] = [
    *(shards.c.id, shards.c.number, shards.c.model, shards.c.lane, shards.c.spans, shards.c.deaths, shards.c.error),
    *(shards.c.changed, jobs.c.name, jobs.c.owner, jobs.c.state),
]
DEAD = sa.select(*COLUMNS).join(jobs, jobs.c.id == shards.c.job)


def named(connection: sa.Connection, letter: str) -> sa.Row[Any]:
    """A shard of any state by its public id, JOB.NUMBER. Raises Missing."""
    job, _, number = letter.rpartition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Missing(f"no dead letter {letter[:100]!r}")
    row = connection.execute(DEAD.where(jobs.c.name == job, mine(jobs), shards.c.number == int(number))).first()
    if row is None:
        raise Missing(f"no dead letter {letter[:100]!r}")
    return row


def page(connection: sa.Connection, limit: int, after: str | None) -> Sequence[sa.Row[Any]]:
    """Dead letters, newest job first, `after` the one of that public id."""
    return newest(connection, DEAD.where(FAILED, mine(jobs)), shards, limit, after, named)


def requeue(connection: sa.Connection, letter: str) -> sa.Row[Any]:
    """Let a failed shard wait again, its deaths forgotten; its job. Raises Missing, Conflict, or Exhausted."""
    hold(connection, find(connection, named(connection, letter).name).id)
    dead = named(connection, letter)
    job = find(connection, dead.name)
    if dead.state in ("cancelling", "cancelled", "expired"):
        raise Conflict(f"job {job.name} is {job.state}: nothing more will be done for it")
    spec = JobSpec.model_validate_json(job.spec)
    limit = spec.budget.seconds
    if limit is not None and job.started is not None and time.time() - job.started + job.worked >= limit:
        raise Conflict(f"the {limit:g} s of job {job.name} are over; submit it again")
    values = {"state": "pending", "deaths": 0, "error": None, "message": None, "changed": time.time()}
    change = sa.update(shards).where(shards.c.id == dead.id, FAILED).values(**values)
    if not connection.execute(change).rowcount:
        raise Conflict(f"shard {letter} is no dead letter: it has not failed")
    spans = [Span.model_validate(span) for span in json.loads(dead.spans)]
    if job.key is not None:
        quotas.hold(connection, job.id, job.key, spans, quotas.rates(catalog.prepare(spec, STORED)))
    closed = _open(connection, job.id, [span.item for span in spans])
    again = {"state": "in_progress", "stop_reason": None, "error": None, "finished": None, "items_failed": 0}
    connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job.id)
        .values(
            shards_done=jobs.c.shards_done - 1,
            items_done=jobs.c.items_done - closed,
            **(again if job.state in TERMINAL else {}),
        )
    )
    emit(connection, job.id, "requeued", {"state": "in_progress", "shard": dead.number})
    return find(connection, job.name)


def _open(connection: sa.Connection, job: int, numbers: Sequence[int]) -> int:
    """Items wait for one more shard each time they stand in `numbers`; returns how many were closed."""
    others = connection.execute(sa.select(shards.c.spans, shards.c.error).where(shards.c.job == job, FAILED)).all()
    broken = {span["item"]: error for spans, error in others for span in json.loads(spans)}
    closed = 0
    for number in set(numbers):
        mine = sa.and_(items.c.job == job, items.c.number == number)
        done = items.c.state.not_in(("queued", "in_progress"))
        closed += connection.execute(sa.select(sa.func.count()).select_from(items).where(mine, done)).scalar_one()
        error = broken.get(number)
        values = {"state": "in_progress", "error": error, "stop_reason": "error" if error else None}
        left = items.c.shards_left + list(numbers).count(number)
        connection.execute(sa.update(items).where(mine).values(shards_left=left, **values))
    return closed
