"""Selection: every exact formula equals the average over all subsets of a small pool."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.curves.coverage import pass_at_k
from service.curves.selection import (
    best_of_n_kl,
    majority_at_k,
    majority_at_k_sampled,
    max_at_k,
    selected_at_k,
    top_m_at_k,
)

NAN = float("nan")
scores = st.sampled_from([0.0, 0.5, 1.0, NAN])  # few values, so ties are common


@st.composite
def scored_pools(draw: st.DrawFn) -> tuple[list[float], list[int], int]:
    n = draw(st.integers(1, 7))
    proxy = draw(st.lists(scores, min_size=n, max_size=n))
    return proxy, draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), draw(st.integers(1, n))


def key(score: float) -> float:
    return -np.inf if np.isnan(score) else score


@given(scored_pools())
def test_selected_equals_every_subset(pool: tuple[list[float], list[int], int]) -> None:
    proxy, true, k = pool
    subsets = list(combinations(range(len(proxy)), k))
    expected = 0.0
    for subset in subsets:
        best = max(key(proxy[i]) for i in subset)
        expected += np.mean([true[i] for i in subset if key(proxy[i]) == best])
    assert selected_at_k(proxy, true, k) == pytest.approx(expected / len(subsets), abs=1e-12)


def top_hit(proxy: list[float], correct: list[int], subset: tuple[int, ...], m: int) -> float:
    """Return P(some of the m best of a subset is correct), the cut through a tie group being uniform."""
    cut = sorted((key(proxy[i]) for i in subset), reverse=True)[m - 1]
    sure = [i for i in subset if key(proxy[i]) > cut]
    tied = [i for i in subset if key(proxy[i]) == cut]
    picks = [sure + list(more) for more in combinations(tied, m - len(sure))]
    return float(np.mean([any(correct[i] for i in pick) for pick in picks]))


@given(scored_pools(), st.data())
@settings(deadline=None)
def test_top_m_equals_every_subset(pool: tuple[list[float], list[int], int], data: st.DataObject) -> None:
    proxy, correct, k = pool
    m = data.draw(st.integers(1, k))
    expected = np.mean([top_hit(proxy, correct, subset, m) for subset in combinations(range(len(proxy)), k)])
    assert top_m_at_k(proxy, correct, k, m) == pytest.approx(expected, abs=1e-12)


def test_top_m_lies_between_best_of_k_and_pass_at_k() -> None:
    rng = np.random.default_rng(0)
    correct = rng.integers(0, 2, (3, 50))
    proxy = np.round(correct + rng.normal(0, 2, (3, 50)))
    k = np.array([5, 20, 50])
    solved = pass_at_k(50, correct.sum(axis=1)[:, None], k)
    assert top_m_at_k(proxy, correct, k, 1) == pytest.approx(selected_at_k(proxy, correct, k), abs=1e-12)
    assert top_m_at_k(proxy, correct, 20, 20) == pytest.approx(solved[:, 1], abs=1e-12)
    assert np.all(top_m_at_k(proxy, correct, k, 3) <= solved + 1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7), st.data())
def test_max_equals_every_subset(rewards: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(rewards)))
    assert max_at_k(rewards, k) == pytest.approx(np.mean([max(s) for s in combinations(rewards, k)]), abs=1e-12)


def test_max_of_zero_one_rewards_is_pass_at_k_at_a_million() -> None:
    rewards = np.zeros(10**6)
    rewards[:17] = 1
    assert max_at_k(rewards, 1000) == pytest.approx(pass_at_k(10**6, 17, 1000), rel=1e-11)
    ranks = np.arange(1.0, 10**6 + 1)
    assert max_at_k(ranks, 64) == pytest.approx(64 * (10**6 + 1) / 65, rel=1e-11)  # E[max rank] = k(n+1)/(k+1)


def test_top_m_at_a_million_samples() -> None:
    # proxy = the grade itself, so the best submission is right whenever one draw is
    correct = np.zeros(10**6)
    correct[:17] = 1
    ranks = np.arange(10**6, 0, -1)
    assert top_m_at_k(ranks, correct, 1000, 2) == pytest.approx(pass_at_k(10**6, 17, 1000), abs=1e-10)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any), st.data())
@settings(deadline=None)
def test_majority_equals_every_subset(counts: list[int], data: st.DataObject) -> None:
    answers = [answer for answer, count in enumerate(counts) for _ in range(count)]
    k = data.draw(st.integers(1, min(len(answers), 6)))
    right = data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts)))
    won = []
    for subset in combinations(answers, k):
        votes = np.bincount(subset, minlength=len(counts))
        won.append(np.mean(np.array(right)[votes == votes.max()]))
    assert majority_at_k(counts, right, k) == pytest.approx(np.mean(won), abs=1e-12)


def test_majority_shares_sum_to_one_in_large_pools() -> None:
    counts = [500_000, 300_000, 199_999, 1]
    shares = [majority_at_k(counts, i, 64) for i in range(4)]
    assert sum(shares) == pytest.approx(1, abs=1e-10)
    assert majority_at_k(counts, [True] * 4, 64) == pytest.approx(1, abs=1e-10)
    assert majority_at_k([3, 2], 0, 5) == pytest.approx(1)


def test_sampled_majority_agrees_within_its_error() -> None:
    counts = [40, 30, 20, 10]
    value, error = majority_at_k_sampled(counts, 0, 15)
    assert 0 < error < 0.02  # at most 0.5/sqrt(1000)
    assert value == pytest.approx(majority_at_k(counts, 0, 15), abs=4 * error)
    assert majority_at_k_sampled(counts, 0, 15) == (value, error)


def test_too_large_a_vote_says_what_to_use_instead() -> None:
    with pytest.raises(ValueError, match="majority_at_k_sampled"):
        majority_at_k(np.full(300, 100), 0, 1000)
    assert majority_at_k_sampled(np.full(300, 100), 0, 1000).value < 0.1


def test_kl_bound() -> None:
    assert best_of_n_kl(1) == 0.0
    assert best_of_n_kl([1, 16])[1] == best_of_n_kl(16)
    with pytest.raises(ValueError, match="n must be at least 1"):
        best_of_n_kl(0)


def test_shapes_follow_the_input() -> None:
    rows = np.random.default_rng(0).random((3, 8))
    assert isinstance(max_at_k(rows[0], 2), float)
    assert np.shape(max_at_k(rows[0], [1, 2])) == (2,)
    assert np.shape(max_at_k(rows, 2)) == (3,)
    assert np.shape(selected_at_k(rows, rows, [2])) == (3, 1)
    assert max_at_k(rows, [1, 3])[1, 1] == pytest.approx(max_at_k(rows[1], 3))  # type: ignore[index]
    assert selected_at_k(rows, rows, [1, 3]) == pytest.approx(max_at_k(rows, [1, 3]))


def test_unscored_is_not_chosen_over_a_low_score() -> None:
    assert selected_at_k([NAN, -1e300], [1, 0], 2) == 0.0
    assert selected_at_k([NAN, -np.inf], [1, 0], 2) == 0.0
    assert selected_at_k([NAN, NAN], [1, 0], 2) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: max_at_k([1.0, NAN], 1), "rewards must be finite, got nan"),
        (lambda: max_at_k([1.0], 2), "k must be between 1 and n = 1"),
        (lambda: max_at_k([], 1), "at least one sample"),
        (lambda: selected_at_k([1, 2], [1], 1), "shape of the scores"),
        (lambda: selected_at_k([1, 2], [1, NAN], 1), "true must be finite"),
        (lambda: top_m_at_k([1, 2], [1, 2], 1, 1), "correct must be 0 or 1, got 2"),
        (lambda: top_m_at_k([1, 2], [1, 0], 1, 2), "m must be between 1 and the smallest k = 1, got 2"),
        (lambda: majority_at_k([2, 1], 2, 1), r"index in 0\.\.1"),
        (lambda: majority_at_k([2, 1], [True], 1), "2 booleans"),
        (lambda: majority_at_k([2, -1], 0, 1), "counts must be"),
        (lambda: majority_at_k([2, 1], 0, 4), "k must be between 1 and n = 3"),
    ],
)
def test_refuses_impossible_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_selection_curve_of_a_million_samples_is_quick() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, (1000, 1000)).astype(float)
    proxy = true + rng.normal(size=true.shape)
    k = np.unique(np.geomspace(1, 1000, 20).astype(int))
    start = time.thread_time()  # what others do meanwhile does not count
    selected_at_k(proxy, true, k)
    assert time.thread_time() - start < 1.0  # about 0.05 s, mostly the sort
