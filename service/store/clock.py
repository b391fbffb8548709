"""The database's clock: one for all workers, whatever the clocks of their machines say."""

from typing import Any

import sqlalchemy as sa

NOW = {
    "sqlite": sa.text("select (julianday('now') - 2440587.5) * 86400.0"),  # of the machine that has the file
    "postgresql": sa.text("select cast(extract(epoch from clock_timestamp()) as double precision)"),
}


def now(connection: sa.Connection) -> float:
    """Seconds since 1970."""
    return float(connection.execute(NOW[connection.dialect.name]).scalar_one())


def worked(job: sa.Row[Any], at: float) -> float:
    """Seconds that a job has run by then. Between its end and its extension it did not."""
    return job.worked + ((job.finished or at) - job.started if job.started else 0.0)
