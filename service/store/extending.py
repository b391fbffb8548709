"""A job that has ended goes on: in one transaction, the samples that it asks for and does not have become shards."""

import json
import time
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

import sqlalchemy as sa

from generators.given import GIVEN
from search import keys
from search.configs import MethodConfig
from service.catalog import Prepared
from service.extending import Run, Stored, checked, rest
from service.planner import fitting, span_size
from service.spec import JobSpec
from service.store import clock, outbox, quotas
from service.store.access import KEY
from service.store.creating import add_shards
from service.store.jobs import Conflict, emit, find, hold
from service.store.results import judges_of
from service.store.schema import candidates, extensions, items, jobs, populations

Row = sa.Row[Any]
ENDED = ("completed", "cancelled")
"""States from which a job goes on."""
OPENED = (
    sa.update(items)
    .where(items.c.job == sa.bindparam("job_"), items.c.number == sa.bindparam("n"))
    .values(state="in_progress", stop_reason=None, shards_left=items.c.shards_left + sa.bindparam("more"))
)


class Asked(NamedTuple):
    """Who asked for what: the job as it was read, its spec, an idempotency key, and a digest of the request."""

    job: Row
    spec: JobSpec
    key: str | None
    digest: str


def repeated(connection: sa.Connection, asked: Asked) -> bool:
    """Whether the request was honoured before. Raises Conflict where its key came with another."""
    if asked.key is None:
        return False
    mine = sa.and_(extensions.c.job == asked.job.id, extensions.c.idempotency_key == asked.key)
    digest = connection.execute(sa.select(extensions.c.digest).where(mine)).scalar()
    if digest is not None and digest != asked.digest:
        raise Conflict(f"Idempotency-Key {asked.key!r} was used with another body, for job {asked.job.name}")
    return digest is not None


def extendable(job: Row) -> None:
    """Raise Conflict for a job that cannot go on, or not now."""
    if job.model == GIVEN:
        why = "extend the job that drew them, and have it judged again" if job.rescores else "verify the others"
        raise Conflict(f"job {job.name} judges answers that were given to it, and draws none: {why}")
    if job.state == "failed":
        raise Conflict(f"job {job.name} has failed, and its items with it: nothing of it goes on; submit it again")
    if job.state not in ENDED:
        raise Conflict(f"job {job.name} is {job.state}; wait until it has ended, or cancel it, then extend it")


def extend(connection: sa.Connection, asked: Asked, old: MethodConfig, grown: Prepared) -> Row:
    """Let a job go on, once; the same request again finds it. old: its method's configuration until now.

    Raises Conflict, Exhausted, or Invalid.
    """
    hold(connection, asked.job.id)
    if repeated(connection, asked):
        return find(connection, asked.job.name)
    job = find(connection, asked.job.name)
    extendable(job)
    if job.extended != asked.job.extended:
        raise Conflict(f"job {job.name} was extended meanwhile; look at it, and ask again")
    _same_judges(connection, job, grown)
    if job.webhook is not None and not outbox.secrets_of(connection, KEY.get()):
        message = "it tells a webhook, and this key has no secret to sign that with; POST /v1/webhooks/secret makes one"
        raise Conflict(f"job {job.name}: {message}")
    checked(old, grown)
    spent = {name: getattr(job, name) for name in ("evaluations", "tokens", "previews", "verifier_calls")}
    spent |= {"verifier_seconds": job.verifier_seconds, "seconds": clock.worked(job, job.finished)}
    plan = rest(grown, stored(connection, job, old, grown), spent)
    quotas.reserve(connection, job.id, grown, chain.from_iterable(plan))
    left: dict[int, int] = {}
    for span in chain.from_iterable(plan):
        left[span.item] = left.get(span.item, 0) + 1
    connection.execute(OPENED, [{"job_": job.id, "n": n, "more": more} for n, more in left.items()])
    add_shards(connection, job, plan, first=job.shards)
    row = {"job": job.id, "number": job.extended + 1, "idempotency_key": asked.key, "digest": asked.digest}
    connection.execute(sa.insert(extensions), row | {"at": time.time()})
    _again(connection, asked, grown.spec, {"shards": len(plan), "items": len(left)}, spent["seconds"])
    return find(connection, job.name)


def _again(connection: sa.Connection, asked: Asked, spec: JobSpec, more: Mapping[str, int], worked: float) -> None:
    """The job waits, as it is asked for now; who extends it pays for what is new."""
    budget = spec.budget.model_dump_json()
    values: dict[str, Any] = {"state": "queued", "stop_reason": None, "started": None, "finished": None}
    values |= {"spec": spec.model_dump_json(), "budget": budget, "key": KEY.get(), "worked": worked}
    values |= {"extended": jobs.c.extended + 1, "shards": jobs.c.shards + more["shards"]}
    values["items_done"] = jobs.c.items_done - more["items"]
    connection.execute(sa.update(jobs).where(jobs.c.id == asked.job.id).values(**values))
    told = {"search": spec.search.model_dump(), "budget": json.loads(budget), **more}
    was = {"search": asked.spec.search.model_dump(), "budget": json.loads(asked.job.budget)}
    emit(connection, asked.job.id, "extended", {"state": "queued", **told, "before": was})


def _same_judges(connection: sa.Connection, job: Row, grown: Prepared) -> None:
    """Verdicts of two versions of a judge are not those of one job."""
    for row, judge in zip(judges_of(connection, job.id), grown.judges, strict=True):
        if row.version != judge.version:
            said = f"{judge.label!r} has version {judge.version} now, and {row.version} when it judged job {job.name}"
            raise Conflict(f"{said}: submit the job again")


def stored(connection: sa.Connection, job: Row, old: MethodConfig, grown: Prepared) -> dict[int, Stored]:
    """What each item has that may go on, by number. One that failed, or has found what it searched for, is left out."""
    rows = connection.execute(sa.select(items).where(items.c.job == job.id).order_by(items.c.number)).all()
    rows = [row for row in rows if row.error is None and (old.stops is None or row.stop_reason != old.stops)]
    runs = _runs(connection, rows, old, grown.spec)
    if "weights" in grown.method.plugin.facts.offers:
        _weighted(connection, job, runs, old)
    parts = _parts(connection, job, grown)
    verifiers = len(grown.of("verifier"))
    return {
        row.number: Stored(
            runs[row.number],
            {
                "evaluations": row.evaluations,
                "tokens": row.tokens,
                "verifier_calls": verifiers * (row.drawn + row.lost),
            },
            parts.get(row.number, {}),
        )
        for row in rows
    }


def _runs(connection: sa.Connection, rows: Sequence[Row], old: MethodConfig, spec: JobSpec) -> dict[int, Sequence[Run]]:
    """Samples that items have, by number. Raises Conflict where it cannot be told, or where some are half of a search.

    Of a search that was stopped the finished answers are stored, without a gap where others were not finished. The key
    of the last one says whether there were such.
    """
    counts = {row.number: row.drawn + row.lost for row in rows}
    found: dict[int, Sequence[Run]] = {n: [(0, count)] if count else [] for n, count in counts.items()}
    cut = {row.number: row for row in rows if counts[row.number] not in (0, old.samples)}
    if not cut:
        return found
    piece = None if old.stops else old.piece
    edges = zip(*(connection.execute(_edges(rows[0].job, old.samples, by)) for by in (-1, 1)), strict=True)
    for number, runs in groupby(edges, key=lambda edge: edge[0].item):
        if number not in cut:
            continue
        found[number] = mine = list[Run]()
        problem = keys.problem(spec.seed, cut[number].id)
        for first, last in runs:
            known = keys.name(keys.rows(problem, last.sample, 1)) == [last.key]
            if not known if piece is None else first.sample % piece or (last.sample + 1) % piece:
                raise _cut(cut[number])
            mine.append((first.sample, last.sample + 1))
    return found


def _edges(job: int, whole: int, by: int) -> sa.Select[Any, Any, Any]:
    """Stored samples of items that have some and not `whole`, where the one beside (-1: before, 1: behind) is not."""
    beside = candidates.alias("beside")
    place = (beside.c.job == job, beside.c.item == candidates.c.item, beside.c.sample == candidates.c.sample + by)
    some = sa.and_(items.c.job == candidates.c.job, items.c.number == candidates.c.item)
    query = sa.select(candidates.c.item, candidates.c.sample, candidates.c.key).join(items, some)
    part = (items.c.drawn + items.c.lost).not_in((0, whole))
    return query.where(candidates.c.job == job, part, ~sa.exists().where(*place)).order_by(
        candidates.c.item, candidates.c.sample
    )


def _cut(item: Row) -> Conflict:
    why = f" ({item.stop_reason})" if item.stop_reason else ""
    return Conflict(f"item {item.id!r} was stopped{why} in the middle of a search, which cannot go on; submit it again")


def _weighted(connection: sa.Connection, job: Row, runs: Mapping[int, Sequence[Run]], old: MethodConfig) -> None:
    """Raise Conflict for an item with a population that was stopped after its last answer and before its weights."""
    mine = sa.select(populations.c.item, sa.func.count()).where(populations.c.job == job.id)
    found = dict(connection.execute(mine.group_by(populations.c.item)).all())
    for number, some in runs.items():
        if sum(end - first for first, end in some) != found.get(number, 0) * (old.piece or 1):
            where = sa.and_(items.c.job == job.id, items.c.number == number)
            raise _cut(connection.execute(sa.select(items).where(where)).one())


def _parts(connection: sa.Connection, job: Row, grown: Prepared) -> dict[int, dict[int, dict[str, int]]]:
    """By item and number of a span of the new plan, what its stored samples have cost."""
    if all(getattr(grown.spec.budget, name) is None for name in ("evaluations", "tokens", "verifier_calls")):
        return {}
    part = (candidates.c.sample // span_size(grown.plan, fitting(grown))).label("part")
    sums = [sa.func.coalesce(sa.func.sum(candidates.c[name]), 0).label(name) for name in ("evaluations", "tokens")]
    query = sa.select(candidates.c.item, part, *sums, sa.func.count().label("n")).where(candidates.c.job == job.id)
    found: dict[int, dict[int, dict[str, int]]] = {}
    for row in connection.execute(query.group_by(candidates.c.item, part)):
        calls = len(grown.of("verifier")) * row.n
        spent = {"evaluations": int(row.evaluations), "tokens": int(row.tokens), "verifier_calls": calls}
        found.setdefault(row.item, {})[row.part] = spent
    return found
