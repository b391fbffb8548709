"""The increments of correctors as functions of scores, for arrays, tensors and rows of many numbers."""

import numpy as np
import pytest

from generators import correctors
from search import keys
from search.population import normalised


@pytest.mark.parametrize("exponents", [(2.0,), (1.0, 1.0), (-1.5, 2.5), (0.5, -0.2, 1.3)])
def test_increments_are_those_of_the_paper(exponents: tuple[float, ...]) -> None:
    """[(B - 1) div f + (g^2/2) (|S|^2 - sum b_i |s_i|^2)] dtau with div f = -d beta / 2, g^2 = beta, beta dtau = h."""
    made = keys.normals(keys.rows(keys.problem(0, "scores"), 0, 7), 0, 3 * 2 * 5).reshape(7, 3, 2, 5)
    scores, h = [made[:, i] for i in range(len(exponents))], np.linspace(0.1, 0.7, 7)
    total = sum(b * s for b, s in zip(exponents, scores, strict=True))
    squares = (total**2).sum((1, 2)) - sum(b * (s**2).sum((1, 2)) for b, s in zip(exponents, scores, strict=True))
    expected = (sum(exponents) - 1) * (-10 / 2) * h + h / 2 * squares
    np.testing.assert_allclose(correctors.combined(scores, exponents), total, rtol=1e-12)
    np.testing.assert_allclose(correctors.increments(scores, exponents, h), expected, rtol=1e-9)
    each = [np.full(7, b) for b in exponents]
    np.testing.assert_allclose(correctors.increments(scores, each, h), expected, rtol=1e-9)
    np.testing.assert_allclose(correctors.combined(scores, each), total, rtol=1e-12)


def test_tensors_give_what_arrays_give() -> None:
    import torch

    made = keys.normals(keys.rows(keys.problem(0, "scores"), 0, 4), 0, 18).reshape(4, 3, 2, 3)
    scores, h, each = [made[:, 0], made[:, 1]], np.linspace(0.1, 0.4, 4), [np.full(4, -1.0), np.full(4, 2.0)]
    tensors, times, powers = [torch.tensor(s) for s in scores], torch.tensor(h), [torch.tensor(b) for b in each]
    np.testing.assert_allclose(correctors.increments(tensors, powers, times), correctors.increments(scores, each, h))
    np.testing.assert_allclose(
        correctors.euler(tensors[0], correctors.combined(tensors, powers), times, torch.tensor(made[:, 2])),
        correctors.euler(scores[0], correctors.combined(scores, each), h, made[:, 2]),
    )


def test_ancestral_steps_of_a_network_take_the_same_weights() -> None:
    """Two numbers a row, two label conditions, guidance 2, ancestral steps (Ho et al. 2020, eq. 11).

    N(0, I)^-1 N(m, diag V)^2: precision 2/V - 1, mean (2 m/V) / precision. From a = 0.01, where the target is N(0, I).
    """
    m, v, n, steps = np.array([0.5, -1.0]), np.array([0.64, 0.8]), 20_000, 400
    precision = 2 / v - 1
    angle = np.linspace(0.01, np.pi / 2, steps + 1)
    a, s = np.sin(angle), np.append(np.cos(angle[:-1]), 0.0)
    named = keys.rows(keys.problem(0, "plane"), 0, n)
    x, log_weights = keys.normals(named, keys.START, 2), np.zeros(n)
    for t in range(steps):
        scores, exponents = [-x, -(x - a[t] * m) / (a[t] ** 2 * v + s[t] ** 2)], [np.full(n, -1.0), np.full(n, 2.0)]
        log_weights += correctors.increments(scores, exponents, np.full(n, 2 * np.log(a[t + 1] / a[t])))
        kept = a[t] / a[t + 1]  # the mean is (x + (1 - kept^2) S) / kept, whichever way the network predicts
        mean = (x + (1 - kept**2) * correctors.combined(scores, exponents)) / kept
        x = mean + np.sqrt(1 - kept**2) * s[t + 1] / s[t] * keys.normals(named, t, 2)
    w = normalised(log_weights)[:, None]
    mean = (w * x).sum(0)
    error = np.sqrt((w**2 * (x - mean) ** 2).sum(0))
    assert (np.abs(mean - 2 * m / v / precision) < 4 * error).all()
    assert (np.abs(x.mean(0) - 2 * m / v / precision) > 10 * error).all()  # without weights
