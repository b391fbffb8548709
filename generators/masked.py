"""Masked diffusion over strings of tokens: all places start masked, and each appears once, drawn from x0-hat.

The law of a masked place depends on the others and not on the time (Ou et al. 2024, arXiv 2406.03736), so rows at any
step, and of any sampler, share one call. Samplers: `unmasking`. Products and powers: `Masked.toward`.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from generators import correctors
from generators.sampling import Sampling
from generators.unmasking import CONFIDENT, MASK, UNIFORM, Mixed, ancestral, drawn, filled, kept, mixed, next_places
from search.keys import FILL, START, Words, fold, uniforms
from search.ports import Bools, Floats, Generator, Ints, Item, Rows

OFFERS = ("preview", "stochastic_step", "renoise", "log_weights")


@dataclass(frozen=True, eq=False)
class Law:
    """What is sampled: strings of `length` tokens out of `symbols`.

    name: rows of equal names share calls. predict: tokens, int64 [n, L], MASK where masked, to log-chances of each
    symbol at each masked place, [n, L, V]. template: an item's given tokens, MASK where free, int64 [L]. write: tokens
    to an answer. fits: most rows of one call that are worth their time, None: to be measured.
    """

    name: str
    symbols: int
    length: int
    predict: Callable[[Ints], Floats]
    template: Callable[[Item], Ints]
    write: Callable[[Ints], Any]
    fits: Callable[[], int | None] = lambda: None


@dataclass(frozen=True, eq=False)
class Masked:
    """A law sampled as configured, or with `exponents` the product of powers of a law and its guide.

    Lazy like `Diffusion`: a row first reveals, then is evaluated where it has arrived; a fresh one is only evaluated.
    The last evaluation also reveals what is left. Columns: text, the tokens; free, what an item leaves open; log_p, of
    the last evaluation; time, of the last token that appeared (1 at the start, 0 is data).
    """

    law: Law
    sampling: Sampling
    guide: Law | None = None
    exponents: tuple[float, ...] | None = None

    @property
    def steps(self) -> int:
        """At most: a row with given tokens is done before."""
        return self.sampling.grid or self.law.length

    @property
    def limit(self) -> int | None:
        """Most rows of a call."""
        return self.law.fits()

    @property
    def price(self) -> int:
        """One evaluation of each factor."""
        return len(self.exponents or (1.0,))

    @property
    def batch_key(self) -> Hashable:
        """Laws and exponents; all else is kept per row."""
        names = (self.law.name, *([self.guide.name] if self.price == 2 and self.guide else []))
        return ("masked", names, self.exponents)

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Every free place masked."""
        n, L, V = len(keys), self.law.length, self.law.symbols  # noqa: N806
        known = {name: self.law.template(item) for name, item in {id(item): item for item in items}.items()}
        tokens = np.array([known[id(item)] for item in items], np.int16).reshape(n, L)
        order = CONFIDENT if self.sampling.order == "confidence" else UNIFORM
        columns: dict[str, Any] = {
            "text": tokens,
            "free": tokens == MASK,
            "log_p": np.zeros((n, L, V), np.float32),
            "time": np.ones(n),
            "fresh": np.ones(n, bool),
            "grid": np.full(n, self.sampling.grid),
            "order": np.full(n, order),
            "block": np.full(n, self.sampling.block or L),
            "fills": np.full(n, self.sampling.fills),
        }
        if self.exponents:
            columns |= {"log_z": np.zeros((n, L)), "log_weight": np.zeros(n)}
        return Rows.fresh(keys, columns)

    def advance(self, rows: Rows) -> Rows:
        """Reveal, unless the row is fresh, and evaluate; the last time also reveal what is left."""
        columns, grid = rows.columns, rows.columns["grid"]
        places = np.where(columns["fresh"][:, None], False, self._next(rows))
        tokens = revealed(rows, columns["text"], columns["log_p"], places)
        found = self._evaluate(tokens.astype(np.int64))
        left = tokens == MASK
        last = np.where(grid > 0, rows.step + 1 >= grid, left.sum(1) <= 1)
        ends = left & last[:, None]
        moved = replace(rows, step=rows.step + 1)
        log_p = found.log_p.astype(np.float32)
        new: dict[str, Any] = {
            "text": revealed(moved, tokens, log_p, ends),
            "log_p": log_p,
            "time": self._time(rows, places, ends),
            "fresh": np.zeros(len(rows), bool),
        }
        if self.exponents:
            gained = np.where(places, columns["log_z"], 0.0).sum(1) + np.where(ends, found.log_z, 0.0).sum(1)
            new |= {"log_z": found.log_z, "log_weight": gained}
        return rows.moved(last, new)

    def preview(self, rows: Rows) -> list[Any]:
        """Masked places filled with the likeliest symbols, or drawn `fills` times: then {"fills": [answers]}."""
        columns = rows.columns
        masked, fills = columns["text"] == MASK, columns["fills"]
        likely = np.where(masked, columns["log_p"].argmax(-1), columns["text"])
        out = list(map(self.law.write, likely))
        for k in set(fills[masked.any(1)].tolist()) - {0}:
            who = np.flatnonzero((fills == k) & masked.any(1))
            for i, strings in zip(who.tolist(), self._fills(rows[who], k), strict=True):
                answers = list(map(self.law.write, strings))
                out[i] = {"fills": answers} if k > 1 else answers[0]
        return out

    def finish(self, rows: Rows) -> list[Any]:
        """The strings."""
        return list(map(self.law.write, rows.columns["text"]))

    def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows back at an earlier step: of the tokens that have appeared some are masked again, drawn from forked keys.

        What stays has the law of a row on its way: `step` tokens, any of them, or each with a chance of step / T.
        Raises ValueError for a step that is not below every row's own.
        """
        if not 0 <= step < rows.step.min(initial=np.iinfo(np.int64).max):
            raise ValueError(f"step {step} is not earlier than step {rows.step.min()}, from 0 on")
        columns, n, L = rows.columns, len(rows), self.law.length  # noqa: N806
        grid, free = columns["grid"], columns["free"]
        u = uniforms(rows.keys, START, 2 * L)
        shown = free & (columns["text"] != MASK)
        at = np.where(rows.done, grid, rows.step - ~columns["fresh"])  # transitions of the grid that were made
        by_grid = shown & (u[:, :L] * np.maximum(at, 1)[:, None] < step)
        count = np.minimum(step, free.sum(1) - 1)
        stay = np.where((grid > 0)[:, None], by_grid, kept(shown, count, u[:, :L]))
        spread = np.where(np.arange(L)[None] < count[:, None], u[:, L:], 1.0)
        times = np.prod(spread ** (1 / np.maximum(free.sum(1, keepdims=True) - np.arange(L), 1)), axis=1)
        changed = {
            "text": np.where(free & ~stay, np.int16(MASK), columns["text"]),
            "time": np.where(grid > 0, 1 - step / np.maximum(grid, 1), times),
            "fresh": np.ones(n, bool),
        }
        back = {"step": np.full(n, step, np.int64), "done": np.zeros(n, bool)}
        return replace(rows, **back, columns={**columns, **changed})

    def toward(self, exponents: tuple[float, ...]) -> Generator:
        """prod q_i^b_i of the law and its guide, weighted: the corrector of Hasan et al. 2026, arXiv 2601.10403.

        Here on the chain of jumps: symbols come from prod q_i(symbol | state)^b_i / Z(state), and log Z(state) is what
        a row's log-weight gains.
        """
        given = correctors.checked(exponents)
        if len(given) > (2 if self.guide else 1):
            most = "one or two (of the law and its guide)" if self.guide else "one: this model has no guide"
            raise ValueError(f"exponents must be {most}, not {list(given)}")
        if self.sampling.grid:
            raise ValueError(f"exponents {list(given)} need the sampler first_hitting, not ancestral")
        return replace(self, exponents=given)

    def log_weights(self, rows: Rows) -> Floats:
        """What the last step added; 0 for the law itself."""
        return rows.columns["log_weight"] if self.exponents else np.zeros(len(rows))

    def _fills(self, rows: Rows, k: int) -> Ints:
        """k strings for each row, [n, k, L], in which every masked place is drawn alone."""
        n, L, V = len(rows), self.law.length, self.law.symbols  # noqa: N806
        u = uniforms(fold(rows.keys, np.uint32(FILL), 0), rows.step, k * L * V).reshape(n, k, L, V)
        text = rows.columns["text"][:, None]
        return np.where(text == MASK, drawn(rows.columns["log_p"][:, None].astype(np.float64), u), text)

    def _next(self, rows: Rows) -> Bools:
        columns, L = rows.columns, self.law.length  # noqa: N806
        masked, grid = columns["text"] == MASK, columns["grid"]
        u = uniforms(rows.keys, rows.step, 1 + L)[:, 1:]
        if (grid > 0).all():
            return ancestral(masked, rows.step - 1, grid, u)
        one = next_places(masked, columns["log_p"], columns["order"], columns["block"], u)
        return np.where((grid > 0)[:, None], ancestral(masked, rows.step - 1, np.maximum(grid, rows.step), u), one)

    def _evaluate(self, tokens: Ints) -> Mixed:
        if self.exponents is None:
            return Mixed(self.law.predict(tokens), np.zeros(0))
        laws = [self.law, *([self.guide] if self.guide and len(self.exponents) == 2 else [])]
        return mixed(tuple(law.predict(tokens) for law in laws), self.exponents)

    def _time(self, rows: Rows, places: Bools, ends: Bools) -> Floats:
        """first_hitting: t u^(1/m) for each of m masked that appeared, one after another; ancestral: 1 - j/T."""
        grid, time = rows.columns["grid"], rows.columns["time"]
        m = (rows.columns["text"] == MASK).sum(1)
        u = uniforms(rows.keys, rows.step, 1)[:, 0], uniforms(rows.keys, rows.step + 1, 1)[:, 0]
        time = np.where(places.any(1), time * u[0] ** (1 / np.maximum(m, 1)), time)
        time = np.where(ends.any(1), time * u[1] ** (1 / np.maximum(ends.sum(1), 1)), time)
        by_grid = 1 - (rows.step + (rows.step + 1 >= grid)) / np.maximum(grid, 1)
        return np.where(grid > 0, by_grid, time)


def revealed(rows: Rows, tokens: Any, log_p: Any, places: Bools) -> Any:
    """Tokens with symbols drawn at the places, by the rows' keys and steps, float64."""
    L, V = places.shape[1], log_p.shape[-1]  # noqa: N806
    who = np.flatnonzero(places.any(1))
    if not len(who):
        return tokens
    # One place a row is the rule: its numbers are the first V behind those of time and places.
    rank = np.cumsum(places[who], axis=1)[places[who]] - 1
    u = uniforms(rows.keys[who], rows.step[who], 1 + L + V * int(rank.max() + 1))[:, 1 + L :]
    u = u.reshape(len(who), -1, V)[np.nonzero(places[who])[0], rank]
    return filled(tokens, log_p.astype(np.float64), places, u)
