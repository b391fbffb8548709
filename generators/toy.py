"""Generators whose law is known exactly, so that a search over them can be checked against closed forms.

Every step draws from the exact reverse kernel: finished answers are exact draws for any number of steps, and whatever
error a search shows is its own. All is float64 numpy, and no row depends on another, bit for bit.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators.masked import OFFERS, Law, Masked
from generators.sampling import Sampling
from generators.unmasking import MASK
from search.answers import Numbers
from search.configs import ModelConfig
from search.keys import START, Words, uniforms
from search.plugins import plugin
from search.ports import Floats, Generator, Ints, Item, Many, Rows


class Bits(Sampling):
    """A string of independent bits."""

    length: int = Field(3, ge=1, le=4096, description="Bits; and steps, unless `steps` says otherwise.")
    q: float = Field(0.3, ge=0, le=1, description="Probability of a one.")

    @property
    def size(self) -> int:
        """Bits."""
        return self.length


class Markov(ModelConfig):
    """A string of a Markov chain with symbols 0, 1, ..., one step each."""

    initial: Many[float] = Field((0.5, 0.3, 0.2), min_length=1, max_length=256, description="First symbol; sum 1.")
    transition: Many[Many[float]] = Field(
        ((0.6, 0.3, 0.1), (0.2, 0.5, 0.3), (0.3, 0.3, 0.4)),
        description="Row i: probabilities of the symbol after i; each sums to 1.",
    )
    length: int = Field(6, ge=1, le=4096, description="Symbols, and steps; with `stop`, at most.")
    stop: int | None = Field(None, ge=0, description="A symbol that ends the string, as its last one.")
    text: bool = Field(False, description='Answers as text, "0122", in place of lists; of at most 10 symbols.')

    @property
    def evaluations(self) -> int:
        """One a symbol."""
        return self.length

    @property
    def tokens(self) -> int:
        """One a symbol."""
        return self.length

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        distribution("initial", self.initial)
        symbols = len(self.initial)
        if self.stop is not None and self.stop >= symbols:
            raise ValueError(f"stop must be one of the symbols 0 to {symbols - 1}, not {self.stop}")
        if self.text and symbols > 10:
            raise ValueError(f"answers of {symbols} symbols cannot be text: at most 10 have a digit each")
        if len(self.transition) != symbols:
            raise ValueError(f"transition must have one row for each of {symbols} symbols, not {len(self.transition)}")
        for i, row in enumerate(self.transition):
            if len(row) != symbols:
                raise ValueError(f"transition[{i}] must have one value for each of {symbols} symbols, not {len(row)}")
            distribution(f"transition[{i}]", row)
        return self


class Noop(ModelConfig):
    """Answers that cost nothing."""


@plugin(version="2", offers=OFFERS)
def bits(config: Bits) -> Generator:
    """Masked diffusion over independent bits; answers are lists of 0 and 1."""
    length = config.length
    with np.errstate(divide="ignore"):
        log = np.log([1 - config.q, config.q])

    def predict(text: Ints) -> Floats:
        return np.broadcast_to(log, (*text.shape, 2))

    free = np.full(length, MASK)
    return Masked(Law(f"bits {length} {config.q}", 2, length, predict, lambda item: free, np.ndarray.tolist), config)


@plugin(version="1", offers=("preview", "stochastic_step"))
def markov(config: Markov) -> Generator:
    """A language model small enough to enumerate; answers are lists of symbols, or text."""
    return Chain(config)


@plugin(version="1", offers=("preview",))
def noop(config: Noop) -> Generator:
    """One uniform number in one step that does nothing: what remains is the cost of the service itself."""
    return Uniform(config)


@dataclass(frozen=True)
class Toy:
    """What all toys share."""

    config: Any
    price = 1

    @property
    def batch_key(self) -> Hashable:
        """Equal configurations share calls."""
        return (type(self).__name__, self.config.model_dump_json())


@dataclass(frozen=True)
class Chain(Toy):
    """One symbol a step, which is a token."""

    config: Markov
    tokens = 1

    @property
    def steps(self) -> int:
        """One for each symbol."""
        return self.config.length

    @cached_property
    def _next(self) -> Floats:
        """Probabilities of the next symbol after 0, 1, ... and, last row, of the first: [symbols + 1, symbols]."""
        table = np.array([*self.config.transition, self.config.initial])
        return table / table.sum(1, keepdims=True)

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """The empty prefix."""
        n = len(keys)
        text = np.full((n, self.config.length), MASK, np.int64)
        return Rows.fresh(keys, {"text": text, "last": np.full(n, MASK), "tokens": np.zeros(n, np.int64)})

    def advance(self, rows: Rows) -> Rows:
        """Append a symbol."""
        u = uniforms(rows.keys, rows.step, 1)[:, 0]
        last = draw(self._next[rows.columns["last"]], u)  # index -1, no symbol yet, is the row of the first
        text = rows.columns["text"].copy()
        text[np.arange(len(rows)), rows.step] = last
        done = rows.step + 1 >= self.config.length
        if self.config.stop is not None:
            done |= last == self.config.stop
        return rows.moved(done, {"text": text, "last": last, "tokens": rows.columns["tokens"] + 1})

    def preview(self, rows: Rows) -> list[Any]:
        """The strings so far."""
        strings = [text[:n] for text, n in zip(rows.columns["text"].tolist(), rows.step.tolist(), strict=True)]
        return ["".join(map(str, string)) for string in strings] if self.config.text else strings

    def finish(self, rows: Rows) -> list[Any]:
        """The strings."""
        return self.preview(rows)


@dataclass(frozen=True)
class Uniform(Toy):
    """The start is the answer."""

    config: Noop
    steps = 1

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """The answers."""
        return Rows.fresh(keys, {"u": uniforms(keys, START, 1)[:, 0]})

    def advance(self, rows: Rows) -> Rows:
        """Nothing."""
        return rows.moved(np.ones(len(rows), bool), {})

    def preview(self, rows: Rows) -> Sequence[float]:
        """The answers."""
        return self.finish(rows)

    def finish(self, rows: Rows) -> Sequence[float]:
        """The numbers, uniform in (0, 1)."""
        return Numbers(rows.columns["u"])


def distribution(name: str, values: Sequence[float]) -> None:
    """Raise ValueError unless `values` are probabilities that sum to 1 within 1e-6."""
    if min(values) < 0:
        raise ValueError(f"{name} must not be negative, but has {min(values)}")
    if abs(math.fsum(values) - 1) > 1e-6:
        raise ValueError(f"{name} must sum to 1, not {math.fsum(values):.9g}")


def draw(p: Floats, u: Floats) -> Ints:
    """One index for each row of p [n, k] by inversion of its cumulative sum at u [n]."""
    return (np.cumsum(p, axis=1)[:, :-1] < u[:, None]).sum(1)
