"""What became of a batch's lines, as lines of its two files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import sqlalchemy as sa

from service.api.doors.images import Gallery, replied
from service.api.doors.lines import Group, Line, Request
from service.api.doors.replies import Ended, Unanswered
from service.api.errors import said
from service.api.present import item_views, job_view
from service.store import Store, jobs
from service.views import ItemView

PAGE = 500
REASONS = {
    "cancelled": ("batch_cancelled", "the batch was cancelled before this line was answered"),
    "expired": ("batch_expired", "the batch expired before this line was answered"),
    "completed": ("internal_error", "this line was not answered"),
}


@dataclass
class Written:
    """Two files as they grow. ending: what the batch will be."""

    store: Store
    gallery: Gallery
    ending: str
    output: BinaryIO
    errors: BinaryIO
    completed: int = 0
    failed: int = 0

    def group(self, group: Group, job: str | None) -> None:
        """Lines of one group, answered by `job`."""
        for request in group.refused:
            message = said(request.faults)
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_body"}
            self._failed(request.line, "invalid_body", message, 422, {"error": error, "errors": request.faults})
        if job is None:
            for request in group.requests:
                self._failed(request.line, *REASONS[self.ending])
        elif group.requests and group.requests[0].asked is None:
            self._job(group.requests[0], job)
        elif len(group.requests) == 1:
            self._answered(group.requests[0], self.store.read(_whole, job))
        else:
            for request, ended in zip(group.requests, self._each(job), strict=True):
                self._answered(request, ended)

    def _each(self, job: str) -> Iterator[Ended]:
        """A job's items one by one, each with the job."""
        after = -1
        while page := self.store.read(_page, job, after):
            for item in page.items:
                after = item.number
                yield Ended(page.job, [item], f"-{item.number}")
            if len(page.items) < PAGE:
                return

    def _job(self, request: Request, job: str) -> None:
        ended = self.store.read(_whole, job)
        body = ended.job.model_dump(mode="json") | {"items": [item.model_dump(mode="json") for item in ended.items]}
        if ended.job.state == "completed":
            self._completed(request.line, ended.name, body)
        else:
            self._failed(request.line, ended.job.state, ended.job.error or f"the job was {ended.job.state}", 200, body)

    def _answered(self, request: Request, ended: Ended) -> None:
        assert request.asked is not None
        try:
            whole = replied(request.asked, ended, self.gallery)
        except Unanswered as error:
            code, message = REASONS[self.ending] if error.code == "cancelled" else (error.code, str(error))
            self._failed(request.line, code, message, error.status, {"error": {"message": message, "code": code}})
            return
        self._completed(request.line, ended.name, whole.model_dump(mode="json"))

    def _completed(self, line: Line, name: str, body: Any) -> None:
        self.completed += 1
        response = {"status_code": 200, "request_id": name, "body": body}
        self._write(self.output, {**_head(line), "response": response, "error": None})

    def _failed(self, line: Line, code: str, message: str, status: int | None = None, body: Any = None) -> None:
        self.failed += 1
        response = None if status is None else {"status_code": status, "request_id": line.custom_id, "body": body}
        self._write(self.errors, {**_head(line), "response": response, "error": {"code": code, "message": message}})

    def _write(self, file: BinaryIO, value: dict[str, Any]) -> None:
        file.write(json.dumps(value).encode() + b"\n")


def _head(line: Line) -> dict[str, str]:
    return {"id": f"batch_req_{line.number}", "custom_id": line.custom_id}


def _page(connection: sa.Connection, job: str, after: int) -> Ended:
    row = jobs.find(connection, job)
    items: list[ItemView] = item_views(connection, row, after, PAGE)
    return Ended(job_view(row, spec=False), items)


def _whole(connection: sa.Connection, job: str) -> Ended:
    row = jobs.find(connection, job)
    return Ended(job_view(row, spec=False), item_views(connection, row, -1, 10_000))
