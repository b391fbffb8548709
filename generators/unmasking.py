"""Which masked tokens appear next, and which symbols: the samplers of masked diffusion as functions of arrays.

First-hitting (Zheng et al. 2024, arXiv 2409.02908): with m tokens masked the next one appears at the time t u^(1/m),
each of them equally likely. Ancestral: in step j of T, from 0, every masked token appears with the chance 1 / (T - j).
Symbols are drawn by Gumbel numbers in float64: in float32 there is no uniform between 1 - 2^-24 and 1, so symbols of
small chance win too seldom, as if at a lower temperature.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.ports import Bools, Floats, Ints

MASK = -1
UNIFORM, CONFIDENT = 0, 1
"""Orders: a masked place at random; the one where the likeliest symbol is likeliest."""


class Mixed(NamedTuple):
    """prod p_i^b_i over the symbols of each place: normalised, log [n, L, V]; and the log of its sum, [n, L]."""

    log_p: Floats
    log_z: Floats


def gumbels(u: NDArray[Any]) -> NDArray[Any]:
    """Standard Gumbel numbers from uniforms in (0, 1), in the precision of the uniforms: give float64."""
    return -np.log(-np.log(u))


def drawn(log_p: NDArray[Any], u: NDArray[Any]) -> Ints:
    """A symbol by the chances of the last axis, [...]. log_p: up to a constant, -inf allowed. u: uniforms like it."""
    return np.argmax(log_p + gumbels(u), axis=-1)


def mixed(logs: tuple[Floats, ...], exponents: tuple[float, ...]) -> Mixed:
    """The chances from which a product of laws draws, and what their sum adds to a log-weight."""
    parts = (np.where(np.isneginf(log) & (b == 0), 0.0, b * log) for log, b in zip(logs, exponents, strict=True))
    total = np.sum(list(parts), axis=0, dtype=np.float64)
    top = total.max(-1, keepdims=True)
    safe = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        log_z = safe + np.log(np.exp(total - safe).sum(-1, keepdims=True))
    return Mixed(total - np.where(np.isneginf(log_z), 0.0, log_z), log_z[..., 0])


def next_places(masked: Bools, log_p: Floats, order: Ints, block: Ints, u: Floats) -> Bools:
    """The one place that appears next in each row with a mask: bool [n, L].

    order: [n]. block: [n], places in a block; blocks are filled from the left. u: uniforms [n, L].
    """
    n, length = masked.shape
    blocks = np.arange(length)[None] // block[:, None]
    first = np.where(masked, blocks, length).min(1, keepdims=True)
    wanted = np.where((order == CONFIDENT)[:, None], log_p.max(-1), np.log(u))
    wanted = np.where(masked & (blocks == first), wanted, -np.inf)
    out = np.zeros((n, length), bool)
    out[np.arange(n), wanted.argmax(1)] = True
    return out & masked


def ancestral(masked: Bools, step: Ints, steps: Ints, u: Floats) -> Bools:
    """The places that appear in step `step`, from 0, of `steps` ([n] each): bool [n, L]. u: uniforms [n, L]."""
    return masked & (u * (steps - step)[:, None] < 1)


def kept(shown: Bools, count: Ints, u: Floats) -> Bools:
    """`count` [n] of the places shown in each row, every choice equally likely: bool [n, L]. u: uniforms [n, L]."""
    rank = np.where(shown, u, np.inf).argsort(1, kind="stable").argsort(1, kind="stable")
    return shown & (rank < count[:, None])


def filled(tokens: Ints, log_p: Floats, places: Bools, u: Floats) -> Ints:
    """Tokens with symbols drawn at the places (bool [n, L]); u: uniforms, one row of V for each place, in order."""
    out = tokens.copy()
    out[places] = drawn(log_p[places], u)
    return out
