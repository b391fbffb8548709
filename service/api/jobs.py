"""Routes of jobs: parse, call one function, return a model."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse

from service import catalog, deleting, logs, presets, tracing
from service.api.errors import Problem
from service.api.following import Following
from service.api.guard import StrictRoute
from service.api.present import candidate_views, item_views, job_view, population_views
from service.api.state import Short, store
from service.catalog import Prepared
from service.curve import Stakes, curve_of
from service.drawing import drawn
from service.queue import Broker
from service.rated import rated
from service.spec import JobSpec
from service.store import Store, creating, jobs, results
from service.store.schema import TERMINAL
from service.views import Candidates, CurveView, Items, Jobs, JobView, Populations

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)
Limit = Annotated[int, Query(ge=1, le=1000)]
Stake = Annotated[float, Query(ge=0, allow_inf_nan=False)]
Place = Annotated[int, Query(ge=-1, lt=2**31)]


@router.post("", status_code=202, response_model=JobView)
async def create(
    spec: JobSpec,
    request: Request,
    response: Response,
    idempotency_key: Short = None,
    prefer: Short = None,
) -> JobView:
    """Accept a job. `Prefer: wait=N` answers when it has ended, or after N seconds (at most 60)."""
    seconds = wait_seconds(prefer)
    row = await asyncio.to_thread(accepted, store(request), spec, idempotency_key, request.app.state.watch.broker)
    return job_view(await awaited(request, response, row, seconds))


async def awaited(request: Request, response: Response, row: sa.Row[Any], seconds: float) -> sa.Row[Any]:
    """A job that was written: where it is, and how it stands when it has ended, or after so many seconds."""
    logs.bind(job=row.name)
    request.app.state.feeder.wake.set()
    response.headers["Location"] = f"/v1/jobs/{row.name}"
    if seconds and await request.app.state.endings.wait(row.id, seconds):
        return await store(request).aread(jobs.find, row.name)
    return row


def accepted(database: Store, spec: JobSpec, key: str | None, broker: Broker) -> sa.Row[Any]:
    """Draw its items and read its preset if it asks for that, check everything that it names, then write the job."""
    with tracing.span("submit"):
        asked = drawn(spec) if spec.model.preset is None else database.read(presets.resolved, drawn(spec))
        return database.write(begun, catalog.prepare(asked), key, broker)


def begun(connection: sa.Connection, prepared: Prepared, key: str | None, broker: Broker) -> sa.Row[Any]:
    """The job; its trace is remembered before a feeder can see it."""
    row = creating.create(connection, prepared, key, final=rated)
    broker.remember(row.id)
    return row


def wait_seconds(prefer: str | None, without: float = 0.0) -> float:
    """N of `Prefer: wait=N`, at most 60. Raises Problem for anything else than a number."""
    for part in (prefer or "").split(","):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "wait":
            value = value.strip()
            if not (value.isascii() and value.isdigit()):
                raise Problem(400, f"Prefer: wait={value[:20]!r} is not a number of seconds")
            return min(60.0, float(value))
    return without


@router.get("")
def listing(request: Request, limit: Limit = 20, after: str | None = None) -> Jobs:
    """Jobs, newest first."""
    rows = store(request).read(jobs.page, limit, after)
    return Jobs(data=[job_view(row, spec=False) for row in rows], next=rows[-1].name if len(rows) == limit else None)


@router.get("/{job}")
def read(job: str, request: Request) -> JobView:
    """One job."""
    return job_view(store(request).read(jobs.find, job))


@router.post("/{job}/cancel")
def cancel(job: str, request: Request) -> JobView:
    """Stop a job; what is done is kept. Cancelling a finished job changes nothing."""
    return job_view(store(request).write(jobs.cancel, job))


@router.delete("/{job}")
def delete(job: str, request: Request) -> JobView:
    """Delete a job that has ended, with its answers; it is shown for the last time."""
    return job_view(deleting.delete(store(request), request.app.state.artifacts, job))


@router.get("/{job}/items")
def items(job: str, request: Request, limit: Limit = 100, after: Place = -1) -> Items:
    """Items in order, each with its best answers."""

    def work(connection: sa.Connection) -> Items:
        row = jobs.find(connection, job)
        data = item_views(connection, row, after, limit)
        return Items(data=data, next=str(data[-1].number) if len(data) == limit else None)

    return store(request).read(work)


@router.get("/{job}/candidates", response_model=Candidates, responses={200: {"content": {"application/jsonl": {}}}})
def candidates(
    job: str,
    request: Request,
    limit: Limit = 100,
    after: Annotated[str, Query(pattern=r"^-?\d{1,9}:-?\d{1,9}$")] = "-1:-1",
    item: Place | None = None,
    format: Literal["json", "jsonl"] = "json",
) -> Candidates | Response:
    """Every answer with its scores, by item and sample; `format=jsonl` streams them all, one a line."""
    number, sample = map(int, after.split(":"))
    if format == "jsonl":
        store(request).read(jobs.find, job)
        lines = jsonl(store(request), job, (number, sample), item)
        return StreamingResponse(lines, media_type="application/jsonl")
    data = store(request).read(candidate_views, job, (number, sample), limit, item)
    last = data[-1] if len(data) == limit else None
    return Candidates(data=data, next=f"{last.item}:{last.sample}" if last else None)


def jsonl(database: Store, job: str, after: tuple[int, int], item: int | None) -> Iterator[str]:
    """All candidates behind `after`, a page at a time."""
    while page := database.read(candidate_views, job, after, 1000, item):
        yield "".join(candidate.model_dump_json() + "\n" for candidate in page)
        after = (page[-1].item, page[-1].sample)


@router.get("/{job}/items/{item}/populations")
def populations(job: str, item: Annotated[int, Path(ge=0, lt=2**31)], request: Request) -> Populations:
    """The populations of a method that keeps weights: log Z, ESS, and who descends from whom."""
    return store(request).read(population_views, job, item)


@router.get("/{job}/curve")
def curve(
    job: str,
    request: Request,
    judge: Annotated[str | None, Query(description="Whose passes count; the first grader when left out.")] = None,
    level: Annotated[float, Query(gt=0.5, lt=1)] = 0.95,
    value: Annotated[Stake, Query(description="What a right answer is worth, for the advice.")] = 1.0,
    loss: Annotated[Stake, Query(description="What a wrong answer costs.")] = 1.0,
    cost: Annotated[Stake, Query(description="What a sample costs, in the same unit.")] = 0.0,
    target: Annotated[float, Query(gt=0, lt=1, description="Coverage whose cost the advice gives.")] = 0.9,
) -> CurveView:
    """Coverage and selected accuracy against the number of samples, with intervals, and advice in words."""
    return store(request).read(curve_of, job, judge, level, Stakes(value, loss, cost, target))


@router.get("/{job}/events", response_class=EventSourceResponse, responses={204: {"description": "It is over."}})
async def events(
    job: str, request: Request, last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None
) -> Response:
    """Server-sent events from the job's creation, or behind Last-Event-ID, to its end; 204 when nothing can follow."""
    row = await store(request).aread(jobs.find, job)
    after = int(last_event_id or 0)
    if row.state in TERMINAL and not await store(request).aread(results.events_after, row.id, after, 1):
        return Response(status_code=204)  # what stops an EventSource from asking again
    return EventSourceResponse(_told(request.app.state.following, row.id, after), ping=15)


async def _told(following: Following, job: int, after: int) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(following.events(job, after)) as looks:
        async for ended, rows in looks:
            if ended and not rows:
                return  # Last-Event-ID lies behind the job's last event
            for row in rows:
                yield {"id": str(row.id), "event": row.type, "data": json.dumps({"at": row.at, **json.loads(row.data)})}
                if ended and row is rows[-1] and row.type in TERMINAL:  # an end that was taken back is none
                    return
