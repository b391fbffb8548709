"""Majority voting over a whole curve, by simulation."""

import numpy as np
from numpy.typing import NDArray

from service.curves.hypergeometric import Floats, Ints

_MOST = 4_000_000  # places of samples in all orders of all problems, about: a tenth of a second


def orders_for(problems: int, samples: int) -> int:
    """Return how many random orders of each problem's pool to take: 1000 in all are enough, 8 of each at least.

    A mean over problems needs few of each: their noise is in its spread over problems, and so in its interval.
    """
    return max(2, min(max(8, 1000 // max(1, problems)), _MOST // max(1, problems * samples)))


def majority_curve(forms: NDArray[np.uint64], right: Floats, grid: Ints, orders: int, seed: int = 0) -> Floats:
    """Return for each k the chance that the most frequent of k answers is right; ties are broken uniformly.

    forms: (n,) the canonical answer that each sample votes for, 0 for none. right: (n,) grades in [0, 1]; an answer's
    grade is the mean over its samples. grid: (K,) rising, within 1..n. Unbiased: every k is the beginning of the same
    `orders` random orders of the pool. Returns (K,). Where no sample of k votes, nothing is right.
    """
    names, answer = np.unique(forms, return_inverse=True)
    grade = np.bincount(answer, right, names.size) / np.bincount(answer, minlength=names.size)
    answer = np.broadcast_to(answer, (orders, forms.size)).copy()
    answer = np.random.default_rng(seed).permuted(answer, axis=1) + names.size * np.arange(orders)[:, None]
    votes, before, won = np.zeros((orders, names.size), np.int64), 0, np.empty(len(grid))
    silent = names == 0
    for place, k in enumerate(grid.tolist()):
        votes += np.bincount(answer[:, before:k].ravel(), minlength=votes.size).reshape(votes.shape)
        before = k
        heard = np.where(silent, 0, votes)
        most = heard.max(axis=1, keepdims=True)
        leads = (heard == most) & (most > 0)
        won[place] = ((leads @ grade) / np.maximum(leads.sum(axis=1), 1)).mean()
    return won
