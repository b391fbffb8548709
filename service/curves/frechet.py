"""Frechet distance between two sets of points (Heusel et al. 2017, arXiv 1706.08500), in any feature space."""

from typing import NamedTuple, Self

import numpy as np

from search.ports import Floats


class Moments(NamedTuple):
    """Mean [d] and covariance [d, d] of a set."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, points: Floats) -> Self:
        """Of points [n, d]. Raises ValueError for fewer than two."""
        if len(points) < 2:
            raise ValueError(f"a covariance takes two points or more, not {len(points)}")
        return cls(points.mean(0), np.atleast_2d(np.cov(points, rowvar=False)))


def frechet(one: Moments, other: Moments) -> float:
    """|m - n|^2 + tr(C + D - 2 (C D)^(1/2)): the squared 2-Wasserstein distance of the two normals."""
    root = _root(one.covariance)
    shared = np.linalg.eigvalsh(root @ other.covariance @ root)  # the eigenvalues of C D, but symmetric
    overlap = np.sqrt(np.maximum(shared, 0)).sum()
    apart = float(((one.mean - other.mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(one.covariance) + np.trace(other.covariance) - 2 * overlap))


def _root(covariance: Floats) -> Floats:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
