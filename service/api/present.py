"""Rows of the store as views."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.catalog import rule_of
from service.extending import grows
from service.spec import JobSpec, Search
from service.store import clock, jobs, results
from service.store.access import Missing
from service.views import (
    CandidateView,
    Counts,
    ItemView,
    JobView,
    Populations,
    PopulationView,
    SampleView,
    SplitView,
    Usage,
)

TOKENS = ("tokens", "prompt_tokens", "unreported")
FEW = 0.05
"""Share of the answers that the ESS should reach."""


def job_view(row: sa.Row[Any], spec: bool = True) -> JobView:
    """A job; a row of a list has no spec."""
    names = ("evaluations", "previews", "verifier_calls", "verifier_seconds", *TOKENS)
    used: dict[str, float] = {name: getattr(row, name) for name in names}
    used["seconds"] = clock.worked(row, time.time())
    limits: dict[str, float | None] = json.loads(row.budget)
    asked: dict[str, Any] | None = json.loads(row.spec) if spec else None
    unspent = {name: limit - used[name] for name, limit in limits.items() if limit is not None}
    return JobView(
        id=row.name,
        state=row.state,
        stop_reason=row.stop_reason,
        error=row.error,
        model=row.model,
        rescores=row.rescores,
        created_at=row.created,
        started_at=row.started,
        finished_at=row.finished,
        extended=row.extended,
        extended_at=row.extended_at,
        extends=grows(row.model, Search.model_validate(asked["search"])) if asked else None,
        counts=Counts(
            items=row.items,
            done=row.items_done,
            failed=row.items_failed,
            candidates=row.candidates,
            unscored=row.unscored,
            lost=row.lost,
            shards=row.shards,
            shards_done=row.shards_done,
        ),
        usage=Usage(**used, unspent=unspent),  # type: ignore[arg-type]
        spec=asked,
    )


def item_views(connection: sa.Connection, job: sa.Row[Any], after: int, limit: int) -> list[ItemView]:
    """Items behind number `after`, each with its best answers."""
    spec = JobSpec.model_validate_json(job.spec)
    rule = rule_of(spec)
    judged = results.judges_of(connection, job.id)
    return [
        ItemView(
            number=row.number,
            id=row.id,
            state=row.state,
            stop_reason=row.stop_reason,
            error=row.error,
            drawn=row.drawn,
            lost=row.lost,
            evaluations=row.evaluations,
            **{name: getattr(row, name) for name in TOKENS},
            sample=sample_view(*results.weighted(connection, job.id, row.number)) if spec.mode == "sample" else None,
            best=[CandidateView(**c) for c in results.best(connection, spec, judged, job.id, row.number, rule)],
        )
        for row in results.items_page(connection, job.id, after, limit)
    ]


def sample_view(answers: Sequence[sa.Row[Any]], populations: Sequence[sa.Row[Any]]) -> SampleView:
    """Weighted answers of one item."""
    total = np.array([np.nan if row.log_weight is None else row.log_weight for row in answers], float)
    weights = np.exp(total[np.isfinite(total)] - np.nanmax(total)) if np.isfinite(total).any() else np.zeros(0)
    size = float(weights.sum() ** 2 / np.square(weights).sum()) if len(weights) else 0.0
    log_z = [row.log_z for row in populations]
    known = [value for value in log_z if value is not None]
    few = (
        f"ESS {size:.1f} of {len(answers)} answers: few of them carry all the weight"
        if size < FEW * len(answers)
        else None
    )
    return SampleView(
        answers=[{"artifact": row.artifact} if row.artifact else json.loads(row.answer or "null") for row in answers],
        log_weights=[row.log_weight for row in answers],
        log_z=log_z,
        log_z_sd=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        ess=size,
        ancestors=sum(row.ancestors for row in populations),
        warning=few,
    )


def population_views(connection: sa.Connection, job: str, item: int) -> Populations:
    """An item's populations with their genealogy."""
    found = jobs.find(connection, job)
    if item >= found.items:
        raise Missing(f"no item {item} in a job of {found.items}; they are counted from 0")
    return Populations(
        data=[
            PopulationView(
                first=row.first,
                particles=row.particles,
                log_z=row.log_z,
                ess=row.ess,
                ancestors=row.ancestors,
                splits=[SplitView(step=s, ess=e, parents=p) for s, e, p in json.loads(row.splits)],
            )
            for row in results.populations_of(connection, found.id, item)
        ]
    )


def candidate_views(
    connection: sa.Connection, job: str, after: tuple[int, int], limit: int, item: int | None
) -> list[CandidateView]:
    """Candidates behind (item, sample) `after`."""
    found = jobs.find(connection, job)
    return [CandidateView(**c) for c in results.candidates_page(connection, found.id, after, limit, item)]
