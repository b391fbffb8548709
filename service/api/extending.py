"""The route by which a job that has ended goes on."""

import asyncio
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from service import catalog, tracing
from service.api.guard import StrictRoute
from service.api.jobs import awaited, wait_seconds
from service.api.present import job_view
from service.api.state import Short, store
from service.catalog import Prepared, plan_of
from service.extending import Extension, enlarged
from service.queue import Broker
from service.spec import JobSpec
from service.store import Store, extending, jobs
from service.store.extending import Asked
from service.views import JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)
NOTHING = Extension.model_validate({})


@router.post("/{job}/extend", status_code=202, response_model=JobView)
async def extend(
    job: str,
    request: Request,
    response: Response,
    asked: Extension = NOTHING,
    idempotency_key: Short = None,
    prefer: Short = None,
) -> JobView:
    """Let a job that has ended go on with more samples or a larger budget: only what is missing is drawn.

    Afterwards it is what a new job would be that had asked for all of it. `Prefer: wait=N` as in POST /v1/jobs.
    """
    seconds = wait_seconds(prefer)
    row = await asyncio.to_thread(accepted, store(request), job, asked, idempotency_key, request.app.state.watch.broker)
    return job_view(await awaited(request, response, row, seconds))


def accepted(database: Store, name: str, asked: Extension, key: str | None, broker: Broker) -> sa.Row[Any]:
    """Check what is asked for against the job as it is, then let it go on; the same request again changes nothing."""
    with tracing.span("submit"):
        job = database.read(jobs.find, name)
        spec = JobSpec.model_validate_json(job.spec)
        request = Asked(job, spec, key, asked.digest)
        if database.read(extending.repeated, request):
            return job
        extending.extendable(job)
        return database.write(begun, request, catalog.prepare(enlarged(spec, asked)), broker)


def begun(connection: sa.Connection, asked: Asked, grown: Prepared, broker: Broker) -> sa.Row[Any]:
    """The job; its trace is remembered before a feeder can see it."""
    old = plan_of(asked.spec.search)
    assert old is not None  # or it could not be enlarged
    row = extending.extend(connection, asked, old, grown)
    broker.remember(row.id)
    return row
