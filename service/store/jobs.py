"""Jobs as transactions: read, cancel, finish."""

import json
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.planner import stop_reason
from service.spec import Span
from service.store import clock, outbox, quotas
from service.store.access import OWNER, found, mine, newest
from service.store.schema import TERMINAL, events, extensions, items, jobs, shards

# Statements of every commit are built once: building costs more than running them.
_OPEN = sa.and_(
    items.c.job == sa.bindparam("job_"),
    items.c.number.in_(sa.bindparam("numbers", expanding=True)),
    items.c.state.in_(("queued", "in_progress")),
)
ONE_LESS = (
    sa.update(items)
    .where(items.c.job == sa.bindparam("job_"), items.c.number == sa.bindparam("n"))
    .values(shards_left=items.c.shards_left - 1)
)
BEGUN = sa.update(items).where(_OPEN, items.c.shards_left > 0).values(state="in_progress")
CLOSED = (
    sa.update(items)
    .where(_OPEN, items.c.shards_left <= 0)
    .values(
        state=sa.case(
            (items.c.error.is_not(None), "failed"),
            (sa.and_(items.c.drawn == 0, items.c.lost > 0), "failed"),
            (sa.and_(items.c.stop_reason == "cancelled", items.c.drawn == 0), "cancelled"),
            else_="completed",
        ),
        error=sa.func.coalesce(items.c.error, sa.case((items.c.drawn == 0, items.c.loss))),
    )
)
PROGRESS = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("job_"))
    .values(
        items_done=jobs.c.items_done + sa.bindparam("closed"), shards_done=jobs.c.shards_done + sa.bindparam("done")
    )
    .returning(jobs.c.state, jobs.c.shards, jobs.c.shards_done, jobs.c.items_done, jobs.c.candidates)
)


SHORT = [column for column in jobs.c if column.name != "spec"]
LAST_EXTENDED = (
    sa.select(sa.func.max(extensions.c.at)).where(extensions.c.job == jobs.c.id).scalar_subquery().label("extended_at")
)
HOLD = sa.select(jobs.c.id).where(jobs.c.id == sa.bindparam("job_")).with_for_update()  # SQLite locks all at once


class Conflict(ValueError):
    """The same Idempotency-Key came with another body."""


def emit(connection: sa.Connection, job: int, kind: str, data: dict[str, Any]) -> None:
    """Append an event."""
    connection.execute(sa.insert(events), {"job": job, "type": kind, "data": json.dumps(data), "at": time.time()})


def own(key: str | None) -> str | None:
    """An idempotency key as it is stored: that of another owner is another key."""
    owner = OWNER.get()
    return key if owner is None or key is None else f"{owner}\n{key}"


def hold(connection: sa.Connection, job: int) -> None:
    """Before anything of a running job is changed, its row is locked: all take their locks in one order."""
    connection.execute(HOLD, {"job_": job})


def find(connection: sa.Connection, name: str) -> sa.Row[Any]:
    """A job by its public id. Raises Missing."""
    return found(connection, jobs, name, "job", LAST_EXTENDED)


def ended(connection: sa.Connection, ids: Sequence[int]) -> Sequence[int]:
    """Which of these jobs have ended; those that were deleted, too."""
    live = sa.select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.state.not_in(TERMINAL))
    return list(set(ids) - set(connection.execute(live).scalars()))


def page(connection: sa.Connection, limit: int, after: str | None) -> Sequence[sa.Row[Any]]:
    """Jobs without their specs, newest first, `after` the one of that public id."""
    query = sa.select(*SHORT, LAST_EXTENDED).where(mine(jobs))
    return newest(connection, query, jobs, limit, after, find)


def cancel(connection: sa.Connection, name: str) -> sa.Row[Any]:
    """Stop a job: what waits is dropped, what runs is told, what is done is kept. A finished job stays as it is."""
    hold(connection, find(connection, name).id)
    job = find(connection, name)
    if job.state not in TERMINAL and job.state != "cancelling":
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(state="cancelling"))
        emit(connection, job.id, "cancelling", {"state": "cancelling"})
        waiting = sa.and_(shards.c.job == job.id, shards.c.state.in_(("pending", "queued")))
        drop = sa.update(shards).where(waiting).values(state="cancelled", changed=time.time())
        dropped = connection.execute(drop.returning(shards.c.spans)).scalars().all()  # in one: a worker may claim some
        spans = [Span.model_validate(span) for shard in dropped for span in json.loads(shard)]
        quotas.settle(connection, job.id, spans)
        settle(connection, job.id, [span.item for span in spans], len(dropped), {"stop_reason": "cancelled"})
    return find(connection, name)


def settle(
    connection: sa.Connection, job: int, numbers: Sequence[int], done: int, values: dict[str, Any] | None = None
) -> None:
    """`done` shards of a job ended, with one span for each entry of `numbers` (items): close what is complete."""
    closed = 0
    if numbers:
        change = ONE_LESS.values(values) if values else ONE_LESS
        connection.execute(change, [{"job_": job, "n": n} for n in numbers])
        touched = {"job_": job, "numbers": list(set(numbers))}
        connection.execute(BEGUN, touched)
        closed = connection.execute(CLOSED, touched).rowcount
    row = connection.execute(PROGRESS, {"job_": job, "closed": closed, "done": done}).one()
    progress = {"items_done": row.items_done, "shards_done": row.shards_done, "candidates": row.candidates}
    if row.shards_done < row.shards:
        emit(connection, job, "progress", {"state": row.state, **progress})
    elif row.state not in TERMINAL:
        _finish(connection, job, row.state, progress)


def _finish(connection: sa.Connection, job: int, state: str, progress: dict[str, Any]) -> None:
    """Every shard has ended: the job gets its last state."""
    by_state = dict(
        connection.execute(
            sa.select(items.c.state, sa.func.count()).where(items.c.job == job).group_by(items.c.state)
        ).all()
    )
    reasons = dict(
        connection.execute(
            sa.select(items.c.stop_reason, sa.func.count()).where(items.c.job == job).group_by(items.c.stop_reason)
        ).all()
    )
    failed = by_state.get("failed", 0)
    last = "cancelled" if state == "cancelling" else "failed" if failed == sum(by_state.values()) else "completed"
    why = "cancelled" if last == "cancelled" else stop_reason(reasons)
    values = {"state": last, "stop_reason": why, "items_failed": failed, "finished": clock.now(connection)}
    if last == "failed":
        first = sa.select(items.c.error).where(items.c.job == job, items.c.error.is_not(None)).order_by(items.c.number)
        values["error"] = connection.execute(first.limit(1)).scalar()
    row = connection.execute(sa.update(jobs).where(jobs.c.id == job).values(**values).returning(*SHORT)).one()
    quotas.close(connection, job)
    outbox.tell(connection, row)
    emit(connection, job, last, {"state": last, "stop_reason": values["stop_reason"], **progress})
