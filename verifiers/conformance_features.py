"""The exam that every feature space passes.

>>> from verifiers.conformance_features import examine
>>> examine(my_space(Plain()), ["an answer", "another"])
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.ports import Answer, Item
from verifiers.conformance import demand, hostile, same_things
from verifiers.features import LARGEST, Placed, Space

TOLERANCE = 1e-3
"""Of the largest number: half precision keeps no more."""


def examine(space: Space, values: Sequence[Any]) -> None:
    """Raise Failed unless the space keeps the contract on `values`, all of which it must place; two must differ."""
    before = copy.deepcopy(list(values))
    points = placed(space, values).points
    demand(same_answers(values, before), "the space changed the answers that it was given")
    demand(len(points) > 1 and bool(np.isfinite(points).all()), "the exam needs two answers or more that have a place")
    demand(bool(np.ptp(points, axis=0).any()), "all answers lie in one place")
    order = np.arange(len(values))[::-1]
    check(placed(space, [values[i] for i in order]).points, points[order], "in another order")
    for i, value in enumerate(values):
        check(placed(space, [value]).points, points[[i]], "alone")
    check_hostile(space, values, points)


def check_hostile(space: Space, values: Sequence[Any], points: NDArray[np.float32]) -> None:
    """Hostile answers have a place or a reason, and leave the others alone."""
    for name, value in hostile().items():
        found = placed(space, [value])
        demand(found.points.shape[1] == points.shape[1], f"on {name}: {found.points.shape[1]} dimensions")
    mixed = placed(space, [*hostile().values(), *values]).points
    check(mixed[-len(values) :], points, "beside hostile answers")


def placed(space: Space, values: Sequence[Any]) -> Placed:
    """What the space says, well-formed: nan exactly where there is a reason, and finite in half precision elsewhere."""
    found = space(list(values))
    points, faults = found
    demand(points.dtype == np.float32 and points.ndim == 2, f"points are float32 [n, d], not {points.dtype}")
    demand(len(points) == len(values), f"{len(values)} answers got {len(points)} points")
    for i, point in enumerate(points):
        good = np.isnan(point).all() if i in faults else (np.abs(point) <= LARGEST).all()
        demand(bool(good), f"answer {i} lies at {point!s:.100}, {'without a place' if i in faults else 'with one'}")
    demand(all(why.strip() for why in faults.values()), "a fault is a reason in words")
    return found


def check(found: NDArray[np.float32], right: NDArray[np.float32], where: str) -> None:
    """Equal as far as half precision can tell."""
    near = np.abs(found - right).max() <= TOLERANCE * max(1.0, float(np.abs(right).max()))
    demand(bool(near), f"an answer lies elsewhere {where}")


def same_answers(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Equal answers; arrays by their bytes."""
    return same_things([Answer(x, Item()) for x in a], [Answer(x, Item()) for x in b])
