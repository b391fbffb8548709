"""Weighted rows as frozen values. Weights are log-weights until the last line."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from search import keys
from search.ports import Floats, Ints, Rows, Verdicts
from search.resampling import SCHEMES, Scheme


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


@dataclass(frozen=True, eq=False)
class Population:
    """Rows with their weights and, for the first rows, what the verifiers said of their answers.

    log_weights: float [n]. ancestors: int [n], the row of the first generation that each descends from. log_z: log of
    the normalising constant gathered at resamplings. verdicts: of rows 0..len-1 in order, once they are finished.
    """

    rows: Rows
    log_weights: Floats
    ancestors: Ints
    log_z: float = 0.0
    verdicts: Verdicts = field(default_factory=Verdicts)

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Equal weights; everyone is its own ancestor."""
        return cls(rows, np.zeros(len(rows)), np.arange(len(rows)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def idle(self) -> bool:
        """Every row is finished and judged."""
        return len(self.verdicts) == len(self.rows)

    @property
    def ess(self) -> float:
        """Effective sample size of the weights."""
        return ess(self.log_weights)

    def moved(self, rows: Rows) -> Self:
        """The same particles, later."""
        return replace(self, rows=rows)

    def joined(self, rows: Rows) -> Self:
        """With new rows of weight one behind the old ones."""
        more = Population.of(rows)
        return replace(
            self,
            rows=Rows.join([self.rows, rows]),
            log_weights=np.concatenate([self.log_weights, more.log_weights]),
            ancestors=np.concatenate([self.ancestors, more.ancestors + len(self)]),
        )

    def judged(self, new: Verdicts) -> Self:
        """With the verdicts of the rows that had none yet."""
        return replace(self, verdicts=self.verdicts.joined(new))

    def resampled(self, uniforms: Floats, scheme: Scheme = "systematic") -> Self:
        """Children in proportion to the weights; log Z gains log-mean-exp of the weights, which become equal."""
        chosen = SCHEMES[scheme](uniforms, normalised(self.log_weights), len(self))
        return replace(
            self,
            rows=self.rows.fork(chosen),
            log_weights=np.zeros(len(chosen)),
            ancestors=self.ancestors[chosen],
            log_z=self.log_z + log_mean_exp(self.log_weights),
        )

    def names(self) -> list[str]:
        """The rows' keys, as they stand in results."""
        return keys.name(self.rows.keys)
