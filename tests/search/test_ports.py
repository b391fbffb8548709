"""Rows move, split and join without losing anything; verdicts keep their order; what crosses a process is strict."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from search import keys
from search.configs import MethodConfig, ModelConfig
from search.ports import Config, Frozen, Item, Many, Rows, Score, unscored
from search.verdicts import Verdicts


def some(n: int) -> Rows:
    named = keys.rows(keys.problem(0, "ports"), 0, n)
    rows = Rows.fresh(
        named, {"x": np.arange(n, dtype=float), "image": np.arange(4 * n, dtype=np.uint8).reshape(n, 2, 2)}
    )
    return rows.updated(
        np.arange(0, n, 2), rows[::2].moved(np.ones(len(rows[::2]), bool), {"x": rows.columns["x"][::2]})
    )


def arrays(rows: Rows) -> dict[str, Any]:
    return {"keys": rows.keys, "step": rows.step, "done": rows.done, "spent": rows.spent, **rows.columns}


def same(one: Rows, other: Rows) -> None:
    assert arrays(one).keys() == arrays(other).keys()
    for name, array in arrays(one).items():
        assert array.dtype == arrays(other)[name].dtype
        np.testing.assert_array_equal(array, arrays(other)[name], err_msg=name)


def test_fresh_rows_are_at_step_0() -> None:
    rows = Rows.fresh(keys.rows(keys.problem(0, ""), 0, 3), {})
    assert (len(rows), rows.step.tolist(), rows.done.tolist(), rows.spent.tolist()) == (
        3,
        [0] * 3,
        [False] * 3,
        [0] * 3,
    )


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 9), st.sets(st.integers(0, 9)))
def test_cut_and_joined_rows_are_the_same_rows(n: int, cuts: set[int]) -> None:
    rows, edges = some(n), [0, *sorted(cut for cut in cuts if cut < n), n]
    same(Rows.join([rows[a:b] for a, b in pairwise(edges)]), rows)


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="no blocks"):
        Rows.join([])


def test_an_index_takes_whole_rows_in_its_order() -> None:
    rows, index = some(5), np.array([3, 0, 3])
    for name, array in arrays(rows[index]).items():
        np.testing.assert_array_equal(array, arrays(rows)[name][index], err_msg=name)
    same(rows[rows.done], rows[np.flatnonzero(rows.done)])


def test_update_replaces_the_rows_named_and_leaves_its_argument() -> None:
    rows, before = some(5), some(5)
    index = np.array([4, 1])
    block = rows[index].moved(np.array([True, False]), {"x": np.array([40.0, 10.0])})
    after = rows.updated(index, block)
    same(after[index], block)
    same(after[[0, 2, 3]], rows[[0, 2, 3]])  # type: ignore[arg-type]
    same(rows, before)


def test_a_move_is_one_step_and_keeps_the_other_columns() -> None:
    rows = some(4)
    moved = rows.moved(np.ones(4, bool), {"x": np.zeros(4)})
    np.testing.assert_array_equal(moved.step, rows.step + 1)
    np.testing.assert_array_equal(moved.columns["image"], rows.columns["image"])
    np.testing.assert_array_equal(moved.columns["x"], np.zeros(4))


def test_children_take_all_from_their_parent_but_the_key() -> None:
    rows, ancestors = some(4), np.array([2, 2, 0])
    children = rows.fork(ancestors)
    for name, array in arrays(children).items():
        if name != "keys":
            np.testing.assert_array_equal(array, arrays(rows)[name][ancestors], err_msg=name)
    assert len({*keys.name(children.keys), *keys.name(rows.keys)}) == 7


def test_passed_means_by_every_judge() -> None:
    a = [Score(1.0, True), Score(1.0, True), Score(0.0, False), Score(1.0), unscored("broken")]
    b = [Score(1.0, True), Score(0.0, False), Score(0.0, False), Score(1.0, True), Score(1.0, True)]
    assert Verdicts(range(5), {"a": a, "b": b}).passed.tolist() == [True, False, False, False, False]
    assert Verdicts(range(2)).passed.tolist() == [False, False]
    assert Verdicts((), {"a": []}).passed.tolist() == []


def test_verdicts_join_in_order_and_with_nothing() -> None:
    one = Verdicts(["x"], {"a": [Score(1.0)], "b": [Score(2.0)]}, {"a": 0.5, "b": 1.0})
    two = Verdicts(["y", "z"], {"a": [Score(3.0), Score(4.0)], "b": [Score(5.0)] * 2}, {"a": 0.25, "b": 1.0})
    both = one.joined(two)
    assert both.answers == ["x", "y", "z"]
    assert [score.value for score in both.scores["a"]] == [1.0, 3.0, 4.0]
    assert both.seconds == {"a": 0.75, "b": 2.0}
    for joined in (one.joined(Verdicts()), Verdicts().joined(one)):
        assert (list(joined.answers), joined.scores, joined.seconds) == (["x"], one.scores, one.seconds)


class Sizes(Frozen):
    sizes: Many[int] = (1,)
    scale: float = 1.0


@pytest.mark.parametrize(
    "raw",
    ['{"scale": "1"}', '{"scale": NaN}', '{"scale": Infinity}', '{"sizes": ["1"]}', '{"sizes": [1.5]}', '{"other": 1}'],
)
def test_values_that_cross_a_process_are_strict(raw: str) -> None:
    with pytest.raises(ValidationError):
        Sizes.model_validate_json(raw)


def test_many_is_an_array_outside_and_a_tuple_inside() -> None:
    for sizes in (Sizes.model_validate_json('{"sizes": [3, 4]}'), Sizes(sizes=[3, 4])):  # type: ignore[arg-type]
        assert sizes.sizes == (3, 4)
        assert Sizes.model_validate_json(sizes.model_dump_json()) == sizes
    with pytest.raises(ValidationError):
        sizes.scale = 2.0  # type: ignore[misc]


def test_configurations_promise_one_evaluation_and_no_division() -> None:
    assert ModelConfig().evaluations == 1
    Config().check(Item())
    with pytest.raises(NotImplementedError):
        _ = MethodConfig().piece
    assert issubclass(Config, BaseModel)
