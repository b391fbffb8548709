"""Points of a curve: every budget's estimates and intervals from one pool a job, without a database."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.curves.coverage import expected_draws, pass_at_k, pass_at_k_jackknife_se, pass_at_k_variance
from service.curves.imperfect import resample_from_pool
from service.curves.intervals import mean_interval, normal_logit, sup_t
from service.curves.paired import paired_t
from service.curves.selection import max_at_k, selected_at_k
from service.curves.voting import majority_curve, orders_for
from service.pools import Bools, Floats, Ints, Pools
from service.views import Estimate, Point, Spread


@dataclass(frozen=True, eq=False)
class Rows:
    """By budget and item [K, M], nan where an item has fewer answers. None: not defined for the job."""

    solved: Floats
    selected: Floats | None
    majority: Floats | None
    value: Floats | None
    voted: Floats | None = None


def budgets(n: int) -> list[int]:
    """1, 2, 4, ... and n."""
    return sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n}) if n else []


def estimate(values: Floats, level: float) -> Estimate:
    """Mean over items with the interval for another set of items."""
    interval = mean_interval(values, level)
    return Estimate(mean=float(values.mean()), low=interval.low, high=interval.high)


def rows_of(pools: Pools, grid: list[int]) -> Rows:
    """Every estimate of every item."""
    drawn = pools.drawn
    right = (pools.true if pools.picked is None else pools.picked).astype(float)
    solved = np.full((len(grid), len(drawn)), np.nan)
    for row, k in zip(solved, grid, strict=True):
        full = drawn >= k
        row[full] = pass_at_k(drawn[full], pools.passes[full], k)

    def best(mine: Ints, n: int, ks: list[int]) -> Floats:
        return np.asarray(selected_at_k(pools.values[mine, :n], right[mine, :n], ks))

    def vote(mine: Ints, n: int, ks: list[int], weights: Floats | None = None) -> Floats:
        assert pools.forms is not None
        orders, of_k = orders_for(len(drawn), n), np.array(ks)
        each = [None] * len(mine) if weights is None else weights[mine, :n]
        rows = zip(pools.forms[mine, :n], right[mine, :n], each, strict=True)
        return np.stack([majority_curve(forms, of, of_k, orders, weights=by) for forms, of, by in rows])

    scored = np.sort(pools.values, axis=1)  # nan last

    def most(mine: Ints, n: int, ks: list[int]) -> Floats:
        return np.asarray(max_at_k(scored[mine, :n], ks))

    return Rows(
        solved,
        _by_size(drawn, grid, best) if pools.selects else None,
        _by_size(drawn, grid, vote) if pools.forms is not None else None,
        _by_size(drawn - pools.unscored, grid, most),
        None
        if pools.forms is None or pools.votes is None
        else _by_size(drawn, grid, partial(vote, weights=pools.votes)),
    )


def _by_size(drawn: Ints, grid: list[int], of: Callable[[Ints, int, list[int]], Floats]) -> Floats:
    """[K, M] from a function of items of one size n at the budgets up to n, which gives [items, budgets]."""
    out = np.full((len(grid), len(drawn)), np.nan)
    for n in np.unique(drawn[drawn > 0]).tolist():
        mine, ks = np.flatnonzero(drawn == n), [k for k in grid if k <= n]
        if ks:
            out[: len(ks), mine] = of(mine, n, ks).T
    return out


def pool_points(pools: Pools, rows: Rows, grid: list[int], each: float, level: float, size: int = 1) -> list[Point]:
    """Estimates over all subsets of k. rows: of these pools at this grid. each: evaluations of a sample.

    size: samples in one of what the pools hold.
    """
    bands = _bands(rows.solved, level)
    points: list[Point] = []
    for place, k in enumerate(grid):
        full = np.isfinite(rows.solved[place])
        solved = rows.solved[place, full]
        ends = _outcomes(pools, full, k)
        points.append(
            Point(
                k=k * size,
                items=len(solved),
                evaluations=each * k * size,
                coverage=estimate(solved, level),
                selected=_mean(rows.selected, place, level),
                draws=size * float(np.mean(expected_draws(pools.drawn[full], pools.passes[full], k))),
                exact=exact(pools.drawn[full], pools.passes[full], k, level),
                band=bands[place],
                majority=_mean(rows.majority, place, level),
                voted=_mean(rows.voted, place, level),
                value=_spread(rows.value, place, level),
                ignored=_ignored(pools, k, level),
                right=ends[0],
                wrong=ends[1],
                abstain=ends[2],
            )
        )
    return points


def _mean(rows: Floats | None, place: int, level: float) -> Estimate | None:
    known = np.zeros(0) if rows is None else rows[place, np.isfinite(rows[place])]
    return estimate(known, level) if len(known) else None


def _spread(rows: Floats | None, place: int, level: float) -> Spread | None:
    """Mean of values on any scale, with its t interval."""
    known = np.zeros(0) if rows is None else rows[place, np.isfinite(rows[place])]
    if not len(known):
        return None
    mean, low, high = paired_t(known, np.zeros_like(known), level)
    ends = (None if np.isnan(end) else end for end in (low, high))
    return Spread(mean=mean, low=next(ends), high=next(ends), items=len(known))


def _bands(solved: Floats, level: float) -> list[Estimate | None]:
    """The sup-t band over the budgets that all items have, which is where the curve is of one set of items."""
    whole = np.isfinite(solved).all(axis=1)
    if not whole.any():
        return [None] * len(solved)
    low, high = sup_t(solved[whole], level, draws=20_000, seed=0)
    bands = map(Estimate.of, solved[whole].mean(axis=1), low, high)
    found = dict(zip(np.flatnonzero(whole).tolist(), bands, strict=True))
    return [found.get(place) for place in range(len(solved))]


def exact(drawn: Ints, passes: Ints, k: int, level: float) -> Estimate | None:
    """Coverage of exactly these items: its noise is that of the samples. None where nothing says how large that is."""
    if (drawn <= k).any():
        return None
    variance = np.empty(len(drawn))
    twice = drawn >= 2 * k
    variance[twice] = pass_at_k_variance(drawn[twice], passes[twice], k)
    variance[~twice] = np.square(pass_at_k_jackknife_se(drawn[~twice], passes[~twice], k))
    mean, error = float(np.mean(pass_at_k(drawn, passes, k))), float(np.sqrt(variance.sum()) / len(drawn))
    return Estimate.of(mean, *normal_logit(mean, error, level)) if error > 0 and 0 < mean < 1 else None


def _ignored(pools: Pools, k: int, level: float) -> Estimate | None:
    """Coverage when answers without a verdict are left out; None when all have one."""
    scored = pools.drawn - pools.unscored
    full = scored >= k
    if not pools.unscored.any() or not full.any():
        return None
    return estimate(np.asarray(pass_at_k(scored[full], np.minimum(pools.passes, scored)[full], k)), level)


def _outcomes(pools: Pools, full: Bools, k: int) -> tuple[float | None, float | None, float | None]:
    """Right, wrong and abstain when one draws until the verifier accepts, at most k times."""
    if pools.accepted is None or pools.both is None:
        return None, None, None
    found = resample_from_pool(pools.drawn[full], pools.accepted[full], pools.both[full], k)
    return float(np.mean(found.correct)), float(np.mean(found.wrong)), float(np.mean(found.abstain))


def prefix_points(
    accepted: Bools, true: Bools, drawn: Ints, each: float, level: float, graded: bool = False
) -> list[Point]:
    """First k draws of pools that stop when an answer is accepted: the pool formulas would be biased there.

    accepted, true: [items, samples], passes of the verifiers and of the judge, who is another one if `graded`. It ends
    where the first pool without an accepted answer was cut: what k more draws would have given is not known.
    """
    never = accepted.shape[1] + 1
    first = np.where(accepted.any(1), accepted.argmax(1), never) if len(accepted) else np.zeros(0, np.int64)
    right = np.array([bool(t[f]) if f < never else False for t, f in zip(true, first, strict=True)], bool)
    most = int(drawn[first == never].min(initial=drawn.max(initial=0)))
    points: list[Point] = []
    for k in budgets(most):
        solved = first < k
        draws = float(np.minimum(first + 1, k).mean())
        ends = (solved & right).mean(), (solved & ~right).mean(), (~solved).mean()
        points.append(
            Point(
                k=k,
                items=len(solved),
                evaluations=each * draws,
                coverage=estimate(solved.astype(float), level),
                selected=estimate((solved & right).astype(float), level),
                draws=draws,
                right=float(ends[0]) if graded else None,
                wrong=float(ends[1]) if graded else None,
                abstain=float(ends[2]) if graded else None,
            )
        )
    return points
