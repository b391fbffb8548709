"""Intervals of the mean of values in [0, 1] over independent problems, and simultaneous bands over several means.

Near 0 and 1 the spread of few problems says too little: of 30 problems with mean .98 hardly one differs from 1, and a
logit-t interval holds the truth 75 % of the time (bench/intervals.py). `anchored` adds half a problem, one quarter of
it solved and one quarter unsolved, before mean and spread are taken, and needs no wider quantile than the normal one
then: Agresti and Coull's added successes and failures, on the logit scale. Many problems leave nothing of the anchor.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from service.curves.hypergeometric import Floats

_NO_SPREAD = 1e-12  # values closer than this differ by rounding only
_ANCHOR = 0.5  # problems added, half of it at 0 and half at 1


class Interval(NamedTuple):
    """A confidence interval for one number, 0 <= low <= high <= 1."""

    low: float
    high: float


class Band(NamedTuple):
    """A simultaneous confidence band over K means: two arrays (K,)."""

    low: Floats
    high: Floats


def mean_interval(values: Floats, level: float, method: str = "anchored") -> Interval:
    """Return the interval of the mean of `values` (M,) by a method of `METHODS`; see `coverage_interval`.

    Raises ValueError for another method or a level outside (0, 1).
    """
    check_level(level)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if values.size == 1:
        return Interval(0.0, 1.0)
    if np.ptp(values) <= _NO_SPREAD:
        return binomial_interval(float(values.mean()), values.size, level)
    return METHODS[method](values, level)


def sup_t(values: Floats, level: float, draws: int, seed: int) -> Band:
    """Return the sup-t band of the K row means of `values` (K, M); see `sup_t_band`."""
    check_level(level)
    grid, problems = values.shape
    if problems == 1:
        return Band(np.zeros(grid), np.ones(grid))
    low, high = np.empty(grid), np.empty(grid)
    flat = np.ptp(values, axis=1) <= _NO_SPREAD
    for i in np.flatnonzero(flat):
        low[i], high[i] = binomial_interval(float(values[i].mean()), problems, 1 - (1 - level) / grid)
    if not flat.all():
        critical = _sup_t_critical(values[~flat], level, draws, seed)
        low[~flat], high[~flat] = _logit_bounds(values[~flat], critical, _ANCHOR)
    return Band(low, high)


def _sup_t_critical(values: Floats, level: float, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    root, vectors = np.linalg.eigh(np.atleast_2d(np.corrcoef(values)))
    factor = vectors * np.sqrt(np.maximum(root, 0.0))  # factor @ factor.T = correlation
    normal = rng.standard_normal((draws, values.shape[0])) @ factor.T
    return float(np.quantile(np.abs(normal).max(axis=1), level))


def _logit_bounds(values: Floats, critical: float, anchor: float) -> tuple[Floats, Floats]:
    """Return expit(logit m -+ critical * SE / (m(1-m))), m and SE over the last axis and `anchor` further problems.

    The bounds hold the mean of `values` alone too.
    """
    problems, mean = values.shape[-1], values.mean(axis=-1)
    hit, miss = ((problems * share + anchor / 2) / (problems + anchor) for share in (mean, (1 - values).mean(axis=-1)))
    squares = ((values - hit[..., None]) ** 2).sum(axis=-1) + anchor / 2 * (hit**2 + miss**2)
    error = np.sqrt(squares / (problems + anchor - 1) / (problems + anchor))
    half = critical * error / (hit * miss)  # delta method
    # expit(logit m - h) = m / (m + (1-m) e^h), and the same from above
    with np.errstate(over="ignore"):
        low, high = hit / (hit + miss * np.exp(half)), 1 - miss / (miss + hit * np.exp(half))
    return np.minimum(low, mean), np.maximum(high, mean)


def normal_logit(mean: float, error: float, level: float) -> Interval:
    """Return the interval of a mean in (0, 1) from its standard error, normal on the logit scale."""
    from scipy.special import expit, logit

    half = _normal_quantile(level) * error / (mean * (1 - mean))
    return Interval(float(expit(logit(mean) - half)), float(expit(logit(mean) + half)))


def _anchored(values: Floats, level: float) -> Interval:
    low, high = _logit_bounds(values, _normal_quantile(level), _ANCHOR)
    return Interval(float(low), float(high))


def _logit_t(values: Floats, level: float) -> Interval:
    low, high = _logit_bounds(values, _t_quantile(level, values.size - 1), 0.0)
    return Interval(float(low), float(high))


def _t(values: Floats, level: float) -> Interval:
    half = _t_quantile(level, values.size - 1) * float(values.std(ddof=1)) / np.sqrt(values.size)
    return Interval(max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half))


def _bootstrap(values: Floats, level: float) -> Interval:
    import scipy.stats

    bca = cast(Any, scipy.stats).bootstrap  # untyped
    batch = max(1, 1_000_000 // values.size)  # bounds the memory of a batch
    rng = np.random.default_rng(0)
    found = bca((values,), np.mean, confidence_level=level, method="BCa", batch=batch, rng=rng).confidence_interval
    return Interval(float(found.low), float(found.high))


METHODS: dict[str, Callable[[Floats, float], Interval]] = {
    "anchored": _anchored,
    "logit_t": _logit_t,
    "t": _t,
    "bootstrap": _bootstrap,
}


def binomial_interval(mean: float, problems: int, level: float) -> Interval:
    """Return the Clopper-Pearson interval of x = M * mean (not only whole x) in M trials."""
    from scipy.special import betaincinv

    x, tail = problems * mean, (1 - level) / 2
    low = 0.0 if mean <= 0 else float(betaincinv(x, problems - x + 1, tail))
    high = 1.0 if mean >= 1 else float(betaincinv(x + 1, problems - x, 1 - tail))
    return Interval(low, high)


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def _t_quantile(level: float, dof: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(dof, (1 + level) / 2))


def check_level(level: float) -> None:
    """Raise ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.95; got {level!r}")
