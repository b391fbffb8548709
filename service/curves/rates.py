"""A verifier's error rates with intervals: from graded pools, or from answers that a person labelled."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from service.curves.imperfect import wilson
from service.curves.intervals import Interval

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ErrorRates:
    """prevalence: share of samples that are right. labels: how many answers were labelled or graded.

    fpr_interval: of the false-positive rate if there were that many times the labels, at the same rates.
    """

    prevalence: float
    tpr: float
    fpr: float
    labels: int
    fpr_interval: Callable[[float], Interval]


def rates_from_pools(n: Ints, c: Ints, accepted: Ints, both: Ints, level: float) -> ErrorRates | None:
    """Return the rates by a grader of every sample; counts (M,) by item: samples, right, accepted, right and accepted.

    Wilson with the wrong answers' effective number: their number by the design effect, the variance of a ratio of item
    totals over the binomial one, at least 1. None unless there are right and wrong samples.
    """
    wrong, passed = n - c, accepted - both
    if not wrong.sum() or not c.sum():
        return None
    fpr, tpr = float(passed.sum() / wrong.sum()), float(both.sum() / c.sum())
    total = float(wrong.sum())
    if 0 < fpr < 1 and n.size > 1:
        spread = float(((passed - fpr * wrong) ** 2).sum()) * n.size / (n.size - 1) / total**2
        effective = total / max(1.0, spread / (fpr * (1 - fpr) / total))
    else:
        effective = total

    def interval(times: float) -> Interval:
        return wilson(fpr * effective * times, effective * times, level)

    return ErrorRates(float(c.sum() / n.sum()), tpr, fpr, int(n.sum()), interval)


def rates_from_audit(
    q: float, accepted_right: float, accepted_wrong: float, rejected_wrong: float, rejected_right: float, level: float
) -> ErrorRates | None:
    """Return the rates from labels of some accepted and some rejected answers, picked at random or by verdict.

    q: share of all samples that is accepted, taken as known. f/(1-f) = q/(1-q) (1-PPV)/NPV, with the interval of the
    ratio of two independent proportions from their Wilson intervals. None unless 0 < q < 1, labels on both sides, and
    right and wrong answers among them. Source: Donner and Zou 2012, 10.1177/0962280210383082.
    """
    accepted, rejected = accepted_right + accepted_wrong, rejected_right + rejected_wrong
    if not (0 < q < 1 and accepted and rejected):
        return None
    ppv, npv = accepted_right / accepted, rejected_wrong / rejected
    right = q * ppv + (1 - q) * (1 - npv)
    if not 0 < right < 1:
        return None

    def rate(odds: float) -> float:
        scaled = odds * q / (1 - q)
        return 1.0 if scaled == inf else scaled / (1 + scaled)

    def interval(times: float) -> Interval:
        false = wilson(accepted_wrong * times, accepted * times, level)
        true = wilson(rejected_wrong * times, rejected * times, level)
        low, high = _ratio(1 - ppv, false, npv, true)
        return Interval(rate(low), rate(high))

    return ErrorRates(right, q * ppv / right, q * (1 - ppv) / (1 - right), round(accepted + rejected), interval)


def _ratio(x: float, of_x: Interval, y: float, of_y: Interval) -> tuple[float, float]:
    """Return the interval of x/y from those of x and y (MOVER)."""

    def root(at_x: float, at_y: float) -> float:
        return sqrt(max(0.0, (x * y) ** 2 - at_x * (2 * x - at_x) * at_y * (2 * y - at_y)))

    # The lower end rationalised: its usual form divides by 0 at of_y.high = 2 y.
    down = x * y + root(of_x.low, of_y.high)
    bottom = of_y.low * (2 * y - of_y.low)
    low = of_x.low * (2 * x - of_x.low) / down if x > 0 and down > 0 else 0.0
    return low, (x * y + root(of_x.high, of_y.low)) / bottom if bottom > 0 else inf
