"""Chat, completions and images: a request is a job, its best answers are the reply."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from service import logs, tracing
from service.api.doors.images import Gallery, Images, replied
from service.api.doors.replies import Ended, Unanswered, chunks, reply, seed_of
from service.api.doors.requests import Asked, Chat, Completion
from service.api.errors import Problem, problem
from service.api.guard import StrictRoute
from service.api.jobs import begun
from service.api.present import item_views, job_view
from service.api.state import Short
from service.queue import Broker
from service.store import Store, jobs
from service.views.doors import ChatCompletion, ImagesReply, TextCompletion

router = APIRouter(tags=["openai"], route_class=StrictRoute)
LONGEST = 600.0
"""Seconds that a reply is waited for."""
PAUSE = 1.0
ALIVE = 15.0
"""Seconds after which a silent stream shows that it lives."""
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=STREAM)
async def chat_completions(asked: Chat, request: Request, idempotency_key: Short = None) -> Any:
    """The best answers to a conversation. `search` says how they are found; without it, `n` answers are drawn."""
    return await answered(asked, request, idempotency_key)


@router.post("/v1/completions", response_model=TextCompletion, responses=STREAM)
async def completions(asked: Completion, request: Request, idempotency_key: Short = None) -> Any:
    """The best continuations of each prompt."""
    return await answered(asked, request, idempotency_key)


@router.post("/v1/images/generations")
async def images_generations(asked: Images, request: Request, idempotency_key: Short = None) -> ImagesReply:
    """The best images of a prompt, as bytes or as addresses of artifacts, which are fetched with the same key."""
    return await answered(asked, request, idempotency_key)


def install(app: FastAPI) -> None:
    """The handler of requests without answer."""

    @app.exception_handler(Unanswered)
    async def _unanswered(_: Request, error: Unanswered) -> JSONResponse:
        return problem(error.status, str(error), code=error.code)


async def answered(asked: Asked, request: Request, key: str | None) -> Any:
    """The reply, or the stream of it. A client that leaves ends its job, unless it may come back with a key."""
    store: Store = request.app.state.store
    row = await asyncio.to_thread(_begun, store, asked, key, request.app.state.watch.broker)
    logs.bind(job=row.name)
    request.app.state.feeder.wake.set()
    if asked.stream:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(asked, request, row, key), media_type="text/event-stream", headers=headers)
    deadline = time.monotonic() + LONGEST
    while not await request.app.state.endings.wait(row.id, PAUSE):
        gone = await request.is_disconnected()
        if gone or time.monotonic() > deadline:
            await asyncio.to_thread(_left, store, row, key)
            raise Problem(408 if gone else 504, f"job {row.name} did not end within {LONGEST:.0f} s")
    gallery = Gallery(store, request.app.state.artifacts, str(request.base_url).rstrip("/"))
    return await asyncio.to_thread(replied, asked, await store.aread(ended, row.name), gallery)


def _begun(store: Store, asked: Asked, key: str | None, broker: Broker) -> sa.Row[Any]:
    seed = secrets.randbits(63) if key is None else seed_of(key)
    with tracing.span("submit"):
        return store.write(begun, asked.job(seed), key, broker)


def _left(store: Store, row: sa.Row[Any], key: str | None) -> None:
    if key is None:
        store.write(jobs.cancel, row.name)


def ended(connection: sa.Connection, name: str, after: int = -1, limit: int = 10_000) -> Ended:
    """A job with the items behind number `after`."""
    row = jobs.find(connection, name)
    return Ended(job_view(row, spec=False), item_views(connection, row, after, limit))


async def _stream(asked: Asked, request: Request, row: sa.Row[Any], key: str | None) -> AsyncGenerator[str]:
    """Server-sent events: a comment now and then while the search runs, then the answer."""
    store: Store = request.app.state.store
    done, deadline = False, time.monotonic() + LONGEST
    try:
        while not await request.app.state.endings.wait(row.id, ALIVE):
            if time.monotonic() > deadline:
                yield _event({"error": {"message": f"job {row.name} did not end", "type": "server_error"}})
                return
            yield ": searching\n\n"
        done = True
        try:
            whole = reply(asked, await store.aread(ended, row.name))
        except Unanswered as error:
            kind = "server_error" if error.status >= 500 else "invalid_request_error"
            yield _event({"error": {"message": str(error), "type": kind, "param": None, "code": error.code}})
            return
        for chunk in chunks(asked, whole):
            yield _event(chunk)
        yield "data: [DONE]\n\n"
    finally:
        if not done:  # in no await of a task that is being cancelled
            asyncio.get_running_loop().run_in_executor(None, _left, store, row, key)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
