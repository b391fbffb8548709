"""Votes for canonical forms, counted by the database."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from search.voting import Ballot
from service.store.schema import scores


def votes(verifiers: Sequence[int], ballot: Ballot, item: int | None = None) -> sa.Select[Any, Any, Any, Any]:
    """Rows (item, canonical, sample, weight), one for each form: its first sample that votes, and its sum of votes.

    verifiers: ids in the spec's order. Forms are those of the first, weights those of the last. item: of one alone.
    """
    of, by = scores.alias("of"), scores.alias("by")
    cast: sa.FromClause = of
    weight: sa.ColumnElement[Any] = sa.func.count()
    wanted = [of.c.judge == verifiers[0], of.c.canonical.is_not(None)]
    if ballot.kind != "count":
        same = sa.and_(by.c.judge == verifiers[-1], by.c.item == of.c.item, by.c.sample == of.c.sample)
        cast = of.join(by, same)
        wanted.append((by.c.value if ballot.kind == "value" else by.c.passed).is_not(None))
        weight = sa.func.sum(by.c.value) if ballot.kind == "value" else _odds(by, ballot)
    if item is not None:
        wanted.append(of.c.item == item)
    columns = (of.c.item, of.c.canonical, sa.func.min(of.c.sample).label("sample"), weight.label("weight"))
    return sa.select(*columns).select_from(cast).where(*wanted).group_by(of.c.item, of.c.canonical)


def _odds(by: sa.FromClause, ballot: Ballot) -> sa.ColumnElement[Any]:
    """Sum of log-odds from whole counts, so that equal counts weigh exactly the same."""
    passed, failed = (sa.func.sum(sa.case((by.c.passed.is_(verdict), 1), else_=0)) for verdict in (True, False))
    return passed * sa.literal(ballot.passed) + failed * sa.literal(ballot.failed)


def voters(connection: sa.Connection, verifiers: Sequence[int], ballot: Ballot, item: int, limit: int) -> list[int]:
    """The first samples of an item that voted for the winning form; of a tie, for the form seen first."""
    counted = votes(verifiers, ballot, item).subquery()
    order = (counted.c.weight.desc(), counted.c.sample)
    winner = connection.execute(sa.select(counted.c.canonical).order_by(*order).limit(1)).scalar()
    of, by = scores.alias("of"), scores.alias("by")
    mine = sa.and_(of.c.judge == verifiers[0], of.c.item == item, of.c.canonical == winner)
    query = sa.select(of.c.sample).where(mine)
    if ballot.kind != "count":
        said = by.c.value if ballot.kind == "value" else by.c.passed
        same = sa.and_(by.c.judge == verifiers[-1], by.c.item == item, by.c.sample == of.c.sample)
        query = query.select_from(of.join(by, same)).where(said.is_not(None))
    return [] if winner is None else list(connection.execute(query.order_by(of.c.sample).limit(limit)).scalars())
