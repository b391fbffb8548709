"""Whether a verifier's probabilities mean what they say.

Calibration cannot change a best-of-n ranking; it matters for abstaining, weighted votes and tilts.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from service.curves.hypergeometric import Floats, Ints
from service.curves.intervals import Interval, check_level


class Reliability(NamedTuple):
    """The bins that hold answers: mean probability, share of right answers, number of answers; each (B,)."""

    predicted: Floats
    right: Floats
    answers: Ints


class Calibration(NamedTuple):
    """Scores of probabilities, lower is better: Brier, log-loss in nats, expected calibration error, its interval."""

    brier: float
    log_loss: float
    ece: float
    ece_interval: Interval


def reliability(probability: ArrayLike, right: ArrayLike, bins: int = 10) -> Reliability:
    """Return the reliability curve in `bins` of equal width, (low, high], the first one closed; both (N,).

    Raises ValueError for shapes that differ, no answers, probabilities outside [0, 1], or right other than 0 or 1.
    """
    p, y = _checked(probability, right, bins)
    count, mass, hits = _binned(p, y, bins)
    kept = count > 0
    return Reliability(mass[kept] / count[kept], hits[kept] / count[kept], count[kept].astype(np.int64))


def expected_calibration_error(probability: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Return sum over bins of share |mean probability - share right|. Errors as `reliability`.

    Source: Naeini et al. 2015, Obtaining well calibrated probabilities using Bayesian binning.
    """
    return _ece(*_checked(probability, right, bins), bins)


def calibration(
    probability: ArrayLike, right: ArrayLike, bins: int = 10, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Calibration:
    """Return `Calibration` of probabilities (N,) that answers are right (N,) of 0 or 1.

    The interval is the basic bootstrap over answers, cut to [0, 1]: ECE is biased upwards, and the percentile one
    doubles the bias. Answers are taken as independent. A log-loss with probability 0 or 1 on the wrong side is cut at
    machine precision, about 36 nats. Errors as `reliability`, and a level outside (0, 1).
    """
    from sklearn.metrics import brier_score_loss, log_loss

    check_level(level)
    p, y = _checked(probability, right, bins)
    ece = _ece(p, y, bins)
    rng = np.random.default_rng(seed)
    again = [_ece(p[i], y[i], bins) for i in rng.integers(0, p.size, (draws, p.size))]
    low, high = np.quantile(again, [(1 - level) / 2, (1 + level) / 2])
    interval = Interval(float(np.clip(2 * ece - high, 0, 1)), float(np.clip(2 * ece - low, 0, 1)))
    loss = float(log_loss(y, p, labels=[0, 1]))
    return Calibration(float(brier_score_loss(y, p)), loss, ece, interval)


def _ece(p: Floats, y: Floats, bins: int) -> float:
    _, mass, hits = _binned(p, y, bins)
    return float(np.abs(mass - hits).sum() / p.size)


def _binned(p: Floats, y: Floats, bins: int) -> tuple[Floats, Floats, Floats]:
    """Return answers, sum of probabilities and right answers in each bin."""
    # ceil(p B) - 1 up to rounding: 0.3 * 10 is 3.0000000000000004
    place = np.clip(np.ceil(p * bins - 1e-9).astype(np.int64) - 1, 0, bins - 1)
    count, mass, hits = (np.bincount(place, x, bins).astype(np.float64) for x in (np.ones_like(p), p, y))
    return count, mass, hits


def _checked(probability: ArrayLike, right: ArrayLike, bins: int) -> tuple[Floats, Floats]:
    p, y = np.asarray(probability, np.float64), np.asarray(right, np.float64)
    if p.ndim != 1 or p.shape != y.shape or not p.size:
        raise ValueError(f"both must be (N,) with at least one answer, got shapes {p.shape} and {y.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"probabilities must be between 0 and 1, got {p[~((p >= 0) & (p <= 1))][0]}")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"right must be 0 or 1, got {y[~np.isin(y, (0, 1))][0]}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins!r}")
    return p, y
