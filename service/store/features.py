"""Where the answers of one search lie in the job's feature space, packed: float16 [n, d], one row of the table."""

from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from search.ports import Floats, Ints
from service.store.schema import features


class Places(NamedTuple):
    """samples: [n], ascending. points: [n, d]; nan where an answer has no place."""

    samples: Ints
    points: Floats


def packed(points: NDArray[Any]) -> bytes:
    """Points [n, d] as bytes."""
    return points.astype("<f2").tobytes()


def places(connection: sa.Connection, job: int, item: int) -> Places:
    """Every answer of an item that was placed. Raises ValueError when its searches disagree about the dimension."""
    mine = sa.and_(features.c.job == job, features.c.item == item)
    query = sa.select(features.c.first, features.c.n, features.c.data).where(mine).order_by(features.c.first)
    rows = connection.execute(query).all()
    if not rows:
        return Places(np.zeros(0, np.int64), np.zeros((0, 0)))
    points = [np.frombuffer(row.data, "<f2").reshape(row.n, -1) for row in rows]
    samples = [np.arange(row.first, row.first + row.n) for row in rows]
    return Places(np.concatenate(samples), np.concatenate(points).astype(np.float64))


def along(found: Places, samples: Ints) -> Floats:
    """Points of these samples [n, d], in their order; nan for one that was not placed."""
    if not len(found.samples):
        return np.full((len(samples), 1), np.nan)
    place = np.minimum(np.searchsorted(found.samples, samples), len(found.samples) - 1)
    return np.where((found.samples[place] == samples)[:, None], found.points[place], np.nan)
