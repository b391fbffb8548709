"""Majority over a curve: against the exact sum over subsets, and its edges."""

from itertools import combinations

import numpy as np
import pytest

from service.curves.selection import majority_at_k
from service.curves.voting import majority_curve, orders_for


@pytest.mark.parametrize("counts", [(5, 3, 2), (4, 4), (1, 1, 1, 1, 6)])
def test_the_exact_law(counts: tuple[int, ...]) -> None:
    forms = np.repeat(np.arange(1, len(counts) + 1), counts).astype(np.uint64)
    grid = np.array([1, 2, 4, forms.size])
    found = majority_curve(forms, (forms == 1).astype(float), grid, 40_000)
    exact = [majority_at_k(counts, 0, int(k)) for k in grid]
    assert found == pytest.approx(exact, abs=4 * 0.5 / 200)


def test_answers_without_a_form_never_vote() -> None:
    forms, right = np.array([0, 0, 0, 7, 9], np.uint64), np.array([1, 1, 1, 1, 0], float)
    found = majority_curve(forms, right, np.array([1, 3, 5]), 20_000)

    def win(chosen: tuple[int, ...]) -> float:
        return np.mean([right[i] for i in chosen if forms[i]]) if any(forms[i] for i in chosen) else 0.0

    exact = [np.mean([win(chosen) for chosen in combinations(range(5), k)]) for k in (1, 3, 5)]
    assert found == pytest.approx(exact, abs=0.02)
    assert found[2] == 0.5  # one vote each, whatever the order


def test_a_form_is_as_right_as_its_samples() -> None:
    forms, right = np.array([3, 3, 3, 3], np.uint64), np.array([1, 0, 0, 1], float)
    assert majority_curve(forms, right, np.array([1, 4]), 3).tolist() == [0.5, 0.5]


def test_orders() -> None:
    assert orders_for(1, 100) == 1000
    assert orders_for(1000, 100) == 8
    assert orders_for(1, 2_000_000) == 2
    assert orders_for(0, 0) == 1000
