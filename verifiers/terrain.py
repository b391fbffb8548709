"""Terrain judges in closed form: how steep, how high, and whether one can walk across.

An answer is a height map, uint8 [h, w]: `level` metres a grey level, cells `spacing` metres apart.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Floats, Score, Verifier
from verifiers.each import Unreadable, each

SIDES = (2, 2048)
SLACK = 1e-9  # relative: a slope of exactly the limit is walkable, whatever its rounding


class Map(Config):
    """How a height map is read."""

    level: float = Field(0.02, gt=0, le=1e3, description="Metres for each grey level, as the model draws them.")
    spacing: float = Field(0.1, ge=1e-3, le=1e6, description="Metres between neighbouring cells.")


class Slope(Map):
    """A wanted slope."""

    target: float = Field(ge=0, le=1e9, description="Wanted slope, metres of height a metre of way.")
    quantile: float | None = Field(None, ge=0, le=1, description="Of the map's slopes, this quantile; open: the mean.")
    tolerance: float = Field(0.05, ge=0, le=1e9, description="Passes when no further from the target.")


class Range(Map):
    """A wanted range of heights."""

    target: float = Field(ge=0, le=1e9, description="Wanted metres between the lowest and the highest cell.")
    tolerance: float = Field(0.1, ge=0, le=1e9, description="Passes when no further from the target.")


class Route(Map):
    """A way that can be walked."""

    max_slope: float = Field(0.5, ge=0, le=1e9, description="Steepest step between neighbouring cells, up or down.")


@plugin(version="1")
def slope(config: Slope) -> Verifier:
    """-|s - target|, where s is the mean, or a quantile, of the map's slopes."""

    def judge(answer: Answer) -> Score:
        steep = slopes(metres(answer.value, config.level), config.spacing)
        found = steep.mean() if config.quantile is None else np.quantile(steep, config.quantile)
        return _near(float(found), config.target, config.tolerance)

    return each(judge)


@plugin(version="1")
def height_range(config: Range) -> Verifier:
    """-|r - target|, where r is the highest less the lowest cell."""
    return each(
        lambda answer: _near(float(np.ptp(metres(answer.value, config.level))), config.target, config.tolerance)
    )


@plugin(version="1")
def route(config: Route) -> Verifier:
    """How far one can walk from the left edge towards the right: 0 to 1. Passes when a route exists."""

    def judge(answer: Answer) -> Score:
        share = progress(metres(answer.value, config.level), config.max_slope * config.spacing)
        return Score(share, share == 1)

    return each(judge)


def metres(value: Any, level: float) -> Floats:
    """Heights, float64 [h, w], of a grey image. Raises Unreadable for anything else, and for images out of SIDES."""
    if type(value) is not np.ndarray:
        raise Unreadable(f"expected a height map, uint8 [h, w], found {type(value).__name__}")
    image: NDArray[Any] = value
    if image.dtype != np.uint8 or image.ndim != 2:
        raise Unreadable(f"expected a height map, uint8 [h, w], found {image.dtype} {list(image.shape)}")
    if min(image.shape) < SIDES[0] or max(image.shape) > SIDES[1]:
        raise Unreadable(f"expected sides of {SIDES[0]} to {SIDES[1]} cells, found {list(image.shape)}")
    return image.astype(np.float64) * level


def slopes(heights: Floats, spacing: float) -> Floats:
    """Length of the gradient, float64 [h - 1, w - 1], by forward differences: exact on planes.

    Central differences would not see a checkerboard.
    """
    down, right = np.diff(heights, axis=0)[:, :-1], np.diff(heights, axis=1)[:-1]
    return np.hypot(down, right) / spacing


def progress(heights: Floats, limit: float) -> float:
    """Share of the width, 0 to 1, that a walk from the left edge covers in steps to one of four neighbours.

    limit: metres that a step may climb or fall. The walk is a component of a lattice of cells (even, even) and of the
    steps between them, open or closed; the points (odd, odd), which would be diagonal steps, are closed.
    """
    from scipy import ndimage

    h, w = heights.shape
    lattice = np.zeros((2 * h - 1, 2 * w - 1), bool)
    lattice[::2, ::2] = True
    lattice[1::2, ::2] = np.abs(np.diff(heights, axis=0)) <= limit * (1 + SLACK)
    lattice[::2, 1::2] = np.abs(np.diff(heights, axis=1)) <= limit * (1 + SLACK)
    parts = cast("NDArray[np.int32]", ndimage.label(lattice)[0])[::2, ::2]  # type: ignore[index]
    reached = np.isin(parts, parts[:, 0]).any(axis=0)
    return float(np.flatnonzero(reached)[-1] / (w - 1))


def _near(found: float, target: float, tolerance: float) -> Score:
    away = abs(found - target)
    return Score(0.0 - away, away <= tolerance, f"found {found:.4g}, wanted {target:.4g}")
