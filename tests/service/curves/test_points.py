"""Points of a curve against sums over all subsets, and what they say where something is missing."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from service.beyond import beyond
from service.curve_points import budgets, pool_points, prefix_points, rows_of
from service.pools import Pools, populations
from service.views import Point

LEVEL = 0.95


def pools(seed: int = 0, items: int = 6, n: int = 6, holes: bool = False) -> Pools:
    rng = np.random.default_rng(seed)
    true = rng.random((items, n)) < np.linspace(0.1, 0.8, items)[:, None]
    values = true + rng.normal(0, 0.7, (items, n))
    if holes:
        values[rng.random((items, n)) < 0.2] = np.nan
        true &= np.isfinite(values)
    accepted = np.nan_to_num(values, nan=-9.0) > 0.5
    forms = rng.integers(1, 4, (items, n)).astype(np.uint64)
    return Pools(
        drawn=np.full(items, n),
        unscored=np.isnan(values).sum(1),
        true=true,
        values=values,
        selects=True,
        forms=forms,
        accepted=accepted.sum(1),
        both=(accepted & true).sum(1),
    )


def points(of: Pools) -> list[Point]:
    grid = budgets(int(of.drawn.max(initial=0)))
    return pool_points(of, rows_of(of, grid), grid, 10.0, LEVEL)


def mean_over_subsets(of: Pools, k: int, what: object) -> float:
    n = of.true.shape[1]
    return float(np.mean([[what(i, list(s)) for s in combinations(range(n), k)] for i in range(len(of.true))]))  # type: ignore[operator]


@pytest.mark.parametrize("holes", [False, True])
def test_every_mean_is_that_of_all_subsets(holes: bool) -> None:
    of = pools(3, holes=holes)

    def solved(i: int, s: list[int]) -> float:
        return float(of.true[i, s].any())

    def selected(i: int, s: list[int]) -> float:
        known = [j for j in s if np.isfinite(of.values[i, j])]
        return float(of.true[i, max(known, key=lambda j: of.values[i, j])]) if known else 0.0

    for point in points(of):
        k = point.k
        assert point.items == 6
        assert point.evaluations == 10.0 * k
        assert point.coverage.mean == pytest.approx(mean_over_subsets(of, k, solved))
        assert point.selected is not None
        assert point.selected.mean == pytest.approx(mean_over_subsets(of, k, selected))
        assert point.coverage.low <= point.coverage.mean <= point.coverage.high


def test_values_and_draws() -> None:
    of = pools(1)
    for point in points(of):
        k = point.k
        assert point.value is not None
        assert point.value.mean == pytest.approx(mean_over_subsets(of, k, lambda i, s: of.values[i, s].max()))

        def draws(i: int, s: list[int], k: int = k) -> float:  # in the orders of a subset
            right = int(of.true[i, s].sum())
            return (k + 1) / (right + 1) if right else float(k)

        assert point.draws == pytest.approx(mean_over_subsets(of, k, draws))


def test_outcomes_add_up_and_end_at_the_precision() -> None:
    of = pools(2)
    assert of.accepted is not None
    assert of.both is not None
    found = points(of)
    for point in found:
        assert point.right is not None
        assert point.wrong is not None
        assert point.abstain is not None
        assert point.right + point.wrong + point.abstain == pytest.approx(1)
    some = of.accepted > 0
    share = np.where(some, of.both / np.maximum(of.accepted, 1), 0).mean()
    assert found[-1].right == pytest.approx(share)
    assert found[-1].abstain == pytest.approx(1 - some.mean())


def test_unscored_answers_count_as_failures_or_are_left_out() -> None:
    of = pools(5, holes=True)
    first = points(of)[0]
    scored = of.drawn - of.unscored
    assert first.coverage.mean == pytest.approx((of.passes / of.drawn).mean())
    assert first.ignored is not None
    assert first.ignored.mean == pytest.approx((of.passes / scored).mean())
    assert all(point.ignored is None for point in points(pools(5)))


def test_items_of_different_sizes() -> None:
    """A budget's means are over the items that have so many answers; the band is of one set of items."""
    of = pools(4)
    of = Pools(np.array([6, 6, 3, 6, 2, 6]), of.unscored, of.true & (np.arange(6) < 2), of.values, selects=True)
    found = points(of)
    assert [(point.k, point.items) for point in found] == [(1, 6), (2, 6), (4, 4), (6, 4)]
    assert [point.band is None for point in found] == [False, False, True, True]
    assert [point.exact is None for point in found] == [False, True, False, True]  # at k = n nothing says
    assert all(point.right is None for point in found)
    assert all(point.majority is None for point in found)


def test_the_exact_set_is_known_better_than_another_like_it() -> None:
    of = pools(0, items=40, n=64)
    for point in points(of)[:4]:
        assert point.exact is not None
        assert point.band is not None
        assert point.exact.mean == pytest.approx(point.coverage.mean)
        assert point.exact.high - point.exact.low < point.coverage.high - point.coverage.low
        assert point.band.high - point.band.low > point.coverage.high - point.coverage.low


def test_models_beyond_the_pool() -> None:
    rng = np.random.default_rng(0)
    true = rng.random((200, 64)) < rng.beta(0.5, 2, 200)[:, None]
    of = Pools(np.full(200, 64), np.zeros(200, np.int64), true, true.astype(float), selects=True)
    found = beyond(of, points(of))
    assert [model.k for model in found] == [64, 96, 128, 192, 320, 448, 640]
    assert {model.floor for model in found} == {points(of)[-1].coverage.mean}
    for one, more in pairwise(found):
        for name in ("beta_binomial", "zero_inflated", "power_law"):
            assert one.floor - 0.05 < getattr(one, name) <= getattr(more, name) <= 1
    assert found[0].beta_binomial == pytest.approx(found[0].floor, abs=0.02)
    one_item = Pools(of.drawn[:1], of.unscored[:1], true[:1], of.values[:1], selects=True)
    assert beyond(one_item, points(one_item)) == []


def test_no_verdicts() -> None:
    none = np.zeros(0, np.int64)
    assert points(Pools(none, none, np.zeros((0, 0), bool), np.zeros((0, 0)), selects=True)) == []


def test_stopped_pools_say_what_came_back() -> None:
    accepted = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]], bool)
    true = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], bool)
    found = prefix_points(accepted, true, np.array([2, 1, 3, 3]), 5.0, LEVEL, graded=True)
    assert [(p.k, p.draws, p.right, p.wrong, p.abstain) for p in found] == [
        (1, 1.0, 0.0, 0.25, 0.75),
        (2, 1.75, 0.25, 0.25, 0.5),
        (3, 2.25, 0.5, 0.25, 0.25),
    ]
    assert [p.evaluations for p in found] == [5.0, 8.75, 11.25]
    assert all(p.right is None for p in prefix_points(accepted, true, np.array([2, 1, 3, 3]), 5.0, LEVEL))


def test_populations_are_whole() -> None:
    """Two populations of three and a rest of one: right where any is, returned what has the highest value."""
    true = np.array([[0, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1, 0]], bool)
    values = np.array([[9, 1, 2, 3, 3, np.nan, 5], [4, 1, 1, np.nan, np.nan, np.nan, np.nan]])
    of = populations(Pools(np.array([7, 6]), np.array([1, 3]), true, values, selects=True), 3)
    assert of.drawn.tolist() == [3, 2]
    assert of.true.tolist() == [[True, False, True], [True, True, False]]
    assert of.picked is not None
    assert of.picked.tolist() == [[False, False, True], [True, False, False]]
    assert of.values[0].tolist() == [9, 3, 5]
    assert of.values[1, 0] == 4
    assert of.unscored.tolist() == [0, 1]
    grid = budgets(3)
    found = pool_points(of, rows_of(of, grid), grid, 10.0, LEVEL, 3)
    assert [(p.k, p.evaluations, p.items) for p in found] == [(3, 30.0, 2), (6, 60.0, 2), (9, 90.0, 1)]
    assert found[0].coverage.mean == pytest.approx((2 / 3 + 1) / 2)
    assert found[0].selected is not None
    assert found[0].selected.mean == pytest.approx((1 / 3 + 1 / 2) / 2)
