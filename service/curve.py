"""A job's curve, from its stored verdicts: statistics live in `service.curves`, this reads the pools for them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from search.metering import Budget
from service.advice import Audit, Evidence, advise
from service.catalog import rule_of
from service.curve_points import Pools, Rows, beyond, budgets, pool_points, prefix_points, rows_of
from service.spec import JobSpec
from service.store import audits, jobs, results
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
    """What the store knows of a job's verdicts. counts: running counts of `chosen`, by item."""

    job: Row
    rule: str
    verifiers: Sequence[Row]
    chosen: Row
    counts: Sequence[Row]

    @property
    def items(self) -> list[int]:
        """Numbers of the items that have verdicts."""
        return [row.item for row in self.counts]

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
    each, grid, stopped = costs(read.job), budgets(samples), read.rule == "first_pass"
    pools = _pools(read, found, drawn)
    rows = rows_of(pools, grid)
    if stopped:
        accepted = np.logical_and.reduce([found[v.id].passed[read.items] == 1 for v in read.verifiers])
        points = prefix_points(accepted, pools.true, drawn, each["evaluations"], level, read.graded)
    else:
        points = pool_points(pools, rows, grid, each["evaluations"], level)
    unscored = int(pools.unscored.sum()) / max(1, int(drawn.sum()))
    asked = _evidence(connection, read, pools, rows, grid, each, unscored, level, stakes or Stakes())
    return CurveView(
        job=read.job.name,
        judge=read.chosen.label,
        verifier=read.verifiers[0].label,
        level=level,
        estimator="prefix" if stopped else "pool",
        samples=samples,
        unscored=unscored,
        each=each,
        points=points,
        beyond=[] if stopped else beyond(pools, points),
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
    rule = rule_of(JobSpec.model_validate_json(job.spec))
    return Read(job, rule, verifiers, chosen, results.counts(connection, chosen.id))


def costs(job: Row) -> dict[str, float]:
    """Mean cost of a sample in each currency; seconds are wall-clock, of the whole job by its samples."""
    each = {"samples": 1.0}
    for currency in Budget.model_fields:
        spent = getattr(job, currency, None)
        if currency == "seconds":
            spent = job.finished - job.started if job.finished and job.started else None
        if spent is not None:
            each[currency] = float(spent) / max(1, job.candidates)
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
        selects=read.rule in ("verifier", "diverse") and len(read.verifiers) == 1,
        forms=None if first.forms is None else first.forms[items],
        accepted=(passed == 1).sum(1) if decides else None,
        both=((passed == 1) & true).sum(1) if decides else None,
    )


def _evidence(
    connection: sa.Connection,
    read: Read,
    pools: Pools,
    rows: Rows,
    grid: list[int],
    each: dict[str, float],
    unscored: float,
    level: float,
    stakes: Stakes,
) -> Evidence:
    """What advice is drawn from."""
    numbers = set(read.items)
    ids = [row.id for row in results.items_page(connection, read.job.id, -1, read.job.items) if row.number in numbers]
    verifier = read.verifiers[0]
    tp, fp, fn, tn = audits.counts(connection, verifier.id)
    return Evidence(
        ids=ids,
        drawn=pools.drawn,
        right=pools.passes,
        judge=read.chosen.label,
        verifier=verifier.label,
        grid=np.array(grid, np.int64),
        accepted=pools.accepted,
        both=pools.both,
        selected=rows.selected,
        majority=rows.majority,
        each=each,
        audit=Audit(tp, fp, tn, fn) if tp + fp + fn + tn else None,
        unscored=unscored,
        stopped=read.rule == "first_pass",
        level=level,
        **stakes._asdict(),
    )
