"""Answers that score well and differ: maximal marginal relevance (Carbonell and Goldstein 1998, SIGIR)."""

from typing import NamedTuple

import numpy as np

from search.ports import Bools, Floats, Ints
from search.ranking import beaten

DIGITS = 9
"""Decimal digits of a marginal relevance that count, so that rounding decides no tie."""


class Variety(NamedTuple):
    """How an item's answers should differ. space: the feature space's name. weight: 0 (not at all) to 1."""

    space: str
    weight: float


def similarity(points: Floats, one: int) -> Floats:
    """exp(-d^2 / D^2) of every answer to answer `one`: [n] in 0 to 1. points: [n, d]; D^2: see `spread`.

    An answer that is nowhere (a row with nan) is like every other: it can be chosen for its value only.
    """
    with np.errstate(invalid="ignore"):
        square = np.square(points).sum(1)
        distance = np.maximum(0, square + square[one] - 2 * points @ points[one])
    return np.where(np.isnan(distance), 1.0, np.exp(-np.nan_to_num(distance)))


def spread(points: Floats) -> float:
    """Mean squared distance of two answers drawn from `points` [n, d] with replacement: twice the total variance."""
    return 2 * float(points.var(axis=0).sum()) if len(points) else 0.0


def diverse(values: Floats, points: Floats, k: int, weight: float) -> Ints:
    """Places of min(k, n) answers, in the order in which they are chosen. values: [n], finite. points: [n, d].

    First the highest value. Then, again and again, the largest (1 - weight) relevance - weight (largest similarity to
    an answer that is chosen), where relevance is the share of the others that an answer beats. Of equals the lower
    place. weight 0: by value. Raises ValueError for a weight outside 0 to 1, values that are not finite, and points of
    another number of rows.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight {weight} must lie between 0 and 1")
    if not np.isfinite(values).all():
        raise ValueError("every value must be finite")
    if points.ndim != 2 or len(points) != len(values):
        raise ValueError(f"{len(values)} values need points of shape [{len(values)}, d], not {list(points.shape)}")
    known: Bools = ~np.isnan(points.sum(1))
    points = np.where(known[:, None], points, np.nan).astype(np.float64)
    if known.any():
        points -= points[known].mean(0)  # only differences count, and these keep their digits near the origin
        points /= np.sqrt(spread(points[known])) or 1.0
    worth, nearest = beaten(values), np.zeros(len(values))
    gain, chosen = worth.copy(), list[int]()
    for _ in range(min(k, len(values))):
        chosen.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, similarity(points, chosen[-1]))
        gain = np.round((1 - weight) * worth - weight * nearest, DIGITS)
        gain[chosen] = -np.inf
    return np.array(chosen, np.int64)
