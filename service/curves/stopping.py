"""When to stop drawing: costs against the best answer so far, votes that are settled, batches that double."""

from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from service.curves.hypergeometric import whole_numbers


class Distribution(Protocol):
    """A distribution of rewards, as scipy.stats freezes one."""

    def mean(self) -> Any: ...
    def expect(self, func: Any, lb: float) -> Any: ...
    def isf(self, q: float) -> Any: ...


def reservation_value(rewards: ArrayLike, cost: float, weights: ArrayLike | None = None) -> float:
    """Return z with E[max(X - z, 0)] = cost, X one of `rewards` (R,): draw again while the best so far is below z.

    Optimal when draws are independent, each costs `cost` > 0 in units of reward and the best one is kept. weights: (R,)
    chances, equal if left out. Exact. Raises ValueError for a cost that is not positive, no or infinite rewards, or
    weights that are negative or sum to 0. Source: Weitzman 1979, Optimal search for the best alternative.
    """
    x = np.asarray(rewards, np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64)
    _check_cost(cost)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"rewards must be (R,) finite numbers, at least one; got shape {x.shape}")
    if w.shape != x.shape or not (w >= 0).all() or not 0 < w.sum() < np.inf:
        raise ValueError(f"weights must be one chance >= 0 for each reward, got {weights!r}")
    order = np.argsort(-x)
    x, w = x[order], w[order] / w.sum()
    mass, total = np.cumsum(w), np.cumsum(w * x)  # of the i highest
    kept = mass > 0
    # E[max(X - z, 0)] is the highest of the lines total_i - mass_i z, so z is the highest root
    return float(((total - cost)[kept] / mass[kept]).max())


def reservation_value_of(distribution: Distribution, cost: float) -> float:
    """Return `reservation_value` for a frozen scipy.stats distribution with a mean."""
    from scipy.optimize import brentq

    _check_cost(cost)

    def excess(z: float) -> float:
        return float(distribution.expect(lambda x: x - z, lb=z)) - cost

    low = float(distribution.mean()) - cost  # E[max(X - z, 0)] >= E[X] - z
    high = max(low, float(distribution.isf(min(0.5, cost)))) + 1.0
    step = 1.0
    while excess(high) > 0:
        high, step = high + step, 2 * step
    return float(cast(Any, brentq)(excess, low - 1e-9 * (1 + abs(low)), high, xtol=1e-13, rtol=1e-14))


def adaptive_consistency(v1: int, v2: int) -> float:
    """Return P(the leading answer, v1 votes, stays ahead of the second, v2): P(q > 1/2) for q ~ Beta(v1+1, v2+1).

    Stop when it passes 0.95, say. Raises ValueError unless v1 >= v2 >= 0.
    Source: Aggarwal et al. 2023, arXiv 2305.11860.
    """
    from scipy.special import betainc

    if not v1 >= v2 >= 0:
        raise ValueError(f"votes must be v1 >= v2 >= 0, got {v1!r} and {v2!r}")
    return float(betainc(v2 + 1, v1 + 1, 0.5))


def majority_is_settled(counts: ArrayLike, remaining: int) -> bool:
    """Return whether the leader of `counts` (C,) wins whatever the `remaining` votes are: its lead exceeds them.

    Raises ValueError for negative or no counts, or negative `remaining`.
    """
    votes = whole_numbers("counts", counts)
    if votes.ndim != 1 or not votes.size or votes.min() < 0 or remaining < 0:
        raise ValueError(f"counts must be (C,) numbers >= 0 and remaining >= 0, got {counts!r} and {remaining!r}")
    first, second = np.sort(np.append(votes, 0))[[-1, -2]]
    return bool(first - second > remaining)


def doubling_rounds(k: int) -> list[int]:
    """Return batches 1, 1, 2, 4, ... and the rest, k in all: stopping after a batch wastes at most half of it.

    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    batches = [1]
    while (done := sum(batches)) < k:
        batches.append(min(done, k - done))
    return batches


def _check_cost(cost: float) -> None:
    if not 0 < cost < np.inf:
        raise ValueError(f"cost must be positive and finite, got {cost!r}")
