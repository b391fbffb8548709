"""A job's curve, from its stored verdicts: statistics live in `service.curves`, this reads the pools for them."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import sqlalchemy as sa

from search.metering import Budget
from search.ports import Floats
from search.voting import Ballot
from service.advice import Audit, Evidence, advise
from service.beyond import beyond
from service.catalog import Rule, rule_of
from service.curve_points import Rows, budgets, pool_points, prefix_points, rows_of
from service.curve_settled import settled_points
from service.dependence import dependence
from service.pools import Pools, populations
from service.spec import JobSpec
from service.store import audits, clock, jobs, results
from service.store.pools import Pool, pool
from service.views import CurveView

Row = sa.Row[Any]


class Judgeless(LookupError):
    """No judge of that label in the job."""


class TooMany(LookupError):
    """More verdicts than a curve is drawn from."""


CELLS = 20_000_000
"""Items x samples of a curve, at most: it is computed while a request waits."""


class Stakes(NamedTuple):
    """What advice is for: of a right answer returned, a wrong one returned, a sample, in one unit; wanted coverage."""

    value: float = 1.0
    loss: float = 1.0
    cost: float = 0.0
    target: float = 0.9


class Read(NamedTuple):
    """What the store knows of a job's verdicts. counts: running counts of `chosen`, by item.

    piece: samples of one search, which depend on each other; None where each is drawn for itself. stops: why drawing
    may have ended early.
    """

    job: Row
    rule: Rule
    stops: str | None
    piece: int | None
    verifiers: Sequence[Row]
    chosen: Row
    counts: Sequence[Row]

    @property
    def items(self) -> list[int]:
        """Numbers of the items that have verdicts."""
        return [row.item for row in self.counts]

    @property
    def estimator(self) -> Literal["pool", "prefix", "population"]:
        """How other budgets are read off this one."""
        if self.stops is not None:
            return "prefix"
        return "pool" if self.piece is None else "population"

    @property
    def graded(self) -> bool:
        """Whether somebody else than the first verifier says what is right."""
        return self.chosen.id != self.verifiers[0].id


def curve_of(
    connection: sa.Connection, name: str, judge: str | None, level: float, stakes: Stakes | None = None
) -> CurveView:
    """The curve of a job by its public id. Raises Missing, TooMany, or Judgeless listing the valid labels."""
    read = _read(connection, name, judge)
    drawn = np.array([row.scored + row.unscored for row in read.counts], np.int64)
    samples = int(drawn.max(initial=0))
    if read.job.items * samples > CELLS:
        shape = f"{read.job.items} items x {samples} samples"
        raise TooMany(f"{shape} are too many for a curve; at most {CELLS} verdicts")
    found = {j.id: pool(connection, j.id, read.job.items, samples) for j in {read.chosen, *read.verifiers}}
    each, pools = costs(read.job), _pools(read, found, drawn)
    size = min(read.piece or 1, samples) if read.estimator == "population" else 1
    if size > 1:
        pools = populations(pools, size)
    grid = budgets(int(pools.drawn.max(initial=0)))
    rows = rows_of(pools, grid)
    if read.stops == "converged":
        points = settled_points(pools, each["evaluations"], level)
    elif read.estimator == "prefix":
        accepted = np.logical_and.reduce([found[v.id].passed[read.items] == 1 for v in read.verifiers])
        points = prefix_points(accepted, pools.true, drawn, each["evaluations"], level, read.graded)
    else:
        points = pool_points(pools, rows, grid, each["evaluations"], level, size)
    unscored = sum(row.unscored for row in read.counts) / max(1, int(drawn.sum()))
    judged = found[read.chosen.id].passed
    asked = _evidence(connection, read, pools, rows, grid, size, each, unscored, level, stakes or Stakes(), judged)
    return CurveView(
        job=read.job.name,
        judge=read.chosen.label,
        verifier=read.verifiers[0].label,
        level=level,
        estimator=read.estimator,
        samples=samples,
        unscored=unscored,
        each=each,
        points=points,
        beyond=beyond(pools, points) if read.estimator == "pool" else [],
        advice=advise(asked) if points else [],
    )


def _read(connection: sa.Connection, name: str, judge: str | None) -> Read:
    job = jobs.find(connection, name)
    judges = results.judges_of(connection, job.id)
    verifiers = [j for j in judges if j.role == "verifier"]
    graders = [j for j in judges if j.role == "grader"]
    chosen = {j.label: j for j in judges}.get(judge) if judge else [*graders, *verifiers][0]
    if chosen is None:
        raise Judgeless(f"unknown judge {str(judge)[:100]!r}; valid: {', '.join(j.label for j in judges)}")
    spec = JobSpec.model_validate_json(job.spec)
    counts = results.counts(connection, chosen.id)
    return Read(job, rule_of(spec), *dependence(spec), verifiers, chosen, counts)


def costs(job: Row) -> dict[str, float]:
    """Mean cost of a sample in each currency; seconds are wall-clock, of the whole job by its samples."""
    each = {"samples": 1.0}
    for currency in Budget.model_fields:
        spent = getattr(job, currency, None)
        if currency == "seconds":
            spent = clock.worked(job, job.finished) if job.finished and job.started else None
        if spent is not None and (spent or currency != "tokens"):  # most models count no tokens
            told = job.candidates - job.lost - (job.unreported if currency == "tokens" else 0)
            each[currency] = float(spent) / max(1, told)
    return each


def _pools(read: Read, found: dict[int, Pool], drawn: np.ndarray[Any, np.dtype[np.int64]]) -> Pools:
    """The judge's verdicts beside the first verifier's, over the items that have any."""
    items = read.items
    first, judged = found[read.verifiers[0].id], found[read.chosen.id].passed[items]
    passed, true = first.passed[items], judged == 1
    decides = read.graded and bool((passed >= 0).any()) and bool((judged >= 0).any())
    return Pools(
        drawn=drawn,
        unscored=np.array([row.unscored for row in read.counts], np.int64),
        true=true,
        values=first.values[items],
        selects=read.rule.name in ("verifier", "diverse") and len(read.verifiers) == 1,
        forms=None if first.forms is None else first.forms[items],
        accepted=(passed == 1).sum(1) if decides else None,
        both=((passed == 1) & true).sum(1) if decides else None,
        votes=_votes(read.rule.ballot, found[read.verifiers[-1].id], items),
    )


def _votes(ballot: Ballot | None, by: Pool, items: Sequence[int]) -> Floats | None:
    """What each answer's vote weighs by the last verifier's verdicts; None where each is one vote, or there is none."""
    if ballot is None or ballot.kind == "count":
        return None
    if ballot.kind == "value":
        return by.values[items]
    passed = by.passed[items]
    return np.where(passed == 1, ballot.passed, np.where(passed == 0, ballot.failed, np.nan))


def _evidence(
    connection: sa.Connection,
    read: Read,
    pools: Pools,
    rows: Rows,
    grid: list[int],
    size: int,
    each: dict[str, float],
    unscored: float,
    level: float,
    stakes: Stakes,
    judged: np.ndarray[Any, np.dtype[np.int8]],
) -> Evidence:
    """What advice is drawn from. judged: 1 for a pass of the judge, 0 for a fail, less where it gave neither."""
    numbers = set(read.items)
    ids = [row.id for row in results.items_page(connection, read.job.id, -1, read.job.items) if row.number in numbers]
    verifier = read.verifiers[0]
    tp, fp, fn, tn = audits.counts(connection, verifier.id)
    passes = bool((judged >= 0).any()) or not any(row.scored for row in read.counts)
    return Evidence(
        ids=ids,
        drawn=pools.drawn,
        right=pools.passes if passes else None,
        judge=read.chosen.label,
        verifier=verifier.label,
        grid=size * np.array(grid, np.int64),
        solved=rows.solved,
        accepted=pools.accepted,
        both=pools.both,
        selected=rows.selected,
        majority=None if read.stops else rows.majority,
        each=each,
        audit=Audit(tp, fp, tn, fn) if tp + fp + fn + tn else None,
        unscored=unscored,
        independent=read.estimator == "pool",
        level=level,
        **stakes._asdict(),
    )
