"""torch draws the integers of `search.keys`, and its normals to single precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators import noise
from search import keys

KEYS = keys.rows(keys.problem(7, "noise"), 0, 64)


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
    step=st.sampled_from([0, 1, 999, keys.START, keys.FORK, 2**32 - 1]),
)
def test_integers_equal(words: list[int], step: int) -> None:
    key = np.array([words], np.uint32)
    for ours, theirs in zip(noise.bits(key, step, 5, "cpu"), keys.bits(key, step, 5), strict=True):
        np.testing.assert_array_equal(ours.numpy().view(np.uint32), theirs)


def test_integers_equal_at_a_step_per_row() -> None:
    step = np.arange(len(KEYS))
    for ours, theirs in zip(noise.bits(KEYS, step, 9, "cpu"), keys.bits(KEYS, step, 9), strict=True):
        np.testing.assert_array_equal(ours.numpy().view(np.uint32), theirs)


@pytest.mark.parametrize("size", [1, 2, 7, 2000])
def test_normals_agree(size: int) -> None:
    ours = noise.normals(KEYS, 3, size).numpy()
    assert ours.dtype == np.float32
    assert ours.shape == (len(KEYS), size)
    np.testing.assert_allclose(ours, keys.normals(KEYS, 3, size), rtol=0, atol=1e-5)


def test_normals_are_finite_and_exact_at_the_extreme_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniforms of 2^-33 and 1 - 2^-33, and both sides of 1/2 where the two formulas meet."""
    import torch

    words = np.array([[0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]], np.uint32)
    angle = np.zeros_like(words)
    as_int32 = torch.from_numpy(words.view(np.int32)), torch.from_numpy(angle.view(np.int32))
    monkeypatch.setattr(noise, "bits", lambda *_: as_int32)
    expected = np.sqrt(-2 * np.log((words + 0.5) * 2.0**-32))
    np.testing.assert_allclose(noise.normals(KEYS[:1], 0, 12).numpy()[:, ::2], expected, rtol=3e-6)


def test_normals_are_normal() -> None:
    """128,000 draws: |z| < 4 for the mean (sd 1/sqrt(n)) and for the variance (sd sqrt(2/n))."""
    x = noise.normals(KEYS, 0, 2000).double().numpy().ravel()
    assert abs(x.mean()) * np.sqrt(x.size) < 4
    assert abs(x.var() - 1) * np.sqrt(x.size / 2) < 4
