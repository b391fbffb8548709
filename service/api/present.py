"""Rows of the store as views."""

import json
import time
from typing import Any

import sqlalchemy as sa

from service.spec import JobSpec
from service.store import jobs, results
from service.views import CandidateView, Counts, ItemView, JobView, Usage


def job_view(row: sa.Row[Any], spec: bool = True) -> JobView:
    """A job; a row of a list has no spec."""
    names = ("evaluations", "verifier_calls", "verifier_seconds")
    used: dict[str, float] = {name: getattr(row, name) for name in names}
    used["seconds"] = (row.finished or time.time()) - row.started if row.started else 0.0
    limits: dict[str, float | None] = json.loads(row.budget)
    unspent = {name: limit - used[name] for name, limit in limits.items() if limit is not None}
    return JobView(
        id=row.name,
        state=row.state,
        stop_reason=row.stop_reason,
        error=row.error,
        model=row.model,
        created_at=row.created,
        started_at=row.started,
        finished_at=row.finished,
        counts=Counts(
            items=row.items,
            done=row.items_done,
            failed=row.items_failed,
            candidates=row.candidates,
            unscored=row.unscored,
            shards=row.shards,
            shards_done=row.shards_done,
        ),
        usage=Usage(**used, unspent=unspent),  # type: ignore[arg-type]
        spec=json.loads(row.spec) if spec else None,
    )


def item_views(connection: sa.Connection, job: sa.Row[Any], after: int, limit: int) -> list[ItemView]:
    """Items behind number `after`, each with its best answers."""
    spec = JobSpec.model_validate_json(job.spec)
    select: str = spec.search.config.get("select", "verifier")
    judged = results.judges_of(connection, job.id)
    return [
        ItemView(
            number=row.number,
            id=row.id,
            state=row.state,
            stop_reason=row.stop_reason,
            error=row.error,
            drawn=row.drawn,
            evaluations=row.evaluations,
            best=[CandidateView(**c) for c in results.best(connection, spec, judged, job.id, row.number, select)],
        )
        for row in results.items_page(connection, job.id, after, limit)
    ]


def candidate_views(
    connection: sa.Connection, job: str, after: tuple[int, int], limit: int, item: int | None
) -> list[CandidateView]:
    """Candidates behind (item, sample) `after`."""
    found = jobs.find(connection, job)
    return [CandidateView(**c) for c in results.candidates_page(connection, found.id, after, limit, item)]
