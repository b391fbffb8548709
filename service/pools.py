"""The pools of a job as arrays: what every point of its curve is computed from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pools:
    """M items and at most N verdicts of each, in order of sample; what lies behind an item's `drawn` says nothing.

    drawn, unscored: [M] verdicts, and those without a score. true: [M, N] passes of the judge. values: [M, N] of the
    first verifier, nan where unscored. selects: whether the highest of them is what the job returns. forms: [M, N]
    names of canonical forms by which the job would vote, 0 for none. accepted, both: [M] passes of the verifier, and
    those that the judge passes too; None where one of them gives no passes or both are one. picked: [M, N] whether the
    answer is right that is returned of each, where that is not `true`. votes: [M, N] weight of each vote for its form,
    nan for none, where the job's answer is that of a weighted vote.
    """

    drawn: Ints
    unscored: Ints
    true: Bools
    values: Floats
    selects: bool
    forms: NDArray[np.uint64] | None = None
    accepted: Ints | None = None
    both: Ints | None = None
    picked: Bools | None = None
    votes: Floats | None = None

    @property
    def passes(self) -> Ints:
        """Right answers of each item [M]."""
        return self.true.sum(1)


def populations(pools: Pools, size: int) -> Pools:
    """Pools whose samples are whole populations of `size` answers, the last perhaps smaller.

    Answers of one population depend on each other: a part of it is not what a smaller one would have found. Populations
    are independent. One is right where any of its answers is; it returns the answer of its highest value.
    """
    items, n = pools.true.shape
    most = -(-n // size)
    pad = ((0, 0), (0, most * size - n))
    true = np.pad(pools.true, pad).reshape(items, most, size)
    values = np.pad(pools.values, pad, constant_values=np.nan).reshape(items, most, size)
    ranked = np.where(np.isnan(values), -np.inf, values)
    best = ranked.argmax(2)[..., None]
    scored = np.isfinite(values).any(2)
    drawn = -(-pools.drawn // size)
    return Pools(
        drawn=drawn,
        unscored=drawn - scored.sum(1),
        true=np.any(true, axis=2),
        values=np.where(scored, np.take_along_axis(ranked, best, 2)[..., 0], np.nan),
        selects=pools.selects,
        picked=np.take_along_axis(true, best, 2)[..., 0] & scored,
    )
