"""Verifiers that err: what drawing until one accepts returns, how many draws are worth it, and its rates from an audit.

p: chance that a sample is right; t (tpr), f (fpr): chance that the verifier accepts a right and a wrong one. A sample
is accepted with chance a = p t + (1-p) f. Source: Stroebl et al. 2024, Inference Scaling fLaws, arXiv 2411.17501.
"""

from math import ceil, isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from service.curves.coverage import expected_draws, pass_at_k
from service.curves.hypergeometric import Floats, plain, whole_numbers
from service.curves.intervals import Interval, binomial_interval, check_level


class Outcome(NamedTuple):
    """Drawing until the verifier accepts, at most k times: chances that sum to 1, and the mean number of draws.

    Floats, or arrays of one shape.
    """

    correct: float | Floats
    wrong: float | Floats
    abstain: float | Floats
    draws: float | Floats


class Rates(NamedTuple):
    """A verifier's rates: prevalence is the share of samples that are right."""

    prevalence: float
    tpr: float
    fpr: float


def resample_outcome(p: ArrayLike, tpr: ArrayLike, fpr: ArrayLike, k: ArrayLike) -> Outcome:
    """Return what k draws end in: correct (p t/a) S, wrong ((1-p) f/a) S, abstain (1-a)^k, draws S/a, S = 1 - (1-a)^k.

    Arguments broadcast; floats if all are scalars. The share of right answers among returned ones is p t/a whatever k.
    Raises ValueError for a chance outside [0, 1] or k < 1.
    """
    p, t, f = (_chances(name, value) for name, value in (("p", p), ("tpr", tpr), ("fpr", fpr)))
    budget = _budgets(k)
    hit, miss = p * t, (1 - p) * f
    accepted = hit + miss  # a
    with np.errstate(divide="ignore", invalid="ignore"):
        stays = budget * np.log1p(-np.minimum(accepted, 1.0))
        draws = np.where(accepted > 0, -np.expm1(stays) / accepted, budget)  # S/a
    values = hit * draws, miss * draws, np.exp(stays), draws
    return Outcome(*(plain(value) for value in np.broadcast_arrays(*values)))


def resample_from_pool(n: ArrayLike, accepted: ArrayLike, right: ArrayLike, k: ArrayLike) -> Outcome:
    """Return the unbiased estimate of `resample_outcome` from pools: n samples, A accepted, G of them right.

    correct = pass@k(n, A, k) G/A, wrong = pass@k(n, A, k) (1 - G/A), abstain = 1 - pass@k(n, A, k); A = 0 abstains.
    Arguments broadcast. Raises ValueError unless 0 <= G <= A <= n and 1 <= k <= n.
    """
    n, a, g, k = np.broadcast_arrays(n, whole_numbers("accepted", accepted), whole_numbers("right", right), k)
    if np.any((g < 0) | (g > a)):
        raise ValueError(f"right must be between 0 and accepted; got right = {right!r}, accepted = {accepted!r}")
    returned = np.asarray(pass_at_k(n, a, k))
    precision = g / np.maximum(a, 1)
    values = returned * precision, returned * (1 - precision), 1 - returned, np.asarray(expected_draws(n, a, k))
    return Outcome(*map(plain, values))


def expected_utility(
    a: float, b: float, k: int, fpr: float, value: float = 1.0, loss: float = 1.0, cost: float = 0.0, tpr: float = 1.0
) -> float:
    """Return E[value P(correct) - loss P(wrong) - cost draws] of at most k draws, over problems with p ~ Beta(a, b).

    value, loss, cost: one unit, each >= 0; cost is of a sample. k = 0 is 0. Raises ValueError for chances outside
    [0, 1], a or b outside (0, inf), k < 0 or a negative value, loss or cost.
    """
    _check_utility(a, b, fpr, tpr, value, loss, cost)
    if k < 0:
        raise ValueError(f"k must be at least 0, got {k!r}")
    if k == 0:
        return 0.0
    p, q, weight = _beta_nodes(a, b)
    accepted = np.minimum(p * tpr + q * fpr, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(accepted > 0, -np.expm1(k * np.log1p(-accepted)) / accepted, k)
    return float(weight @ (draws * _gain(p, q, fpr, tpr, value, loss, cost)))


def optimal_k(
    a: float, b: float, fpr: float, value: float = 1.0, loss: float = 1.0, cost: float = 0.0, tpr: float = 1.0
) -> int | None:
    """Return k*, the most draws of one problem that are worth it for p ~ Beta(a, b); arguments as `expected_utility`.

    t = 1: max(0, ceil(a (V + f L)/(f L + C) - a - b)). Else the first draw i whose gain, E[(1-a)^i (p t V - (1-p) f L -
    C)], is not positive: each rejection makes a problem look harder when t > f. None: there is no such draw, as when
    neither a wrong answer nor a sample costs anything. t <= f: all or nothing, so 0 or None.
    """
    _check_utility(a, b, fpr, tpr, value, loss, cost)
    price = fpr * loss + cost
    if value == 0 or tpr == 0:
        return 0
    if price == 0:
        return None
    if tpr == 1 and fpr < 1:
        exact = a * (value + fpr * loss) / price - a - b
        return max(0, ceil(exact - 1e-9 * max(1.0, abs(exact)))) if isfinite(exact) else None
    p, q, weight = _beta_nodes(a, b)
    gain = weight * _gain(p, q, fpr, tpr, value, loss, cost)
    with np.errstate(divide="ignore"):
        rejected = np.log1p(-np.minimum(p * tpr + q * fpr, 1.0))  # log(1-a)
    if tpr <= fpr:
        return None if gain @ (1 / np.maximum(p * tpr + q * fpr, 1e-300)) > 0 else 0
    return _first_not_worth(gain, np.maximum(rejected, -1e300))


def wilson(x: float, n: float, level: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion, x of n. Raises ValueError unless 0 <= x <= n and n >= 1."""
    from scipy.special import ndtri

    _check_count(x, n, level)
    z, p = float(ndtri((1 + level) / 2)), x / n
    centre = (x + z * z / 2) / (n + z * z)
    half = z * float(np.sqrt(n * p * (1 - p) + z * z / 4)) / (n + z * z)
    return Interval(0.0 if x == 0 else max(0.0, centre - half), 1.0 if x == n else min(1.0, centre + half))


def clopper_pearson(x: float, n: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a proportion, x of n: it covers at least `level` always. Errors as `wilson`."""
    _check_count(x, n, level)
    return binomial_interval(x / n, n, level)


def rogan_gladen(q: float, tpr: float, fpr: float) -> float:
    """Return the true share of right answers, (q - f)/(t - f) cut to [0, 1], from the share q that is accepted.

    Raises ValueError for chances outside [0, 1] or t <= f.
    Source: Rogan and Gladen 1978, 10.1093/oxfordjournals.aje.a112510.
    """
    q, t, f = (float(_chances(name, x)) for name, x in (("q", q), ("tpr", tpr), ("fpr", fpr)))
    if t <= f:
        raise ValueError(f"tpr must be above fpr: the verdicts say nothing otherwise; got tpr = {t}, fpr = {f}")
    return min(1.0, max(0.0, (q - f) / (t - f)))


def rates_from_precision(q: float, ppv: float, npv: float) -> Rates:
    """Return the rates of a verifier audited by verdict: q accepted; ppv of accepted right, npv of rejected wrong.

    prevalence = q ppv + (1-q)(1-npv), t = q ppv/prevalence, f = q (1-ppv)/(1-prevalence). Raises ValueError for chances
    outside [0, 1], or where all samples are right or all wrong: one of the rates is not defined then.
    """
    q, ppv, npv = (float(_chances(name, x)) for name, x in (("q", q), ("ppv", ppv), ("npv", npv)))
    right = q * ppv + (1 - q) * (1 - npv)
    if not 0 < right < 1:
        raise ValueError(f"rates need right and wrong samples; the share of right ones is {right}")
    return Rates(right, q * ppv / right, q * (1 - ppv) / (1 - right))


def _gain(p: Floats, q: Floats, fpr: float, tpr: float, value: float, loss: float, cost: float) -> Floats:
    """Return the mean gain of one more draw, p t V - (1-p) f L - C."""
    return p * (tpr * value) - q * (fpr * loss) - cost


def _first_not_worth(gain: Floats, rejected: Floats) -> int | None:
    """Return the first i with sum of gain * exp(i rejected) <= 0, by doubling and halving."""

    def worth(i: int) -> bool:
        logs = i * rejected
        return float(gain @ np.exp(logs - logs.max())) > 0

    low, high = -1, 1  # worth at low, not at high
    if not worth(0):
        return 0
    while worth(high):
        low, high = high, 2 * high
        if high > 2**50:
            return None
    low = max(low, 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if worth(middle) else (low, middle)
    return high


def _beta_nodes(a: float, b: float) -> tuple[Floats, Floats, Floats]:
    """Return p, 1-p and weights summing to 1 of a rule for means over Beta(a, b), exact to rounding for every (1-a)^k.

    Trapezoids in u = logit p, where the density is p^a (1-p)^b: the integrands are analytic for |Im u| < pi/2, so a
    step h errs by exp(-pi^2/h). Beyond 40/a and 40/b from the mode nothing is left.
    """
    mode = np.log(a / b)
    low, high = mode - 40 / a - 1, mode + 40 / b + 1
    step = min(1 / 8, float(np.sqrt(1 / a + 1 / b)) / 4)
    u = np.linspace(low, high, min(2_000_000, int((high - low) / step) + 2))
    log_p, log_q = -np.logaddexp(0, -u), -np.logaddexp(0, u)
    logs = a * log_p + b * log_q
    weight = np.exp(logs - logs.max())
    return np.exp(log_p), np.exp(log_q), weight / weight.sum()


def _chances(name: str, value: ArrayLike) -> Floats:
    array = np.asarray(value, np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
    return array


def _budgets(k: ArrayLike) -> Floats:
    budget = whole_numbers("k", k)
    if np.any(budget < 1):
        raise ValueError(f"k must be at least 1, got {k!r}")
    return budget.astype(np.float64)


def _check_utility(a: float, b: float, fpr: float, tpr: float, value: float, loss: float, cost: float) -> None:
    _chances("fpr", fpr)
    _chances("tpr", tpr)
    if not (0 < a < np.inf and 0 < b < np.inf):
        raise ValueError(f"a and b must be positive and finite, got {a!r} and {b!r}")
    if not all(0 <= x < np.inf for x in (value, loss, cost)):
        raise ValueError(f"value, loss and cost must be finite and >= 0, got {value!r}, {loss!r} and {cost!r}")


def _check_count(x: float, n: float, level: float) -> None:
    check_level(level)
    if not (n >= 1 and 0 <= x <= n):
        raise ValueError(f"a proportion needs 0 <= x <= n and n >= 1; got x = {x!r}, n = {n!r}")
