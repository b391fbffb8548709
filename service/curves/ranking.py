"""Pools ordered by a score, best first, with their ties, and the chance that each place is the best of k draws."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from service.curves.hypergeometric import Floats, Ints, log_choose_ratio, plain, whole_numbers


class Ranked(NamedTuple):
    """M rows of n values, best score first and laid end to end, and the T runs of equal scores in them."""

    values: Floats  # (M * n,)
    start: Ints  # (T,) first position of each run; no run crosses rows
    size: Ints  # (T,)


def rows_of(name: str, samples: ArrayLike) -> Floats:
    """Return samples (n,) or (M, n) as (M, n); raise ValueError for another shape or no samples."""
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name} must be (n,) or (M, n) with at least one sample, got shape {array.shape}")
    return np.atleast_2d(array)


def grades_of(name: str, samples: ArrayLike, scores: Floats) -> Floats:
    """Return finite grades shaped (M, n) as `scores`; raise ValueError if they are not."""
    rows = rows_of(name, samples)
    if rows.shape != scores.shape:
        raise ValueError(f"{name} must have the shape of the scores, {scores.shape}, got {rows.shape}")
    if not np.isfinite(rows).all():
        bad = rows[~np.isfinite(rows)]
        raise ValueError(f"{name} must be finite, got {bad[0]} ({bad.size} of {rows.size}); give it a bound or drop it")
    return rows


def budgets_of(k: ArrayLike, n: int) -> Ints:
    """Return k as a grid (K,); raise ValueError unless it is a number or a grid of whole numbers within 1..n."""
    grid = whole_numbers("k", k)
    if grid.ndim > 1 or grid.size == 0:
        raise ValueError(f"k must be a number or a grid (K,), got shape {grid.shape}")
    if grid.min() < 1 or grid.max() > n:
        raise ValueError(f"k must be between 1 and n = {n} (no unbiased estimate exists beyond n), got {k!r}")
    return np.atleast_1d(grid)


def shaped(results: Floats, samples: ArrayLike, k: ArrayLike) -> float | Floats:
    """Return results (M, K) without the axes that the caller's samples or k did not have; a float if none is left."""
    results = results if np.ndim(k) else results[:, 0]
    return plain(results if np.ndim(samples) == 2 else results[0])


def best_first(scores: Floats, values: Floats) -> Ranked:
    """Order each row of `values` (M, n) by falling `scores`; nan scores form one last run."""
    order = np.argsort(-scores, axis=1)  # nan sorts last
    ordered = np.take_along_axis(scores, order, axis=1)
    before, after = ordered[:, :-1], ordered[:, 1:]
    new = np.ones(scores.shape, dtype=np.bool_)
    new[:, 1:] = (before != after) & ~(np.isnan(before) & np.isnan(after))
    start = np.flatnonzero(new).astype(np.int64)
    size = np.diff(start, append=scores.size)
    return Ranked(np.take_along_axis(values, order, axis=1).ravel(), start, size)


def best_of_k_weights(n: int, grid: Ints) -> Floats:
    """Return (n, K): P(place j, from the best at 0, is the best of k draws) = C(n-j, k)/C(n, k) * k/(n-j)."""
    worse = np.arange(n, dtype=np.int64)
    weights = np.empty((n, grid.size))
    for column, k in enumerate(grid):
        pool = np.full(n, n, dtype=np.int64), worse, np.full(n, k, dtype=np.int64)
        weights[:, column] = np.exp(log_choose_ratio(*pool)) * k / (n - worse)
    return weights
