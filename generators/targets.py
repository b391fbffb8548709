"""A diffusion network aimed at powers and products of its laws: ancestral steps whose rows carry their own weight."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators import correctors, noise
from generators.denoising import Levels, Model, denoised, labels, step
from search.keys import START, Words, normals
from search.ports import Floats, Generator, Ints, Item, Rows

QUIET = 0.01
"""Signal a^2 of the second level. Above it, q_i is normal with its mean at a x0hat_i, but for a^2 of its covariance."""


@dataclass(frozen=True, eq=False)
class Target:
    """The reverse process aimed at prod q_i^b_i. Sources: `correctors`.

    label: an item's class. levels: noise levels, one evaluation of each factor at each. exponents: one, b of the class
    (null: of everything), or two, b_1 of the unconditional law (the model's null) and b_2, its guide, of the class.

    Rows are lazy like those of `Diffusion`. log_weight: what the last move added, which belongs to x; ahead: what the
    next one will add, known from the evaluation at x. Between the noisiest level and the second one a step along the
    score would add nothing but variance: the second is drawn as one normal. The answer is the last level's x0hat.
    """

    model: Model
    label: Callable[[Item], Any]
    levels: int
    exponents: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for numbers of exponents or levels that cannot be used."""
        given, total, quiet = list(self.exponents), sum(self.exponents), quietest(self.model)
        if len(given) > 2:
            raise ValueError(f"exponents must be one (of the model) or two (without and with its class), not {given}")
        if self.levels > quiet + 2:
            raise ValueError(f"exponents {given} take at most {quiet + 2} steps, not {self.levels}")
        _, a, s = placed(self.model, np.full(self.levels, self.levels), np.arange(self.levels))
        least = min(np.minimum(a[1:-1] / a[2:], s[2:] / s[1:-1]), default=1.0)
        if total * (1 - least) > 1:  # then a step takes x / a, or x / s, beyond its mirror image
            most = 1 / (1 - least)
            raise ValueError(
                f"exponents {given}, whose sum is {total:g}, are too steep for {self.levels} steps: "
                f"their sum must be {most:.3g} or less, or the steps more"
            )

    @property
    def batch_key(self) -> Hashable:
        """The model and the number of factors; exponents, levels and labels are kept per row."""
        return ("target", self.model.name, len(self.exponents))

    @property
    def steps(self) -> int:
        """As many as levels."""
        return self.levels

    @property
    def price(self) -> int:
        """One evaluation of each factor."""
        return len(self.exponents)

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """N(0, I / B), B = sum b_i: at no signal every q_i is N(0, I). Their log-weight is exact, for log Z."""
        n, size, total = len(keys), self.model.size, sum(self.exponents)
        x = normals(keys, START, size) / np.sqrt(total)
        x = x.astype(np.float32).reshape(n, *self.model.shape)
        weight = size / 2 * ((1 - total) * np.log(2 * np.pi) - np.log(total))
        columns = {
            "x": x,
            "x0": np.zeros_like(x),
            "label": labels([self.label(item) for item in items]),
            "levels": np.full(n, self.levels, np.int64),
            "exponents": np.tile(np.array(self.exponents, np.float64), (n, 1)),
            "log_weight": np.full(n, weight),
            "ahead": np.zeros(n),
        }
        return Rows.fresh(keys, columns)

    def advance(self, rows: Rows) -> Rows:
        """To the next level with what that adds to the log-weight, and the evaluations there: one call."""
        import torch

        columns, model = rows.columns, self.model
        with torch.inference_mode():
            x = self._moved(rows)
            at = placed(model, columns["levels"], rows.step)
            clean = self._evaluate(x, at, columns["label"])
            shares = columns["exponents"] / columns["exponents"].sum(1, keepdims=True)
            x0 = correctors.combined(clean, [model.tensor(share) for share in shares.T.astype(np.float32)])
            done = rows.step + 1 >= columns["levels"]
            x_now, x0_now = noise.fetched(x, x0)
            new = {
                "x": x_now,
                "x0": x0_now,
                "log_weight": columns["ahead"],
                "ahead": np.where(done, 0.0, self._ahead(rows, at, x, clean)),
            }
        return rows.moved(done, new)

    def log_weights(self, rows: Rows) -> Floats:
        """What the last move, or the start, added; the first evaluation moves nothing and adds 0."""
        return rows.columns["log_weight"]

    def preview(self, rows: Rows) -> list[Any]:
        """sum b_i x0hat_i / sum b_i of the last evaluation, decoded; before the first, the zero latent."""
        return self.model.decode(rows.columns["x0"])

    def finish(self, rows: Rows) -> list[Any]:
        """The same of the last level."""
        return self.model.decode(rows.columns["x0"])

    def toward(self, exponents: tuple[float, ...]) -> Generator:
        """The same model, aimed elsewhere with as many factors."""
        if len(exponents) != len(self.exponents):
            raise ValueError(f"exponents must be {len(self.exponents)} like {list(self.exponents)}, not {exponents}")
        return Target(self.model, self.label, self.levels, correctors.checked(exponents))

    def _moved(self, rows: Rows) -> Any:
        """x at the level of the next evaluation, on the device; S = sum b_i s_i and the noise of an ancestral step.

        The first move goes to the product of the factors' normals: the mean of their means, variance tau^2 / B.
        """
        import torch

        model, total = self.model, rows.columns["exponents"].sum(1)
        x, x0 = (model.tensor(rows.columns[name]) for name in ("x", "x0"))
        moving, first = rows.step > 0, rows.step == 1
        if not moving.any():
            return x
        _, a, s = placed(model, rows.columns["levels"], np.maximum(rows.step - 1, 0))
        _, a_next, s_next = placed(model, rows.columns["levels"], rows.step)
        xi = noise.normals(rows.keys, np.maximum(rows.step - 1, 0), model.size, model.device()).reshape(x.shape)
        size = np.where(first, 1.0, total)  # epshat of S is B times the mean of the factors' epshat
        spread = np.where(first, total**-0.5, 1.0)
        a, s, a_next, s_next, size, spread = model.per_row(a, s, a_next, s_next, size, spread)
        there = step(size * x0 + (1 - size) * x / a, size * (x - a * x0) / s, a, s, a_next, s_next, 1.0, spread * xi)
        return torch.where(model.tensor(moving).reshape(-1, *[1] * (x.ndim - 1)), there, x)

    def _evaluate(self, x: Any, at: Levels, label: NDArray[Any]) -> list[Any]:
        """x0hat of every factor."""
        import torch

        both = [self.model.null(label), label] if len(self.exponents) == 2 else [label]
        n, level, told = len(both), self.model.tensor(at.trained), self.model.told(np.concatenate(both))
        outputs = self.model.network(torch.cat([x] * n), torch.cat([level] * n), told).chunk(n)
        a, s = self.model.per_row(at.a, at.s)
        return [denoised(self.model.kind, x, output, a, s) for output in outputs]

    def _ahead(self, rows: Rows, at: Levels, x: Any, clean: list[Any]) -> Floats:
        """What the move from `at` to the next level adds to the log-weights, float64 [n]."""
        model, then = self.model, placed(self.model, rows.columns["levels"], rows.step + 1)
        a, s, a_next, s_next = map(model.tensor, (at.a, at.s, then.a, then.s))
        exponents = [model.tensor(b) for b in rows.columns["exponents"].T]
        wide = (-1, *[1] * (x.ndim - 1))
        clean = [x0.double() for x0 in clean]
        scores = [(a.reshape(wide) * x0 - x.double()) / (s**2).reshape(wide) for x0 in clean]
        later = correctors.increments(scores, exponents, 2 * (a_next / a).log()).cpu().numpy()
        if rows.step.all():
            return later
        first = correctors.opening(clean, exponents, (a_next / s_next) ** 2 - (a / s) ** 2, (s / s_next).log())
        return np.where(rows.step == 0, first.cpu().numpy(), later)


def quietest(model: Model) -> int:
    """Trained level of the second level of a row: the cleanest with signal <= QUIET. ValueError for no two such."""
    quiet = int((model.signal > QUIET).sum())
    if quiet > len(model.signal) - 2:
        raise ValueError(f"targets need a model whose noisiest two levels have signal {QUIET} or less: {model.name}")
    return quiet


def placed(model: Model, count: Ints, number: Ints) -> Levels:
    """Level `number`, from 0, of `count`: the noisiest, then evenly from signal QUIET on; at last clean data."""
    quiet, signal = quietest(model), np.append(model.signal, 1.0)  # clean has index -1
    even = np.round(quiet - (number - 1) * ((quiet + 1) / np.maximum(count - 1, 1))).astype(np.int64)
    at = np.where(number == 0, len(model.signal) - 1, np.where(number >= count, -1, even))
    return Levels(at, np.sqrt(signal[at]), np.sqrt(1 - signal[at]))
