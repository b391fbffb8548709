"""Routes that judge answers which are there already: parse, call one function, return a model."""

import asyncio
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from service import catalog, tracing
from service.api.guard import StrictRoute
from service.api.jobs import awaited, begun, wait_seconds
from service.api.present import job_view
from service.api.state import Short, store
from service.catalog import Prepared
from service.queue import Broker
from service.registries import STORED
from service.rescoring import Rescoring, source_held, spec_of
from service.store import Store
from service.verifying import Verification, job_of, verified
from service.views import JobView, Verified

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=StrictRoute)


@router.post("/verify", responses={202: {"model": Verified, "description": "They are not judged yet."}})
async def verify(
    asked: Verification,
    request: Request,
    response: Response,
    idempotency_key: Short = None,
    prefer: Short = None,
) -> Verified:
    """Verdicts on answers that come with the request. `Prefer: wait=N` answers 202 after N seconds, else after 60.

    Asked again with the same Idempotency-Key, it answers with the verdicts when they are there.
    """
    seconds, broker = wait_seconds(prefer, 60.0), request.app.state.watch.broker
    row = await asyncio.to_thread(_verifying, store(request), asked, idempotency_key, broker)
    row = await awaited(request, response, row, seconds)
    found = await store(request).aread(verified, row)
    response.status_code = 202 if found.data is None else 200
    return found


def _verifying(database: Store, asked: Verification, key: str | None, broker: Broker) -> sa.Row[Any]:
    with tracing.span("submit"):
        return database.write(begun, catalog.prepare(job_of(asked), STORED), key, broker)


@router.post("/jobs/{job}/rescore", status_code=202)
async def rescore(
    job: str,
    asked: Rescoring,
    request: Request,
    response: Response,
    idempotency_key: Short = None,
    prefer: Short = None,
) -> JobView:
    """A new job with the stored answers of one that has ended, under other verifiers; nothing is drawn again."""
    seconds, broker = wait_seconds(prefer), request.app.state.watch.broker
    row = await asyncio.to_thread(rescored, store(request), job, asked, idempotency_key, broker)
    return job_view(await awaited(request, response, row, seconds))


def rescored(database: Store, job: str, asked: Rescoring, key: str | None, broker: Broker) -> sa.Row[Any]:
    """Check everything that it names, then write it."""
    with tracing.span("submit"):
        prepared = catalog.prepare(database.read(spec_of, job, asked), STORED)
        return database.write(_begun, prepared, key, broker)


def _begun(connection: sa.Connection, prepared: Prepared, key: str | None, broker: Broker) -> sa.Row[Any]:
    source_held(connection, prepared)
    return begun(connection, prepared, key, broker)
