"""Feynman-Kac correctors (Skreta et al. 2025, arXiv 2503.02819): sampling prod q_i^b_i from the scores of the q_i.

A variance-preserving process x = a x0 + s eps, a^2 + s^2 = 1, forward drift f = -beta x / 2, noise g^2 = beta. One step
from (a, s) to (a', s') takes the time h = integral of beta = 2 log(a'/a). With S = sum b_i s_i the reverse process
dx = (-f + g^2 S) dtau + g dW does not keep to prod q_i,t^b_i; the weights make good what it misses. Functions of arrays
or tensors alike, every row at a level of its own. A network's score is -epshat / s.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any


def checked(exponents: Sequence[float]) -> tuple[float, ...]:
    """The exponents as floats. Raises ValueError unless they lie within 1e6 of 0 and their sum is 1e-6 or more.

    At pure noise every q_i is N(0, I) and the target N(0, I / sum b_i), which exists for a positive sum only.
    """
    values = tuple(map(float, exponents))
    if not all(abs(b) <= 1e6 for b in values):  # nor a nan
        raise ValueError(f"exponents must be finite numbers, -1e6 to 1e6, not {list(values)}")
    if not math.fsum(values) >= 1e-6:
        raise ValueError(f"exponents must have a positive sum, 1e-6 or more, not {math.fsum(values):g}: {list(values)}")
    return values


def combined(scores: Sequence[Any], exponents: Sequence[Any]) -> Any:
    """S = sum b_i s_i: [n, ...] like each score. exponents: numbers, or [n] where rows differ."""
    return sum((_per_row(b, s) * s for b, s in zip(exponents, scores, strict=True)), 0.0)


def increments(scores: Sequence[Any], exponents: Sequence[Any], h: Any) -> Any:
    """What one step adds to the log-weights, [n].

    scores: of each q_i at the rows' levels, [n, ...] of d numbers a row. exponents: numbers, or [n]. h: [n].
    With B = sum b_i it is [(B - 1) div f + (g^2/2) (|S|^2 - sum b_i |s_i|^2)] dtau, here
    (h/2) [(B - 1) (sum b_i |s_i|^2 - d) - sum_{i<j} b_i b_j |s_i - s_j|^2], the same without the cancellation:
    annealing (h/2) (b - 1) (b |s|^2 - d), guidance (h/2) w (w - 1) |s_2 - s_1|^2. Start from the target's N(0, I / B).
    """
    total: Any = sum(exponents)
    size = math.prod(scores[0].shape[1:])
    own = sum(b * _squared(s) for b, s in zip(exponents, scores, strict=True)) - size
    pairs = combinations(zip(exponents, scores, strict=True), 2)
    apart: Any = sum((b * c * _squared(s - t) for (b, s), (c, t) in pairs), 0.0)
    return h / 2 * ((total - 1) * own - apart)


def opening(clean: Sequence[Any], exponents: Sequence[Any], gained: Any, quieter: Any) -> Any:
    """What a step from pure noise adds to the log-weights when it draws from the product of the factors, [n].

    There q_i is N(0, I), and next N(a' x0hat_i, s'^2 I): the product is N(a' sum b_i x0hat_i / B, s'^2 I / B). clean:
    x0hat of each q_i, [n, ...]. gained: a'^2/s'^2 - a^2/s^2, [n]. quieter: log(s / s'), [n]. With d numbers a row it is
    (B - 1) d log(s / s') - gained / (2 B) sum_{i<j} b_i b_j |x0hat_i - x0hat_j|^2, for B = 1 that of every such step.
    """
    total: Any = sum(exponents)
    pairs = combinations(zip(exponents, clean, strict=True), 2)
    apart: Any = sum((b * c * _squared(x - y) for (b, x), (c, y) in pairs), 0.0)
    return (total - 1) * math.prod(clean[0].shape[1:]) * quieter - gained / (2 * total) * apart


def euler(x: Any, score: Any, h: Any, xi: Any) -> Any:
    """x one step of the reverse process later (Euler-Maruyama). score: S. h: [n]. xi: standard normals like x."""
    h = _per_row(h, x)
    return x + h * (x / 2 + score) + h**0.5 * xi


def _squared(s: Any) -> Any:
    """|s|^2 of each row: [n]."""
    return (s * s).reshape(len(s), -1).sum(1)


def _per_row(value: Any, like: Any) -> Any:
    """One number a row, to be broadcast against `like`; a plain number as it is."""
    return value.reshape(-1, *[1] * (like.ndim - 1)) if getattr(value, "ndim", 0) else value
