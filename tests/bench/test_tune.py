"""What the bench says of sets whose distances are known."""

import numpy as np

from bench.tune import distances


def test_a_nearer_set_gains_and_one_that_is_the_same_does_not() -> None:
    """Sets of N(m, I) in 3 dimensions: their distance to N(0, I) is |m|^2, but for sampling."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 3))
    drawn = {"preset": noise + 0.3, "far": noise + 1.0, "same": noise + 0.3}
    found = distances(drawn, rng.normal(size=(2000, 3)))
    assert abs(found["distance"]["far"] - 3) < 0.5
    far, same = found["gain"]["far"], found["gain"]["same"]
    assert abs(far["value"] - (3 - 0.27)) < 0.5
    assert far["beats"]
    assert far["interval"][0] < far["value"] < far["interval"][1]
    assert same == {"value": 0.0, "interval": [0.0, 0.0], "beats": False}
