"""Answers into the feature space that a job names, in the worker, before they are stored."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from search.diversity import Variety
from service import catalog
from service.store.features import packed
from verifiers.features import LARGEST


def placed(variety: Variety | None, answers: Sequence[Any]) -> bytes | None:
    """Points of a search's answers, packed; None when the job names no space, or when there are no answers.

    Raises ValueError when the space has a place for none of them, and when it cannot be used at all.
    """
    if variety is None or not answers:
        return None
    try:
        points, faults = catalog.space(variety.space)(answers)
    except Exception as error:
        raise ValueError(f"feature space {variety.space!r} cannot be used: {catalog.reason(error)}") from error
    if len(faults) == len(answers):
        raise ValueError(f"feature space {variety.space!r} has no place for these answers: {faults[min(faults)]}")
    known = np.delete(points, list(faults), axis=0)
    if points.ndim != 2 or len(points) != len(answers) or not (np.abs(known) <= LARGEST).all():
        right = f"finite numbers of half precision, [{len(answers)}, d]"
        raise ValueError(f"feature space {variety.space!r} gave {list(points.shape)} points; expected {right}")
    return packed(points)
