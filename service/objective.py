"""What a tune's trial is worth, from what its job has stored: no answer is read again, and no network called."""

from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from search.ports import Floats
from service.curves.frechet import Moments, frechet
from service.store.features import places
from service.store.schema import TERMINAL, candidates, judges, scores
from service.tune_spec import Trial, TuneSpec
from service.tuning import samples_of

Row = sa.Row[Any]


class Worth(NamedTuple):
    """A value, or the reason why there is none; a reference has neither."""

    value: float | None = None
    reason: str | None = None


class Unmeasured(Exception):
    """A set of answers has no value."""


def worth(connection: sa.Connection, spec: TuneSpec, trial: Trial, job: Row, reference: Row | None) -> Worth:
    """Of an ended trial. job, reference: their jobs' rows. A part of the answers is never taken for all of them."""
    assert job.state in TERMINAL
    try:
        if job.state != "completed":
            raise Unmeasured(f"its job has {job.state}{': ' + job.error if job.error else ''}")
        n = samples_of(spec, trial) * len(spec.items)
        drawn = connection.execute(sa.select(sa.func.count()).where(candidates.c.job == job.id)).scalar()
        if drawn != n:
            raise Unmeasured(f"its job drew {drawn} of {n} answers")
        if spec.objective.measure == "score":
            return Worth(_mean(connection, job.id, n))
        points = _places(connection, job.id, len(spec.items), n)
        if reference is None:
            return Worth()
        there = _places(connection, reference.id, len(spec.items), n)
        return Worth(frechet(Moments.of(points), Moments.of(there)))
    except (Unmeasured, ValueError) as error:
        return Worth(reason=str(error)[:500])


def _mean(connection: sa.Connection, job: int, n: int) -> float:
    """The mean over verifiers of their mean value over all answers."""
    verifiers = sa.select(judges.c.id, judges.c.label).where(judges.c.job == job, judges.c.role == "verifier")
    means: list[float] = []
    for judge in connection.execute(verifiers.order_by(judges.c.place)).all():
        mine = scores.c.judge == judge.id
        count, mean = connection.execute(
            sa.select(sa.func.count(scores.c.value), sa.func.avg(scores.c.value)).where(mine)
        ).one()
        if count != n:
            why = sa.select(scores.c.reason).where(mine, scores.c.value.is_(None)).limit(1)
            reason = connection.execute(why).scalar()
            raise Unmeasured(f"{n - count} of {n} answers are unscored by {judge.label!r}: {reason}")
        means.append(float(mean))
    return float(np.mean(means))


def _places(connection: sa.Connection, job: int, items: int, n: int) -> Floats:
    """Where all answers lie, float64 [n, d]. Raises Unmeasured when some have no place."""
    points = np.concatenate([places(connection, job, item).points for item in range(items)])
    missing = n - int(np.isfinite(points).all(1).sum())
    if missing:
        raise Unmeasured(f"{missing} of {n} answers have no place in the feature space")
    return points
