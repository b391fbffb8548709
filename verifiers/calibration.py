"""A verifier's value as the chance that the answer is right, learned from labelled pairs (value, right).

Both maps are monotone, so they keep the order of answers: Platt's sigmoid for few pairs, isotonic regression for many.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from search.plugins import plugin
from search.ports import Answer, Bools, Floats, Many, Score
from search.scoring import Ask
from verifiers.parts import Composed, Composite, Part, PartField

Pair = Annotated[tuple[float, bool], Field(strict=False)]
Map = Callable[[float], float]


class Calibrated(Composed):
    """A verifier and what its values have meant."""

    verifier: PartField = Field(description="A name, or an object as in a job.")
    pairs: Many[Pair] = Field(
        min_length=2, max_length=10_000, description="[value, right] of labelled answers, such as of an audit."
    )
    method: Literal["platt", "isotonic"] = Field("platt", description="A sigmoid, or the best rising steps.")
    passing: float = Field(0.5, ge=0, le=1, description="Passes from this chance on.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if len({right for _, right in self.pairs}) < 2:
            raise ValueError("`pairs` need right and wrong answers, at least one of each")
        return self

    @property
    def parts(self) -> Sequence[Part]:
        """The one."""
        return [self.verifier]


def platt(values: Floats, right: Bools, steps: int = 100) -> Map:
    """P(right | x) = 1 / (1 + exp(-(a x + b))) with a >= 0, by Newton's method on the cross-entropy.

    Targets are Platt's (n+ + 1)/(n+ + 2) and 1/(n- + 2) in place of 1 and 0 (Platt 1999; Lin, Lin and Weng 2007), so
    that the maximum exists when the classes do not overlap. Where higher values are wrong more often, a = 0.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    unit = float(np.abs(values).max()) or 1.0  # first, so that no square overflows
    centre, scale = float((values / unit).mean()), float((values / unit).std()) or 1.0
    z = np.stack([(values / unit - centre) / scale, np.ones_like(values)])
    w: Floats = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])

    def loss(at: NDArray[Any]) -> float:
        logits = at @ z
        return float((np.logaddexp(0, logits) - target * logits).sum())

    for _ in range(steps):
        p = 1 / (1 + np.exp(-(w @ z)))
        gradient = z @ (p - target)
        if np.abs(gradient).max() < 1e-10:
            break
        hessian = (z * (p * (1 - p))) @ z.T + 1e-12 * np.eye(2)
        step: Floats = np.asarray(np.linalg.solve(hessian, gradient), np.float64)
        size = 1.0
        while loss(w - size * step) > loss(w) and size > 1e-10:
            size /= 2
        w = np.asarray(w - size * step, np.float64)
    if w[0] < 0:
        w = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    a, b = float(w[0]), float(w[1])
    return lambda x: float(1 / (1 + np.exp(-np.clip(a * (x / unit - centre) / scale + b, -700, 700))))


def pava(y: Floats, weight: Floats) -> Floats:
    """The rising sequence nearest to y in weighted least squares, float64 [n], by pooling adjacent violators."""
    means: list[float] = []
    weights: list[float] = []
    counts: list[int] = []
    for value, w in zip(y.tolist(), weight.tolist(), strict=True):
        means.append(value)
        weights.append(w)
        counts.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            mean, w, count = means.pop(), weights.pop(), counts.pop()
            total = weights[-1] + w
            means[-1] = (means[-1] * weights[-1] + mean * w) / total
            weights[-1], counts[-1] = total, counts[-1] + count
    return np.repeat(means, counts)


def isotonic(values: Floats, right: Bools) -> Map:
    """The best rising map of the pairs; straight lines between their values, constant beyond the outermost."""
    x, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    share = np.bincount(place, right.astype(np.float64)) / counts
    fitted = pava(share, counts.astype(np.float64))
    return lambda value: float(np.interp(value, x, fitted))


@plugin(version="1")
def calibrated(config: Calibrated) -> Composite:
    """P(right) from another verifier's value; that verifier's vote."""
    values = np.array([value for value, _ in config.pairs], np.float64)
    right = np.array([right for _, right in config.pairs], bool)
    chance = (platt if config.method == "platt" else isotonic)(values, right)

    def one(score: Score) -> Score:
        if score.value is None:
            return score
        p = chance(score.value)
        return Score(p, p >= config.passing, score.reason, score.canonical)

    async def combine(answers: Sequence[Answer], ask: Ask) -> Sequence[Score]:
        return [one(score) for score in await ask(0, answers)]

    return Composite(config.parts, combine)
