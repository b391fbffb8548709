"""Intervals of the mean of values in [0, 1] over independent problems, and simultaneous bands over several means."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from service.curves.hypergeometric import Floats

_NO_SPREAD = 1e-12  # values closer than this differ by rounding only


class Interval(NamedTuple):
    """A confidence interval for one number, 0 <= low <= high <= 1."""

    low: float
    high: float


class Band(NamedTuple):
    """A simultaneous confidence band over K means: two arrays (K,)."""

    low: Floats
    high: Floats


def mean_interval(values: Floats, level: float, method: str) -> Interval:
    """Return the interval of the mean of `values` (M,) by "logit_t", "t" or "bootstrap"; see `coverage_interval`.

    Raises ValueError for another method or a level outside (0, 1).
    """
    check_level(level)
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}; got {method!r}")
    if values.size == 1:
        return Interval(0.0, 1.0)
    if np.ptp(values) <= _NO_SPREAD:
        return binomial_interval(float(values.mean()), values.size, level)
    return _METHODS[method](values, level)


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
        low[~flat], high[~flat] = _logit_bounds(values[~flat], critical)
    return Band(low, high)


def _sup_t_critical(values: Floats, level: float, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    dof = values.shape[1] - 1
    root, vectors = np.linalg.eigh(np.atleast_2d(np.corrcoef(values)))
    factor = vectors * np.sqrt(np.maximum(root, 0.0))  # factor @ factor.T = correlation
    normal = rng.standard_normal((draws, values.shape[0])) @ factor.T
    t = normal / np.sqrt(rng.chisquare(dof, (draws, 1)) / dof)
    return float(np.quantile(np.abs(t).max(axis=1), level))


def _logit_bounds(values: Floats, critical: float) -> tuple[Floats, Floats]:
    """Return expit(logit m -+ critical * SE / (m(1-m))), m and SE over the last axis."""
    hit, miss = values.mean(axis=-1), (1 - values).mean(axis=-1)
    half = critical * _standard_error(values) / (hit * miss)  # delta method
    # expit(logit m - h) = m / (m + (1-m) e^h), and the same from above
    with np.errstate(over="ignore"):
        return hit / (hit + miss * np.exp(half)), 1 - miss / (miss + hit * np.exp(half))


def normal_logit(mean: float, error: float, level: float) -> Interval:
    """Return the interval of a mean in (0, 1) from its standard error, normal on the logit scale."""
    from scipy.special import expit, logit, ndtri

    half = float(ndtri((1 + level) / 2)) * error / (mean * (1 - mean))
    return Interval(float(expit(logit(mean) - half)), float(expit(logit(mean) + half)))


def _logit_t(values: Floats, level: float) -> Interval:
    low, high = _logit_bounds(values, _t_quantile(level, values.size - 1))
    return Interval(float(low), float(high))


def _t(values: Floats, level: float) -> Interval:
    half = _t_quantile(level, values.size - 1) * float(_standard_error(values))
    return Interval(max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half))


def _bootstrap(values: Floats, level: float) -> Interval:
    import scipy.stats

    bca = cast(Any, scipy.stats).bootstrap  # untyped
    batch = max(1, 1_000_000 // values.size)  # bounds the memory of a batch
    rng = np.random.default_rng(0)
    found = bca((values,), np.mean, confidence_level=level, method="BCa", batch=batch, rng=rng).confidence_interval
    return Interval(float(found.low), float(found.high))


_METHODS: dict[str, Callable[[Floats, float], Interval]] = {"logit_t": _logit_t, "t": _t, "bootstrap": _bootstrap}


def binomial_interval(mean: float, problems: int, level: float) -> Interval:
    """Return the Clopper-Pearson interval of x = M * mean (not only whole x) in M trials."""
    from scipy.special import betaincinv

    x, tail = problems * mean, (1 - level) / 2
    low = 0.0 if mean <= 0 else float(betaincinv(x, problems - x + 1, tail))
    high = 1.0 if mean >= 1 else float(betaincinv(x + 1, problems - x, 1 - tail))
    return Interval(low, high)


def _t_quantile(level: float, dof: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(dof, (1 + level) / 2))


def _standard_error(values: Floats) -> Floats:
    return values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def check_level(level: float) -> None:
    """Raise ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.95; got {level!r}")
