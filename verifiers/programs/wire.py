"""Values between the worker and a sandbox, at the worker's end: it writes literals and reads typed JSON."""

import json
from collections import Counter
from typing import Any, cast

from pydantic import JsonValue

LARGEST = 2**20
"""Bytes of one reply."""
DEEPEST, COLLIDING = 110, 50


class Garbled(ValueError):
    """A reply that breaks the protocol."""


def literal(value: Any) -> str:
    """A value of Python's own types as source text that gives it back, in any interpreter."""
    kind = type(value)
    if kind is float:
        # repr of inf and nan is no source text
        return repr(value) if value - value == 0 else f"float('{value!r}')"
    if kind is complex:
        return f"complex({literal(value.real)},{literal(value.imag)})"
    if kind is int and not -(2**63) <= value < 2**63:
        return hex(value)
    if value is None or kind in (bool, int, str, bytes, bytearray, range):
        return repr(value)
    if kind is dict:
        return "{" + "".join(f"{literal(k)}:{literal(v)}," for k, v in value.items()) + "}"
    inside = "".join(literal(part) + "," for part in value)
    if kind is list:
        return f"[{inside}]"
    if kind is tuple:
        return f"({inside})"
    if kind in (set, frozenset):
        return f"{kind.__name__}(({inside}))"
    raise TypeError(f"no literal of {kind.__name__}")


def frame(*parts: Any) -> bytes:
    """A command: its kind, its id and what it needs."""
    body = literal(parts).encode()
    return len(body).to_bytes(4, "big") + body


def parsed(body: bytes) -> list[JsonValue]:
    """A reply's parts. Raises Garbled."""
    try:
        found: Any = json.loads(body.decode("utf-8", "surrogatepass"), parse_constant=_refused, parse_float=_refused)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"a reply that is not JSON: {type(error).__name__}") from error
    if type(found) is not list or not found:
        raise Garbled("a reply that is no list")
    return cast("list[JsonValue]", found)


def _refused(text: str) -> Any:
    raise ValueError(f"no plain number: {text[:20]}")


def value(coded: JsonValue, depth: int = 0) -> Any:
    """A value from typed JSON, of Python's own types. Raises Garbled."""
    if depth > DEEPEST:
        raise Garbled("a value that is too deep")
    if type(coded) is list:
        return [value(part, depth + 1) for part in coded]
    if type(coded) is not dict:
        return coded
    if len(coded) != 1:
        raise Garbled("a value of no known type")
    ((kind, inside),) = coded.items()
    try:
        return _tagged(kind, inside, depth + 1)
    except Garbled:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Garbled(f"a value that is no {kind[:10]!r}") from error


def _tagged(kind: str, inside: Any, depth: int) -> Any:
    match kind:
        case "i" if type(inside) is str:
            return int(inside, 16)
        case "f" if type(inside) is str:
            return float.fromhex(inside)
        case "b" if type(inside) is str:
            return bytes.fromhex(inside)
        case "B" if type(inside) is str:
            return bytearray.fromhex(inside)
        case "c":
            real, imaginary = inside
            return complex(float.fromhex(real), float.fromhex(imaginary))
        case "r":
            return range(*inside)
        case "t":
            return tuple(value(inside, depth))
        case "s":
            return set(hashable(value(inside, depth)))
        case "z":
            return frozenset(hashable(value(inside, depth)))
        case "d":
            pairs: list[tuple[Any, Any]] = value(inside, depth)
            hashable([key for key, _ in pairs])
            return dict(pairs)
        case _:
            raise Garbled("a value of no known type")


def hashable(keys: list[Any]) -> list[Any]:
    """The same keys. Raises Garbled where many share a hash: a table of them would take the square of their number."""
    if len(keys) > COLLIDING and max(Counter(map(hash, keys)).values()) > COLLIDING:
        raise Garbled("a set or a dict whose keys share one hash")
    return keys
