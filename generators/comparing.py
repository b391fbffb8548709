"""How the exam of a generator compares: blocks of rows, and what kind an answer is."""

import math
from dataclasses import fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from search.ports import Rows


class Failed(AssertionError):
    """What the generator does, and what it should do."""


def arrays(rows: Rows) -> dict[str, Any]:
    """Copies of all arrays of a block, by name."""
    own = {f.name: np.array(getattr(rows, f.name)) for f in fields(rows) if f.name != "columns"}
    return own | {f"column {name!r}": np.array(column) for name, column in rows.columns.items()}


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two mappings of arrays agree: bit for bit at tolerance 0."""
    if set(one) != set(other):
        return False
    for name, a in one.items():
        b = other[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if not (np.array_equal(a, b) or (tolerance and np.allclose(a, b, rtol=tolerance, atol=tolerance))):
            return False
    return True


def is_json(value: Any) -> bool:
    """Whether a value is made of what JSON knows, and finite."""
    if type(value) is list:
        return all(map(is_json, cast(list[Any], value)))
    if type(value) is dict:
        return all(type(key) is str and is_json(inner) for key, inner in cast(dict[Any, Any], value).items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def is_image(value: Any) -> bool:
    """Whether an array is an image as a generator may answer it."""
    return value.dtype == np.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 3))


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two blocks have the same arrays, by name, shape and type."""
    return {n: (a.shape, a.dtype) for n, a in one.items()} == {n: (a.shape, a.dtype) for n, a in other.items()}


def close(one: Any, other: Any, tolerance: float) -> bool:
    """Equal answers: numbers but for rounding (a preview may take another formula), pixels but for one level."""
    if isinstance(one, np.ndarray):
        mine = cast(NDArray[Any], one)
        return mine.shape == other.shape and bool((np.abs(mine.astype(int) - other) <= 1).all())
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=max(1e-9, tolerance))
    return one == other
