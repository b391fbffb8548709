"""A generator to test methods and services against."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.keys import Words, normals
from search.ports import Generator, Item, Rows


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
