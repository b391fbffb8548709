"""The one answer that each item of a job returns, for all items at once: what `results.best` puts first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.catalog import Rule
from service.store.schema import items, scores
from service.store.votes import votes

Chosen = sa.Select[Any, Any]
"""Rows (item, sample), one for each item that has an answer."""


class Outcome(NamedTuple):
    """One item of a job as a judge sees it. sample: that of the returned answer; None when there is none."""

    number: int
    id: str
    state: str
    error: str | None
    evaluations: int
    sample: int | None
    value: float | None
    passed: bool | None
    reason: str | None


def outcomes(connection: sa.Connection, job: int, verifiers: Sequence[int], rule: Rule, judge: int) -> list[Outcome]:
    """Every item of a job in order, with the verdict of `judge` on the answer that `rule` selects.

    verifiers: ids of the job's verifiers in the spec's order. The first of diverse and of pareto is that of verifier.
    """
    if rule.ballot is not None:
        counted = votes(verifiers, rule.ballot).subquery()
        chosen = _first(counted, counted.c.weight.desc()).subquery()
    else:
        chosen = (_first_pass if rule.name == "first_pass" else _best)(verifiers).subquery()
    mine = sa.and_(scores.c.judge == judge, scores.c.item == chosen.c.item, scores.c.sample == chosen.c.sample)
    verdict = (scores.c.value, scores.c.passed, scores.c.reason)
    # Not one query with the items: SQLite would run the subquery again for each of them.
    query = sa.select(chosen.c.item, chosen.c.sample, *verdict).select_from(chosen.outerjoin(scores, mine))
    found = {item: row for item, *row in connection.execute(query)}
    own = (items.c.number, items.c.id, items.c.state, items.c.error, items.c.evaluations)
    rows = connection.execute(sa.select(*own).where(items.c.job == job).order_by(items.c.number))
    return [Outcome(*row, *found.get(row.number, (None, None, None, None))) for row in rows]


def _first_pass(verifiers: Sequence[int]) -> Chosen:
    """The first sample that every verifier passed."""
    passed = sa.select(scores.c.item, scores.c.sample)
    passed = passed.where(scores.c.judge.in_(verifiers), scores.c.passed.is_(True))
    all_of = passed.group_by(scores.c.item, scores.c.sample).having(sa.func.count() == len(verifiers)).subquery()
    return sa.select(all_of.c.item, sa.func.min(all_of.c.sample).label("sample")).group_by(all_of.c.item)


def _best(verifiers: Sequence[int]) -> Chosen:
    """The highest value; with several verifiers the best mean rank among samples that all of them scored."""
    scored = sa.and_(scores.c.judge.in_(verifiers), scores.c.value.is_not(None))
    if len(verifiers) == 1:
        valued = sa.select(scores.c.item, scores.c.sample, scores.c.value).where(scored).subquery()
        return _first(valued, valued.c.value.desc())
    common = sa.select(scores.c.item, scores.c.sample).where(scored).group_by(scores.c.item, scores.c.sample)
    common = common.having(sa.func.count() == len(verifiers)).subquery()
    both = sa.and_(common.c.item == scores.c.item, common.c.sample == scores.c.sample)
    pool = (scores.c.judge, scores.c.item)
    above = sa.func.rank().over(partition_by=pool, order_by=scores.c.value.desc()) - 1
    equal = sa.func.count().over(partition_by=(*pool, scores.c.value))
    rank = (2 * above + equal).label("rank")  # twice the mean rank of ties: whole numbers, so that sums are exact
    ranks = sa.select(scores.c.item, scores.c.sample, rank).join(common, both).where(scored).subquery()
    summed = sa.select(ranks.c.item, ranks.c.sample, sa.func.sum(ranks.c.rank).label("rank"))
    summed = summed.group_by(ranks.c.item, ranks.c.sample).subquery()
    return _first(summed, summed.c.rank)


def _first(pool: sa.Subquery, order: sa.ColumnElement[float]) -> Chosen:
    """Each item's first row by `order`; of equals the lowest sample."""
    place = sa.func.row_number().over(partition_by=pool.c.item, order_by=(order, pool.c.sample)).label("place")
    placed = sa.select(pool.c.item, pool.c.sample, place).subquery()
    return sa.select(placed.c.item, placed.c.sample).where(placed.c.place == 1)
