"""Blocks of many searches in one call: each gets its own rows back, and only the block with a nan fails."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from generators.fake import Fake
from search import keys
from search.engine import Engine, Shared
from search.ports import Item, Rows, Task
from search.stepping import NotANumber, stepped


@dataclass(frozen=True)
class Poisoned(Fake):
    """A walk that gives nan to rows of `poison` steps, and keeps the sizes of its calls."""

    poison: int = -1
    sizes: list[int] = field(default_factory=list)

    def advance(self, rows: Rows) -> Rows:
        self.sizes.append(len(rows))
        moved = super().advance(rows)
        bad = rows.columns["steps"] == self.poison
        return rows.moved(moved.done, {"x": np.where(bad, np.nan, moved.columns["x"])})


def block(steps: int, count: int, taken: int = 0) -> Rows:
    walk = Fake(steps)
    rows = walk.start([Item()] * count, keys.rows(keys.problem(steps, "a"), 0, count))
    for _ in range(taken):
        rows = walk.advance(rows)
    return rows


def test_each_block_gets_what_it_would_get_alone() -> None:
    """Bit for bit; what a step leaves as it was is the very array that the block came with."""
    blocks = [block(5, 2), block(7, 3, taken=4), block(2, 1, taken=1), block(9, 4)]
    for rows, moved in zip(blocks, stepped(Fake(), blocks), strict=True):
        alone = Fake().advance(rows)
        assert isinstance(moved, Rows)
        for name in ("keys", "step", "done", "spent"):
            np.testing.assert_array_equal(getattr(moved, name), getattr(alone, name))
        np.testing.assert_array_equal(moved.columns["x"], alone.columns["x"])
        assert list(moved.columns) == list(alone.columns)
        assert moved.columns["steps"] is rows.columns["steps"]


def test_columns_may_come_and_go() -> None:
    class Changing(Fake):
        def advance(self, rows: Rows) -> Rows:
            n = len(rows)
            return Rows(rows.keys[::-1], rows.step + 1, rows.done, rows.spent, {"new": np.arange(n)})

    one, two = stepped(Changing(), [block(5, 2), block(7, 1)])
    assert isinstance(one, Rows)
    assert isinstance(two, Rows)
    assert {name: column.tolist() for name, column in one.columns.items()} == {"new": [0, 1]}
    assert two.columns["new"].tolist() == [2]
    np.testing.assert_array_equal(two.keys, block(5, 2).keys[:1])


def test_a_nan_fails_its_own_block_and_no_other() -> None:
    blocks = [block(5, 2), block(7, 3, taken=4), block(2, 1)]
    fine, bad, also = stepped(Poisoned(poison=7), blocks)
    assert isinstance(bad, NotANumber)
    assert "step 5: the model gave nan in its column 'x'" in str(bad)
    assert isinstance(fine, Rows)
    assert isinstance(also, Rows)
    np.testing.assert_array_equal(fine.columns["x"], Fake().advance(blocks[0]).columns["x"])


def test_a_network_that_loses_rows_is_an_error() -> None:
    class Lossy(Fake):
        def advance(self, rows: Rows) -> Rows:
            return super().advance(rows[:-1])

    with pytest.raises(ValueError, match="returned 2 of 3 rows"):
        stepped(Lossy(), [block(5, 2), block(7, 1)])


def test_searches_beside_one_with_a_nan_go_on_in_the_same_call() -> None:
    """Nobody's rows are evaluated a second time to find the one at fault."""

    async def main() -> None:
        engine, sizes = Engine(), list[int]()

        async def step(steps: int) -> Any:
            walk = Poisoned(steps, poison=4, sizes=sizes)
            tools = Shared(engine, Task(Item(id=str(steps)), 0, 0, 2), walk, [])
            return await tools.advance(block(steps, 2))

        found = await asyncio.gather(*map(step, (3, 4, 5)), return_exceptions=True)
        assert [type(one) for one in found] == [Rows, NotANumber, Rows]
        assert sizes == [6]

    asyncio.run(main())
