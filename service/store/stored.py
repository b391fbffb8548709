"""Answers of a job as they were stored, to be judged again."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.store.schema import blobs, candidates, items, jobs, judges, scores

USABLE = sa.or_(candidates.c.answer.is_not(None), candidates.c.artifact.is_not(None))


class Extent(NamedTuple):
    """samples: of the item that has most, those that are missing before the last too. kept: answers that are there."""

    samples: int
    kept: int


def extent(connection: sa.Connection, job: int) -> Extent:
    """How many answers a job has left."""
    counts = (sa.func.max(candidates.c.sample), sa.func.count().filter(USABLE))
    last, kept = connection.execute(sa.select(*counts).where(candidates.c.job == job)).one()
    return Extent(0 if last is None else last + 1, kept)


class Piece(NamedTuple):
    """A range of samples of one item. rows: sample, key, answer, artifact. reasons: of lost answers, by sample."""

    rows: Sequence[sa.Row[Any, Any, Any, Any]]
    reasons: dict[int, str]
    stop_reason: str | None
    error: str | None


class Read(NamedTuple):
    """Pieces of a job. whole: it kept every answer. blobs: small bytes, each with its kind, by their name."""

    whole: bool
    pieces: list[Piece]
    blobs: dict[str, tuple[str, bytes]]


def read(connection: sa.Connection, name: str, ranges: Sequence[tuple[int, int, int]]) -> Read | None:
    """Ranges (item, first, count) of a job, whoever owns it. None when there is no such job any more."""
    job = connection.execute(sa.select(jobs.c.id, jobs.c.spec).where(jobs.c.name == name)).first()
    if job is None:
        return None
    pieces = [_piece(connection, job.id, *one) for one in ranges]
    named = {row.artifact for piece in pieces for row in piece.rows if row.artifact is not None}
    mine = sa.select(blobs).where(blobs.c.sha256.in_(named))
    small = {row.sha256: (row.suffix, row.data) for row in connection.execute(mine)} if named else {}
    return Read(json.loads(job.spec).get("keep", "all") == "all", pieces, small)


def _piece(connection: sa.Connection, job: int, item: int, first: int, count: int) -> Piece:
    mine = sa.and_(candidates.c.job == job, candidates.c.item == item)
    range_ = candidates.c.sample.between(first, first + count - 1)
    columns = (candidates.c.sample, candidates.c.key, candidates.c.answer, candidates.c.artifact)
    rows = connection.execute(sa.select(*columns).where(mine, range_).order_by(candidates.c.sample)).all()
    lost = [row.sample for row in rows if row.answer is None and row.artifact is None]
    reasons: dict[int, str] = {}
    if lost:
        judge = sa.select(sa.func.min(judges.c.id)).where(judges.c.job == job).scalar_subquery()
        why = sa.select(scores.c.sample, scores.c.reason).where(
            scores.c.judge == judge, scores.c.item == item, scores.c.sample.in_(lost), scores.c.reason.is_not(None)
        )
        reasons = dict(connection.execute(why).all())
    own = sa.select(items.c.stop_reason, items.c.error).where(items.c.job == job, items.c.number == item)
    told = connection.execute(own).first()
    return Piece(rows, reasons, *(told or (None, None)))
