"""Ranks against their definition, with ties, gaps and judges that say nothing."""

import numpy as np
import pytest

from search.ports import Floats
from search.ranking import ranks, standing


def defined(values: Floats) -> Floats:
    """How many are higher, and half of the equal ones, one by one."""
    each = [np.nan if np.isnan(x) else np.nansum(values > x) + 0.5 * np.nansum(values == x) for x in values]
    return np.array(each, np.float64)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("kinds", [1, 3, 10**6])
@pytest.mark.parametrize("silent", [0.0, 0.3, 1.0])
def test_ranks(n: int, kinds: int, silent: float) -> None:
    rng = np.random.default_rng(n + kinds)
    values = rng.integers(0, kinds, n).astype(np.float64)
    values[rng.random(n) < silent] = np.nan
    assert np.array_equal(ranks(values), defined(values), equal_nan=True)


def test_standing_is_minus_the_mean_rank_and_one_judge_keeps_its_values() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 3.0]), np.array([9.0, np.nan, 8.0, 7.0])
    assert standing(a[None]).tolist() == a.tolist()
    assert standing(np.array([a, b])) == pytest.approx(
        [-(3.5 + 0.5) / 2, np.nan, -(1 + 1.5) / 2, -(1 + 2.5) / 2], nan_ok=True
    )


def test_a_hundred_thousand_answers_stand_at_once() -> None:
    """A rank of each against each would be 2 * 10^10 comparisons."""
    values = np.random.default_rng(0).random((2, 100_000))
    found = standing(values)
    order = values.argsort(1).argsort(1)
    assert found == pytest.approx((order - 100_000 + 0.5).mean(0))
