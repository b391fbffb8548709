"""Beyond the pool: models of how hard problems are, to say what coverage more samples might reach.

A model range, not an interval: the models agree inside the data and differ outside it.
"""

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.curves.hypergeometric import Floats, check_pool, plain, whole_numbers

_SPREAD = (1e-3, 1e5)  # a + b: below it every problem is solved always or never, above it all are alike


class BetaBinomial(NamedTuple):
    """The chance p of a right sample is Beta(a, b) over problems."""

    a: float
    b: float


class ZeroInflated(NamedTuple):
    """A share `zero` of problems is never solved; p is Beta(a, b) over the others."""

    zero: float
    a: float
    b: float


class PowerLaw(NamedTuple):
    """coverage(k) = exp(a k^b), a <= 0, b <= 0."""

    a: float
    b: float


def fit_beta_binomial(n: ArrayLike, c: ArrayLike) -> BetaBinomial | None:
    """Return the maximum-likelihood Beta of the problems' success chances; n, c: (M,) or one n for all.

    a + b is kept within 1e-3..1e5, where the fit no longer changes. None where the data cannot say: fewer than two
    problems, all samples right, all wrong, or one sample a problem. Raises ValueError for counts that `coverage`
    refuses.
    """
    cells = _cells(n, c)
    if cells is None:
        return None
    best = min((_minimum(_loss, start, cells) for start in _starts(cells)), key=lambda found: found.fun)
    return BetaBinomial(*_beta_of(*best.x))


def fit_zero_inflated(n: ArrayLike, c: ArrayLike) -> ZeroInflated | None:
    """Return the maximum-likelihood `ZeroInflated`; arguments, None and errors as `fit_beta_binomial`.

    Never less likely than the plain one. With few samples a problem `zero` is poorly determined: hard and impossible
    look alike.
    """
    cells = _cells(n, c)
    if cells is None:
        return None
    _, c_, count = cells
    never = float(count[c_ == 0].sum() / count.sum())
    starts = [(*beta, np.log(z / (1 - z))) for beta in _starts(cells) for z in (0.01, 0.05 + 0.9 * never)]
    best = min((_minimum(_zero_loss, start, cells) for start in starts), key=lambda found: found.fun)
    zero = float(1 / (1 + np.exp(-best.x[2])))
    return ZeroInflated(zero if zero > 1e-6 else 0.0, *_beta_of(*best.x[:2]))


def beta_binomial_coverage(a: float, b: float, k: ArrayLike, zero: float = 0.0) -> float | Floats:
    """Return (1 - zero) (1 - B(a, b+k)/B(a, b)), the coverage of k samples; shape of k, a float for a scalar.

    Raises ValueError unless a, b > 0, 0 <= zero <= 1 and k >= 0.
    """
    from scipy.special import betaln

    budget = whole_numbers("k", k)
    if not (a > 0 and b > 0 and 0 <= zero <= 1 and np.all(budget >= 0)):
        raise ValueError(f"a model needs a, b > 0, 0 <= zero <= 1 and k >= 0; got {a!r}, {b!r}, {zero!r} and k = {k!r}")
    return plain(np.asarray((zero - 1) * np.expm1(betaln(a, b + budget) - betaln(a, b)) + 0.0, np.float64))


def solved_later(a: float, b: float, n: ArrayLike, c: ArrayLike, k: ArrayLike) -> float | Floats:
    """Return P(some of k further samples is right | c of n were), for p ~ Beta(a, b); arguments broadcast.

    1 - B(a+c, b+n-c+k)/B(a+c, b+n-c). Raises ValueError for impossible counts, a or b.
    """
    from scipy.special import betaln

    n_, c_, more = (whole_numbers(name, x) for name, x in (("n", n), ("c", c), ("k", k)))
    if not (a > 0 and b > 0) or np.any((c_ < 0) | (c_ > n_)) or np.any(more < 0):
        raise ValueError(f"need a, b > 0, 0 <= c <= n and k >= 0; got {a!r}, {b!r}, n = {n!r}, c = {c!r}, k = {k!r}")
    miss = b + n_ - c_
    return plain(np.asarray(-np.expm1(betaln(a + c_, miss + more) - betaln(a + c_, miss)), np.float64))


def fit_power_law(k: ArrayLike, coverage: ArrayLike) -> PowerLaw | None:
    """Return the least-squares fit of exp(a k^b) to coverage at budgets k, both (K,); a <= 0 and b <= 0.

    None with fewer than two budgets whose coverage is inside (0, 1), or where coverage does not rise. Raises ValueError
    for other shapes, k < 1 or coverage outside [0, 1].
    Source: Brown et al. 2024, Large Language Monkeys, arXiv 2407.21787.
    """
    from scipy.optimize import least_squares

    grid, values = np.asarray(k, np.float64), np.asarray(coverage, np.float64)
    if grid.ndim != 1 or grid.shape != values.shape:
        raise ValueError(f"k and coverage must be (K,) both, got shapes {grid.shape} and {values.shape}")
    if not ((grid >= 1).all() and ((values >= 0) & (values <= 1)).all()):
        raise ValueError("k must be at least 1 and coverage between 0 and 1")
    inside = (values > 0) & (values < 1)
    if np.unique(grid[inside]).size < 2 or np.ptp(values[inside]) <= 1e-12:
        return None
    x, y = np.log(grid[inside]), values[inside]
    slope, level = np.polyfit(x, np.log(-np.log(y)), 1)  # log(-log coverage) = log(-a) + b log k
    if slope >= 0:
        return None

    def miss(law: Floats) -> Floats:
        return np.exp(-np.exp(law[0] + law[1] * x)) - y

    bounds = (-np.inf, -np.inf), (50.0, 0.0)
    found = cast(Any, least_squares)(miss, (level, slope), bounds=bounds, xtol=1e-12, ftol=1e-14)
    return PowerLaw(-float(np.exp(found.x[0])), float(found.x[1]))


def power_law(a: float, b: float, k: ArrayLike) -> float | Floats:
    """Return exp(a k^b) for k >= 1; shape of k, a float for a scalar. Raises ValueError for k < 1 or a > 0."""
    grid = np.asarray(k, np.float64)
    if a > 0 or np.any(grid < 1):
        raise ValueError(f"a power law needs a <= 0 and k >= 1; got a = {a!r}, k = {k!r}")
    return plain(np.exp(a * grid**b))


Cells = tuple[Floats, Floats, Floats]


def _cells(n: ArrayLike, c: ArrayLike) -> Cells | None:
    """Return distinct (n, c) and how many problems have them, or None where no spread over problems can be seen."""
    n, c = np.broadcast_arrays(np.atleast_1d(n), np.atleast_1d(c))
    if n.ndim != 1:
        raise ValueError(f"n and c must hold one count per problem, got shape {n.shape}")
    pool = check_pool(n, c, 1)
    if pool.n.size < 2 or pool.n.max() < 2 or not 0 < pool.c.sum() < pool.n.sum():
        return None
    pairs, count = np.unique(np.stack([pool.n, pool.c]), axis=1, return_counts=True)
    return pairs[0].astype(np.float64), pairs[1].astype(np.float64), count.astype(np.float64)


def _starts(cells: Cells) -> list[tuple[float, float]]:
    """Return (logit mean, log(a + b)) to begin at: the pooled mean, under several spreads."""
    n, c, count = cells
    mean = float(count @ c / (count @ n))
    return [(float(np.log(mean / (1 - mean))), spread) for spread in (-1.0, 1.0, 4.0)]


def _beta_of(logit: float, log_spread: float) -> tuple[float, float]:
    spread = float(np.exp(log_spread))
    return spread / (1 + float(np.exp(-logit))), spread / (1 + float(np.exp(logit)))


def _minimum(loss: Any, start: tuple[float, ...], cells: Cells) -> Any:
    from scipy.optimize import minimize

    bounds = [(-18.0, 18.0), tuple(np.log(_SPREAD)), (-20.0, 20.0)][: len(start)]
    stop = {"ftol": 1e-13, "gtol": 1e-9}
    return cast(Any, minimize)(loss, start, args=cells, jac=True, method="L-BFGS-B", bounds=bounds, options=stop)


def _log_likelihoods(at: Floats, n: Floats, c: Floats) -> tuple[Floats, NDArray[np.float64]]:
    """Return log B(a+c, b+n-c)/B(a, b) by cell, without C(n, c), and its slopes (2, cells) in the two parameters."""
    from scipy.special import betaln, digamma

    a, b = _beta_of(at[0], at[1])
    value = betaln(a + c, b + n - c) - betaln(a, b)
    both = digamma(a + b) - digamma(a + b + n)
    by_a, by_b = digamma(a + c) - digamma(a) + both, digamma(b + n - c) - digamma(b) + both
    return value, np.stack([(by_a - by_b) * a * b / (a + b), a * by_a + b * by_b])


def _loss(at: Floats, n: Floats, c: Floats, count: Floats) -> tuple[float, Floats]:
    value, slopes = _log_likelihoods(at, n, c)
    return -float(count @ value), -(slopes @ count)


def _zero_loss(at: Floats, n: Floats, c: Floats, count: Floats) -> tuple[float, Floats]:
    """Return minus the log-likelihood of zero 1{c = 0} + (1 - zero) BB, and its slopes."""
    zero = 1 / (1 + np.exp(-at[2]))
    value, slopes = _log_likelihoods(at, n, c)
    extra = np.where(c == 0, zero, 0.0)
    total = np.logaddexp(np.log(np.maximum(extra, 1e-300)), np.log1p(-zero) + value)
    share = np.exp(np.log1p(-zero) + value - total)  # that the problem is one of the others
    by_zero = np.where(c == 0, (1 - zero) * (1 - share), 0.0) - zero * share
    return -float(count @ total), -np.append((slopes * share) @ count, by_zero @ count)
