"""The statistics of the molecules' table."""

import math

import numpy as np

from bench.molecules import Watched, against, median


def test_the_median_has_its_exact_interval() -> None:
    """Of 60 values the 22nd to the 39th: P(fewer than 22 of 60 below the median) = .0137, of 23 it would be .0259."""
    found = median(np.random.default_rng(0).permutation(np.arange(1.0, 61.0)))
    assert (found["low"], found["high"]) == (22, 39)
    assert found["median"] == 30.5
    tail = sum(math.comb(60, k) for k in range(22)) / 2**60
    assert tail < 0.025 < sum(math.comb(60, k) for k in range(23)) / 2**60
    assert median(np.array([-np.inf, *range(59)]))["quantile 0.1"] == 5


def test_a_difference_of_medians_covers_what_it_is() -> None:
    rng = np.random.default_rng(1)
    found = against(rng.normal(1, 1, 200), rng.normal(0, 1, 200))
    assert found["low"] < 1 < found["high"]
    assert found["low"] > 0.4


def test_overlapping_calls_are_busy_once() -> None:
    assert Watched(None, [(0.0, 2.0), (1.0, 3.0), (1.5, 1.8), (5.0, 6.0)]).busy() == 4
