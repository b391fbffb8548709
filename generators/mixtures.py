"""Mixtures of normal distributions on the line and, exactly, what noise makes of them."""

from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from generators.toy import distribution
from search.ports import Floats, Frozen, Many


class Components(Frozen):
    """A mixture of normal distributions on the line."""

    weights: Many[float] = Field(min_length=1, max_length=64, description="Positive, sum 1.")
    means: Many[float] = Field(description="One for each weight, at most 1e6 from 0.")
    variances: Many[float] = Field(description="One for each weight, 1e-12 to 1e12.")

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

    @property
    def mean(self) -> float:
        """E[x]."""
        return sum(w * m for w, m in zip(self.weights, self.means, strict=True))

    @property
    def variance(self) -> float:
        """Var[x]."""
        parts = zip(self.weights, self.means, self.variances, strict=True)
        return sum(w * (S + (m - self.mean) ** 2) for w, m, S in parts)


class Posterior(NamedTuple):
    """Of x0 given x_t: probability, mean and variance of each component, [k, n]; log density and score of x_t, [n]."""

    p: Floats
    means: Floats
    variances: Floats
    log_density: Floats
    score: Floats


def posterior(law: Components, x: Floats, a: Floats, s: Floats) -> Posterior:
    """Exact, for x = a x0 + s eps with x0 from `law`; x, a, s: [n]."""
    w, m, S = (np.array(values)[:, None] for values in (law.weights, law.means, law.variances))  # noqa: N806
    v = a**2 * S + s**2
    off = x - a * m
    log = np.log(w) - 0.5 * (np.log(v) + off**2 / v)
    top = log.max(0)
    p = np.exp(log - top)
    total = p.sum(0)
    p /= total
    log_density = top + np.log(total) - 0.5 * np.log(2 * np.pi)
    return Posterior(p, (m * s**2 + a * S * x) / v, S * s**2 / v, log_density, -(p * off / v).sum(0))
