"""Every scheme is unbiased and draws m sorted ancestors; the low-variance ones round each expectation up or down.

Draws are seeded. A mean of R draws is compared in units of its own standard deviation: with |z| < 4.5 and about 60
comparisons a right scheme fails one seed in 2,000.
"""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import keys
from search.resampling import SCHEMES, Scheme, multinomial, stratified, systematic

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text("utf-8"))
LOW_VARIANCE: tuple[Scheme, ...] = ("systematic", "ssp")
WEIGHTS = [
    [0.05, 0.15, 0.3, 0.12, 0.38],
    [0.2] * 5,
    [0.0, 0.7, 0.0, 0.3, 0.0],
    [1.0, 0.0, 0.0],
    [1e-9, 0.5, 0.5 - 1e-9],
]
R = 2000
EXTREME = [2.0**-53, 0.5, 1 - 2.0**-53]  # the ends of what `keys.uniforms` can give

weights_of = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any).map(lambda w: np.array(w) / sum(w))
uniform = st.one_of(st.sampled_from(EXTREME), st.floats(2.0**-53, 1 - 2.0**-53))
uniforms_of = st.lists(uniform, min_size=12, max_size=12).map(np.array)


def offspring(scheme: Scheme, weights: Any, m: int, runs: int = R) -> Any:
    """Counts [runs, n] of each particle's children."""
    u = keys.uniforms(keys.rows(keys.problem(1, scheme), 0, runs), 0, max(len(weights), m))
    return np.array([np.bincount(SCHEMES[scheme](row, weights, m), minlength=len(weights)) for row in u])


def test_the_table_is_complete() -> None:
    assert set(SCHEMES) == set(get_args(Scheme))


def test_recorded_examples() -> None:
    case = REFERENCE["systematic_resample"]
    got = systematic(np.array([case["u"]]), np.array(case["W"]), case["M"])
    assert got.tolist() == case["expected"]
    case = REFERENCE["stratified_resample"]
    assert stratified(np.array(case["u"]), np.array(case["W"]), len(case["u"])).tolist() == case["expected"]


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(derandomize=True, deadline=None, max_examples=150)
@given(weights=weights_of, uniforms=uniforms_of, m=st.integers(1, 12))
def test_m_sorted_ancestors_of_positive_weight(scheme: Scheme, weights: Any, uniforms: Any, m: int) -> None:
    before = weights.copy(), uniforms.copy()
    got = SCHEMES[scheme](uniforms, weights, m)
    assert (got.shape, got.dtype) == ((m,), np.int64)
    assert (np.diff(got) >= 0).all()
    assert (weights[got] > 0).all()
    counts = np.bincount(got, minlength=len(weights))
    if scheme in LOW_VARIANCE:
        assert (np.abs(counts - m * weights) < 1 + 1e-9).all()  # floor or ceiling
    if scheme == "residual":
        assert (counts >= np.floor(m * weights + 1e-12)).all()
    if scheme == "stratified":
        assert (np.abs(counts - m * weights) < 2 + 1e-9).all()  # only the two strata at its edges are uncertain
    np.testing.assert_array_equal(before[0], weights)
    np.testing.assert_array_equal(before[1], uniforms)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n", [3, 10, 1000, 1024])
@pytest.mark.parametrize("dead", [0, 2])
@pytest.mark.parametrize("u", EXTREME)
def test_the_ends_of_the_uniforms_stay_inside(scheme: Scheme, n: int, dead: int, u: float) -> None:
    """(m - 1 + u) / m rounds to 1 for u near 1, and a cumulative sum may end below 1, before weights of zero."""
    weights = np.append(np.full(n, 1 / n), np.zeros(dead))
    got = SCHEMES[scheme](np.full(n + dead, u), weights, n + dead)
    assert len(got) == n + dead
    assert got.min() >= 0
    assert got.max() < n


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("m", [1, 5, 8])
def test_unbiased(scheme: Scheme, weights: list[float], m: int) -> None:
    """E[children of i] = m w_i. Where nothing varied, the count must be the expectation itself."""
    w = np.array(weights)
    counts = offspring(scheme, w, m, 1000)
    error = counts.mean(0) - m * w
    sd = np.sqrt(np.maximum(counts.var(0), 1e-9 * (m * w > 0)) / len(counts))
    assert (np.abs(error) <= 4.5 * sd + 1e-6).all()


@pytest.mark.parametrize("weights", [[0.1, 0.2, 0.3, 0.4], [0.05, 0.15, 0.3, 0.12, 0.38]])
@pytest.mark.parametrize("m", [3, 8])
def test_systematic_and_stratified_are_unbiased_exactly(weights: list[float], m: int) -> None:
    """Counts change only where u is a multiple of 1/100 (m w_i are multiples of 1/100): the midpoints are all cases."""
    w, grid = np.array(weights), (np.arange(100) + 0.5) / 100
    for scheme in (systematic, stratified):
        counts = [np.bincount(scheme(np.full(m, u), w, m), minlength=len(w)) for u in grid]
        np.testing.assert_allclose(np.mean(counts, axis=0), m * w, atol=1e-12)


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 2000), st.floats(1e-9, 1 - 1e-9))
def test_systematic_leaves_uniform_weights_alone(n: int, u: float) -> None:
    """But for a shift within 1e-9 of the comb's ends, where the rounding of n weights' sum decides."""
    np.testing.assert_array_equal(systematic(np.array([u]), np.full(n, 1 / n), n), np.arange(n))


@pytest.mark.parametrize("scheme", ["ssp", "residual"])
def test_whole_expectations_leave_nothing_to_chance(scheme: Scheme) -> None:
    got = SCHEMES[scheme](np.full(8, 0.3), np.array([0.25, 0.5, 0.125, 0.125]), 8)
    assert got.tolist() == [0, 0, 1, 1, 1, 1, 2, 3]


def test_multinomial_variance_is_the_recorded_one() -> None:
    """R sample counts: relative sd of their variance is at most sqrt((3 - 1 + 1.9) / R) = 0.031 (w = 0.05); 4.5 sd."""
    case = REFERENCE["offspring_variance"]
    counts = offspring("multinomial", np.array(case["W"]), case["N"])
    np.testing.assert_allclose(counts.var(0), case["expected"], rtol=0.14)


@pytest.mark.parametrize("weights", WEIGHTS[:3])
def test_no_scheme_varies_more_than_multinomial(weights: list[float]) -> None:
    """Variance of each count, and of the children's mean rank: multinomial's is exact, the sample's within 14 %.

    Systematic and SSP have the least variance possible: shown above, since they are unbiased and round up or down.
    """
    w, m = np.array(weights), 8
    rank = np.arange(len(w))
    spread = (w * rank**2).sum() - (w * rank).sum() ** 2
    for scheme in SCHEMES:
        counts = offspring(scheme, w, m)
        assert (counts.var(0) <= 1.14 * m * w * (1 - w) + 1e-12).all()
        assert (counts @ rank / m).var() <= 1.14 * spread / m


def test_multinomial_ignores_the_order_of_its_uniforms() -> None:
    u, w = np.array([0.9, 0.1, 0.5, 0.3]), np.array([0.3, 0.3, 0.4])
    assert multinomial(u, w, 4).tolist() == multinomial(u[::-1], w, 4).tolist() == [0, 1, 1, 2]
