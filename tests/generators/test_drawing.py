"""The law of the next token, against probabilities worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from generators.drawing import BLOCK, Law, drawn
from search import keys
from search.ports import Floats

SIZE = 2 * BLOCK + 100  # two whole blocks and a part
rng = np.random.default_rng(0)
LOGITS = (3 * rng.normal(size=SIZE)).astype(np.float32)
KEYS = keys.rows(keys.problem(0, "drawing"), 0, 6_000)


def law(n: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Law:
    return Law(np.full(n, temperature), np.full(n, top_k), np.full(n, top_p))


def softmax(z: Floats) -> Floats:
    e = np.exp(z - z.max())
    return e / e.sum()


def expected(temperature: float, top_k: int, top_p: float) -> Floats:
    z = LOGITS.astype(np.float64) / temperature
    order = np.argsort(-z, kind="stable")
    kept = order[: top_k or SIZE]
    p = softmax(z[kept])
    kept = kept[: int(np.searchsorted(np.cumsum(p), top_p) + 1)] if top_p < 1 else kept
    out = np.zeros(SIZE)
    out[kept] = softmax(z[kept])
    return out


@pytest.mark.parametrize(
    "chosen", [(1.0, 0, 1.0), (0.7, 0, 1.0), (1.0, 20, 1.0), (1.0, 0, 0.8), (1.3, 40, 0.9), (1.0, 0, 1e-9)]
)
def test_tokens_follow_the_law(chosen: tuple[float, int, float]) -> None:
    """6,000 draws; tokens expected less than 5 times are taken together. Fixed keys: p is what it is, or a bug."""
    n = len(KEYS)
    logits = torch.from_numpy(LOGITS).expand(n, SIZE)
    tokens = np.concatenate(
        [
            drawn(logits[i : i + 2000], KEYS[i : i + 2000], np.full(2000, 7), law(2000, *chosen))[0]
            for i in range(0, n, 2000)
        ]
    )
    p = expected(*chosen)
    seen = np.bincount(tokens, minlength=SIZE)
    assert seen[p == 0].sum() == 0
    often = p * n >= 5
    observed, wanted = np.append(seen[often], seen[~often].sum()), np.append(p[often], p[~often].sum()) * n
    if len(wanted) > 2 and wanted[-1] > 0:
        assert chisquare(observed, wanted).pvalue > 1e-3


def test_a_token_depends_on_its_key_and_place_alone() -> None:
    logits = torch.from_numpy((3 * rng.normal(size=(64, SIZE))).astype(np.float32))
    places = np.arange(64)
    together, logprobs = drawn(logits, KEYS[:64], places, law(64))
    apart = [drawn(logits[i : i + 1], KEYS[i : i + 1], places[i : i + 1], law(1)) for i in range(64)]
    assert together.tolist() == [int(token[0]) for token, _ in apart]
    assert logprobs.tolist() == [float(value[0]) for _, value in apart]
    other, _ = drawn(logits, KEYS[:64], places + 1, law(64))
    assert (other != together).any()


def test_log_probabilities_are_the_models_own() -> None:
    """At temperature 1 and over the whole vocabulary, whatever the law of the draw; to the rounding of float32."""
    logits: Any = torch.from_numpy((3 * rng.normal(size=(8, SIZE))).astype(np.float32))
    tokens, logprobs = drawn(logits, KEYS[:8], np.zeros(8, np.int64), law(8, 0.5, 10, 0.9))
    exact = logits.double().log_softmax(1).numpy()[np.arange(8), tokens]
    np.testing.assert_allclose(logprobs, exact, atol=2e-6)


def test_temperature_zero_takes_the_likeliest_beside_rows_that_draw() -> None:
    logits = torch.from_numpy(LOGITS).expand(100, SIZE)
    temperature = np.where(np.arange(100) % 2, 1.0, 0.0)
    tokens, _ = drawn(logits, KEYS[:100], np.zeros(100, np.int64), law(100)._replace(temperature=temperature))
    assert (tokens[::2] == LOGITS.argmax()).all()
    assert len(set(tokens[1::2].tolist())) > 10
