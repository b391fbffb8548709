"""Diverse selection against its definition, written out; and what must not change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.diversity import diverse, spread
from search.methods.best_of_n import MOST_DIVERSE, BestOfN
from search.ranking import beaten


def by_definition(values, points, k, weight):
    """Maximal marginal relevance, one comparison after the other."""
    n = len(values)
    beats = [sum((y < x) + 0.5 * (y == x) for y in values) - 0.5 for x in values]
    worth = [b / max(1, n - 1) for b in beats]
    square = [[float(((a - b) ** 2).sum()) for b in points] for a in points]
    mean = np.mean(square) or 1.0
    alike = [[float(np.exp(-d / mean)) for d in row] for row in square]
    chosen = []
    while len(chosen) < min(k, n):
        rest = [i for i in range(n) if i not in chosen]
        if not chosen:
            chosen.append(max(rest, key=lambda i: (worth[i], -i)))
            continue
        gain = {i: (1 - weight) * worth[i] - weight * max(alike[i][j] for j in chosen) for i in rest}
        chosen.append(max(rest, key=lambda i: (round(gain[i], 9), -i)))
    return chosen


@st.composite
def pools(draw):
    """Values and points with many ties: (values [n], points [n, d])."""
    n, d = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    few = st.integers(-2, 2).map(float)
    values = draw(st.lists(few, min_size=n, max_size=n))
    rows = draw(st.lists(st.lists(few, min_size=d, max_size=d), min_size=n, max_size=n))
    return np.array(values), np.array(rows)


@settings(deadline=None, max_examples=300)
@given(pools(), st.integers(0, 9), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
def test_it_is_maximal_marginal_relevance(pool, k, weight):
    found = diverse(*pool, k, weight).tolist()
    assert found == by_definition(*pool, k, weight)
    assert len(set(found)) == min(k, len(pool[0]))


@settings(deadline=None)
@given(pools(), st.integers(0, 9), st.floats(0, 1))
def test_the_first_is_the_best_and_weight_0_is_the_order_of_values(pool, k, weight):
    values, points = pool
    order = np.argsort(-values, kind="stable")
    assert diverse(values, points, 1, weight).tolist() == order[:1].tolist()
    assert diverse(values, points, k, 0.0).tolist() == order[:k].tolist()


def test_the_order_of_answers_does_not_matter():
    random = np.random.default_rng(0)
    for _ in range(50):
        values, points = random.normal(size=40), random.normal(size=(40, 5))
        order = random.permutation(40)
        found = diverse(values[order], points[order], 10, 0.5)
        assert order[found].tolist() == diverse(values, points, 10, 0.5).tolist()


def test_the_scales_of_values_and_points_do_not_matter():
    random = np.random.default_rng(1)
    values, points = random.normal(size=40), random.normal(size=(40, 5))
    right = diverse(values, points, 10, 0.5).tolist()
    assert diverse(np.exp(5 * values), 1e-3 * points + 7, 10, 0.5).tolist() == right


def test_a_copy_of_the_best_comes_after_what_is_new():
    values = np.array([1.0, 0.9, 0.8, 0.7])
    points = np.array([[0.0], [0.0], [3.0], [0.0]])
    assert diverse(values, points, 3, 0.0).tolist() == [0, 1, 2]
    assert diverse(values, points, 3, 0.5).tolist() == [0, 2, 1]


def test_an_answer_without_a_place_is_like_every_other():
    values, points = np.array([3.0, 2.0, 1.0, 0.0]), np.array([[np.nan], [np.nan], [1.0], [0.0]])
    assert diverse(values, points, 4, 1.0)[0] == 0
    nowhere = np.full((4, 2), np.nan)
    for weight in (0.0, 0.5, 0.9):
        assert diverse(values, nowhere, 4, weight).tolist() == [0, 1, 2, 3]


def test_no_answers():
    assert diverse(np.zeros(0), np.zeros((0, 3)), 4, 0.5).tolist() == []


def test_relevance_and_spread():
    assert beaten(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [0.5, 0.0, 0.5, 1.0]
    points = np.random.default_rng(2).normal(size=(30, 3))
    squares = ((points[:, None] - points[None]) ** 2).sum(2)
    assert spread(points) == pytest.approx(squares.mean())


@pytest.mark.parametrize(
    ("values", "points", "weight", "says"),
    [
        ([1.0], [[1.0]], 1.1, "weight 1.1 must lie between 0 and 1"),
        ([1.0], [[1.0]], float("nan"), "must lie between 0 and 1"),
        ([float("nan")], [[1.0]], 0.5, "must be finite"),
        ([1.0, 2.0], [[1.0]], 0.5, r"shape \[2, d\], not \[1, 1\]"),
        ([1.0], [1.0], 0.5, r"shape \[1, d\], not \[1\]"),
    ],
)
def test_nonsense_is_refused(values, points, weight, says):
    with pytest.raises(ValueError, match=says):
        diverse(np.array(values), np.array(points), 1, weight)


def test_its_settings_go_together():
    assert BestOfN(n=8, select="diverse", features="pixels").variety == ("pixels", 0.5)
    assert BestOfN(n=8).variety is None
    assert BestOfN.model_validate_json(BestOfN().model_dump_json()) == BestOfN()
    assert BestOfN(n=8, select="diverse", features="pixels").piece is None
    for fields, says in (
        ({"select": "diverse"}, "needs `features`"),
        ({"features": "pixels"}, "go with select 'diverse', not 'verifier'"),
        ({"select": "majority", "diversity": 0.2}, "not 'majority'"),
        ({"select": "diverse", "features": "pixels", "diversity": 1.5}, "less than or equal to 1"),
        ({"select": "diverse", "features": "pixels", "n": MOST_DIVERSE + 1}, "at most 4096"),
    ):
        with pytest.raises(ValueError, match=says):
            BestOfN.model_validate(fields)
