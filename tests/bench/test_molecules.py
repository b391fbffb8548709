"""The statistics of the molecules' table."""

import math

import numpy as np
import pytest

from bench.molecules import against, median
from bench.molecules_pace import shares


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


def test_time_divides_into_work_lateness_and_starving() -> None:
    """Two lanes at 0 to 3 and at 5 to 6, waits until 4 and from 4.5: late from 3 to 4 and 4.5 to 5, else starved."""
    network = [(0.0, 2.0), (1.0, 3.0), (1.5, 1.8), (5.0, 6.0)]
    waits = [(-1.0, 4.0), (4.5, 6.0), (4.5, 5.5)]
    found = shares(network, waits, 0.0, 8.0)
    assert found == pytest.approx({"network": 4 / 8, "late": 1.5 / 8, "starved": 2.5 / 8})
