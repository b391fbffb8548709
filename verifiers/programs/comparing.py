"""Whether a result is the expected one. Both are of Python's own types, and in the worker's memory."""

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

Rule = Literal["equal", "exact", "close", "unordered"]
_LISTS = (list, tuple)


def number(value: Any) -> bool:
    """An int or a float; a bool is none."""
    return type(value) in (int, float)


def same(found: Any, expected: Any, rule: Rule = "equal", tolerance: float = 1e-6) -> bool:
    """Compare by a rule.

    equal: as JSON has it: tuples are lists, 1 is 1.0, True is no number. exact: types count too. close: numbers within
    `tolerance`, relative or absolute. unordered: equal, but the outermost list, tuple or set in any order.
    """
    if rule == "unordered":
        if type(found) in (*_LISTS, set, frozenset) and type(expected) in _LISTS:
            return sorted(map(_key, found)) == sorted(map(_key, expected))
        return same(found, expected)
    if number(found) and number(expected):
        if rule == "close":
            return _close(found, expected, tolerance)
        return found == expected and (rule != "exact" or type(found) is type(expected))
    if type(found) in _LISTS and type(expected) in _LISTS and (rule != "exact" or type(found) is type(expected)):
        pairs = zip(cast("Sequence[Any]", found), expected, strict=False)
        return len(found) == len(expected) and all(same(a, b, rule, tolerance) for a, b in pairs)
    if type(found) is not type(expected):
        return False
    if type(found) is dict:
        mine, theirs = cast("dict[Any, Any]", found), cast("dict[Any, Any]", expected)
        return mine.keys() == theirs.keys() and all(same(mine[k], theirs[k], rule, tolerance) for k in theirs)
    return found == expected


def _close(found: float, expected: float, tolerance: float) -> bool:
    try:
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer beyond floats
        return found == expected


def _key(value: Any) -> str:
    """Text that is equal for equal values, as `equal` has it."""
    if number(value):
        whole = type(value) is float and value.is_integer()
        return (
            f"n{int(value) if whole else value!r}"
            if not isinstance(value, int)
            else f"n{hex(value) if value.bit_length() > 63 else value}"
        )
    if type(value) in _LISTS:
        return "[" + ",".join(map(_key, value)) + "]"
    if type(value) is dict:
        items = cast("dict[Any, Any]", value).items()
        return "{" + ",".join(sorted(f"{_key(k)}:{_key(v)}" for k, v in items)) + "}"
    return f"{type(value).__name__}{value!r}"


def tokens(found: str, expected: str, tolerance: float | None) -> bool:
    """Equal words, whatever the white space; with a tolerance, words that are numbers may differ by it."""
    mine, theirs = found.split(), expected.split()
    return len(mine) == len(theirs) and all(
        a == b or (tolerance is not None and _near(a, b, tolerance)) for a, b in zip(mine, theirs, strict=True)
    )


def _near(a: str, b: str, tolerance: float) -> bool:
    try:
        found, expected = float(a), float(b)
    except ValueError:
        return False
    return math.isfinite(expected) and math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)


def lines(found: str, expected: str) -> bool:
    """Equal lines, but for white space at their ends and empty lines at the end."""
    return _trimmed(found) == _trimmed(expected)


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
