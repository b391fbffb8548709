"""Generators to test methods and services against."""

import asyncio
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.keys import Words, normals, uniforms
from search.ports import Bools, Failed, Floats, Generator, Item, Rows

VOCABULARY = ("red", "green", "blue", "one", "two", "three")


@dataclass(frozen=True)
class Fake:
    """A random walk: each step adds a normal number, and the answer is the sum."""

    steps: int = 3
    price: int = 1

    @property
    def batch_key(self) -> Hashable:
        """Walks of any length share calls: each row knows its own."""
        return "fake"

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """All at 0."""
        n = len(keys)
        return Rows.fresh(keys, {"x": np.zeros(n), "steps": np.full(n, self.steps)})

    def advance(self, rows: Rows) -> Rows:
        """One increment."""
        x = rows.columns["x"] + normals(rows.keys, rows.step, 1)[:, 0]
        return rows.moved(rows.step + 1 >= rows.columns["steps"], {"x": x})

    def preview(self, rows: Rows) -> list[Any]:
        """Where each walk is."""
        return rows.columns["x"].tolist()

    def finish(self, rows: Rows) -> list[Any]:
        """Where each walk ended."""
        return rows.columns["x"].tolist()


def fake(steps: int = 3) -> Generator:
    """A generator for tests of methods and services: costs nothing, offers preview and stochastic_step."""
    return Fake(steps)


@dataclass(frozen=True)
class Elsewhere:
    """A speaker behind a network: a step adds 1 to `tokens` words to each row's text, and rows wait side by side.

    All follows from a row's key and step: the words, the wait, `seconds` on average, and what goes wrong. lost, quiet:
    shares of the steps that fail, and of those whose tokens nobody tells. A prompt is read at the first step.
    """

    steps: int = 1
    tokens: int = 4
    seconds: float = 0.0
    lost: float = 0.0
    quiet: float = 0.0
    limit: int = 64
    price: int = 1

    @property
    def batch_key(self) -> Hashable:
        """Equal speakers share what the engine counts."""
        return self

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Nothing said yet."""
        zero = np.zeros(len(keys), np.int64)
        text = np.full(len(keys), "", object)
        asked = np.array([item.asked for item in items], object)
        why = np.full(len(keys), None, object)
        return Rows.fresh(keys, {"asked": asked, "text": text, "why": why, "tokens": zero, "prompt_tokens": zero})

    async def advance(self, rows: Rows) -> Rows:
        """More words; when it is cancelled, those that are there, and no answers of the other rows."""
        there, u = np.zeros(len(rows), bool), uniforms(rows.keys, rows.step, 4 + self.tokens)

        async def wait(row: int) -> None:
            await asyncio.sleep(2 * self.seconds * u[row, 0])
            there[row] = True

        with suppress(asyncio.CancelledError):
            await asyncio.gather(*map(wait, range(len(rows))))
        return self._heard(rows, there, u)

    def _heard(self, rows: Rows, there: Bools, u: Floats) -> Rows:
        text, why = rows.columns["text"].copy(), rows.columns["why"].copy()
        counts = {name: rows.columns[name].copy() for name in ("tokens", "prompt_tokens")}
        for row in range(len(rows)):
            if not there[row] or u[row, 1] < self.lost:
                why[row] = "503: nobody there" if there[row] else "cancelled"
                continue
            said = [VOCABULARY[int(x * len(VOCABULARY))] for x in u[row, 4 : 5 + int(u[row, 3] * self.tokens)]]
            text[row] = " ".join([*text[row].split(), *said])
            quiet = u[row, 2] < self.quiet or counts["tokens"][row] < 0
            counts["tokens"][row] = -1 if quiet else counts["tokens"][row] + len(said)
            if rows.step[row] == 0:
                counts["prompt_tokens"][row] = -1 if quiet else len(rows.columns["asked"][row].split())
        done = (rows.step + 1 >= self.steps) | np.array([reason is not None for reason in why], bool)
        return rows.moved(done, {"text": text, "why": why, **counts})

    def preview(self, rows: Rows) -> list[Any]:
        """What each row has said."""
        return self.finish(rows)

    def finish(self, rows: Rows) -> list[Any]:
        """What each row said, or why it could not be had."""
        pairs = zip(rows.columns["text"], rows.columns["why"], strict=True)
        return [text if why is None else Failed(why) for text, why in pairs]
