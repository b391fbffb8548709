"""How the exam of a generator compares: blocks of rows, and what kind an answer is."""

import math
from copy import deepcopy
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
    return own | {f"column {name!r}": deepcopy(np.asarray(column)) for name, column in rows.columns.items()}


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two mappings of arrays agree: bit for bit at tolerance 0."""
    if set(one) != set(other):
        return False
    for name, a in one.items():
        b = other[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if not (np.array_equal(a, b) or (tolerance and _near(a, b, tolerance))):
            return False
    return True


def _near(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two arrays of one shape differ by rounding alone."""
    if a.dtype.hasobject:
        return all(close(x, y, tolerance) for x, y in zip(a.ravel(), b.ravel(), strict=True))
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance))


def counts(before: Rows, after: Rows, most: int) -> None:
    """Raise Failed unless tokens are as everybody reads them: so far, and -1 from the first step on that nobody told.

    most: tokens of one step of one row.
    """
    for name in ("tokens", "prompt_tokens"):
        if (now := after.columns.get(name)) is None:
            continue
        old = before.columns[name]
        if now.dtype != np.int64:
            raise Failed(f"column {name!r} should be int64, not {now.dtype}")
        if (now < -1).any() or ((now >= 0) & (now < old)).any() or ((old < 0) & (now != old)).any():
            raise Failed(f"column {name!r} went from {old.tolist()} to {now.tolist()}; it should never fall, but to -1")
        if name == "tokens" and (now - np.maximum(old, 0) > most).any():
            raise Failed(f"a step made {int((now - old).max())} tokens; `tokens` promises {most} at most")


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


def is_picture(value: Any) -> bool:
    """Whether any value is such an image."""
    return isinstance(value, np.ndarray) and is_image(value)


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
