"""Voting over a whole curve, by simulation."""

import numpy as np
from numpy.typing import NDArray

from service.curves.hypergeometric import Floats, Ints

_MOST = 4_000_000  # places of samples in all orders of all problems, about: a tenth of a second


NEAR = 1e-9
"""Relative difference of two sums of votes that are equal but for rounding."""


def orders_for(problems: int, samples: int) -> int:
    """Return how many random orders of each problem's pool to take: 1000 in all are enough, 8 of each at least.

    A mean over problems needs few of each: their noise is in its spread over problems, and so in its interval.
    """
    return max(2, min(max(8, 1000 // max(1, problems)), _MOST // max(1, problems * samples)))


def majority_curve(
    forms: NDArray[np.uint64], right: Floats, grid: Ints, orders: int, seed: int = 0, weights: Floats | None = None
) -> Floats:
    """Return for each k the chance that the answer with most votes of k samples is right; ties are broken uniformly.

    forms: (n,) the canonical answer that each sample votes for, 0 for none. right: (n,) grades in [0, 1]; an answer's
    grade is the mean over its samples. grid: (K,) rising, within 1..n. weights: (n,) of each vote, nan for none; 1
    when left out. Unbiased: every k is the beginning of the same `orders` random orders of the pool. Returns (K,).
    Where no sample of k votes, nothing is right.
    """
    if weights is not None:
        forms = np.where(np.isnan(weights), np.uint64(0), forms)
    names, answer = np.unique(forms, return_inverse=True)
    grade = np.bincount(answer, right, names.size) / np.bincount(answer, minlength=names.size)
    order = np.broadcast_to(np.arange(forms.size), (orders, forms.size))
    order = np.random.default_rng(seed).permuted(order, axis=1)
    cast = None if weights is None else np.nan_to_num(weights)[order]
    answer = answer[order] + names.size * np.arange(orders)[:, None]
    times, before, won = np.zeros((orders, names.size), np.int64), 0, np.empty(len(grid))
    votes = times if cast is None else np.zeros(times.shape)
    silent = names == 0
    for place, k in enumerate(grid.tolist()):
        new = slice(before, before := k)
        times += np.bincount(answer[:, new].ravel(), minlength=times.size).reshape(times.shape)
        if cast is not None:
            votes += np.bincount(answer[:, new].ravel(), cast[:, new].ravel(), times.size).reshape(times.shape)
        heard = np.where(silent | (times == 0), -np.inf, votes)
        most = heard.max(axis=1, keepdims=True)
        leads = (heard >= most - NEAR * np.abs(most)) & np.isfinite(most)  # sums in another order round differently
        won[place] = ((leads @ grade) / np.maximum(leads.sum(axis=1), 1)).mean()
    return won
