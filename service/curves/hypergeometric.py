"""Ratios of binomial coefficients, relative error about 1e-12 up to pools of 10^6 samples, and the checks of (n, c, k).

A difference of log-gammas loses nine digits at n = 10^6, so the large terms of Stirling's series are cancelled by hand.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, Protocol, TypeAlias, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
LongFloats: TypeAlias = NDArray[np.longdouble]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LOG_ZERO = -1e100  # stands for log 0 in extended precision, where adding infinities is ten times slower
_SMALL = 16  # below it Stirling's remainder is tabulated, from it on five terms of the series are exact


class Pool(NamedTuple):
    """Checked counts of one common shape: n samples, c correct among them, k drawn."""

    n: Ints
    c: Ints
    k: Ints


def whole_numbers(name: str, value: ArrayLike) -> Ints:
    """Return `value` as integers of the same shape; raise ValueError unless every entry is a whole number."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be whole numbers, got {array.dtype} values")
    whole = np.isfinite(array) & (array == np.floor(array))
    if not whole.all():
        raise ValueError(f"{name} must be whole numbers, got {array[~whole][0]}")
    return array.astype(np.int64)


class OfCounts(Protocol):
    """A function of counts: a float if n, c and k are all scalars, else an array of their common shape."""

    @overload
    def __call__(self, n: int, c: int, k: int) -> float: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats: ...


def of_counts(formula: Callable[[Ints, Ints, Ints], Floats]) -> OfCounts:
    """Turn a formula over checked arrays of one shape into a function of scalars or arrays; errors as `check_pool`."""

    @wraps(formula)
    def function(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> float | Floats:
        return plain(formula(*check_pool(n, c, k)))

    return cast(OfCounts, function)


def check_pool(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Pool:
    """Broadcast n, c and k; raise ValueError unless n >= 1, 0 <= c <= n and 1 <= k <= n everywhere."""
    pool = Pool(*np.broadcast_arrays(whole_numbers("n", n), whole_numbers("c", c), whole_numbers("k", k)))
    refuse("n must be at least 1", pool, pool.n < 1)
    refuse("c must be between 0 and n", pool, (pool.c < 0) | (pool.c > pool.n))
    refuse("k must be between 1 and n (no unbiased estimate exists beyond n)", pool, (pool.k < 1) | (pool.k > pool.n))
    return pool


def refuse(rule: str, pool: Pool, bad: NDArray[np.bool_]) -> None:
    """Raise ValueError with `rule` and the first offending counts if any entry is bad."""
    if bad.any():
        n, c, k = (int(values[bad][0]) for values in pool)
        raise ValueError(f"{rule}; got n = {n}, c = {c}, k = {k} ({int(bad.sum())} of {bad.size} entries)")


def log_choose_ratio(n: Ints, c: Ints, k: Ints) -> Floats:
    """Return log C(n-c, k)/C(n, k), the log-probability that k draws miss all c; -inf where c + k > n.

    With D = n-c-k+1, A = D+k, B = D+c, N = D+c+k and the identity AB = DN + ck, Stirling's main terms collapse to
    (D - 1/2) log1p(ck/DN) + k log(A/N) + c log(B/N), each of the size of the result.
    """
    cf, kf = c.astype(np.float64), k.astype(np.float64)
    d = np.maximum(n - c - k, 0).astype(np.float64) + 1  # D; clamped where the ratio is 0 anyway
    a, b, top = d + kf, d + cf, n.astype(np.float64) + 1  # A, B, N
    main = (d - 0.5) * np.log1p(cf * kf / (d * top)) + kf * _log_share(a, cf, top) + cf * _log_share(b, kf, top)
    remainder = (_remainder(a) - _remainder(top)) + (_remainder(b) - _remainder(d))
    return np.where(c + k > n, -np.inf, main + remainder)


def log_factorials(n: int) -> LongFloats:
    """Return log x! for x = 0..n in extended precision where the machine has it (absolute error 1e-12 at 10^6)."""
    z = np.arange(1, n + 2, dtype=np.longdouble)
    rest = (_HALF_LOG_2PI + _remainder(z.astype(np.float64))).astype(np.longdouble)
    return (z - 0.5) * np.log(z) - z + rest


def log_choose(log_factorial: LongFloats, a: Ints | int, b: Ints | int) -> LongFloats:
    """Return log C(a, b) from a table of log-factorials reaching max(a) >= 0; LOG_ZERO where b < 0 or b > a."""
    top, picked = np.broadcast_arrays(np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64))
    possible = (picked >= 0) & (picked <= top)
    picked = np.where(possible, picked, 0)
    return np.where(possible, log_factorial[top] - log_factorial[picked] - log_factorial[top - picked], LOG_ZERO)


def plain(values: Floats) -> float | Floats:
    """Return a plain float for a 0-d array, other arrays as they are."""
    return float(values) if np.ndim(values) == 0 else values


def _log_share(part: Floats, rest: Floats, whole: Floats) -> Floats:
    """Return log(part/whole) where part = whole - rest, exact at both ends."""
    return np.where(2 * rest < whole, np.log1p(-rest / whole), np.log(part / whole))


def _remainder(z: Floats) -> Floats:
    """Return r(z) = lgamma(z) - [(z - 1/2) log z - z + log(2 pi)/2] for whole z >= 1."""
    inverse = 1.0 / np.maximum(z, _SMALL)
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    return np.where(z < _SMALL, _REMAINDERS[np.minimum(z, _SMALL - 1).astype(np.int64)], series)


_REMAINDERS = np.array(
    [0.0] + [math.lgamma(z) - ((z - 0.5) * math.log(z) - z + _HALF_LOG_2PI) for z in range(1, _SMALL)]
)
