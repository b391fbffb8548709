"""The life of a shard: pending -> queued -> running -> done. Each step is a transaction that says whose it is.

At-least-once delivery, exactly-once effect: `commit` writes a shard's results only where the attempt is still the
caller's, so a worker that was given up for dead changes nothing.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.spec import Span
from service.store import clock, quotas
from service.store.bulk import insert_rows
from service.store.jobs import emit, hold, settle
from service.store.schema import (
    blobs,
    candidates,
    features,
    items,
    jobs,
    judges,
    pools,
    populations,
    scores,
    shards,
    tallies,
)

MOST_DEATHS = 3
TOKENS = ("tokens", "prompt_tokens", "unreported", "lost")
COUNTED = ("evaluations", "previews", "verifier_calls", "verifier_seconds", "unscored", *TOKENS)

# Statements of every claim and commit are built once: building costs more than running them.
CLAIM = (
    sa.update(shards)
    .where(
        shards.c.id == sa.bindparam("shard_"),
        sa.or_(
            shards.c.state.in_(("pending", "queued")),
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
    .returning(shards.c.job, shards.c.attempt, shards.c.deaths, shards.c.spans, shards.c.error)
)
START = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("job_"), jobs.c.state == "queued")
    .values(state="in_progress", started=sa.bindparam("now"))
)
HELD = sa.and_(
    shards.c.id == sa.bindparam("shard_"), shards.c.attempt == sa.bindparam("attempt_"), shards.c.state == "running"
)
END = sa.update(shards).where(HELD).values({c: sa.bindparam(f"{c}_") for c in ("state", "error", "changed")})
NOTHING: dict[str, Any] = {"loss_": None, **{f"{name}_": 0 for name in TOKENS}}
LABELS = sa.select(judges.c.label, judges.c.id).where(judges.c.job == sa.bindparam("job_"))
ADD_TO_ITEM = (
    sa.update(items)
    .where(items.c.job == sa.bindparam("job_"), items.c.number == sa.bindparam("n"))
    .values(
        drawn=items.c.drawn + sa.bindparam("drawn_"),
        evaluations=items.c.evaluations + sa.bindparam("evaluations_"),
        **{name: items.c[name] + sa.bindparam(f"{name}_") for name in TOKENS},
        loss=sa.func.coalesce(items.c.loss, sa.bindparam("loss_", type_=sa.Text)),
        stop_reason=sa.func.coalesce(sa.bindparam("reason_", type_=sa.Text), items.c.stop_reason),
        error=sa.func.coalesce(sa.bindparam("error_", type_=sa.Text), items.c.error),
    )
)
ADD_TO_JOB = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("job_"))
    .values({name: jobs.c[name] + sa.bindparam(f"{name}_") for name in (*COUNTED, "candidates")})
)


def _adding(insert: Any) -> sa.Insert:
    """Insert a tally, or add it to the one that is there."""
    new = insert(tallies)
    added = {name: tallies.c[name] + new.excluded[name] for name in ("scored", "passed", "unscored")}
    earliest = sa.case(
        (tallies.c.first_pass.is_(None), new.excluded.first_pass),
        (new.excluded.first_pass.is_(None), tallies.c.first_pass),
        (new.excluded.first_pass < tallies.c.first_pass, new.excluded.first_pass),
        else_=tallies.c.first_pass,
    )
    keys = [tallies.c.judge, tallies.c.item]
    return new.on_conflict_do_update(index_elements=keys, set_={**added, "first_pass": earliest})


TALLY = {"sqlite": _adding(sqlite.insert), "postgresql": _adding(postgresql.insert)}


@dataclass(frozen=True)
class Claim:
    """A shard that this worker may commit, once, under this attempt."""

    shard: int
    job: int
    attempt: int
    spans: list[Span]
    deaths: int = 0


@dataclass
class Results:
    """What one shard gives to the store: rows for the tables, and counts.

    candidates, populations, features, blobs, scores, pools: tuples in the order of the table's columns; blobs by
    their name; scores and pools, by label, without the judge before them.
    """

    candidates: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    scores: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict[str, list[tuple[Any, ...]]])
    pools: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict[str, list[tuple[Any, ...]]])
    tallies: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    items: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    populations: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    features: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    blobs: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    evaluations: int = 0
    previews: int = 0
    verifier_calls: int = 0
    verifier_seconds: float = 0.0
    unscored: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    unreported: int = 0
    lost: int = 0


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
    for message, shard in deliveries:
        mine = {"shard_": shard, "message_": message, "worker_": worker, "changed_": time.time()}
        row = connection.execute(CLAIM, mine).first()
        if row is None:
            continue
        spans = [Span.model_validate(span) for span in json.loads(row.spans)]
        claimed = Claim(shard, row.job, row.attempt, spans, row.deaths)
        if row.deaths >= MOST_DEATHS:
            why = dead[message, shard] = row.error or f"worker_lost: {row.deaths} workers died on this shard"
            fail(connection, claimed, why)
            continue
        if connection.execute(START, {"job_": row.job, "now": clock.now(connection)}).rowcount:
            emit(connection, row.job, "in_progress", {"state": "in_progress"})
        claims[message, shard] = claimed
    return Claimed(claims, dead)


def _end(connection: sa.Connection, claimed: Claim, state: str, error: str | None = None) -> bool:
    """Close a shard if the claim is still good."""
    mine = {"shard_": claimed.shard, "attempt_": claimed.attempt}
    return bool(connection.execute(END, {**mine, "state_": state, "error_": error, "changed_": time.time()}).rowcount)


def commit(connection: sa.Connection, claimed: Claim, results: Results) -> bool:
    """Write a shard's results and count them, once. False, and nothing written, when the claim is no longer good."""
    hold(connection, claimed.job)
    if not _end(connection, claimed, "done"):
        return False
    # In one order for all: two that wait for each other's names would wait for ever.
    insert_rows(connection, blobs, sorted(results.blobs.values()), again=True)
    insert_rows(connection, candidates, results.candidates)
    insert_rows(connection, populations, results.populations)
    insert_rows(connection, features, results.features)
    ids = dict(connection.execute(LABELS, {"job_": claimed.job}).all())
    for label, rows in results.scores.items():
        insert_rows(connection, scores, [(ids[label], *row) for row in rows])
    for label, rows in results.pools.items():
        insert_rows(connection, pools, [(ids[label], *row) for row in rows])
    for label, rows in results.tallies.items():
        _tally(connection, [{"judge": ids[label], **row} for row in rows])
    _count(connection, claimed.job, results)
    used = {"evaluations": results.evaluations, "tokens": results.tokens, "samples": len(results.candidates)}
    quotas.settle(connection, claimed.job, claimed.spans, used)
    settle(connection, claimed.job, [span.item for span in claimed.spans], 1)
    return True


def _count(connection: sa.Connection, job: int, results: Results) -> None:
    if results.items:
        connection.execute(ADD_TO_ITEM, [{"job_": job, **NOTHING, **row} for row in results.items])
    added = {f"{name}_": getattr(results, name) for name in COUNTED}
    connection.execute(ADD_TO_JOB, {"job_": job, "candidates_": len(results.candidates), **added})


def _tally(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Add running counts; several shards may share an item."""
    if rows:
        connection.execute(TALLY[connection.dialect.name], rows)


def fail(connection: sa.Connection, claimed: Claim, error: str) -> bool:
    """Close a shard that cannot be done; its items fail with the reason, the rest of the job goes on."""
    hold(connection, claimed.job)
    if not _end(connection, claimed, "failed", error):
        return False
    quotas.settle(connection, claimed.job, claimed.spans)
    settle(connection, claimed.job, [s.item for s in claimed.spans], 1, {"error": error, "stop_reason": "error"})
    return True


def hand_back(connection: sa.Connection, claimed: Claim, error: str | None = None) -> bool:
    """Let the shard wait again: without blame (shutdown), or, after an error, with a death counted."""
    died = 0 if error is None else 1
    values = {"state": "pending", "message": None, "error": error, "deaths": shards.c.deaths + died}
    change = sa.update(shards).where(HELD).values(**values, changed=time.time())
    return bool(connection.execute(change, {"shard_": claimed.shard, "attempt_": claimed.attempt}).rowcount)


def cancelling(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    """Which of these jobs were asked to stop."""
    asked = sa.select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.state == "cancelling")
    return set(connection.execute(asked).scalars())
