"""Points of a curve of votes that end when they are settled."""

import numpy as np
from numpy.typing import NDArray

from service.curve_points import budgets, estimate
from service.pools import Bools, Pools
from service.views import Point

Forms = NDArray[np.uint64]


def settled_points(pools: Pools, each: float, level: float) -> list[Point]:
    """First k draws of each item, or all of an item whose vote ended before: what a job of k samples would return.

    A vote that no later sample can change at n cannot be changed at k < n; and whether the leader probably stays ahead
    does not depend on n. So the answers are those of a job of k samples, at no less than its draws. each: evaluations
    of a sample.
    """
    points: list[Point] = []
    for k in budgets(int(pools.drawn.max(initial=0))):
        ends = np.minimum(pools.drawn, k)
        draws = float(ends.mean())
        solved = np.array([right[:n].any() for right, n in zip(pools.true, ends, strict=True)], float)
        won = None
        if pools.forms is not None:
            rows = zip(pools.forms, pools.true, ends, strict=True)
            won = estimate(np.array([_won(forms[:n], right[:n]) for forms, right, n in rows]), level)
        points.append(
            Point(
                k=k,
                items=len(ends),
                evaluations=each * draws,
                coverage=estimate(solved, level),
                selected=None,
                draws=draws,
                majority=won,
            )
        )
    return points


def _won(forms: Forms, right: Bools) -> float:
    """Whether the first answer of the most frequent form is right; of a tie, of the form seen first."""
    names, first, times = np.unique(forms, return_index=True, return_counts=True)
    times = np.where(names == 0, 0, times)  # 0 never votes
    if not times.any():
        return 0.0
    return float(right[first[times == times.max()].min()])
