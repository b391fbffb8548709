"""A judge's verdicts on one search, packed as columns: curves read these, and never the rows of `scores`.

Little-endian: n float64 values (nan: unscored), n int8 passes (-1: none given) and, where an answer has a canonical
form, n uint64 names of these (0: none).
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from search.ports import Floats, Ints, Score, Values
from service.store.schema import pools

Passes = NDArray[np.int8]
Names = NDArray[np.uint64]


class Columns(NamedTuple):
    """Verdicts in order of sample [n]. values: nan where unscored. passed: 1, 0, or -1 where the judge gave no pass.

    forms: names of the canonical forms, equal for equal forms; 0 for an answer without. None when all are.
    """

    values: Floats
    passed: Passes
    forms: Names | None


class Pool(NamedTuple):
    """One judge's verdicts over a whole job [items, samples], each item's without gaps from the left; `Columns` there.

    drawn: verdicts of each item [items]. What lies behind them is nan, -1 and 0.
    """

    values: Floats
    passed: Passes
    forms: Names | None
    drawn: Ints


def named(form: str | None) -> int:
    """A canonical form's name of 64 bits: among a million forms, two share one with a chance of 3e-8."""
    return 0 if form is None else int.from_bytes(blake2b(form.encode(), digest_size=8).digest(), "little") or 1


def packed(scores: Sequence[Score]) -> bytes:
    """Verdicts of one search, in order of sample."""
    if isinstance(scores, Values):
        return pack(Columns(scores.array, np.full(len(scores), -1, np.int8), None))
    values = np.array([np.nan if score.value is None else score.value for score in scores], np.float64)
    passed = np.array([-1 if score.passed is None else score.passed for score in scores], np.int8)
    forms = [score.canonical for score in scores]
    votes = any(form is not None for form in forms)
    return pack(Columns(values, passed, np.array([named(form) for form in forms], np.uint64) if votes else None))


def pack(columns: Columns) -> bytes:
    """Columns as bytes."""
    values, passed, forms = columns
    names = b"" if forms is None else forms.astype("<u8").tobytes()
    return values.astype("<f8").tobytes() + passed.astype("i1").tobytes() + names


def unpack(n: int, data: bytes) -> Columns:
    """Bytes as columns of n verdicts. Raises ValueError for bytes that hold another number."""
    if len(data) not in (9 * n, 17 * n):
        raise ValueError(f"a pool of {n} verdicts has {9 * n} or {17 * n} bytes, not {len(data)}")
    forms = np.frombuffer(data, "<u8", n, 9 * n) if len(data) > 9 * n else None
    return Columns(np.frombuffer(data, "<f8", n), np.frombuffer(data, "i1", n, 8 * n), forms)


def pool(connection: sa.Connection, judge: int, items: int, samples: int) -> Pool:
    """All verdicts of a judge. samples: the most of any item. Shards end in any order, and some never come."""
    values, passed = np.full((items, samples), np.nan), np.full((items, samples), -1, np.int8)
    forms: Names | None = None
    drawn = np.zeros(items, np.int64)
    columns = (pools.c.item, pools.c.n, pools.c.data)
    query = sa.select(*columns).where(pools.c.judge == judge).order_by(pools.c.item, pools.c.first)
    for item, n, data in connection.execute(query.execution_options(yield_per=1000)):
        mine = slice(drawn[item], drawn[item] + n)
        values[item, mine], passed[item, mine], names = unpack(n, data)
        if names is not None:
            forms = np.zeros((items, samples), np.uint64) if forms is None else forms
            forms[item, mine] = names
        drawn[item] += n
    return Pool(values, passed, forms, drawn)
