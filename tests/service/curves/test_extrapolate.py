"""Models beyond the pool: they find the law that made the data, and say so when there is nothing to find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from service.curves.extrapolate import (
    beta_binomial_coverage,
    fit_beta_binomial,
    fit_power_law,
    fit_zero_inflated,
    power_law,
    solved_later,
)


@pytest.mark.parametrize(("a", "b"), [(0.3, 2.0), (2.0, 5.0), (0.1, 0.1)])
def test_the_law_is_found_again(a: float, b: float) -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(20, 200, 20_000)  # pools of any sizes
    found = fit_beta_binomial(n, rng.binomial(n, rng.beta(a, b, n.size)))
    assert found is not None
    assert (found.a, found.b) == pytest.approx((a, b), rel=0.06)


def test_no_other_beta_is_likelier() -> None:
    n, c = np.array([20] * 12), np.array([0, 0, 0, 0, 1, 0, 2, 5, 0, 11, 1, 18])
    found = fit_beta_binomial(n, c)
    assert found is not None

    def likelihood(a: float, b: float) -> float:
        return float(stats.betabinom.logpmf(c, n, a, b).sum())

    best = likelihood(*found)
    for by in (0.9, 0.99, 1.01, 1.1):
        assert likelihood(found.a * by, found.b) < best
        assert likelihood(found.a, found.b * by) < best


def test_impossible_problems_are_found() -> None:
    rng = np.random.default_rng(2)
    p = np.where(rng.random(5000) < 0.4, 0.0, rng.beta(2, 3, 5000))
    found = fit_zero_inflated(100, rng.binomial(100, p))
    assert found is not None
    assert found.zero == pytest.approx(0.4, abs=0.02)
    assert (found.a, found.b) == pytest.approx((2, 3), rel=0.1)
    assert beta_binomial_coverage(found.a, found.b, 10**9, found.zero) == pytest.approx(0.6, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=12))
def test_every_pool_has_a_finite_answer_or_none(c: list[int]) -> None:
    for fit in (fit_beta_binomial, fit_zero_inflated):
        found = fit(12, np.array(c))
        assert (found is None) is (sum(c) in (0, 12 * len(c)))
        assert found is None or np.isfinite(found).all()


@pytest.mark.parametrize(("n", "c"), [([5], [2]), ([5, 5], [0, 0]), ([5, 5], [5, 5]), ([1, 1, 1], [0, 1, 1])])
def test_nothing_to_fit(n: list[int], c: list[int]) -> None:
    assert fit_beta_binomial(n, c) is None
    assert fit_zero_inflated(n, c) is None


def test_coverage_of_a_beta_is_its_mean() -> None:
    p = np.random.default_rng(0).beta(0.3, 2, 400_000)
    for k in (1, 10, 100):
        assert beta_binomial_coverage(0.3, 2, k) == pytest.approx(1 - np.mean((1 - p) ** k), abs=4e-3)
    assert beta_binomial_coverage(0.3, 2, [0, 1]).tolist() == [0.0, pytest.approx(0.3 / 2.3)]  # type: ignore[union-attr]
    assert 0.99 < beta_binomial_coverage(0.3, 2, 10**12) < 1


def test_later_is_what_the_posterior_says() -> None:
    """Of problems with 0 of 10, those that 5 more samples solve."""
    rng = np.random.default_rng(3)
    p = rng.beta(0.5, 1.5, 400_000)
    hard = p[rng.binomial(10, p) == 0]
    assert solved_later(0.5, 1.5, 10, 0, 5) == pytest.approx(np.mean(1 - (1 - hard) ** 5), abs=5e-3)
    assert solved_later(0.5, 1.5, 0, 0, 7) == pytest.approx(beta_binomial_coverage(0.5, 1.5, 7))


def test_power_law() -> None:
    k = 2.0 ** np.arange(8)
    found = fit_power_law(k, power_law(-2.0, -0.3, k))
    assert found == pytest.approx((-2.0, -0.3), rel=1e-6)
    assert power_law(-2.0, -0.3, 1) == pytest.approx(np.exp(-2))
    assert fit_power_law([1, 2], [0.0, 0.5]) is None  # one budget inside (0, 1)
    assert fit_power_law([1, 2, 4], [0.4, 0.4, 0.4]) is None
    assert fit_power_law([1, 2, 4], [0.6, 0.4, 0.3]) is None  # it falls


def test_refused() -> None:
    with pytest.raises(ValueError, match="c must be between 0 and n"):
        fit_beta_binomial([3, 3], [1, 4])
    with pytest.raises(ValueError, match="a, b > 0"):
        beta_binomial_coverage(0, 1, 1)
    with pytest.raises(ValueError, match="0 <= c <= n"):
        solved_later(1, 1, 2, 3, 1)
    with pytest.raises(ValueError, match="coverage between 0 and 1"):
        fit_power_law([1, 2], [0.5, 1.5])
    with pytest.raises(ValueError, match="a <= 0 and k >= 1"):
        power_law(1.0, 0.1, 2)
