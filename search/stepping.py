"""One network call over the rows of many searches, handed back search by search."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from search.ports import Generator, Rows


class NotANumber(ValueError):
    """A network gave nan; names the step and the remedy."""


def stepped(generator: Generator, blocks: Sequence[Rows]) -> Sequence[Rows | NotANumber]:
    """One step of all rows in one call. A block in which the network gave nan is answered by an error.

    Raises ValueError when the generator returns fewer or more rows than it was given.
    """
    joined = Rows.join(blocks)
    moved = generator.advance(joined)
    if len(moved) != len(joined):
        raise ValueError(f"{generator.advance} returned {len(moved)} of {len(joined)} rows")
    parts = divided(moved, joined, blocks)
    return parts if fault(moved) is None else [fault(part) or part for part in parts]


def divided(moved: Rows, joined: Rows, blocks: Sequence[Rows]) -> list[Rows]:
    """The moved rows of each block; a column that has not changed since they were joined is the block's own, uncut."""
    edges = accumulate(map(len, blocks), initial=0)
    kept = {name for name, column in moved.columns.items() if column is joined.columns.get(name)}
    return [
        Rows(
            moved.keys[a:b],
            moved.step[a:b],
            moved.done[a:b],
            moved.spent[a:b],
            {n: block.columns[n] if n in kept else column[a:b] for n, column in moved.columns.items()},
        )
        for block, (a, b) in zip(blocks, pairwise(edges), strict=True)
    ]


def fault(moved: Rows) -> NotANumber | None:
    """The first column with a nan, as an error; None without."""
    for name, column in moved.columns.items():
        if column.dtype.kind == "f" and np.isnan(column).any():
            advice = "try a wider dtype, or another seed"
            return NotANumber(f"step {int(moved.step.max())}: the model gave nan in its column {name!r}; {advice}")
    return None
