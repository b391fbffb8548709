"""How much the clean guess x0-hat still moves along a trajectory (Aithal et al. 2024, arXiv 2406.09358, eq. 3).

The variance over the last part of the evaluations, mean over the latent's numbers, as columns of the rows (Welford).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.ports import UNSAID, Rows

SHARE = 0.8
"""Of the evaluations, where a job does not say: the first of them see little but noise."""


def begun(n: int, shape: tuple[int, ...], evaluations: int, share: float) -> dict[str, NDArray[Any]]:
    """Columns of n new rows, for the last `share` of their evaluations, two at least."""
    first = max(0, min(evaluations - 2, int(evaluations * (1 - share) + 1e-9)))
    return {
        "watched_from": np.full(n, first, np.int64),
        "watched": np.zeros(n, np.int64),
        "watched_mean": np.zeros((n, *shape), np.float32),
        "trajectory_variance": np.full(n, float(UNSAID)),
    }


def seen(rows: Rows, x0: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """The columns after one more evaluation of rows that have them. x0: its guesses, float [n, ...]."""
    columns = rows.columns
    inside = rows.step >= columns["watched_from"]
    count = columns["watched"] + inside
    wide = (-1, *[1] * (x0.ndim - 1))
    mean = columns["watched_mean"].astype(np.float64)
    away = (x0 - mean) * inside.reshape(wide)
    moved = mean + away / np.maximum(count, 1).reshape(wide)
    squares = np.maximum(columns["trajectory_variance"], 0) * columns["watched"]
    squares += (away * (x0 - moved)).reshape(len(rows), -1).mean(1)
    variance = np.where(count > 1, squares / np.maximum(count, 1), UNSAID)
    return {"watched": count, "watched_mean": moved.astype(np.float32), "trajectory_variance": variance}


def forgotten(n: int) -> Mapping[str, NDArray[Any]]:
    """The columns of n rows that were put back: their trajectories begin anew."""
    return {"watched": np.zeros(n, np.int64), "trajectory_variance": np.full(n, float(UNSAID))}
