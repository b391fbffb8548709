"""Verifiers that err: against enumeration, direct summation and the published table."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.curves.imperfect import (
    clopper_pearson,
    expected_utility,
    optimal_k,
    rates_from_precision,
    resample_from_pool,
    resample_outcome,
    rogan_gladen,
    wilson,
)

chance = st.floats(0, 1)


@given(p=chance, tpr=chance, fpr=chance, k=st.integers(1, 10**6))
def test_outcomes_are_chances_and_the_limit_is_the_precision(p: float, tpr: float, fpr: float, k: int) -> None:
    found = resample_outcome(p, tpr, fpr, k)
    assert float(found.correct) + float(found.wrong) + float(found.abstain) == pytest.approx(1, abs=1e-9)
    accepted = p * tpr + (1 - p) * fpr
    if accepted > 1e-9:
        returned = float(found.correct) + float(found.wrong)
        assert float(found.correct) == pytest.approx(returned * p * tpr / accepted, rel=1e-9, abs=1e-12)
    assert 1 - 1e-9 <= float(found.draws) <= k + 1e-6


@pytest.mark.parametrize(("tpr", "fpr"), [(0.9, 0.1), (1.0, 0.0), (0.4, 0.6)])
def test_outcomes_are_the_sum_over_the_draw_that_ends_it(tpr: float, fpr: float) -> None:
    p, k = 0.3, 7
    hit, miss = p * tpr, (1 - p) * fpr
    stays = 1 - hit - miss
    found = resample_outcome(p, tpr, fpr, k)
    assert found.correct == pytest.approx(sum(hit * stays**i for i in range(k)))
    assert found.wrong == pytest.approx(sum(miss * stays**i for i in range(k)))
    assert found.draws == pytest.approx(sum(stays**i for i in range(k)))


@pytest.mark.parametrize(("n", "accepted", "right"), [(5, 3, 2), (6, 0, 0), (4, 4, 1), (5, 1, 1)])
def test_from_a_pool_is_the_mean_over_all_orders(n: int, accepted: int, right: int) -> None:
    verdicts = ["right"] * right + ["wrong"] * (accepted - right) + ["no"] * (n - accepted)
    for k in range(1, n + 1):
        ends = [next((v for v in order[:k] if v != "no"), "none") for order in permutations(verdicts)]
        drawn = [next((i + 1 for i, v in enumerate(order[:k]) if v != "no"), k) for order in permutations(verdicts)]
        found = resample_from_pool(n, accepted, right, k)
        assert found.correct == pytest.approx(ends.count("right") / len(ends))
        assert found.wrong == pytest.approx(ends.count("wrong") / len(ends))
        assert found.abstain == pytest.approx(ends.count("none") / len(ends))
        assert found.draws == pytest.approx(np.mean(drawn))


def test_a_pool_of_a_million() -> None:
    found = resample_from_pool(10**6, [0, 1, 10**6], [0, 1, 10**5], 5 * 10**5)
    assert found.correct == pytest.approx([0, 0.5, 0.1])
    assert found.abstain == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize(
    ("a", "b", "fpr", "tpr", "loss", "cost"),
    [(0.3, 2, 0.05, 1.0, 1, 0), (0.3, 2, 0.05, 0.8, 1, 0), (2, 5, 0.2, 0.7, 3, 0.01), (0.05, 0.05, 0.1, 0.9, 1, 0.02)],
)
def test_utility_and_its_best_k(a: float, b: float, fpr: float, tpr: float, loss: float, cost: float) -> None:
    """Against the mean outcome over the quantiles of the Beta, and against trying every k."""

    p = stats.beta(a, b).ppf((np.arange(200_000) + 0.5) / 200_000)

    def summed(k: int) -> float:
        found = resample_outcome(p, tpr, fpr, k)
        return float(np.mean(found.correct - loss * np.asarray(found.wrong) - cost * np.asarray(found.draws)))

    for k in (1, 3, 16):
        assert expected_utility(a, b, k, fpr, 1, loss, cost, tpr) == pytest.approx(summed(k), abs=1e-4)
    best = optimal_k(a, b, fpr, 1, loss, cost, tpr)
    assert best is not None
    tried = [expected_utility(a, b, k, fpr, 1, loss, cost, tpr) for k in range(3 * best + 20)]
    assert int(np.argmax(tried)) == best


def test_the_published_table() -> None:
    """p ~ Beta(.3, 2), f = .05: k* falls as mistakes get dearer; at L = V it is 4, and 64 draws lose."""
    ks = [optimal_k(0.3, 2, 0.05, 1, loss) for loss in (0.25, 0.5, 1, 2, 4)]
    assert ks == sorted(ks, key=lambda k: -(k or 0))
    assert ks[2] == 4
    assert expected_utility(0.3, 2, 4, 0.05) == pytest.approx(0.147, abs=5e-4)
    assert expected_utility(0.3, 2, 64, 0.05) == pytest.approx(-0.064, abs=5e-4)


def test_k_without_a_limit_or_without_a_gain() -> None:
    assert optimal_k(0.3, 2, 0.0) is None  # it never errs and a sample is free
    assert optimal_k(0.3, 2, 0.05, value=0) == 0
    assert optimal_k(0.3, 2, 0.9, loss=10) == 0
    assert optimal_k(0.3, 2, 0.5, tpr=0.4, loss=0.01) is None  # rejections make a problem look easier
    assert optimal_k(0.3, 2, 0.5, tpr=0.4, loss=10) == 0


@pytest.mark.parametrize("n", [1, 7, 40, 1000])
def test_intervals_of_a_proportion(n: int) -> None:
    for x in {0, 1, n // 2, n}:
        for ours, theirs in ((wilson, "wilson"), (clopper_pearson, "exact")):
            expected = stats.binomtest(x, n).proportion_ci(0.9, theirs)
            assert ours(x, n, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(q=st.floats(0.01, 0.99), ppv=st.floats(0.01, 0.99), npv=st.floats(0.01, 0.99))
def test_rates_and_precision_say_the_same(q: float, ppv: float, npv: float) -> None:
    rates = rates_from_precision(q, ppv, npv)
    accepted = rates.prevalence * rates.tpr + (1 - rates.prevalence) * rates.fpr
    assert accepted == pytest.approx(q)
    assert rates.prevalence * rates.tpr / accepted == pytest.approx(ppv)
    if rates.tpr > rates.fpr + 1e-6:
        assert rogan_gladen(q, rates.tpr, rates.fpr) == pytest.approx(rates.prevalence, abs=1e-6)


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"fpr must be between 0 and 1, got 1\.5"):
        resample_outcome(0.5, 0.5, 1.5, 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        resample_outcome(0.5, 0.5, 0.5, 0)
    with pytest.raises(ValueError, match="right must be between 0 and accepted"):
        resample_from_pool(5, 2, 3, 1)
    with pytest.raises(ValueError, match="a and b must be positive"):
        optimal_k(0, 1, 0.1)
    with pytest.raises(ValueError, match="0 <= x <= n"):
        wilson(5, 4)
    with pytest.raises(ValueError, match="tpr must be above fpr"):
        rogan_gladen(0.5, 0.1, 0.1)
    with pytest.raises(ValueError, match="right and wrong samples"):
        rates_from_precision(1.0, 1.0, 0.5)
