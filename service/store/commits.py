"""Results of shards, written once: only where the claim is still good, all in the transaction that says so.

Shards that end at the same time are written together: the same statements serve all of them, and the disk is waited for
once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.artifacts import Encoded
from service.spec import Span
from service.store import quotas
from service.store.blobs import together
from service.store.bulk import insert_rows
from service.store.jobs import hold, settle
from service.store.schema import blobs, candidates, features, items, jobs, judges, pools, populations, scores, tallies
from service.store.shards import Claim, end

TOKENS = ("tokens", "prompt_tokens", "unreported", "lost")
COUNTED = ("evaluations", "previews", "verifier_calls", "verifier_seconds", "unscored", *TOKENS)

# Statements of every commit are built once: building costs more than running them.
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


@dataclass
class Results:
    """What one shard gives to the store: rows for the tables, and counts.

    candidates, populations, features, blobs, scores, pools: tuples in the order of the table's columns; blobs by
    their name; scores and pools, by label, without the judge before them. large: bytes among the artifacts.
    """

    candidates: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    scores: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict[str, list[tuple[Any, ...]]])
    pools: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict[str, list[tuple[Any, ...]]])
    tallies: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    items: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    populations: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    features: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    blobs: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    large: dict[str, Encoded] = field(default_factory=dict[str, Encoded])
    evaluations: int = 0
    previews: int = 0
    verifier_calls: int = 0
    verifier_seconds: float = 0.0
    unscored: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    unreported: int = 0
    lost: int = 0


def commit(connection: sa.Connection, claimed: Claim, results: Results) -> bool:
    """Write a shard's results and count them, once. False, and nothing written, when the claim is no longer good."""
    return bool(commit_all(connection, [(claimed, results)]))


def commit_all(
    connection: sa.Connection, done: Sequence[tuple[Claim, Results]], put: Callable[[Encoded], None] = lambda _: None
) -> set[Claim]:
    """Write the results of some shards and count them, once; returns the claims that were still good.

    put: stores large bytes that are not there, such as when the last job that named them was deleted a moment ago.
    """
    for job in sorted({claimed.job for claimed, _ in done}):
        hold(connection, job)
    good = end(connection, [claimed for claimed, _ in done], "done")
    if not good:
        return good
    by_job: dict[int, dict[Claim, Results]] = {}
    for claimed, results in done:
        if claimed in good:
            by_job.setdefault(claimed.job, {})[claimed] = results
    _write(connection, by_job, put)
    for job, found in by_job.items():
        _count(connection, job, found.values())
    quotas.settle_all(connection, {job: _spent(found) for job, found in by_job.items()})
    for job, found in by_job.items():
        settle(connection, job, [span.item for claimed in found for span in claimed.spans], len(found))
    return good


def _write(
    connection: sa.Connection, by_job: Mapping[int, Mapping[Claim, Results]], put: Callable[[Encoded], None]
) -> None:
    """All rows of all shards."""
    every = [results for found in by_job.values() for results in found.values()]
    if any(results.blobs or results.large for results in every):
        together(connection)
    for stored in chain.from_iterable(results.large.values() for results in every):
        put(stored)
    # In one order for all: two that wait for each other's names would wait for ever.
    named = dict(chain.from_iterable(results.blobs.items() for results in every))
    insert_rows(connection, blobs, sorted(named.values()), again=True)
    for table, name in ((candidates, "candidates"), (populations, "populations"), (features, "features")):
        insert_rows(connection, table, list(chain.from_iterable(map(attrgetter(name), every))))
    judged: dict[str, list[tuple[Any, ...]]] = {"scores": [], "pools": []}
    counts: list[dict[str, Any]] = []
    for job, found in by_job.items():
        ids = dict(connection.execute(LABELS, {"job_": job}).all())
        for results in found.values():
            for name, rows in judged.items():
                for label, some in getattr(results, name).items():
                    rows += [(ids[label], *row) for row in some]
            counts += [{"judge": ids[label], **row} for label, some in results.tallies.items() for row in some]
    insert_rows(connection, scores, judged["scores"])
    insert_rows(connection, pools, judged["pools"])
    if counts:  # running counts: several shards may share an item
        connection.execute(TALLY[connection.dialect.name], counts)


def _count(connection: sa.Connection, job: int, found: Iterable[Results]) -> None:
    every = list(found)
    if rows := [{"job_": job, **NOTHING, **row} for results in every for row in results.items]:
        connection.execute(ADD_TO_ITEM, rows)
    added = {f"{name}_": sum(getattr(results, name) for results in every) for name in COUNTED}
    drawn = sum(len(results.candidates) for results in every)
    connection.execute(ADD_TO_JOB, {"job_": job, "candidates_": drawn, **added})


def _spent(found: Mapping[Claim, Results]) -> tuple[list[Span], dict[str, int]]:
    """The pieces that have ended, and what they took of a quota."""
    spent = {name: sum(getattr(results, name) for results in found.values()) for name in ("evaluations", "tokens")}
    drawn = sum(len(results.candidates) for results in found.values())
    return [span for claimed in found for span in claimed.spans], {**spent, "samples": drawn}
