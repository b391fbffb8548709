"""Selection: what is gained by keeping the best of k answers by a verifier's score, or the most frequent one.

Results are for k random draws without replacement from a pool of n. Samples are (n,), or (M, n) for M problems; k is a
number or a grid (K,); the result has shape (), (K,), (M,) or (M, K), and is a float for ().
"""

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.curves.hypergeometric import (
    LOG_ZERO,
    Floats,
    Ints,
    LongFloats,
    log_choose,
    log_factorials,
    plain,
    whole_numbers,
)
from service.curves.ranking import Ranked, best_first, best_of_k_weights, budgets_of, grades_of, rows_of, shaped

_MOST_STEPS = 2_000_000_000  # exact majority voting beyond it takes more than a second or two
_BLOCK = 20_000  # samples ordered at once: what they need stays in the cache


class Estimate(NamedTuple):
    """A simulated mean and its standard error."""

    value: float
    standard_error: float


def max_at_k(rewards: ArrayLike, k: ArrayLike) -> float | Floats:
    """Return E[max of k rewards] = sum over i of C(i-1, k-1)/C(n, k) r_(i), r_(1) <= ... <= r_(n).

    Shapes as in the module's docstring. Raises ValueError if a reward is not finite or k is outside 1..n.
    """
    rows = rows_of("rewards", rewards)
    falling = np.sort(grades_of("rewards", rows, rows), axis=1)[:, ::-1]
    return shaped(falling @ best_of_k_weights(rows.shape[1], budgets_of(k, rows.shape[1])), rewards, k)


def selected_at_k(proxy: ArrayLike, true: ArrayLike, k: ArrayLike) -> float | Floats:
    """Return the expected true grade of the answer with the highest proxy score among k; ties are broken uniformly.

    proxy, true: one shape, as in the module's docstring. A proxy of nan is unscored: that answer is selected only if
    none of the k is scored. Raises ValueError if a true grade is not finite, shapes differ or k is outside 1..n.
    """
    scores = rows_of("proxy", proxy)
    grades, n = grades_of("true", true, scores), scores.shape[1]
    weights = best_of_k_weights(n, budgets_of(k, n))
    at_once = max(1, _BLOCK // n)  # rows
    blocks = [slice(first, first + at_once) for first in range(0, len(scores), at_once)]
    return shaped(np.concatenate([_tied_means(scores[block], grades[block]) @ weights for block in blocks]), proxy, k)


def _tied_means(scores: Floats, grades: Floats) -> Floats:
    """Return grades (M, n), best score first, each the mean of its run of equal scores."""
    ranked = best_first(scores, grades)
    if ranked.size.size == scores.size:  # no ties
        return ranked.values.reshape(scores.shape)
    means = np.add.reduceat(ranked.values, ranked.start) / ranked.size
    return np.repeat(means, ranked.size).reshape(scores.shape)


def top_m_at_k(proxy: ArrayLike, correct: ArrayLike, k: ArrayLike, m: int) -> float | Floats:
    """Return P(some of the m highest proxy scores among k answers is correct); m = k is pass@k, m = 1 is best of k.

    proxy: ties and nan as in `selected_at_k`; correct: 0 or 1. Raises ValueError unless 1 <= m <= k <= n.
    Exact: 1 - sum over the place i of the m-th submission of P(it is at i and all m are wrong).
    """
    scores = rows_of("proxy", proxy)
    right = grades_of("correct", correct, scores)
    if not np.isin(right, (0, 1)).all():
        raise ValueError(f"correct must be 0 or 1, got {right[~np.isin(right, (0, 1))][0]}")
    n = scores.shape[1]
    grid = budgets_of(k, n)
    if not 1 <= m <= grid.min():
        raise ValueError(f"m must be between 1 and the smallest k = {grid.min()}, got {m!r}")
    table = log_factorials(n)
    wrong = _log_ways_all_wrong(best_first(scores, 1 - right), table, m).reshape(scores.shape)
    missed = np.empty((scores.shape[0], grid.size))
    for column, draws in enumerate(map(int, grid)):
        # the other k - m draws lie below place i: C(n-i, k-m)/C(n, k)
        below = log_choose(table, np.arange(n - 1, -1, -1, dtype=np.int64), draws - m) - log_choose(table, n, draws)
        missed[:, column] = np.exp((wrong + below).astype(np.float64)).sum(axis=1)
    missed[~right.any(axis=1)] = 1.0  # not 1 - 1e-16
    return shaped(np.clip(1 - missed, 0.0, 1.0), proxy, k)


def _log_ways_all_wrong(ranked: Ranked, table: LongFloats, m: int) -> LongFloats:
    """Return (M * n,), log of the ways in which the m-th submission is at a place and all m submissions are wrong.

    In a run of G equal scores, B of them wrong, W wrong ones above, at the run's place s: t of the other m - 1 come
    from its s - 1 places before, so sum over t of C(W, m-1-t) C(s-1, t) C(B, t+1)/C(G, t+1), the last for the run's
    random order.
    """
    n = table.size - 1
    wrong = np.rint(ranked.values).astype(np.int64)
    wrong_before = (np.cumsum(wrong.reshape(-1, n), axis=1).ravel() - wrong)[ranked.start]
    above, in_run, size, start = (  # W, B, G per place
        np.repeat(runs, ranked.size)
        for runs in (wrong_before, np.add.reduceat(wrong, ranked.start), ranked.size, ranked.start)
    )
    before = np.arange(wrong.size) - start  # s - 1
    ways = np.full(wrong.size, LOG_ZERO, dtype=np.longdouble)
    for t in range(min(m, int(ranked.size.max()))):
        order = log_choose(table, in_run, t + 1) - log_choose(table, size, np.minimum(t + 1, size))
        ways = np.logaddexp(ways, log_choose(table, above, m - 1 - t) + log_choose(table, before, t) + order)
    return ways


def majority_at_k(counts: ArrayLike, correct: int | Sequence[bool] | NDArray[np.bool_], k: int) -> float:
    """Return P(the most frequent of k answers is correct), ties broken uniformly, exactly.

    counts: (C,) samples per distinct answer; correct: the index of the right answer, or one boolean per answer (several
    or none may be right). Dynamic programming over answers, about C k^3 steps: raises ValueError beyond 2 * 10^9 (use
    `majority_at_k_sampled`), for k outside 1..n = sum of counts, or for an index outside 0..C-1.
    """
    pool, right = _votes(counts, correct, k)
    steps = float(k) ** 3 * pool.size * max(1, int(right.sum()))
    if steps > _MOST_STEPS:
        raise ValueError(
            f"k = {k} and {pool.size} answers need about {steps:.0e} steps, more than {_MOST_STEPS:.0e}; "
            "use majority_at_k_sampled"
        )
    chances, total = _vote_chances(pool, k)
    won = sum(_wins(chances, int(winner), k) for winner in np.flatnonzero(right))
    return min(1.0, float(won) / total)


def majority_at_k_sampled(
    counts: ArrayLike, correct: int | Sequence[bool] | NDArray[np.bool_], k: int, draws: int = 1000, seed: int = 0
) -> Estimate:
    """Return `majority_at_k` estimated from `draws` random subsets, with its standard error, for large k or C.

    Shapes and errors as `majority_at_k`; draws must be at least 2.
    """
    pool, right = _votes(counts, correct, k)
    if draws < 2:
        raise ValueError(f"draws must be at least 2, got {draws!r}")
    votes = np.random.default_rng(seed).multivariate_hypergeometric(pool, k, size=draws, method="marginals")
    leads = votes == votes.max(axis=1, keepdims=True)
    wins = (leads & right).sum(axis=1) / leads.sum(axis=1)  # a tie counts its share
    return Estimate(float(wins.mean()), float(wins.std(ddof=1) / np.sqrt(draws)))


def _votes(
    counts: ArrayLike, correct: int | Sequence[bool] | NDArray[np.bool_], k: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the counts and one boolean per answer."""
    pool, mark = whole_numbers("counts", counts), np.asarray(correct)
    if pool.ndim != 1 or pool.size == 0 or pool.min() < 0:
        raise ValueError(f"counts must be (C,) whole numbers >= 0, got shape {pool.shape}, least {pool.min(initial=0)}")
    budgets_of(int(k), int(pool.sum()))
    if mark.dtype == np.bool_ and mark.shape == pool.shape:
        return pool, mark
    if mark.ndim or mark.dtype.kind not in "iu" or not 0 <= int(mark) < pool.size:
        raise ValueError(f"correct must be an index in 0..{pool.size - 1} or {pool.size} booleans, got {correct!r}")
    return pool, np.arange(pool.size) == int(mark)


def _vote_chances(pool: Ints, k: int) -> tuple[list[Floats], float]:
    """Return each answer's chances of 0..min(k, count) votes if all samples were drawn independently, and P(k votes).

    Given k votes in all these are draws without replacement, whatever the chance p of a sample; p near k/n keeps every
    number in range.
    """
    n = int(pool.sum())
    table, p = log_factorials(n), (k + 0.5) / (n + 1)

    def binomial(count: int, votes: Ints) -> Floats:
        logs = log_choose(table, count, votes) + votes * np.log(p) + (count - votes) * np.log1p(-p)
        return np.exp(logs).astype(np.float64)

    return [binomial(int(count), np.arange(min(k, count) + 1)) for count in pool], float(binomial(n, np.array([k]))[0])


def _wins(chances: list[Floats], winner: int, k: int) -> float:
    """Return P(k votes in all, and `winner` leads), r rivals on the same votes counting 1/(r + 1).

    1/(r + 1) is the integral of z^r over [0, 1]: each tied rival weighs z, and Gauss-Legendre is exact for the sum.
    """
    rivals = [chance for i, chance in enumerate(chances) if i != winner]
    won = 0.0
    for votes in range(1, chances[winner].size):
        most_tied = min(sum(rival.size > votes for rival in rivals), k // votes - 1)
        nodes, weights = np.polynomial.legendre.leggauss(most_tied // 2 + 1)
        for z, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            won += weight * chances[winner][votes] * _rest(rivals, votes, k - votes, z)
    return won


def _rest(rivals: list[Floats], votes: int, rest: int, z: float) -> float:
    """Return P(the rivals have `rest` votes in all and none more than `votes`), each with just `votes` weighing z."""
    share = np.ones(1)
    for rival in rivals:
        factor = rival[: votes + 1].copy()
        factor[votes:] *= z  # empty if this rival cannot reach `votes`
        share = np.convolve(share, factor)[: rest + 1]
    return float(share[rest]) if share.size > rest else 0.0


@overload
def best_of_n_kl(n: int) -> float: ...
@overload
def best_of_n_kl(n: Sequence[int] | Ints) -> Floats: ...
def best_of_n_kl(n: ArrayLike) -> float | Floats:
    """Return log n - (n-1)/n in nats, the bound on KL(best of n || one sample), exact without ties.

    n: a number or an array of budgets. Raises ValueError for n < 1. Source: Beirami et al. 2024, arXiv 2401.01879.
    """
    counts = whole_numbers("n", n)
    if np.any(counts < 1):
        raise ValueError(f"n must be at least 1, got {n!r}")
    return plain(np.log(counts) - (counts - 1) / counts)
