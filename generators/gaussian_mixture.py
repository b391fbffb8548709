"""A Gaussian mixture under variance-preserving diffusion, with exact reverse kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators.toy import Toy, distribution, draw
from search.keys import START, Words, normals, uniforms
from search.plugins import plugin
from search.ports import Floats, Generator, Ints, Item, Many, ModelConfig, Rows


class GaussianMixture(ModelConfig):
    """A mixture of normal distributions on the line."""

    weights: Many[float] = Field((0.7, 0.3), min_length=1, max_length=64, description="Positive, sum 1.")
    means: Many[float] = Field((-1.5, 1.5), description="One for each weight, at most 1e6 from 0.")
    variances: Many[float] = Field((0.25, 0.25), description="One for each weight, 1e-12 to 1e12.")
    steps: int = Field(20, ge=1, le=10_000, description="Denoising steps; the answers' law is the same for any number.")

    @property
    def evaluations(self) -> int:
        """One a step."""
        return self.steps

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        distribution("weights", self.weights)
        for name, values in (("means", self.means), ("variances", self.variances)):
            if len(values) != len(self.weights):
                raise ValueError(f"{name} must have one value per weight: {len(self.weights)}, not {len(values)}")
            low, high = (-1e6, 1e6) if name == "means" else (1e-12, 1e12)  # wider would overflow the densities
            for value in values:
                if not low <= value <= high:
                    raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {value}")
        if min(self.weights) <= 0:
            raise ValueError(f"weights must be positive, not {min(self.weights)}")
        return self


@plugin(version="1", offers=("preview", "stochastic_step"))
def gaussian_mixture(config: GaussianMixture) -> Generator:
    """Variance-preserving diffusion of a Gaussian mixture with exact kernels; answers are numbers."""
    return Mixture(config)


@dataclass(frozen=True)
class Mixture(Toy):
    """x_t = a x0 + s eps with a = sin(pi t / 2T), s = cos(pi t / 2T) after t of T steps: pure noise to clean."""

    config: GaussianMixture

    @property
    def steps(self) -> int:
        """As configured."""
        return self.config.steps

    @cached_property
    def _levels(self) -> tuple[Floats, Floats]:
        angle = np.linspace(0, np.pi / 2, self.steps + 1)
        a, s = np.sin(angle), np.cos(angle)
        s[-1] = 0  # cos(pi/2) rounds to 6e-17
        return a, s

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Standard normals: at a = 0 that is the exact law of x_t."""
        return Rows.fresh(keys, {"x": normals(keys, START, 1)[:, 0]})

    def advance(self, rows: Rows) -> Rows:
        """Draw the component, then x0, then x_s from q(x_s | x_t, x0)."""
        x, (a, s) = rows.columns["x"], self._levels
        a_t, s_t, a_s, s_s = a[rows.step], s[rows.step], a[rows.step + 1], s[rows.step + 1]
        p, means, variances = self._posterior(x, a_t, s_t)
        # Number i of `uniforms` and numbers 2i, 2i + 1 of `normals` come from the same words: these do not overlap.
        chosen = draw(p, uniforms(rows.keys, rows.step, 2)[:, 1])
        z0, zs = normals(rows.keys, rows.step, 2).T
        x0 = _pick(means, chosen) + np.sqrt(_pick(variances, chosen)) * z0
        kept = a_t / a_s  # x_t = kept x_s + noise of variance fresh
        fresh = s_t**2 - (kept * s_s) ** 2
        mean = (kept * s_s**2 * x + a_s * fresh * x0) / s_t**2
        moved = mean + np.sqrt(fresh) * s_s / s_t * zs
        return rows.moved(rows.step + 1 >= self.steps, {"x": moved})

    def preview(self, rows: Rows) -> list[Any]:
        """The exact posterior mean E[x0 | x_t]."""
        a, s = self._levels
        p, means, _ = self._posterior(rows.columns["x"], a[rows.step], s[rows.step])
        return (p * means).sum(1).tolist()

    def finish(self, rows: Rows) -> list[Any]:
        """The numbers."""
        return rows.columns["x"].tolist()

    def _posterior(self, x: Floats, a: Floats, s: Floats) -> tuple[Floats, Floats, Floats]:
        """Of x0 given x_t = x: probability, mean and variance of each component, [n, k] each."""
        w, m, S = (np.array(values) for values in (self.config.weights, self.config.means, self.config.variances))  # noqa: N806
        x, a, s = x[:, None], a[:, None], s[:, None]
        v = a**2 * S + s**2
        log = np.log(w) - 0.5 * (np.log(v) + (x - a * m) ** 2 / v)
        p = np.exp(log - log.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True), (m * s**2 + a * S * x) / v, S * s**2 / v


def _pick(table: Floats, chosen: Ints) -> Floats:
    """table[i, chosen[i]] for each row i."""
    return np.take_along_axis(table, chosen[:, None], axis=1)[:, 0]
