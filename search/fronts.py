"""Answers that no other beats in everything: non-dominated sorting and crowding (Deb et al. 2002, NSGA-II)."""

import numpy as np

from search.ports import Bools, Floats, Ints


def dominated(values: Floats) -> Bools:
    """Which answers another one beats: at least as good in all objectives, better in one. [n] of values [d, n]."""
    out = np.zeros(values.shape[1], bool)
    for i, one in enumerate(values.T):  # row by row: n x n comparisons never lie in memory at once
        out[i] = ((values >= one[:, None]).all(0) & (values > one[:, None]).any(0)).any()
    return out


def fronts(values: Floats) -> Ints:
    """The front of every answer, int [n]: 0 is beaten by none, 1 by those of front 0 only, ... values: [d, n]."""
    rank, left = np.zeros(values.shape[1], np.int64), np.arange(values.shape[1])
    while len(left):
        beaten = dominated(values[:, left])
        rank[left[beaten]] += 1
        left = left[beaten]
    return rank


def crowding(values: Floats) -> Floats:
    """How far apart an answer's two neighbours are, summed over objectives, as parts of each one's range: [n].

    values: of one front, [d, n]. inf for the best and the worst in an objective, the lowest place of equals.
    """
    total = np.zeros(values.shape[1])
    for one in values:
        order = np.argsort(one, kind="stable")
        span = one[order[-1]] - one[order[0]]
        if len(order) > 2 and span > 0:
            total[order[1:-1]] += (one[order[2:]] - one[order[:-2]]) / span
        best = int(np.flatnonzero(one == one.max())[0])
        total[[order[0], best]] = np.inf
    return total


def pareto(values: Floats, standing: Floats, k: int) -> Ints:
    """Places of min(k, n) answers in order: the highest standing, then front by front, in each the least crowded first.

    values: [d, n], higher is better; standing: [n], such that no beaten answer has the highest one, like minus the mean
    rank. Ends of a front come first; of equals the lower place.
    """
    n = values.shape[1]
    if not n:
        return np.zeros(0, np.int64)
    rank, apart = fronts(values), np.zeros(n)
    for front in range(int(rank.max()) + 1):
        mine = np.flatnonzero(rank == front)
        apart[mine] = crowding(values[:, mine])
    order = np.lexsort((np.arange(n), -apart, rank))
    best = int(np.argmax(standing))
    return np.concatenate([[best], order[order != best]])[:k].astype(np.int64)
