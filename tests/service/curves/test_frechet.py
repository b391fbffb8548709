"""Frechet's distance against closed forms."""

import numpy as np
import pytest

from service.curves.frechet import Moments, frechet


def moments(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(np.array(mean), np.array(covariance))


def test_on_the_line_it_is_the_squares_of_both_differences() -> None:
    one, other = moments([1.0], [[4.0]]), moments([3.0], [[0.25]])
    assert frechet(one, other) == pytest.approx((3 - 1) ** 2 + (2 - 0.5) ** 2)


def test_it_is_symmetric_and_zero_for_the_same_and_takes_singular_covariances() -> None:
    rng = np.random.default_rng(0)
    flat = Moments.of(rng.normal(size=(5, 8)))  # rank 4 of 8
    round_ = Moments.of(rng.normal(size=(500, 8)) @ rng.normal(size=(8, 8)))
    assert frechet(flat, flat) == pytest.approx(0, abs=1e-6)
    assert frechet(flat, round_) == pytest.approx(frechet(round_, flat))
    assert frechet(round_, round_) == pytest.approx(0, abs=1e-6)


def test_covariances_that_do_not_commute() -> None:
    """tr (C D)^(1/2) of two matrices of size 2 is sqrt(tr(C D) + 2 sqrt(det(C D)))."""
    c, d = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 0.7]])
    shared = np.sqrt(np.trace(c @ d) + 2 * np.sqrt(np.linalg.det(c @ d)))
    want = 0.5**2 + np.trace(c + d) - 2 * shared
    assert frechet(Moments(np.zeros(2), c), Moments(np.array([0.5, 0.0]), d)) == pytest.approx(want)


def test_moments_are_those_of_the_points() -> None:
    points = np.random.default_rng(1).normal(size=(50, 3))
    found = Moments.of(points)
    np.testing.assert_allclose(found.covariance, np.cov(points.T))
    assert Moments.of(points[:, :1]).covariance.shape == (1, 1)
    with pytest.raises(ValueError, match="two points or more, not 1"):
        Moments.of(points[:1])
