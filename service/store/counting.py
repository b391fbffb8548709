"""How many jobs and shards are in each state: for those who watch a whole fleet."""

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
