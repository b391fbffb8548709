"""The life of a shard: pending -> queued -> running -> done. Each step is a transaction that says whose it is.

At-least-once delivery, exactly-once effect: `commits` writes a shard's results only where the attempt is still the
caller's, so a worker that was given up for dead changes nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.spec import Span
from service.store import clock, quotas
from service.store.jobs import emit, hold, settle
from service.store.schema import jobs, shards

MOST_DEATHS = 3
Spans = TypeAdapter[tuple[Span, ...]](tuple[Span, ...])

# Statements of every claim and commit are built once: building costs more than running them.
CLAIM = (
    sa.update(shards)
    .where(
        shards.c.id == sa.bindparam("shard_"),
        sa.or_(
            shards.c.state == "pending",
            shards.c.state == "queued",
            sa.and_(shards.c.state == "running", shards.c.message == sa.bindparam("message_")),
        ),
    )
    .values(
        state="running",
        attempt=shards.c.attempt + 1,
        deaths=shards.c.deaths + sa.case((shards.c.state == "running", 1), else_=0),
        message=sa.bindparam("message_"),
        worker=sa.bindparam("worker_"),
        changed=sa.bindparam("changed_"),
    )
)
TAKEN = (
    sa.select(*(shards.c[name] for name in ("id", "message", "job", "attempt", "deaths", "spans", "error")))
    .add_columns(jobs.c.extended)
    .join(jobs, jobs.c.id == shards.c.job)
    .where(
        shards.c.id.in_(sa.bindparam("ids", expanding=True)),
        shards.c.state == "running",
        shards.c.worker == sa.bindparam("worker_"),
    )
)
START = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("job_"), jobs.c.state == "queued")
    .values(state="in_progress", started=sa.bindparam("now"))
)
HELD = sa.and_(
    shards.c.state == "running",
    sa.tuple_(shards.c.id, shards.c.attempt).in_(sa.bindparam("held", expanding=True)),
)
END = (
    sa.update(shards)
    .where(HELD)
    .values({c: sa.bindparam(f"{c}_") for c in ("state", "error", "changed")})
    .returning(shards.c.id, shards.c.attempt)
)


@dataclass(frozen=True)
class Claim:
    """A shard that this worker may commit, once, under this attempt."""

    shard: int
    job: int
    attempt: int
    spans: tuple[Span, ...] = field(compare=False)
    deaths: int = 0
    extended: int = field(default=0, compare=False)  # how often its job was

    @property
    def fence(self) -> tuple[int, int]:
        """What a commit must find: nobody has claimed the shard since."""
        return self.shard, self.attempt


class Claimed(NamedTuple):
    """By (message, shard): what may be worked on, and why the dead letters died. Any other message is stale.

    Only both together name a message: streams of two models may give the same id in the same millisecond.
    """

    claims: dict[tuple[str, int], Claim]
    dead: dict[tuple[str, int], str]


def suspected(connection: sa.Connection, deliveries: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those of (message, shard) whose shard has seen a worker die, or would by this claim."""
    columns = (shards.c.id, shards.c.deaths, shards.c.state, shards.c.message)
    rows = connection.execute(sa.select(*columns).where(shards.c.id.in_({shard for _, shard in deliveries})))
    died = {
        row.id: row.message if row.state == "running" else None for row in rows if row.deaths or row.state == "running"
    }
    return [(message, shard) for message, shard in deliveries if shard in died and died[shard] in (None, message)]


def claim(connection: sa.Connection, worker: str, deliveries: Sequence[tuple[str, int]]) -> Claimed:
    """Claim (message, shard) pairs for a worker.

    A shard that runs already may be taken over only with its own message, which Redis hands to another worker when the
    lease has run out. A shard that died too often is closed instead.
    """
    claims: dict[tuple[str, int], Claim] = {}
    dead: dict[tuple[str, int], str] = {}
    common = {"worker_": worker, "changed_": time.time()}
    rows = [{"shard_": shard, "message_": message, **common} for message, shard in deliveries]
    if rows:
        connection.execute(CLAIM, sorted(rows, key=lambda row: row["shard_"]))
    mine = connection.execute(TAKEN, {"ids": [shard for _, shard in deliveries], "worker_": worker}).all()
    taken = {(row.message, row.id): row for row in mine}
    for pair in deliveries:
        if (row := taken.get(pair)) is None:
            continue
        claimed = Claim(row.id, row.job, row.attempt, Spans.validate_json(row.spans), row.deaths, row.extended)
        if row.deaths >= MOST_DEATHS:
            why = dead[pair] = row.error or f"worker_lost: {row.deaths} workers died on this shard"
            fail(connection, claimed, why)
            continue
        claims[pair] = claimed
    for job in sorted({claimed.job for claimed in claims.values()}):
        if connection.execute(START, {"job_": job, "now": clock.now(connection)}).rowcount:
            emit(connection, job, "in_progress", {"state": "in_progress"})
    return Claimed(claims, dead)


def end(connection: sa.Connection, claims: Sequence[Claim], state: str, error: str | None = None) -> set[Claim]:
    """Close the shards of claims that are still good; returns these."""
    values = {"state_": state, "error_": error, "changed_": time.time()}
    rows = connection.execute(END, {"held": [claimed.fence for claimed in claims], **values}).all()
    ended = {tuple(row) for row in rows}
    return {claimed for claimed in claims if claimed.fence in ended}


def fail(connection: sa.Connection, claimed: Claim, error: str) -> bool:
    """Close a shard that cannot be done; its items fail with the reason, the rest of the job goes on."""
    hold(connection, claimed.job)
    if not end(connection, [claimed], "failed", error):
        return False
    quotas.settle(connection, claimed.job, claimed.spans)
    settle(connection, claimed.job, [s.item for s in claimed.spans], 1, {"error": error, "stop_reason": "error"})
    return True


def hand_back(connection: sa.Connection, claimed: Claim, error: str | None = None) -> bool:
    """Let the shard wait again: without blame (shutdown), or, after an error, with a death counted."""
    died = 0 if error is None else 1
    values = {"state": "pending", "message": None, "error": error, "deaths": shards.c.deaths + died}
    change = sa.update(shards).where(HELD).values(**values, changed=time.time())
    return bool(connection.execute(change, {"held": [claimed.fence]}).rowcount)


def cancelling(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    """Which of these jobs were asked to stop."""
    asked = sa.select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.state == "cancelling")
    return set(connection.execute(asked).scalars())
