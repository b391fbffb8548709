"""A search's state as bytes: values made of arrays, numbers, text and our own frozen types; no pickle.

The bytes are numpy's npz: one member for each array, and `tree`, a JSON text in which an array stands as its number.
"""

import io
import json
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np

from search.metering import Spent
from search.population import Population, Split
from search.ports import Failed, Rows, Score, Values
from search.verdicts import Verdicts

KINDS = (Population, Rows, Verdicts, Score, Values, Split, Spent, Failed)
TYPES: dict[str, type] = {kind.__name__: kind for kind in KINDS}


class Unreadable(ValueError):
    """Bytes that `unpack` cannot turn into a state."""


def pack(value: Any) -> bytes:
    """The state as bytes. Raises TypeError for anything that is neither plain nor one of TYPES."""
    arrays: list[Any] = []
    tree = json.dumps(_plain(value, arrays))
    file = io.BytesIO()
    named = {f"a{i}": array for i, array in enumerate(arrays)}
    np.savez(file, allow_pickle=False, tree=np.frombuffer(tree.encode(), np.uint8), **named)
    return file.getvalue()


def unpack(data: bytes) -> Any:
    """The state that `pack` wrote. Raises Unreadable."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            tree = json.loads(stored["tree"].tobytes())
            return _whole(tree, [stored[f"a{i}"] for i in range(len(stored.files) - 1)])
    except Exception as error:
        raise Unreadable(f"not a checkpoint: {type(error).__name__}: {error}") from error


def _plain(value: Any, arrays: list[Any]) -> Any:
    """JSON for a value; a list of alike arrays, as of images, is one array."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        array = cast(Any, value)
        if array.dtype.hasobject:
            return {"objects": list(array.shape), "of": [_plain(inner, arrays) for inner in array.ravel()]}
        arrays.append(array)
        return {"array": len(arrays) - 1}
    name = type(value).__name__
    if TYPES.get(name) is type(value):
        names = [f.name for f in fields(value)] if is_dataclass(value) else list(value._fields)
        return {"type": name, "of": [_plain(getattr(value, field), arrays) for field in names]}
    if isinstance(value, dict):
        pairs = cast(dict[Any, Any], value).items()
        return {"map": [[_plain(key, arrays), _plain(inner, arrays)] for key, inner in pairs]}
    if isinstance(value, list | tuple):
        listed = cast(list[Any], value)
        shapes = {(x.shape, x.dtype) if isinstance(x, np.ndarray) else None for x in listed}
        if len(shapes) == 1 and None not in shapes:
            arrays.append(np.stack(listed))
            return {"stack": len(arrays) - 1}
        return {"list" if isinstance(value, list) else "tuple": [_plain(inner, arrays) for inner in listed]}
    raise TypeError(f"a state holds a {name}, which cannot be kept; use numpy arrays in `memory`")


def _whole(tree: Any, arrays: list[Any]) -> Any:
    """The value of `_plain`'s JSON."""
    if not isinstance(tree, dict):
        return tree
    node = cast(dict[str, Any], tree)
    if "array" in node:
        return arrays[node["array"]]
    if "objects" in node:
        array = np.empty(node["objects"], object)
        for place, inner in zip(np.ndindex(array.shape), node["of"], strict=True):
            array[place] = _whole(inner, arrays)
        return array
    if "stack" in node:
        return list(arrays[node["stack"]])
    if "type" in node:
        return TYPES[node["type"]](*(_whole(inner, arrays) for inner in node["of"]))
    if "map" in node:
        return {_whole(key, arrays): _whole(inner, arrays) for key, inner in node["map"]}
    kind = list if "list" in node else tuple
    return kind(_whole(inner, arrays) for inner in node["list" if kind is list else "tuple"])
