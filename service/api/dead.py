"""Routes of dead letters (scope `admin`): shards that failed for good, and their second chance."""

import json
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request

from service.api.guard import StrictRoute
from service.api.present import job_view
from service.api.state import store
from service.store import dead
from service.views import DeadLetters, DeadLetterView, JobView

router = APIRouter(prefix="/v1/dead", tags=["fleet"], route_class=StrictRoute)


@router.get("")
def listed(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> DeadLetters:
    """Dead letters, those of the newest job first."""
    data = [view(row) for row in store(request).read(dead.page, limit, after)]
    return DeadLetters(data=data, next=data[-1].id if len(data) == limit else None)


@router.post("/{letter}/requeue")
def requeue(letter: Annotated[str, Path(max_length=200)], request: Request) -> JobView:
    """Let a failed shard run again, after what killed it was mended. Its job goes on, also when it had ended."""
    row = store(request).write(dead.requeue, letter)
    request.app.state.feeder.wake.set()
    return job_view(row)


def view(row: sa.Row[Any]) -> DeadLetterView:
    """A dead letter."""
    return DeadLetterView(
        id=f"{row.name}.{row.number}",
        job=row.name,
        owner=row.owner,
        model=row.model,
        lane=row.lane,
        items=sorted({span["item"] for span in json.loads(row.spans)}),
        deaths=row.deaths,
        error=row.error,
        at=row.changed,
    )
