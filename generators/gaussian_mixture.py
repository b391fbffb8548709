"""A Gaussian mixture under variance-preserving diffusion: exact reverse kernels, or aimed at powers and products."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import Field

from generators import correctors
from generators.mixtures import Components, Posterior, posterior
from generators.toy import Toy
from search.answers import Numbers
from search.configs import ModelConfig
from search.keys import START, Words, normals, uniforms
from search.plugins import plugin
from search.ports import Floats, Generator, Item, Many, Rows


class GaussianMixture(Components, ModelConfig):
    """A mixture of normal distributions on the line."""

    weights: Many[float] = Field((0.7, 0.3), min_length=1, max_length=64, description="Positive, sum 1.")
    means: Many[float] = Field((-1.5, 1.5), description="One for each weight, at most 1e6 from 0.")
    variances: Many[float] = Field((0.25, 0.25), description="One for each weight, 1e-12 to 1e12.")
    steps: int = Field(20, ge=1, le=10_000, description="Denoising steps; the answers' law is the same for any number.")
    guide: Components | None = Field(None, description="Second mixture, for methods that sample products of powers.")

    @property
    def evaluations(self) -> int:
        """One a step, and one of the guide."""
        return self.steps * (1 if self.guide is None else 2)


@plugin(version="2", offers=("preview", "stochastic_step", "renoise", "log_weights"))
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
        p, means, variances, *_ = posterior(self.config, x, a_t, s_t)
        # Number i of `uniforms` and numbers 2i, 2i + 1 of `normals` come from the same words: these do not overlap.
        u = uniforms(rows.keys, rows.step, 2)[:, 1]
        chosen = (np.cumsum(p, axis=0)[:-1] < u).sum(0), np.arange(len(rows))
        z0, zs = normals(rows.keys, rows.step, 2).T
        x0 = means[chosen] + np.sqrt(variances[chosen]) * z0
        kept = a_t / a_s  # x_t = kept x_s + noise of variance fresh
        fresh = s_t**2 - (kept * s_s) ** 2
        mean = (kept * s_s**2 * x + a_s * fresh * x0) / s_t**2
        moved = mean + np.sqrt(fresh) * s_s / s_t * zs
        return rows.moved(rows.step + 1 >= self.steps, {"x": moved})

    def preview(self, rows: Rows) -> Sequence[float]:
        """The exact posterior mean E[x0 | x_t]."""
        a, s = self._levels
        p, means, *_ = posterior(self.config, rows.columns["x"], a[rows.step], s[rows.step])
        return Numbers((p * means).sum(0))

    def finish(self, rows: Rows) -> Sequence[float]:
        """The numbers."""
        return Numbers(rows.columns["x"])

    def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows back at `step`, by a draw from the forward process q(x_t' | x_t). Their keys must be new: forked.

        Raises ValueError for a step that lies after a row's own, or before 0.
        """
        if len(rows) and not 0 <= step <= rows.step.min():
            raise ValueError(
                f"rows at step {rows.step.min()} can be renoised to steps 0 to {rows.step.min()}, not {step}"
            )
        a, s = self._levels
        kept = a[step] / np.where(rows.step > 0, a[rows.step], 1.0)  # at step 0 only to step 0: 0, all is drawn anew
        fresh = np.sqrt(np.maximum(0.0, s[step] ** 2 - (kept * s[rows.step]) ** 2))
        # A forked key has started nothing: its numbers at START are free.
        x = kept * rows.columns["x"] + fresh * normals(rows.keys, START, 1)[:, 0]
        back = {"step": np.full(len(rows), step), "done": np.zeros(len(rows), bool)}
        return replace(rows, **back, columns={**rows.columns, "x": x})

    def toward(self, exponents: tuple[float, ...]) -> Generator:
        """A process with weights for p^b, or for p^b_1 guide^b_2. Raises ValueError for what cannot be sampled."""
        return Target(self.config, correctors.checked(exponents))

    def log_weights(self, rows: Rows) -> Floats:
        """0: finished rows are exact draws already."""
        return np.zeros(len(rows))


@dataclass(frozen=True)
class Target(Toy):
    """The reverse process aimed at prod q_i^b_i, in Euler steps; column log_weight: what the last step added.

    q_1 is the configured mixture, q_2 its guide. Sources: `correctors`.
    """

    config: GaussianMixture
    exponents: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for exponents that name no distribution, or need a guide or more steps."""
        given, guide = list(self.exponents), self.config.guide
        if len(given) > 2:
            raise ValueError(f"exponents must be one (of the mixture) or two (of mixture and guide), not {given}")
        if len(given) == 2 and guide is None:
            raise ValueError(f"exponents {given} need a second mixture: set the model's `guide`")
        tail = sum(b / max(law.variances) for b, law in zip(given, self._laws, strict=True))
        if not tail > 0:  # then it holds at every level: with two factors its numerator is linear in a^2
            raise ValueError(f"exponents {given} name no distribution: the tails go like exp({abs(tail) / 2:g} x^2)")
        least = math.ceil(sum(map(abs, given)) * math.log(self._span.widest / self._span.narrowest))
        if self.steps < least:  # one step would take a score beyond its own relaxation
            raise ValueError(f"exponents {given} need at least {least} steps, not {self.steps}; some 800 are accurate")

    @property
    def steps(self) -> int:
        """As configured."""
        return self.config.steps

    @property
    def price(self) -> int:
        """One evaluation of each factor."""
        return len(self.exponents)

    @property
    def batch_key(self) -> Hashable:
        """Equal configurations with equal exponents share calls."""
        return (super().batch_key, self.exponents)

    @property
    def _laws(self) -> tuple[Components, ...]:
        """q_1, q_2."""
        both = (self.config, self.config.guide)
        return tuple(law for law in both[: len(self.exponents)] if law is not None)

    @cached_property
    def _span(self) -> "Span":
        """The start: a^2 times every component's second moment is 0.3 at most, less for exponents that nearly cancel.

        There the target is still nearly normal and drawn as one; purer noise would only add variance to the weights.
        """
        widest = max(S + m * m for law in self._laws for m, S in zip(law.means, law.variances, strict=True))
        a2 = 0.3 * sum(self.exponents) / sum(map(abs, self.exponents)) / max(1.0, widest)
        narrowest = min(S for law in self._laws for S in law.variances)
        return Span(1 / a2 - 1 + narrowest, narrowest)

    @cached_property
    def _levels(self) -> tuple[Floats, Floats, Floats]:
        """a and s [T + 1] and h [T], the integral of beta over each step.

        s^2/a^2 + S falls geometrically, S the least variance of all components: a step is then the same part of the
        narrowest component's relaxation time, (a^2 S + s^2) / beta, at every level.
        """
        widest, narrowest = self._span
        noise = np.geomspace(widest, narrowest, self.steps + 1) - narrowest  # s^2/a^2
        noise[-1] = 0
        a = (1 + noise) ** -0.5
        return a, np.sqrt(noise) * a, np.log1p((noise[:-1] - noise[1:]) / (1 + noise[1:]))

    def _posteriors(self, rows: Rows) -> list[Posterior]:
        """Of every factor, at the rows' levels."""
        a, s, _ = self._levels
        return [posterior(law, rows.columns["x"], a[rows.step], s[rows.step]) for law in self._laws]

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """From the product of the normals with the factors' moments; its log-weight is exact."""
        a, s = self._levels[0][0], self._levels[1][0]
        moments = [
            (b, a * law.mean, a**2 * law.variance + s**2) for b, law in zip(self.exponents, self._laws, strict=True)
        ]
        precision = sum(b / v for b, _, v in moments)
        z = normals(keys, START, 1)[:, 0]
        x = sum(b * m / v for b, m, v in moments) / precision + z / np.sqrt(precision)
        rows = Rows.fresh(keys, {"x": x})
        aimed = sum(b * q.log_density for b, q in zip(self.exponents, self._posteriors(rows), strict=True))
        drawn = 0.5 * (np.log(precision / (2 * np.pi)) - z**2)
        return replace(rows, columns={"x": x, "log_weight": aimed - drawn})

    def advance(self, rows: Rows) -> Rows:
        """One Euler step along S = sum b_i s_i, and what it adds to the log-weight."""
        scores, h = [q.score for q in self._posteriors(rows)], self._levels[2][rows.step]
        score, z = correctors.combined(scores, self.exponents), normals(rows.keys, rows.step, 1)[:, 0]
        columns = {
            "x": correctors.euler(rows.columns["x"], score, h, z),
            "log_weight": correctors.increments(scores, self.exponents, h),
        }
        return rows.moved(rows.step + 1 >= self.steps, columns)

    def log_weights(self, rows: Rows) -> Floats:
        """What the last step, or the start, added: the product along a row, on average, estimates Z."""
        return rows.columns["log_weight"]

    def preview(self, rows: Rows) -> Sequence[float]:
        """sum b_i E_i[x0 | x_t] / sum b_i, an estimate: exact for one factor at b = 1, and at the end."""
        means = [b * (q.p * q.means).sum(0) for b, q in zip(self.exponents, self._posteriors(rows), strict=True)]
        return Numbers(np.sum(means, axis=0) / sum(self.exponents))

    def finish(self, rows: Rows) -> Sequence[float]:
        """The numbers."""
        return Numbers(rows.columns["x"])

    def toward(self, exponents: tuple[float, ...]) -> Generator:
        """The same mixtures, aimed elsewhere."""
        return Target(self.config, correctors.checked(exponents))


class Span(NamedTuple):
    """First and last value of s^2/a^2 + the least variance."""

    widest: float
    narrowest: float
