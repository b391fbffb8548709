"""Weighted rows as frozen values. Weights are log-weights until the last line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from search import keys
from search.ports import Bools, Floats, Ints, Rows
from search.resampling import SCHEMES, Scheme
from search.verdicts import Verdicts


class NoWeight(ValueError):
    """Every particle has weight zero, or a weight is not a number."""


def log_mean_exp(log_weights: Floats) -> float:
    """log(mean(exp(lw))) without overflow; -inf when every weight is zero."""
    top = np.max(log_weights)
    return float(top) if np.isneginf(top) else float(top + np.log(np.mean(np.exp(log_weights - top))))


def normalised(log_weights: Floats) -> Floats:
    """Weights that sum to one. Raises NoWeight for a nan, +inf, or when all are -inf."""
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any() or np.isneginf(log_weights).all():
        raise NoWeight(f"log-weights {log_weights[:8].tolist()} of {len(log_weights)} particles cannot be normalised")
    weights = np.exp(log_weights - np.max(log_weights))
    return weights / weights.sum()


def ess(log_weights: Floats) -> float:
    """Effective sample size, 1 / sum of squared weights: between 1 and n."""
    return float(1.0 / np.square(normalised(log_weights)).sum())


class Split(NamedTuple):
    """A resampling: the step at which it happened, the ESS that caused it, and each child's parent, int [n]."""

    step: int
    ess: float
    parents: Ints


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """Rows with their weights and, as far as they are finished, what the verifiers said of their answers.

    log_weights: float [n]. ancestors: int [n], the row of the first generation that each descends from. log_z: log of
    the normalising constant gathered at resamplings. verdicts: of finished rows, in order of judging; verdict: int [n],
    each row's place in them, -1 without. memory: a method's own arrays, [n, ...] each; they follow the rows.
    """

    rows: Rows
    log_weights: Floats
    ancestors: Ints
    verdict: Ints
    log_z: float = 0.0
    verdicts: Verdicts = field(default_factory=Verdicts)
    memory: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    splits: tuple[Split, ...] = ()

    @classmethod
    def of(cls, rows: Rows, **memory: NDArray[Any]) -> Self:
        """Equal weights; everyone is its own ancestor."""
        n = len(rows)
        return cls(rows, np.zeros(n), np.arange(n), np.full(n, -1), memory=memory)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: NDArray[Any]) -> Self:
        """These rows with all that belongs to them."""
        return replace(
            self,
            rows=self.rows[index],
            log_weights=self.log_weights[index],
            ancestors=self.ancestors[index],
            verdict=self.verdict[index],
            memory={name: column[index] for name, column in self.memory.items()},
        )

    @property
    def step(self) -> int:
        """Steps of the row that has taken most."""
        return int(self.rows.step.max(initial=0))

    @property
    def unjudged(self) -> Ints:
        """Finished rows without verdict."""
        return np.flatnonzero(self.rows.done & (self.verdict < 0))

    @property
    def idle(self) -> bool:
        """Every row is finished and judged."""
        return bool((self.verdict >= 0).all())

    @property
    def ess(self) -> float:
        """Effective sample size of the weights. Raises NoWeight, naming the step."""
        return float(1.0 / np.square(self.weights).sum())

    @property
    def weights(self) -> Floats:
        """Weights that sum to one. Raises NoWeight, naming the step."""
        try:
            return normalised(self.log_weights)
        except NoWeight as error:
            remedy = "try more particles, a smaller tilt, or a verifier that scores unfinished answers"
            raise NoWeight(f"step {self.step}: {error}; {remedy}") from None

    def found(self) -> Self:
        """The judged rows, and their verdicts in the order of the rows."""
        mine = self[np.flatnonzero(self.verdict >= 0)]
        return replace(mine, verdicts=self.verdicts[mine.verdict], verdict=np.arange(len(mine)))

    def moved(self, rows: Rows) -> Self:
        """The same particles, later."""
        return replace(self, rows=rows)

    def weighted(self, increments: Floats) -> Self:
        """Log-weights increased."""
        return replace(self, log_weights=self.log_weights + increments)

    def remembering(self, **memory: NDArray[Any]) -> Self:
        """With other arrays of the method's own."""
        return replace(self, memory={**self.memory, **memory})

    def joined(self, rows: Rows, **memory: NDArray[Any]) -> Self:
        """With new rows of weight one behind the old ones."""
        more = Population.of(rows)
        return replace(
            self,
            rows=Rows.join([self.rows, rows]),
            log_weights=np.concatenate([self.log_weights, more.log_weights]),
            ancestors=np.concatenate([self.ancestors, more.ancestors + len(self)]),
            verdict=np.concatenate([self.verdict, more.verdict]),
            memory={name: np.concatenate([column, memory[name]]) for name, column in self.memory.items()},
        )

    def judged(self, index: NDArray[Any], new: Verdicts) -> Self:
        """With the verdicts of the rows `index` (int [m]) that had none yet."""
        verdict = self.verdict.copy()
        verdict[index] = len(self.verdicts) + np.arange(len(index))
        return replace(self, verdict=verdict, verdicts=self.verdicts.joined(new))

    def forked(self, parents: Ints) -> Self:
        """Children of the rows `parents` (int [m]), each with a future of its own."""
        return replace(self[parents], rows=self.rows.fork(parents))

    def resampled(self, uniforms: Floats, scheme: Scheme = "systematic") -> Self:
        """Children in proportion to the weights; log Z gains log-mean-exp of the weights, which become equal."""
        weights = self.weights
        parents = SCHEMES[scheme](uniforms, weights, len(self))
        split = Split(self.step, float(1.0 / np.square(weights).sum()), parents)
        log_z = self.log_z + log_mean_exp(self.log_weights)
        return replace(self.forked(parents), log_weights=np.zeros(len(self)), log_z=log_z, splits=(*self.splits, split))

    def passed(self) -> Bools:
        """Rows whose answer every judge has passed: bool [n]."""
        return np.append(self.verdicts.passed, False)[self.verdict]

    def names(self) -> list[str]:
        """The rows' keys, as they stand in results."""
        return keys.name(self.rows.keys)
