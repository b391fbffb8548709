"""/v1/files and /v1/batches, as OpenAI has them."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import Field

from search.ports import Frozen
from service.api.doors.lines import ENDPOINTS
from service.api.errors import Problem
from service.api.guard import StrictRoute
from service.api.state import store
from service.artifacts import BLOCK, Artifacts
from service.store import batches, files
from service.views.doors import Batches, BatchFault, BatchFaults, BatchView, Deleted, Files, FileView, RequestCounts

router = APIRouter(tags=["openai"], route_class=StrictRoute)
Limit = Annotated[int, Query(ge=1, le=1000)]
UNITS = {"s": 1, "m": 60, "h": 3600}
STATES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


@router.post("/v1/files")
async def upload(
    request: Request, file: Annotated[UploadFile, File()], purpose: Annotated[Literal["batch"], Form()]
) -> FileView:
    """Store a file of lines, each a request of a batch. multipart/form-data; it is streamed to the disk."""
    artifacts: Artifacts = request.app.state.artifacts
    sha256, size = await asyncio.to_thread(artifacts.put_file, file.file, "jsonl")
    if not size:
        raise Problem(422, "the file is empty; a batch file has one JSON object a line")
    name = re.sub(r"[^\w. -]", "_", file.filename or "batch.jsonl")[:200]
    return file_view(await store(request).awrite(files.create, name, purpose, size, sha256))


@router.get("/v1/files")
def listed(request: Request, limit: Limit = 100, after: str | None = None, purpose: str | None = None) -> Files:
    """Files, newest first."""
    rows = store(request).read(files.page, limit + 1, after, purpose)
    data = [file_view(row) for row in rows[:limit]]
    return Files(data=data, **ends([view.id for view in data], len(rows) > limit))


@router.get("/v1/files/{file}")
def one(file: str, request: Request) -> FileView:
    """One file."""
    return file_view(store(request).read(files.find, file))


@router.get(
    "/v1/files/{file}/content", response_class=Response, responses={200: {"content": {"application/jsonl": {}}}}
)
def content(file: str, request: Request) -> Response:
    """Its bytes."""
    row = store(request).read(files.find, file)
    headers = {"Content-Length": str(row.bytes), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_blocks(request.app.state.artifacts, row.sha256), 200, headers, "application/jsonl")


def _blocks(artifacts: Artifacts, sha256: str) -> Iterator[bytes]:
    with artifacts.opened(sha256, "jsonl") as file:
        while block := file.read(BLOCK):
            yield block


@router.delete("/v1/files/{file}")
def delete(file: str, request: Request) -> Deleted:
    """Forget a file that no running batch reads."""
    if sha256 := store(request).write(files.delete, file):
        request.app.state.artifacts.remove(sha256, "jsonl")
    return Deleted(id=file)


class BatchBody(Frozen):
    """Body of POST /v1/batches."""

    input_file_id: str = Field(max_length=100)
    endpoint: str = Field(max_length=100)
    completion_window: str = Field("24h", pattern=r"^[1-9]\d{0,3}[smh]$", description="24h; or another time: 90s, 10m.")
    metadata: dict[str, str] | None = Field(None, max_length=16)


@router.post("/v1/batches")
def create(body: BatchBody, request: Request) -> BatchView:
    """Begin a batch: every line of its file becomes a request, answered in its own time."""
    if body.endpoint not in ENDPOINTS:
        raise Problem(422, f"endpoint: unknown {body.endpoint!r}; valid: {', '.join(ENDPOINTS)}")

    def work(connection: sa.Connection) -> BatchView:
        file = files.find(connection, body.input_file_id)
        if file.purpose != "batch":
            raise Problem(422, f"input_file_id: {file.name} was written by a batch; upload a file of purpose 'batch'")
        seconds = int(body.completion_window[:-1]) * UNITS[body.completion_window[-1]]
        window = (body.completion_window, float(seconds))
        return batch_view(connection, batches.create(connection, body.endpoint, window, file.name, body.metadata))

    return store(request).write(work)


@router.get("/v1/batches")
def batch_list(request: Request, limit: Limit = 20, after: str | None = None) -> Batches:
    """Batches, newest first."""

    def work(connection: sa.Connection) -> Batches:
        rows = batches.page(connection, limit + 1, after)
        data = [batch_view(connection, row) for row in rows[:limit]]
        return Batches(data=data, **ends([view.id for view in data], len(rows) > limit))

    return store(request).read(work)


@router.get("/v1/batches/{batch}")
def batch_one(batch: str, request: Request) -> BatchView:
    """One batch."""
    return store(request).read(lambda connection: batch_view(connection, batches.find(connection, batch)))


@router.post("/v1/batches/{batch}/cancel")
def batch_cancel(batch: str, request: Request) -> BatchView:
    """Stop a batch; the lines that are answered stay answered, and are written."""
    return store(request).write(lambda connection: batch_view(connection, batches.cancel(connection, batch)))


def ends(names: list[str], more: bool) -> dict[str, Any]:
    """What OpenAI's pages say beside their data."""
    return {"first_id": names[0] if names else None, "last_id": names[-1] if names else None, "has_more": more}


def file_view(row: sa.Row[Any]) -> FileView:
    """A file."""
    return FileView(
        id=row.name, bytes=row.bytes, created_at=int(row.created), filename=row.filename, purpose=row.purpose
    )


def batch_view(connection: sa.Connection, row: sa.Row[Any]) -> BatchView:
    """A batch."""
    times: dict[str, float] = json.loads(row.times)
    faults = None if row.faults is None else [BatchFault(**fault) for fault in json.loads(row.faults)]
    return BatchView(
        id=row.name,
        endpoint=row.endpoint,
        errors=None if faults is None else BatchFaults(data=faults),
        input_file_id=row.input,
        completion_window=row.window,
        status=row.state,
        output_file_id=row.output,
        error_file_id=row.error,
        created_at=int(row.created),
        expires_at=int(row.expires),
        **{f"{state}_at": int(times[state]) if state in times else None for state in STATES},  # type: ignore[arg-type]
        request_counts=RequestCounts(total=row.total, completed=row.completed, failed=row.failed),
        metadata=None if row.labels is None else json.loads(row.labels),
        jobs=[job.name for job in batches.jobs_of(connection, row.id)],
    )
