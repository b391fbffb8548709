"""Paired differences: published examples, closed forms, symmetries, and how often the intervals hold the truth."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from service.curves.paired import Difference, paired_proportions, paired_t

COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, method 10
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness
    ],
)
def test_published(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    digits = len(str(high).split(".")[1])
    found = paired_proportions(*cells)
    assert found.mean == pytest.approx((cells[1] - cells[2]) / sum(cells))
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


@pytest.mark.parametrize(("level", "n"), [(0.95, 1), (0.95, 20), (0.8, 7), (0.99, 400)])
def test_closed_forms(level: float, n: int) -> None:
    z2 = stats.norm.ppf((1 + level) / 2) ** 2
    # Nobody passes: both Wilson intervals are [0, z^2/(n + z^2)], phi is 0, so the square-and-add arm is the
    # upper end of one: sqrt(0 + (z^2/(n + z^2))^2).
    arm = z2 / (n + z2)
    assert paired_proportions(0, 0, 0, n, level) == pytest.approx((0, -arm, arm))
    assert paired_proportions(n, 0, 0, 0, level) == pytest.approx((0, -arm, arm))
    # All pass here and none there: Wilson [1 - arm, 1] and [0, arm].
    found = paired_proportions(0, n, 0, 0, level)
    assert found == pytest.approx((1, 1 - sqrt(2) * arm if sqrt(2) * arm < 2 else -1, 1))


def test_independent_outcomes_have_no_correlation() -> None:
    # ad = bc, so phi = 0: what remains is the interval of two independent samples, from scipy's Wilson intervals.
    both, here, there, neither = 12, 18, 8, 12
    first = stats.binomtest(30, 50).proportion_ci(method="wilson")
    second = stats.binomtest(20, 50).proportion_ci(method="wilson")
    low = 0.2 - sqrt((0.6 - first.low) ** 2 + (second.high - 0.4) ** 2)
    high = 0.2 + sqrt((first.high - 0.6) ** 2 + (0.4 - second.low) ** 2)
    assert paired_proportions(both, here, there, neither) == pytest.approx((0.2, low, high))


@given(COUNTS)
def test_symmetries(cells: tuple[int, int, int, int]) -> None:
    a, b, c, d = cells
    found = paired_proportions(a, b, c, d)
    assert -1 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high  # never without a width
    swapped = paired_proportions(a, c, b, d)
    assert tuple(swapped) == pytest.approx((-found.mean, -found.high, -found.low), abs=1e-12)
    failures = paired_proportions(d, b, c, a)  # (1 - p2) - (1 - p1) is p1 - p2
    assert tuple(failures) == pytest.approx(tuple(found), abs=1e-12)
    wide = paired_proportions(a, b, c, d, 0.99)
    assert wide.low <= found.low
    assert found.high <= wide.high


def test_agreement_pays() -> None:
    """The same margins: the more the outcomes agree, the shorter the interval."""
    widths = [f.high - f.low for f in (paired_proportions(30 - k, 10 + k, k, 20 - k) for k in (0, 5, 10, 15, 20))]
    assert widths == sorted(widths)
    assert widths[0] < 0.75 * widths[-1]


@pytest.mark.parametrize(("n", "least"), [(10, 0.88), (20, 0.915), (40, 0.93)])
def test_exact_coverage(n: int, least: float) -> None:
    """P(interval holds the truth), summed over all tables: 0.95 on average, and never far below it.

    Exact for each of 100 probability vectors, uniform on the simplex. Square-and-add is known to be conservative by
    less than a point on average; single vectors dip below the level, as with any interval from whole counts, and less
    so the more items there are.
    """
    tables = np.array([(*cut, n - sum(cut)) for cut in product(range(n + 1), repeat=3) if sum(cut) <= n])
    found = np.array([paired_proportions(*map(int, table)) for table in tables])
    ways = gammaln(n + 1) - gammaln(tables + 1).sum(1)
    held: list[float] = []
    for p in np.random.default_rng(0).dirichlet(np.ones(4), 100):
        chance = np.exp(ways + tables @ np.log(p))
        assert chance.sum() == pytest.approx(1)
        truth = p[1] - p[2]
        held.append(float(chance[(found[:, 1] <= truth) & (truth <= found[:, 2])].sum()))
    assert 0.945 < np.mean(held) < 0.965
    assert min(held) > least


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=2, max_size=50), st.sampled_from([0.8, 0.95]))
def test_paired_t_is_scipys(pairs: list[tuple[float, float]], level: float) -> None:
    a, b = np.array(pairs).T
    found = paired_t(a, b, level)
    assert found.mean == pytest.approx(float((a - b).mean()))
    if np.isnan(found.low):
        assert np.ptp(a - b) <= 1e-6
        return
    expected = stats.ttest_rel(a, b).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-6)


def test_paired_t_by_hand() -> None:
    # differences 1, 2, 3: mean 2, sd 1, t(2, 0.975) = 4.3027
    found = paired_t([2, 4, 6], [1, 2, 3])
    assert found == pytest.approx((2, 2 - 4.30265 / sqrt(3), 2 + 4.30265 / sqrt(3)), rel=1e-5)


def test_paired_t_coverage() -> None:
    """Normal differences under a shared item effect ten times as large: exactly 95 % of the intervals hold the truth.

    4000 repetitions: the standard error is 0.0034, the bounds four of them.
    """
    rng = np.random.default_rng(1)
    item = 10 * rng.standard_normal((4000, 8))
    first, second = item + 0.3 + rng.standard_normal((4000, 8)), item + rng.standard_normal((4000, 8))
    found = np.array([paired_t(a, b) for a, b in zip(first, second, strict=True)])
    held = np.mean((found[:, 1] <= 0.3) & (found[:, 2] >= 0.3))
    assert 0.936 < held < 0.964
    apart = [stats.ttest_ind(*pair).confidence_interval() for pair in zip(first[:50], second[:50], strict=True)]
    assert np.mean(found[:, 2] - found[:, 1]) < 0.25 * np.mean([w.high - w.low for w in apart])  # what pairing is for


def test_no_spread_no_interval() -> None:
    for found in (paired_t([1.0], [0.5]), paired_t([0.3, 0.7, 1.1], [0.2, 0.6, 1.0])):  # equal but for rounding
        assert np.isfinite(found.mean)
        assert np.isnan([found.low, found.high]).all()
    assert isinstance(found, Difference)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: paired_t([1, 2], [1]), "one value per item"),
        (lambda: paired_t([], []), "at least one item"),
        (lambda: paired_t([1, np.nan], [1, 2]), "finite"),
        (lambda: paired_t([1, 2], [2, 1], 1.0), "level"),
        (lambda: paired_proportions(0, 0, 0, 0), "at least one item"),
        (lambda: paired_proportions(1, -1, 0, 3), "negative"),
        (lambda: paired_proportions(1, 1, 0, 3, 95), "level"),
    ],
)
def test_refused(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
