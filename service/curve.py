"""A job's curve, from its stored verdicts: statistics live in `service.curves`, this reads the pools for them."""

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.catalog import rule_of
from service.curves.coverage import pass_at_k
from service.curves.intervals import mean_interval
from service.curves.selection import selected_at_k
from service.spec import JobSpec
from service.store import jobs, results
from service.views import CurveView, Estimate, Point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Judgeless(LookupError):
    """No judge of that label in the job."""


class TooMany(LookupError):
    """More verdicts than a curve is drawn from."""


CELLS = 20_000_000
"""Items x samples of a curve, at most: it is computed while a request waits."""


def budgets(n: int) -> list[int]:
    """1, 2, 4, ... and n."""
    return sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n}) if n else []


def estimate(values: Floats, level: float) -> Estimate:
    """Mean over items with the logit-t interval for another set of items."""
    interval = mean_interval(values, level, "logit_t")
    return Estimate(mean=float(values.mean()), low=interval.low, high=interval.high)


def curve_of(connection: sa.Connection, name: str, judge: str | None, level: float) -> CurveView:
    """The curve of a job by its public id. Raises Missing, or Judgeless listing the valid labels."""
    job = jobs.find(connection, name)
    spec = JobSpec.model_validate_json(job.spec)
    judges = results.judges_of(connection, job.id)
    verifiers = [j for j in judges if j.role == "verifier"]
    graders = [j for j in judges if j.role == "grader"]
    chosen = {j.label: j for j in judges}.get(judge) if judge else [*graders, *verifiers][0]
    if chosen is None:
        raise Judgeless(f"unknown judge {str(judge)[:100]!r}; valid: {', '.join(j.label for j in judges)}")
    counts = results.counts(connection, chosen.id)
    item = np.array([row.item for row in counts], np.int64)
    drawn = np.array([row.scored + row.unscored for row in counts], np.int64)
    samples = int(drawn.max(initial=0))
    each = job.evaluations / job.candidates if job.candidates else 0.0
    select = rule_of(spec)
    if job.items * samples > CELLS:
        raise TooMany(f"{job.items} items x {samples} samples are too many for a curve; at most {CELLS} verdicts")

    mine = results.pool(connection, chosen.id, job.items, samples)

    def pool(judge: int) -> results.Pool:
        return mine if judge == chosen.id else results.pool(connection, judge, job.items, samples)

    true = mine.passed[item]
    if select == "first_pass":
        accepted = [pool(v.id).passed[item] for v in verifiers]
        points = prefix_points(np.logical_and.reduce(accepted), true, drawn, each, level)
    else:
        passes = np.array([row.passed for row in counts], np.int64)
        best_of_k = select in ("verifier", "diverse") and len(verifiers) == 1
        proxy = pool(verifiers[0].id).values[item] if best_of_k else None
        points = pool_points(drawn, passes, proxy, true, each, level)
    unscored = sum(row.unscored for row in counts)
    return CurveView(
        job=job.name,
        judge=chosen.label,
        verifier=verifiers[0].label,
        level=level,
        estimator="prefix" if select == "first_pass" else "pool",
        samples=samples,
        unscored=unscored / max(1, int(drawn.sum())),
        points=points,
    )


def pool_points(
    drawn: Ints, passes: Ints, proxy: Floats | None, true: NDArray[np.bool_], each: float, level: float
) -> list[Point]:
    """pass@k and best-of-k over all subsets of k. drawn, passes: [items]; proxy, true: [items, samples].

    proxy: what selects; None when that is not one verifier's value.
    """
    grid = budgets(int(drawn.max(initial=0)))
    by_size: dict[int, Floats] = {}
    if proxy is not None:
        for n in np.unique(drawn[drawn > 0]):
            mine = np.flatnonzero(drawn == n)
            ks = [k for k in grid if k <= n]
            by_size[int(n)] = np.asarray(selected_at_k(proxy[mine, :n], true[mine, :n].astype(float), ks))
    points: list[Point] = []
    for place, k in enumerate(grid):
        full = drawn >= k
        solved = np.asarray(pass_at_k(drawn[full], passes[full], k), np.float64)
        picked = np.concatenate([values[:, place] for n, values in by_size.items() if n >= k]) if by_size else None
        points.append(_point(k, solved, picked, each * k, level))
    return points


def prefix_points(
    accepted: NDArray[np.bool_], true: NDArray[np.bool_], drawn: Ints, each: float, level: float
) -> list[Point]:
    """First k draws of pools that stop when an answer is accepted: the pool formulas would be biased there.

    It ends where the first pool without such an answer was cut: what k more draws would have given is not known.
    """
    never = accepted.shape[1] + 1
    first = np.where(accepted.any(1), accepted.argmax(1), never) if len(accepted) else np.zeros(0, np.int64)
    right = np.array([bool(t[f]) if f < never else False for t, f in zip(true, first, strict=True)], bool)
    most = int(drawn[first == never].min(initial=drawn.max(initial=0)))
    points: list[Point] = []
    for k in budgets(most):
        solved = first < k
        draws = float(np.minimum(first + 1, k).mean())
        points.append(_point(k, solved.astype(float), (solved & right).astype(float), each * draws, level))
    return points


def _point(k: int, solved: Floats, picked: Floats | None, evaluations: float, level: float) -> Point:
    return Point(
        k=k,
        items=len(solved),
        evaluations=evaluations,
        coverage=estimate(solved, level),
        selected=None if picked is None else estimate(picked, level),
    )
