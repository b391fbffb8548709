"""Coverage: the share of problems with at least one correct answer among k samples, its intervals and its cost.

One pool per problem, n samples of which c are correct; every k comes from the same pool. Counts may be whole floats.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from service.curves.hypergeometric import Floats, Ints, Pool, log_choose_ratio, of_counts, plain, refuse
from service.curves.intervals import Band, Interval, mean_interval, sup_t


@of_counts
def pass_at_k(n: Ints, c: Ints, k: Ints) -> Floats:
    """Return 1 - C(n-c, k)/C(n, k), the unbiased estimate of P(some of k samples is correct).

    n, c, k broadcast; a float if all are scalars, else an array of the common shape. Raises ValueError unless
    0 <= c <= n and 1 <= k <= n. Source: Chen et al. 2021, arXiv 2107.03374.
    """
    return 0.0 - np.expm1(log_choose_ratio(n, c, k))  # 0.0, not -0.0, where c = 0


@of_counts
def pass_hat_k(n: Ints, c: Ints, k: Ints) -> Floats:
    """Return C(c, k)/C(n, k), the unbiased estimate of P(all k samples are correct).

    Shapes and errors as `pass_at_k`. Source: Yao et al. 2024 (tau-bench), arXiv 2406.12045.
    """
    return np.exp(log_choose_ratio(n, n - c, k))


@of_counts
def pass_at_k_variance(n: Ints, c: Ints, k: Ints) -> Floats:
    """Return the unbiased variance of pass@k over new samples of the same problem, q^2 - C(n-c, 2k)/C(n, 2k).

    q = C(n-c, k)/C(n, k). Shapes as `pass_at_k`. For coverage of this exact set of M problems the variance is
    sum(V)/M^2. Raises ValueError where 2k > n; use `pass_at_k_jackknife_se` there.
    """
    refuse("the unbiased variance needs 2k <= n (use pass_at_k_jackknife_se)", Pool(n, c, k), 2 * k > n)
    once = log_choose_ratio(n, c, k)
    twice = log_choose_ratio(n, c, 2 * k)
    gap = twice - 2 * np.where(np.isfinite(once), once, 0.0)  # log of q_2k / q^2; q = 0 gives variance 0
    return np.exp(2 * once) * (0.0 - np.expm1(np.minimum(gap, 0.0)))


@of_counts
def pass_at_k_jackknife_se(n: Ints, c: Ints, k: Ints) -> Floats:
    """Return the delete-one jackknife standard error of pass@k for one problem, for k < n.

    Leaving out a correct or a wrong sample moves pass@k by the same C(n-c-1, k-1)/C(n-1, k), so the jackknife is
    sqrt((n-1)/n * c(n-c)/n) times it. Shapes as `pass_at_k`. Raises ValueError where k = n.
    """
    refuse("the jackknife needs k <= n - 1", Pool(n, c, k), k >= n)
    step = np.exp(log_choose_ratio(n - 1, np.minimum(c, n - 1), k - 1)) * k / (n - k)
    share = c / n
    return np.sqrt(share * (1 - share) * (n - 1)) * step


@of_counts
def expected_draws(n: Ints, c: Ints, k: Ints) -> Floats:
    """Return the unbiased estimate of E[min(T, k)], the samples spent when stopping at the first success, at most k.

    (n+1)/(c+1) * pass@k(n+1, c+1, k). Shapes and errors as `pass_at_k`.
    """
    return -np.expm1(log_choose_ratio(n + 1, c + 1, k)) * (n + 1) / (c + 1)


@overload
def coverage(n: ArrayLike, c: ArrayLike, k: int) -> float: ...
@overload
def coverage(n: ArrayLike, c: ArrayLike, k: Sequence[int] | Ints) -> Floats: ...
def coverage(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> float | Floats:
    """Return the mean of pass@k over problems.

    n, c: (M,) or one number for all problems; k: a number (returns a float) or a grid (K,) (returns (K,)). Raises
    ValueError if any problem has fewer than k samples or there is no problem.
    """
    return plain(_problem_values(n, c, k).mean(axis=-1))


def coverage_interval(n: ArrayLike, c: ArrayLike, k: int, level: float = 0.95, method: str = "anchored") -> Interval:
    """Return a confidence interval of coverage(k) for *another set of problems like this one*.

    n, c: (M,); k, level: numbers. It is built from the spread of pass@k over problems, so it already contains the
    sampling noise. Methods: "anchored", normal on the logit scale after adding half a problem, half of it solved, which
    keeps its level for few problems and near 0 and 1 too; "logit_t", Student t with M - 1 degrees of freedom on the
    logit scale; "t", on the plain scale, cut to [0, 1]; "bootstrap", BCa over problems (9999 resamples, fixed seed),
    too narrow below some tens of problems.

    Where the problems do not differ (always so at mean 0 or 1) no method has a spread to use, and all return the
    Clopper-Pearson interval of M*mean successes in M trials: all M at 0 gives [0, 1 - (alpha/2)^(1/M)], valid for any
    distribution on [0, 1]. One problem says nothing about others: M = 1 returns [0, 1].
    Raises ValueError for a level outside (0, 1), an unknown method, or counts that `coverage` refuses.
    """
    values = _problem_values(n, c, k)
    if values.ndim != 1:
        raise ValueError(f"k must be one number, got {k!r}; use sup_t_band for a whole curve")
    return mean_interval(values, level, method)


def sup_t_band(
    n: ArrayLike, c: ArrayLike, k: ArrayLike, level: float = 0.95, draws: int = 20_000, seed: int = 0
) -> Band:
    """Return a band that holds the whole coverage curve at once with probability `level`, over another set of problems.

    n, c: (M,); k: a grid (K,). On the anchored logit scale, estimate +- s * SE with one s for all k: the `level`
    quantile of max_k |Z_k|, Z multivariate normal with the correlation of pass@k over problems, from `draws`
    simulations. Budgets at which the problems do not differ get a Clopper-Pearson interval at level 1 - alpha/K; M = 1
    gives [0, 1]. Errors as `coverage_interval`. Source: Montiel Olea and Plagborg-Moller 2019, 10.1002/jae.2656.
    """
    return sup_t(np.atleast_2d(_problem_values(n, c, k)), level, draws, seed)


def _problem_values(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Return pass@k with problems on the last axis: (M,) for one k, (K, M) for a grid."""
    n, c = np.broadcast_arrays(np.atleast_1d(n), np.atleast_1d(c))
    if n.ndim != 1 or n.size == 0:
        raise ValueError(f"n and c must hold one count per problem, at least one problem; got shape {n.shape}")
    return np.asarray(pass_at_k(n, c, np.asarray(k)[..., None]).reshape((*np.shape(k), n.size)))
