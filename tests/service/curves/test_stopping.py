"""When to stop: against dynamic programming, enumeration and simulation."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from service.curves.agreement import agreement
from service.curves.calibration import calibration, expected_calibration_error, reliability
from service.curves.stopping import (
    adaptive_consistency,
    doubling_rounds,
    majority_is_settled,
    reservation_value,
    reservation_value_of,
)


def test_reservation_value_is_where_one_more_draw_pays_for_itself() -> None:
    rng = np.random.default_rng(0)
    for cost in (0.01, 0.3, 5.0):
        x, w = rng.normal(size=9), rng.random(9)
        z = reservation_value(x, cost, w)
        assert (w / w.sum()) @ np.maximum(x - z, 0) == pytest.approx(cost)
    many = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    assert reservation_value(many, 0.05) == pytest.approx(reservation_value_of(stats.norm(), 0.05), abs=1e-3)


def test_stopping_at_the_reservation_value_earns_the_most() -> None:
    """Uniform rewards, cost .02: z = .8, and the mean of max - cost draws is z; other thresholds earn less."""
    rng = np.random.default_rng(1)
    draws = rng.random((40_000, 60))

    def earned(z: float) -> float:
        stop = np.where((draws >= z).any(1), (draws >= z).argmax(1), 59)
        return float((np.maximum.accumulate(draws, axis=1)[np.arange(len(draws)), stop] - 0.02 * (stop + 1)).mean())

    z = reservation_value_of(stats.uniform(), 0.02)
    assert earned(z) == pytest.approx(z, abs=0.002)
    assert earned(z) > max(earned(z - 0.1), earned(z + 0.1)) + 0.003


def test_votes_are_settled_only_when_no_rest_changes_the_winner() -> None:
    for counts in product(range(4), repeat=3):
        for remaining in range(4):
            first, second = sorted(counts)[-1], sorted(counts)[-2]
            changes = any(second + votes >= first for votes in range(remaining + 1)) or first == 0
            assert majority_is_settled(counts, remaining) is not changes, (counts, remaining)


def test_the_leader_stays_ahead() -> None:
    assert adaptive_consistency(0, 0) == pytest.approx(0.5)
    for v1, v2 in ((3, 1), (10, 8), (50, 0)):
        assert adaptive_consistency(v1, v2) == pytest.approx(stats.beta(v1 + 1, v2 + 1).sf(0.5))


def test_batches_double() -> None:
    assert doubling_rounds(1) == [1]
    assert doubling_rounds(16) == [1, 1, 2, 4, 8]
    assert doubling_rounds(11) == [1, 1, 2, 4, 3]
    assert all(sum(doubling_rounds(k)) == k for k in range(1, 200))


def test_calibration_of_a_verifier_that_means_what_it_says() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(4000)
    right = rng.random(4000) < p
    true = calibration(p, right, draws=300)
    assert true.ece < 0.03
    assert true.brier == pytest.approx(1 / 6, abs=0.01)  # E[p(1-p)]
    bold = calibration(np.clip(2 * p - 0.5, 0, 1), right, draws=300)
    assert bold.ece > 0.1
    assert bold.ece_interval.low > true.ece_interval.high
    curve = reliability(p, right)
    assert curve.answers.sum() == 4000
    assert curve.right == pytest.approx(curve.predicted, abs=0.08)
    assert expected_calibration_error([0.3, 0.3], [0, 1], bins=10) == pytest.approx(0.2)  # on the bin's edge


def test_kappa() -> None:
    from sklearn.metrics import cohen_kappa_score

    found = agreement(20, 5, 10, 15)
    one = [1] * 25 + [0] * 25
    other = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert found.kappa == pytest.approx(cohen_kappa_score(one, other))
    assert found.share == 0.7
    rng = np.random.default_rng(3)
    draws = rng.multinomial(500, [0.4, 0.1, 0.2, 0.3], 4000)
    kappas = [agreement(*map(int, cells)).kappa for cells in draws]
    low, high = agreement(200, 50, 100, 150).kappa_interval or (0.0, 0.0)
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(kappas), rel=0.05)  # type: ignore[arg-type]
    assert agreement(5, 0, 3, 0).kappa is None  # the first passes everything


def test_refused() -> None:
    with pytest.raises(ValueError, match="cost must be positive"):
        reservation_value([1.0], 0)
    with pytest.raises(ValueError, match="one chance >= 0 for each reward"):
        reservation_value([1.0, 2.0], 1, [1, -1])
    with pytest.raises(ValueError, match="v1 >= v2"):
        adaptive_consistency(1, 2)
    with pytest.raises(ValueError, match="k must be at least 1"):
        doubling_rounds(0)
    with pytest.raises(ValueError, match=r"probabilities must be between 0 and 1, got 1\.2"):
        reliability([0.1, 1.2], [0, 1])
    with pytest.raises(ValueError, match="right must be 0 or 1"):
        calibration([0.1, 0.2], [0, 2])
    with pytest.raises(ValueError, match="at least one answer"):
        agreement(0, 0, 0, 0)
