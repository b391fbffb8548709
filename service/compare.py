"""Several searches on the same items: what each returned, what it cost, and how it differs from its control."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from search.metering import Budget
from service.advice_compare import Method, advise_compare
from service.catalog import plan_of, rule_of
from service.comparable import Different, comparable
from service.curve_points import estimate
from service.curves.paired import Difference, paired_proportions, paired_t
from service.spec import JobSpec
from service.store import answers, clock, jobs, results
from service.store.answers import Outcome
from service.store.schema import TERMINAL
from service.views import Compared, Comparison, OutcomeView, Spread, Versus

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
TOLERANCE = 0.05
"""Budgets are equal when their evaluations differ by at most this share."""


class Read(NamedTuple):
    """A job of the comparison as it is stored."""

    row: sa.Row[Any]
    spec: JobSpec
    judges: Sequence[sa.Row[Any]]


@dataclass(frozen=True, eq=False)
class Ran:
    """What a job did with each of M items, in the order of the first job.

    passed: bool [M]. scored: whether there is a verdict, or an accepted abstention, bool [M]. values: float64 [M], nan
    for none. cost: mean for an item in each currency.
    """

    read: Read
    outcomes: Sequence[Outcome]
    passed: Bools
    scored: Bools
    values: Floats
    cost: dict[str, float]

    @property
    def evaluations(self) -> float:
        """For an item, on average."""
        return self.cost["evaluations"]

    @property
    def name(self) -> str:
        """The job's public id."""
        return self.read.row.name


def compared(connection: sa.Connection, names: Sequence[str], judge: str | None, level: float) -> Comparison:
    """Compare jobs by their public ids. Raises Missing, Judgeless, or Different naming the first difference."""
    reads = [_read(connection, name) for name in names]
    first = reads[0]
    label = comparable({read.row.name: read.spec for read in reads}, judge)
    for read in reads[1:]:
        _same_version(first, read, label)
    ran = [_ran(connection, first, read, label) for read in reads]
    decides = any(outcome.passed is not None for run in ran for outcome in run.outcomes)
    views = [_view(run, control_of(run, ran), decides, level) for run in ran]
    advice = advise_compare([_method(run, ran, decides) for run in ran], decides, equal, level)
    return Comparison(judge=label, level=level, items=len(first.spec.items), jobs=views, advice=advice)


def _method(run: Ran, ran: Sequence[Ran], decides: bool) -> Method:
    """A job as advice sees it; two of one method are told apart by their ids."""
    method = run.read.spec.search.method
    alone = sum(other.read.spec.search.method == method for other in ran) == 1
    scores = np.where(run.scored, run.passed, np.nan) if decides else run.values
    return Method(run.name, method if alone else f"{method} ({run.name})", run.evaluations, scores)


def equal(evaluations: float, control: float) -> bool:
    """Whether two budgets are equal, to 5 % of the control's."""
    return abs(evaluations - control) <= TOLERANCE * control


def control_of(run: Ran, ran: Sequence[Ran]) -> Ran:
    """The best_of_n job at equal evaluations if there is exactly one, else the first job.

    A best_of_n job that controls another job is its own control. One that stops at the first pass is no control: what
    it spends depends on what it finds.
    """
    plain = [other for other in ran if is_plain(other.read.spec)]
    if run in plain:
        others = [other for other in ran if other not in plain]
        return run if any(_only(plain, other) is run for other in others) else ran[0]
    return _only(plain, run) or ran[0]


def is_plain(spec: JobSpec) -> bool:
    """Whether a job draws n answers for each item and does nothing else."""
    plan = plan_of(spec.search)
    return spec.search.method == "best_of_n" and plan is not None and plan.stops is None


def _only(plain: Sequence[Ran], run: Ran) -> Ran | None:
    level = [other for other in plain if equal(run.evaluations, other.evaluations)]
    return level[0] if len(level) == 1 else None


def _read(connection: sa.Connection, name: str) -> Read:
    row = jobs.find(connection, name)
    if row.state not in TERMINAL:
        raise Different(f"job {name} is {row.state}; only jobs that have ended can be compared")
    return Read(row, JobSpec.model_validate_json(row.spec), results.judges_of(connection, row.id))


def _same_version(first: Read, other: Read, label: str) -> None:
    """Raise Different where the judge's plug-in has changed between the jobs."""
    here, there = (next(j.version for j in read.judges if j.label == label) for read in (first, other))
    if here != there:
        ran = f"version {here} in job {first.row.name} and {there} in job {other.row.name}"
        raise Different(f"judge {label!r} had {ran}")


def _ran(connection: sa.Connection, first: Read, read: Read, label: str) -> Ran:
    """Outcomes by the order of the first job's items."""
    row, spec = read.row, read.spec
    verifiers = [judge.id for judge in read.judges if judge.role == "verifier"]
    judge = next(judge.id for judge in read.judges if judge.label == label)
    found = {one.id: one for one in answers.outcomes(connection, row.id, verifiers, rule_of(spec), judge)}
    outcomes = [found[item.id] for item in first.spec.items]
    currencies = [name for name in Budget.model_fields if name in jobs.jobs.c]
    spent = {name: float(getattr(row, name)) for name in currencies}
    spent["seconds"] = clock.worked(row, row.finished)
    return Ran(
        read,
        outcomes,
        np.array([one.passed is True for one in outcomes], bool),
        np.array([one.passed is not None or abstained(one) for one in outcomes], bool),
        np.array([np.nan if one.value is None else one.value for one in outcomes], np.float64),
        {name: value / len(outcomes) for name, value in spent.items()},
    )


def abstained(outcome: Outcome) -> bool:
    """The search ran, and its rule accepted no answer: a failure, where an error is no outcome at all."""
    return outcome.state == "completed" and outcome.sample is None


def _view(run: Ran, control: Ran, decides: bool, level: float) -> Compared:
    row = run.read.row
    ratio = run.evaluations / control.evaluations if control.evaluations else None
    known = run.scored if decides else np.isfinite(run.values) | [abstained(one) for one in run.outcomes]
    return Compared(
        job=row.name,
        state=row.state,
        model=row.model,
        search=run.read.spec.search.model_dump(),
        passed=estimate(run.passed.astype(float), level) if decides else None,
        value=_mean(run.values, np.zeros_like(run.values), level),
        unanswered=sum(map(abstained, run.outcomes)),
        unscored=int((~known).sum()),
        cost=run.cost,
        control=control.name,
        evaluations_ratio=ratio,
        equal_budget=equal(run.evaluations, control.evaluations),
        difference=None if run is control else versus(run, control, decides, level),
        outcomes=[_outcome(one, decides) for one in run.outcomes],
    )


def versus(run: Ran, control: Ran, decides: bool, level: float) -> Versus:
    """The paired differences. decides: whether the judge gives passes at all."""
    both = run.scored & control.scored
    return Versus(
        passed=_passes(run.passed, control.passed, level) if decides else None,
        passed_scored=_passes(run.passed[both], control.passed[both], level) if decides and both.any() else None,
        only_here=int((run.passed & ~control.passed).sum()),
        only_control=int((control.passed & ~run.passed).sum()),
        value=_mean(run.values, control.values, level),
    )


def _passes(here: Bools, there: Bools, level: float) -> Spread:
    cells = [(here & there), (here & ~there), (~here & there), (~here & ~there)]
    return _spread(paired_proportions(*(int(cell.sum()) for cell in cells), level=level), len(here))


def _mean(here: Floats, there: Floats, level: float) -> Spread | None:
    """Mean of here - there over the items that have both."""
    known = np.isfinite(here) & np.isfinite(there)
    return _spread(paired_t(here[known], there[known], level), int(known.sum())) if known.any() else None


def _spread(difference: Difference, items: int) -> Spread:
    low, high = (None if np.isnan(bound) else bound for bound in (difference.low, difference.high))
    return Spread(mean=difference.mean, low=low, high=high, items=items)


def _outcome(one: Outcome, decides: bool) -> OutcomeView:
    reason = one.error if one.sample is None else one.reason
    return OutcomeView(
        item=one.id,
        answered=one.sample is not None,
        passed=False if decides and abstained(one) else one.passed,
        value=one.value,
        reason=reason,
        evaluations=one.evaluations,
    )
