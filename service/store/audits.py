"""What people said of answers: labels against which a judge is measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from search.ports import Floats, Ints
from service.store.access import mine
from service.store.bulk import insert_rows
from service.store.pools import unpack
from service.store.schema import audits, jobs, judges, pools, scores


class Confusion(NamedTuple):
    """Labelled answers with a verdict: right accepted, wrong accepted, right rejected, wrong rejected."""

    tp: int
    fp: int
    fn: int
    tn: int


class Verdicts(NamedTuple):
    """Everything that one judge said [n], by item and sample. value: nan where unscored.

    verdict: 1 accepted, 0 rejected, -1 none. ms: of its call, for each answer.
    """

    item: Ints
    sample: Ints
    value: Floats
    verdict: NDArray[np.int8]
    ms: Floats

    @property
    def place(self) -> Ints:
        """(item, sample) as one number, ascending."""
        return self.item << 32 | self.sample


class Labels(NamedTuple):
    """Labelled answers of one judge [n], by item and sample."""

    item: Ints
    sample: Ints
    right: NDArray[np.bool_]
    at: Floats

    @property
    def place(self) -> Ints:
        """(item, sample) as one number, ascending."""
        return self.item << 32 | self.sample


def verdicts(connection: sa.Connection, judge: int) -> Verdicts:
    """Every verdict of a judge, unscored ones too: from the packed columns, never from the rows of `scores`."""
    own = (pools.c.item, pools.c.first, pools.c.n, pools.c.data, scores.c.ms)
    first = sa.and_(scores.c.judge == pools.c.judge, scores.c.item == pools.c.item, scores.c.sample == pools.c.first)
    query = sa.select(*own).select_from(pools.outerjoin(scores, first)).where(pools.c.judge == judge)
    rows = connection.execute(query.order_by(pools.c.item, pools.c.first)).all()
    n = np.array([row.n for row in rows], np.int64)
    columns = [unpack(row.n, row.data) for row in rows]
    return Verdicts(
        np.repeat(np.array([row.item for row in rows], np.int64), n),
        np.concatenate([np.arange(row.first, row.first + row.n) for row in rows] or [np.zeros(0, np.int64)]),
        np.concatenate([c.values for c in columns] or [np.zeros(0)]),
        np.concatenate([c.passed for c in columns] or [np.zeros(0, np.int8)]),
        np.repeat(np.array([row.ms for row in rows], np.float64), n),  # one call judged the whole search
    )


def labels(connection: sa.Connection, judge: int) -> Labels:
    """Every label of a judge."""
    own = (audits.c.item, audits.c.sample, audits.c.right, audits.c.at)
    query = sa.select(*own).where(audits.c.judge == judge).order_by(audits.c.item, audits.c.sample)
    rows = connection.execute(query).all()
    item, sample, right, at = zip(*rows, strict=True) if rows else ((),) * 4
    return Labels(np.array(item, np.int64), np.array(sample, np.int64), np.array(right, bool), np.array(at, np.float64))


def counts(connection: sa.Connection, judge: int) -> Confusion:
    """Labelled answers of a judge by label and verdict; those without a verdict count nowhere."""
    same = sa.and_(scores.c.judge == audits.c.judge, scores.c.item == audits.c.item, scores.c.sample == audits.c.sample)
    query = sa.select(scores.c.passed, audits.c.right, sa.func.count()).select_from(audits.join(scores, same))
    query = query.where(audits.c.judge == judge).group_by(scores.c.passed, audits.c.right)
    found = {(passed, right): n for passed, right, n in connection.execute(query)}
    cells = ((True, True), (True, False), (False, True), (False, False))
    return Confusion(*(found.get(cell, 0) for cell in cells))


def unscored(connection: sa.Connection, judge: int, places: Sequence[tuple[int, int]]) -> int | None:
    """Which of these (item, sample) is the first that the judge has not scored; None when it scored all."""
    found: set[tuple[int, int]] = set()
    for item in {item for item, _ in places}:
        samples = [sample for number, sample in places if number == item]
        mine = sa.and_(scores.c.judge == judge, scores.c.item == item, scores.c.sample.in_(samples))
        query = sa.select(scores.c.sample).where(mine, scores.c.value.is_not(None))
        found |= {(item, sample) for sample in connection.execute(query).scalars()}
    return next((i for i, place in enumerate(places) if place not in found), None)


def write(connection: sa.Connection, judge: int, given: dict[tuple[int, int], bool], at: float) -> None:
    """Keep labels by (item, sample), in place of those that were there."""
    mine = sa.and_(audits.c.judge == judge, audits.c.item == sa.bindparam("i"), audits.c.sample == sa.bindparam("s"))
    connection.execute(sa.delete(audits).where(mine), [{"i": item, "s": sample} for item, sample in given])
    insert_rows(connection, audits, [(judge, *place, right, at) for place, right in given.items()])


def judged(connection: sa.Connection, name: str | None = None) -> Sequence[sa.Row[Any]]:
    """Judges that have verdicts, with their job's public id and time, oldest job first. name: of one plug-in."""
    has = sa.exists().where(pools.c.judge == judges.c.id)
    columns = (judges, jobs.c.name.label("job_name"), jobs.c.created)
    query = sa.select(*columns).select_from(judges.join(jobs, jobs.c.id == judges.c.job)).where(has, mine(jobs))
    if name is not None:
        query = query.where(judges.c.name == name)
    return connection.execute(query.order_by(jobs.c.id, judges.c.place)).all()


def asked(connection: sa.Connection, judge_ids: Sequence[int]) -> int:
    """Answers that these judges were asked about."""
    query = sa.select(sa.func.coalesce(sa.func.sum(pools.c.n), 0)).where(pools.c.judge.in_(judge_ids))
    return int(connection.execute(query).scalar_one())
