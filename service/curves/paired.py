"""Differences between two searches that answered the same items: the spread that items share cancels out."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from service.curves.imperfect import wilson
from service.curves.intervals import check_level

_NO_SPREAD = 1e-12  # differences closer than this, relative to the values, differ by rounding only


class Difference(NamedTuple):
    """A difference and its confidence interval. low and high are nan where the data have no spread to judge by."""

    mean: float
    low: float
    high: float


def paired_t(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Difference:
    """Return the mean of first - second, d, over items with its paired-t interval d -+ t(M-1) sd(d)/sqrt(M).

    first, second: finite values (M,) of the same items, on any scale. A single item, or differences that are all
    equal, have no spread: their interval is nan. Raises ValueError for other shapes, no items or values that are not
    finite, and for a level outside (0, 1).
    """
    check_level(level)
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(f"both must hold one value per item, at least one item; got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("values must be finite; leave unscored items out of both")
    d = a - b
    mean = float(d.mean())
    scale = float(np.maximum(np.abs(a), np.abs(b)).max())
    if a.size == 1 or float(np.ptp(d)) <= _NO_SPREAD * scale:
        return Difference(mean, np.nan, np.nan)
    from scipy.special import stdtrit

    half = float(stdtrit(d.size - 1, (1 + level) / 2)) * float(d.std(ddof=1)) / sqrt(d.size)
    return Difference(mean, mean - half, mean + half)


def paired_proportions(both: int, first_only: int, second_only: int, neither: int, level: float = 0.95) -> Difference:
    """Return p1 - p2 = (first_only - second_only)/M of two yes/no outcomes of the same M items, with its interval.

    Square-and-add of the two Wilson intervals (l, u), with phi the outcomes' correlation:
    low = d - sqrt(L1^2 - 2 phi L1 U2 + U2^2), high = d + sqrt(U1^2 - 2 phi U1 L2 + L2^2), L = p - l, U = u - p.
    A positive phi is lowered by the source's correction, M/2 off ad - bc. It has a width even
    where no item is discordant. Raises ValueError for negative counts, no items, or a level outside (0, 1).
    Source: Newcombe 1998, method 10, 10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C.
    """
    check_level(level)
    cells = (both, first_only, second_only, neither)
    total = sum(cells)
    if min(cells) < 0 or not total:
        raise ValueError(f"counts must not be negative and must hold at least one item; got {cells}")
    below1, above1 = _wilson_arms(both + first_only, total, level)
    below2, above2 = _wilson_arms(both + second_only, total, level)
    phi = _phi(*cells)
    d = (first_only - second_only) / total
    down = below1**2 - 2 * phi * below1 * above2 + above2**2
    up = above1**2 - 2 * phi * above1 * below2 + below2**2
    # |phi| <= 1 keeps both squares from being negative but for rounding
    return Difference(d, max(-1.0, d - sqrt(max(0.0, down))), min(1.0, d + sqrt(max(0.0, up))))


def _phi(both: int, first_only: int, second_only: int, neither: int) -> float:
    """Return the corrected correlation; 0 where an outcome is the same for all items."""
    margins = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    if not margins:
        return 0.0
    excess = both * neither - first_only * second_only
    if excess > 0:
        excess = max(0.0, excess - (both + first_only + second_only + neither) / 2)
    return excess / sqrt(margins)


def _wilson_arms(x: int, n: int, level: float) -> tuple[float, float]:
    """Return (p - l, u - p) of the Wilson score interval (l, u) of x of n."""
    low, high = wilson(x, n, level)
    return x / n - low, high - x / n
