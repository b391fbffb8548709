"""Rows that begin with something known of their answer: a picture to go on from, or one of which a part is missing.

They start at a level of their own as x = a given + s noise (SDEdit, Meng et al. 2022), and where the answer is known,
every x0hat is what is known. The step from it then is q(x' | x, given) at eta 1 and keeps x = a given + s eps at any
eta and with any solver: known latents are at each row's level, with a noise that goes on, where RePaint (Lugmayr et al.
2022) draws another at every step.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generators import moves
from generators.denoising import Model
from search.ports import Item, Rows


class Given(NamedTuple):
    """latents: of the whole answer, float32 [*shape]. open: where it is to be made, bool, broadcasts against them."""

    latents: NDArray[np.float32]
    open: NDArray[np.bool_]


def begun(model: Model, rows: Rows, items: Sequence[Item], given: Callable[[Item], Given], skipped: int) -> Rows:
    """Rows of pure noise put to the level `skipped` levels later, on what is given of their items."""
    known = {name: given(item) for name, item in {id(item): item for item in items}.items()}
    columns = {
        **rows.columns,
        "skipped": np.full(len(rows), skipped, np.int64),
        "given": np.array([known[id(item)].latents for item in items], np.float32),
        "open": np.array([known[id(item)].open for item in items], bool),
    }
    placed = replace(rows, columns=columns)
    s = _wide(moves.levels(model, placed).s, model)
    return replace(rows, columns={**columns, "x": middle(model, placed) + s * columns["x"]})


def middle(model: Model, rows: Rows) -> Any:
    """a given: what the rows' noise lies around, float32 [n, *shape]; the number 0 where nothing is given."""
    if "given" not in rows.columns:
        return np.float32(0)
    return _wide(moves.levels(model, rows).a, model) * rows.columns["given"]


def kept(model: Model, rows: Rows, x0hat: Any) -> Any:
    """x0hat with what is known in its place."""
    if "given" not in rows.columns:
        return x0hat
    import torch

    return torch.where(model.tensor(rows.columns["open"]), x0hat, model.tensor(rows.columns["given"]))


def _wide(values: Any, model: Model) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(-1, *[1] * len(model.shape))
