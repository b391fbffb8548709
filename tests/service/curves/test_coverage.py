"""Coverage: exact values, unbiasedness, honest intervals at the edges, and the time a curve takes."""

import subprocess
import sys
import time
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.curves.coverage import (
    Interval,
    coverage,
    coverage_interval,
    expected_draws,
    pass_at_k,
    pass_at_k_jackknife_se,
    pass_at_k_variance,
    pass_hat_k,
    sup_t_band,
)

METHODS = ["anchored", "logit_t", "t", "bootstrap"]


@st.composite
def pools(draw: st.DrawFn, largest: int = 400) -> tuple[int, int, int]:
    n = draw(st.integers(1, largest))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(pools())
def test_equals_integer_arithmetic(pool: tuple[int, int, int]) -> None:
    n, c, k = pool
    missed = Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(1 - missed), rel=1e-12, abs=1e-300)
    assert pass_hat_k(n, c, k) == pytest.approx(float(Fraction(comb(c, k), comb(n, k))), rel=1e-11, abs=1e-300)
    # E[min(T, k)] = sum over j < k of P(the first j draws miss)
    spent = sum(Fraction(comb(n - c, j), comb(n, j)) for j in range(k))
    assert expected_draws(n, c, k) == pytest.approx(float(spent), rel=1e-12)


@pytest.mark.parametrize("c", [1, 2, 17, 1000, 400_000])
@pytest.mark.parametrize("k", [1, 3, 64, 1000, 500_000])
def test_exact_for_a_million_samples(c: int, k: int) -> None:
    n = 10**6
    terms = np.log1p(-max(c, k) / (n - np.arange(min(c, k), dtype=np.longdouble)))
    expected = float(-np.expm1(terms.sum()))
    assert pass_at_k(n, c, k) == pytest.approx(expected, rel=1e-12)


def test_ends_are_exact() -> None:
    assert str(pass_at_k(10, 0, 10)) == "0.0"  # not -0.0
    assert pass_at_k(10, 1, 10) == 1.0
    assert pass_at_k(10**6, 0, 1) == 0.0
    assert pass_hat_k(10, 10, 10) == 1.0
    assert pass_hat_k(10, 3, 4) == 0.0
    assert expected_draws(10, 0, 7) == pytest.approx(7.0)
    assert expected_draws(10, 10, 7) == pytest.approx(1.0)


def test_scalars_give_floats_and_arrays_broadcast() -> None:
    assert isinstance(pass_at_k(10, 3, 5), float)
    table = pass_at_k(10, np.array([0, 3, 10]), np.array([[1], [5]]))
    assert table.shape == (2, 3)
    assert table[1, 1] == pass_at_k(10, 3, 5)
    assert isinstance(coverage([10, 8], [3, 2], 5), float)
    assert coverage([10, 8], [3, 2], [5]).shape == (1,)
    assert coverage(10, [3, 2], [1, 5])[1] == pytest.approx((pass_at_k(10, 3, 5) + pass_at_k(10, 2, 5)) / 2)


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (10, 3, 11, "k must be between 1 and n"),
        (10, 3, 0, "k must be between 1 and n"),
        (10, 11, 1, "c must be between 0 and n"),
        (10, -1, 1, "c must be between 0 and n"),
        (0, 0, 1, "n must be at least 1"),
        (10, 2.5, 1, "c must be whole numbers"),
        (10, float("nan"), 1, "c must be whole numbers"),
        ([10, 4], [4, 4], 5, r"n = 4, c = 4, k = 5 \(1 of 2"),
    ],
)
@pytest.mark.parametrize("function", [pass_at_k, pass_hat_k, pass_at_k_variance, expected_draws, coverage])
def test_refuses_impossible_counts(function, n, c, k, message) -> None:
    with pytest.raises(ValueError, match=message):
        function(n, c, k)


@given(pools(60))
def test_variance_equals_integer_arithmetic(pool: tuple[int, int, int]) -> None:
    n, c, k = pool
    if 2 * k > n:
        with pytest.raises(ValueError, match="jackknife"):
            pass_at_k_variance(n, c, k)
        return
    expected = Fraction(comb(n - c, k), comb(n, k)) ** 2 - Fraction(comb(n - c, 2 * k), comb(n, 2 * k))
    assert pass_at_k_variance(n, c, k) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


@given(pools(30))
def test_jackknife_equals_leaving_out_each_sample(pool: tuple[int, int, int]) -> None:
    n, c, k = pool
    if k == n:
        with pytest.raises(ValueError, match="k <= n - 1"):
            pass_at_k_jackknife_se(n, c, k)
        return
    without = [pass_at_k(n - 1, c - 1, k)] * c if c else []
    without += [pass_at_k(n - 1, c, k)] * (n - c) if c < n else []
    expected = np.sqrt((n - 1) * np.var(without))
    assert pass_at_k_jackknife_se(n, c, k) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_no_correct_answer_still_leaves_room(method: str) -> None:
    low, high = coverage_interval(np.full(20, 10), np.zeros(20), 3, method=method)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert coverage_interval(np.full(20, 10), np.full(20, 10), 3, method=method) == pytest.approx((1 - high, 1.0))


@pytest.mark.parametrize("method", METHODS)
def test_one_problem_says_nothing_about_others(method: str) -> None:
    assert coverage_interval([10], [5], 3, method=method) == Interval(0.0, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_equal_problems_do_not_give_zero_width(method: str) -> None:
    low, high = coverage_interval([10, 10, 10], [5, 5, 5], 1, method=method)
    assert low < 0.2 < 0.8 < high


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(1, 6), st.sampled_from(METHODS[:3]))
def test_interval_is_ordered_and_holds_the_estimate(c: list[int], k: int, method: str) -> None:
    low, high = coverage_interval(6, c, k, method=method)
    assert 0 <= low <= coverage(6, c, k) + 1e-12
    assert coverage(6, c, k) - 1e-12 <= high <= 1


@pytest.mark.parametrize("c", [[0, 6], [0, 1], [6, 6, 5], [0, 0, 0, 1]])
def test_bootstrap_is_finite_for_few_problems(c: list[int]) -> None:
    low, high = coverage_interval(6, c, 2, method="bootstrap")
    assert 0 <= low < high <= 1


def test_refuses_other_levels_methods_and_shapes() -> None:
    with pytest.raises(ValueError, match="level"):
        coverage_interval([10, 10], [1, 2], 1, level=95)
    with pytest.raises(ValueError, match="anchored, logit_t, t, bootstrap"):
        coverage_interval([10, 10], [1, 2], 1, method="wald")
    with pytest.raises(ValueError, match="sup_t_band"):
        coverage_interval([10, 10], [1, 2], [1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one problem"):
        coverage([], [], 1)


def simulated(replicates: int, problems: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (replicates, problems) of 20 samples, success rates Beta(0.6, 1.4), and true coverage at 1..10."""
    rng = np.random.default_rng(seed)
    counts = rng.binomial(20, rng.beta(0.6, 1.4, (replicates, problems)))
    k = np.arange(1, 11)
    return counts, 1 - np.cumprod((1.4 + k - 1) / (2.0 + k - 1))  # E[(1-p)^k] for a beta


@pytest.mark.parametrize(("method", "replicates"), list(zip(METHODS, [2000, 2000, 2000, 200], strict=True)))
def test_95_percent_intervals_hold_the_truth_95_percent_of_the_time(method: str, replicates: int) -> None:
    counts, truth = simulated(replicates, 30, seed=1)
    held = 0
    for c in counts:
        low, high = coverage_interval(20, c, 5, method=method)
        held += low <= truth[4] <= high
    # 4 binomial standard errors of the simulation, plus 0.02 for the error of each method at 30 problems
    assert held / replicates == pytest.approx(0.95, abs=0.02 + 4 * np.sqrt(0.95 * 0.05 / replicates))


def test_few_problems_near_full_coverage_keep_the_level() -> None:
    rng = np.random.default_rng(3)
    counts = rng.binomial(100, rng.random((1500, 30)))  # coverage k/(k+1) = 40/41
    held = dict.fromkeys(("anchored", "logit_t"), 0)
    for c in counts:
        for method in held:
            low, high = coverage_interval(100, c, 40, method=method)
            held[method] += low <= 40 / 41 <= high
    assert 0.93 < held["anchored"] / 1500 < 0.98
    assert held["logit_t"] / 1500 < 0.85  # the reason for the anchor


def test_anchor_fades() -> None:
    c = np.random.default_rng(4).binomial(20, 0.3, 2000)
    assert coverage_interval(20, c, 4) == pytest.approx(coverage_interval(20, c, 4, method="logit_t"), abs=2e-4)


def test_band_holds_the_whole_curve() -> None:
    counts, truth = simulated(300, 30, seed=2)
    whole = pointwise = 0
    for c in counts:
        band = sup_t_band(20, c, np.arange(1, 11), draws=2000)
        whole += bool(np.all((band.low <= truth) & (truth <= band.high)))
        each = [coverage_interval(20, c, k) for k in range(1, 11)]
        pointwise += all(low <= value <= high for (low, high), value in zip(each, truth, strict=True))
    assert whole / 300 == pytest.approx(0.95, abs=0.02 + 4 * np.sqrt(0.95 * 0.05 / 300))
    assert pointwise < whole


def test_band_of_one_budget_is_the_interval() -> None:
    c = [0, 0, 1, 2, 5, 10, 0, 3]
    band = sup_t_band(10, c, [3], draws=200_000)
    # the critical value comes from 2 * 10^5 draws: relative error below 1 %
    assert (band.low[0], band.high[0]) == pytest.approx(coverage_interval(10, c, 3), rel=0.02)


def test_band_is_seeded_and_survives_budgets_without_spread() -> None:
    band = sup_t_band(4, [1, 2, 3], [1, 2, 4])
    assert np.all(band.low < band.high)
    assert band.high[2] == 1.0  # every problem is solved at k = n
    assert np.array_equal(band.low, sup_t_band(4, [1, 2, 3], [1, 2, 4]).low)
    assert np.array_equal(sup_t_band(4, [1], [1, 2]).high, [1.0, 1.0])


def test_curve_of_a_million_samples_takes_a_tenth_of_a_second() -> None:
    rng = np.random.default_rng(0)
    c = rng.binomial(1000, rng.beta(0.3, 2, 1000))
    k = np.unique(np.geomspace(1, 1000, 20).astype(int))
    best = min(_seconds(lambda: coverage(1000, c, k)) for _ in range(3))
    assert best < 0.1  # measured: 0.004


def _seconds(work) -> float:
    start = time.thread_time()  # what others do meanwhile does not count
    work()
    return time.thread_time() - start


def test_importing_the_curves_does_not_import_scipy() -> None:
    code = "import sys, service.curves.coverage, service.curves.selection; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
