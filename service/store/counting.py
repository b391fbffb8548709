"""How many jobs and shards are in each state: for those who watch a whole fleet."""

from typing import NamedTuple

import sqlalchemy as sa

from service.store.schema import jobs, shards


def jobs_by_state(connection: sa.Connection) -> dict[str, int]:
    """Jobs in each state that any is in."""
    rows = connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)).all()
    return {row[0]: row[1] for row in rows}


def shards_by_state(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """Shards of each (model, state) that any is in, in that order."""
    which = shards.c.model, shards.c.state
    rows = connection.execute(sa.select(*which, sa.func.count()).group_by(*which).order_by(*which)).all()
    return {(model, state): n for model, state, n in rows}


RECENT = 1000
"""Newest jobs, among which the usual cost of a model's shard is looked for."""


class Left(NamedTuple):
    """What the live jobs of a model have still to do: shards that wait or run, and about so many evaluations."""

    shards: int
    evaluations: float


def left_by_model(connection: sa.Connection, unknown: float) -> dict[str, Left]:
    """Work that is accepted and not done, for each model that has any.

    A shard is taken to cost what its job's finished shards cost on average; else what those of the model's newest jobs
    did; else `unknown`. Jobs that are being cancelled do not count. Reads live and recent jobs, never shards.
    """
    live = jobs.c.state.in_(("queued", "in_progress"))
    waiting = jobs.c.shards - jobs.c.shards_done
    begun = jobs.c.shards_done > 0
    own = 1.0 * jobs.c.evaluations / sa.func.nullif(jobs.c.shards_done, 0)
    newest = sa.select(sa.func.coalesce(sa.func.max(jobs.c.id), 0) - RECENT).scalar_subquery()
    usual = dict(
        connection.execute(
            sa.select(jobs.c.model, 1.0 * sa.func.sum(jobs.c.evaluations) / sa.func.sum(jobs.c.shards_done))
            .where(begun, jobs.c.id > newest)
            .group_by(jobs.c.model)
        ).all()
    )
    mine = (
        sa.select(
            jobs.c.model,
            sa.func.sum(waiting),
            sa.func.sum(sa.case((begun, own * waiting), else_=0.0)),
            sa.func.sum(sa.case((begun, 0), else_=waiting)),
        )
        .where(live)
        .group_by(jobs.c.model)
        .order_by(jobs.c.model)
    )
    return {
        model: Left(int(n), float(known) + float(usual.get(model, unknown)) * int(new))
        for model, n, known, new in connection.execute(mine)
        if n
    }
