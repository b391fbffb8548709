"""Ranks of values, and what ranks answers that several judges scored."""

import numpy as np

from search.ports import Floats


def ranks(values: Floats) -> Floats:
    """How many values are higher, and half of those that are equal, itself among them; nan for nan. values: [n]."""
    known = ~np.isnan(values)
    _, place, count = np.unique(values[known], return_inverse=True, return_counts=True)
    out = np.full(len(values), np.nan)
    out[known] = (known.sum() - np.cumsum(count) + 0.5 * count)[place]
    return out


def beaten(values: Floats) -> Floats:
    """Share of the others that each value beats, ties half: [n] in 0 to 1; nan for nan, 0 without others."""
    known = np.count_nonzero(~np.isnan(values))
    return (known - 0.5 - ranks(values)) / max(1, known - 1)


def standing(values: Floats) -> Floats:
    """The value or, with several judges, minus the mean rank (Ma et al. 2025, verifier ensemble): float64 [n].

    values: float64 [d, n], a row a judge. Higher is better; nan where a judge has not scored.
    """
    return values[0] if len(values) == 1 else -np.mean([ranks(row) for row in values], axis=0)
