"""Resampling schemes behind one signature: (uniforms, weights, m) -> ancestors.

weights: float [n], normalised. Returns int64 [m], sorted: ancestor i is expected m * weights[i] times (all schemes are
unbiased). uniforms: float [>= max(n, m)] in (0, 1); a scheme reads only as many as it needs. Sources: Chopin &
Papaspiliopoulos 2020, chapter 9; for SSP, Gerber, Chopin & Whiteley 2019.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from search.ports import Floats, Ints

Scheme = Literal["systematic", "ssp", "stratified", "residual", "multinomial"]

_BELOW_ONE = float(np.nextafter(1.0, 0.0))


def _inverse(points: Floats, weights: Floats) -> Ints:
    """Inverse of the weights' cumulative sum at sorted points."""
    edges = np.cumsum(weights)
    # Rounding must leave no point beyond the last edge, nor in a weight of zero behind it.
    return np.searchsorted(edges / edges[-1], np.minimum(points, _BELOW_ONE), side="right").astype(np.int64)


def systematic(uniforms: Floats, weights: Floats, m: int) -> Ints:
    """One uniform shifts a regular comb; uniform weights give the identity."""
    return _inverse((np.arange(m) + uniforms[0]) / m, weights)


def stratified(uniforms: Floats, weights: Floats, m: int) -> Ints:
    """One uniform in each of m equal strata."""
    return _inverse((np.arange(m) + uniforms[:m]) / m, weights)


def multinomial(uniforms: Floats, weights: Floats, m: int) -> Ints:
    """m independent draws."""
    return _inverse(np.sort(uniforms[:m]), weights)


def residual(uniforms: Floats, weights: Floats, m: int) -> Ints:
    """floor(m w) copies of each, the rest multinomial over the remainders (Liu & Chen 1998)."""
    whole = np.floor(m * weights + 1e-12).astype(np.int64)
    rest = m - int(whole.sum())
    if rest > 0:
        left = np.maximum(m * weights - whole, 0.0)
        np.add.at(whole, multinomial(uniforms, left / left.sum(), rest), 1)
    return np.repeat(np.arange(len(weights)), whole)


def ssp(uniforms: Floats, weights: Floats, m: int) -> Ints:
    """Srinivasan sampling: pairs of fractional counts move until one is whole; negatively associated, low variance."""
    counts = np.floor(m * weights + 1e-12)
    left = np.clip(m * weights - counts, 0.0, 1.0)
    fractional = [int(i) for i in np.flatnonzero(left > 1e-12)]
    for uniform in uniforms:
        if len(fractional) < 2:
            break
        j, i = fractional.pop(), fractional.pop()
        down, up = min(left[j], 1 - left[i]), min(left[i], 1 - left[j])  # masses that may move j -> i or i -> j
        if uniform * (down + up) < up:
            left[i], left[j] = left[i] + down, left[j] - down
        else:
            left[i], left[j] = left[i] - up, left[j] + up
        fractional += [k for k in (i, j) if 1e-12 < left[k] < 1 - 1e-12]
    whole = np.rint(counts + left).astype(np.int64)
    whole[np.argmax(weights)] += m - int(whole.sum())  # rounding of the very last fraction
    return np.repeat(np.arange(len(weights)), whole)


SCHEMES: dict[Scheme, Callable[[Floats, Floats, int], Ints]] = {
    "systematic": systematic,
    "ssp": ssp,
    "stratified": stratified,
    "residual": residual,
    "multinomial": multinomial,
}
