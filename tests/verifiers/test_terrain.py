"""Terrain judges on planes, ramps, cliffs and checkerboards, and the walk against a search cell by cell."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from search.ports import Answer, Item, Score
from verifiers.builtin import VERIFIERS
from verifiers.conformance import examine
from verifiers.terrain import progress, slopes

ROWS, COLUMNS = np.mgrid[0:20, 0:30]
FLAT = np.full((20, 30), 9, np.uint8)
RAMP = COLUMNS.astype(np.uint8)  # one level a column
PLANE = (3 * ROWS + 4 * COLUMNS).astype(np.uint8)
CLIFF = np.where(COLUMNS < 12, 0, 100).astype(np.uint8)
BOARD = ((ROWS + COLUMNS) % 2 * 10).astype(np.uint8)
GAP = np.where(ROWS == 7, 0, CLIFF)
GAP[7] = np.clip(COLUMNS[7] - 11, 0, 1) * 2  # a ledge of two levels through the cliff
SCALE = {"level": 0.1, "spacing": 0.5}
NAMES = {"terrain/slope": {"target": 0.2}, "terrain/range": {"target": 1.0}, "terrain/route": {}}


def judged(name: str, image: Any, **config: Any) -> Score:
    found = VERIFIERS.find(name)
    return found.factory(found.config(**{**SCALE, **config}))([Answer(image, Item())])[0]


@pytest.mark.parametrize(
    ("image", "exact"),
    [(FLAT, 0.0), (RAMP, 0.2), (RAMP.T, 0.2), (RAMP[:, ::-1], 0.2), (PLANE, 1.0), (BOARD, math.sqrt(2) * 2)],
)
def test_slope_of_planes_and_of_a_checkerboard(image, exact):
    for quantile in (None, 0.0, 0.5, 1.0):  # the same everywhere
        score = judged("terrain/slope", image, target=0.0, quantile=quantile)
        assert score.value == pytest.approx(-exact, abs=1e-12)
        assert score.passed is (exact <= 0.05)
    assert judged("terrain/slope", image, target=exact).passed is True
    assert judged("terrain/slope", image, target=exact + 0.5, tolerance=0.4).passed is False
    assert judged("terrain/slope", image, target=exact + 0.5).value == pytest.approx(-0.5)


def test_slope_of_a_cliff_is_that_of_one_column_in_29():
    assert judged("terrain/slope", CLIFF, target=0.0).value == pytest.approx(-20 / 29)
    assert judged("terrain/slope", CLIFF, target=0.0, quantile=0.9).value == 0
    assert judged("terrain/slope", CLIFF, target=20.0, quantile=1.0).value == pytest.approx(0)


def test_slope_grows_with_level_and_falls_with_spacing():
    plane = PLANE.astype(float)
    assert slopes(3 * plane, 2.0).mean() == pytest.approx(1.5 * slopes(plane, 1.0).mean())


@pytest.mark.parametrize(("image", "exact"), [(FLAT, 0.0), (RAMP, 2.9), (PLANE, 17.3), (CLIFF, 10.0), (BOARD, 1.0)])
def test_range(image, exact):
    score = judged("terrain/range", image, target=2.5)
    assert score.value == pytest.approx(-abs(exact - 2.5))
    assert judged("terrain/range", image, target=exact).passed is True
    assert judged("terrain/range", image, target=exact + 0.2).passed is False
    assert judged("terrain/range", image, target=exact + 0.2, tolerance=0.3).passed is True
    assert f"found {exact:.4g}" in score.reason


@pytest.mark.parametrize(
    ("image", "max_slope", "share"),
    [
        (FLAT, 0.0, 1.0),
        (RAMP, 0.2, 1.0), (RAMP, 0.19, 0.0), (RAMP.T, 0.0, 1.0),  # along the contour lines
        (PLANE, 0.8, 1.0), (PLANE, 0.79, 0.0),  # 4 levels a column
        (CLIFF, 19.9, 11 / 29), (CLIFF, 20.0, 1.0), (CLIFF.T, 0.0, 1.0), (CLIFF[:, ::-1], 1.0, 17 / 29),
        (GAP, 0.4, 1.0), (GAP, 0.3, 11 / 29),
        (BOARD, 1.9, 0.0), (BOARD, 2.0, 1.0),  # equal heights meet at corners only, where nobody walks
    ],
)  # fmt: skip
def test_route(image, max_slope, share):
    assert judged("terrain/route", image, max_slope=max_slope) == Score(pytest.approx(share), share == 1)


def test_a_route_may_turn_back():
    """Walls from above and below, two columns apart: the only way is a meander, with steps to the left in it."""
    maze = np.zeros((9, 9), np.uint8)
    maze[:8, 2] = maze[1:, 4] = maze[4, 4:7] = maze[4:, 6] = 200
    maze[0, 6] = 200
    assert judged("terrain/route", maze, max_slope=0.0).value == 1
    maze[1:4, 6] = 200
    assert judged("terrain/route", maze, max_slope=0.0).value == pytest.approx(5 / 8)


def walked(heights: Any, limit: float) -> float:
    """The same, cell by cell."""
    h, w = heights.shape
    seen = {(i, 0) for i in range(h)}
    todo = list(seen)
    while todo:
        i, j = todo.pop()
        for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= a < h and 0 <= b < w and (a, b) not in seen and abs(heights[a, b] - heights[i, j]) <= limit:
                seen.add((a, b))
                todo.append((a, b))
    return max(j for _, j in seen) / (w - 1)


@given(arrays(np.uint8, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 3)), st.integers(0, 3))
def test_the_walk_is_that_of_a_search_cell_by_cell(image, limit):
    heights = image.astype(np.float64)
    assert progress(heights, limit) == walked(heights, limit)
    assert progress(heights, limit) <= progress(heights, limit + 1)  # a better walker gets no less far


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_exam(name):
    images = [FLAT, RAMP, PLANE, CLIFF, BOARD, GAP, RAMP.T.copy()]
    found = VERIFIERS.find(name)
    examine(found.factory(found.config(**NAMES[name])), [Answer(image, Item()) for image in images])


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize(
    "value",
    [None, FLAT.tolist(), FLAT.astype(float), FLAT[None], np.zeros((28, 28, 3), np.uint8), FLAT[:1], FLAT[:, :1],
     np.zeros((2, 2049), np.uint8)],
)  # fmt: skip
def test_what_is_no_height_map_is_unscored(name, value):
    score = judged(name, value, **NAMES[name])
    assert (score.value, score.passed) == (None, None)
    assert score.reason.startswith("expected ")


def test_configs_refuse_what_they_cannot_use():
    for name, wrong in (
        ("terrain/slope", {}), ("terrain/slope", {"target": -1.0}), ("terrain/slope", {"target": 1.0, "quantile": 1.1}),
        ("terrain/range", {"target": 1.0, "level": 0.0}), ("terrain/range", {"target": 1.0, "spacing": 0.0}),
        ("terrain/route", {"max_slope": -0.1}), ("terrain/route", {"target": 1.0}),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            VERIFIERS.find(name).config(**wrong)
