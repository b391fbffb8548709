"""Lines of a batch's input file: read strictly, and gathered into jobs."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic import ValidationError

from service import catalog, planner
from service.api.doors.images import Images
from service.api.doors.replies import seed_of
from service.api.doors.requests import Asked, Chat, Completion
from service.api.errors import Problem
from service.api.guard import loads
from service.catalog import Invalid, Prepared, faults
from service.drawing import drawn
from service.rated import unrated
from service.spec import JobSpec
from service.views.doors import BatchFault

MOST = 50_000
"""Lines of a file, at most."""
GATHERED = 10_000
"""Lines that are gathered at once, and items of one job, at most."""
SHOWN = 20
ENDPOINTS: dict[str, type[Asked] | None] = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completion,
    "/v1/images/generations": Images,
    "/v1/jobs": None,
}


class Bad(ValueError):
    """A line that is none."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        self.code, self.param = code, param
        super().__init__(message)


@dataclass(frozen=True)
class Line:
    """One request. number: of its line in the file, from 1."""

    number: int
    custom_id: str
    body: dict[str, Any]


def line_of(number: int, data: bytes, endpoint: str) -> Line:
    """A line of the file. Raises Bad."""
    try:
        value = loads(data)
    except Problem as problem:
        raise Bad("invalid_json_line", str(problem.detail).replace("the body", "the line")) from None
    if not isinstance(value, dict):
        raise Bad("invalid_json_line", "the line is no object")
    if unknown := sorted(value.keys() - {"custom_id", "method", "url", "body"}):
        raise Bad(
            "unknown_field", f"unknown field {unknown[0][:50]!r}; valid: custom_id, method, url, body", unknown[0]
        )
    name, body = value.get("custom_id"), value.get("body")
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise Bad("missing_required_parameter", "custom_id must be a text of 1 to 200 characters", "custom_id")
    if value.get("method") != "POST":
        raise Bad("invalid_method", "method must be POST", "method")
    if value.get("url") != endpoint:
        raise Bad("invalid_url", f"url must be that of the batch, {endpoint}", "url")
    if not isinstance(body, dict):
        raise Bad("missing_required_parameter", "body must be an object", "body")
    return Line(number, name, body)


def lines_of(file: Iterable[bytes], endpoint: str) -> Iterator[Line]:
    """Every line that is not blank. Raises Bad."""
    for number, data in enumerate(file, 1):
        if data.strip():
            yield line_of(number, data.rstrip(b"\r\n"), endpoint)


def checked(file: Iterable[bytes], endpoint: str) -> tuple[int, list[BatchFault]]:
    """How many requests a file has, and the first faults that keep it from being begun."""
    found: list[BatchFault] = []
    seen: set[str] = set()
    for number, data in enumerate(file, 1):
        if not data.strip():
            continue
        try:
            line = line_of(number, data.rstrip(b"\r\n"), endpoint)
            if line.custom_id in seen:
                raise Bad("duplicate_custom_id", f"custom_id {line.custom_id!r} stands more than once", "custom_id")
            seen.add(line.custom_id)
            if len(seen) > MOST:
                raise Bad("too_many_requests", f"a batch has at most {MOST} lines")
        except Bad as bad:
            found.append(BatchFault(code=bad.code, message=str(bad), line=number, param=bad.param))
            if len(found) == SHOWN or bad.code == "too_many_requests":
                break
    if not seen and not found:
        found.append(BatchFault(code="empty_file", message="the file has no lines", line=None))
    return len(seen), found


@dataclass(frozen=True)
class Request:
    """A line and what it asks for: `asked`, or the faults of its body."""

    line: Line
    asked: Asked | None
    faults: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Group:
    """Lines that become one job. refused: those that cannot be honoured. The same file always gives the same groups."""

    number: int
    requests: Sequence[Request]
    prepared: Prepared | None
    refused: Sequence[Request] = field(default=())


def groups(file: Iterable[bytes], endpoint: str, batch: str) -> Iterator[Group]:
    """Groups of a checked file, in order of their first lines. batch: its name, from which seeds follow."""
    lines, number = lines_of(file, endpoint), 0
    while window := list(islice(lines, GATHERED)):
        gathered: dict[str, list[Request]] = {}
        for line in window:
            gathered.setdefault(shared(line, endpoint), []).append(requested(line, endpoint))
        for requests in gathered.values():
            yield group(number, requests, batch)
            number += 1


def shared(line: Line, endpoint: str) -> str:
    """What lines of one job have in common; of lines that need a job of their own, nothing."""
    body: dict[str, Any] = line.body
    search = body.get("search")
    search = dict(search) if isinstance(search, dict) else {"": search}
    alone = endpoint == "/v1/jobs" or body.get("seed") is not None or isinstance(body.get("prompt"), list)
    if alone or "budget" in search:
        return f"{line.number}"
    search.pop("target", None)
    common = {name: value for name, value in body.items() if name not in ("messages", "prompt", "search")}
    return json.dumps([common, search], sort_keys=True)


def requested(line: Line, endpoint: str) -> Request:
    """The line's body, read."""
    kind = ENDPOINTS[endpoint]
    if kind is None:
        return Request(line, None)
    try:
        asked = kind.model_validate(line.body)
    except ValidationError as error:
        return Request(line, None, faults(error, kind))
    if asked.stream:
        return Request(line, None, [{"loc": ["stream"], "msg": "a batch does not stream"}])
    return Request(line, asked)


def group(number: int, requests: Sequence[Request], batch: str) -> Group:
    """The job of some requests, without those that it cannot honour."""
    refused = [request for request in requests if request.faults]
    good = [request for request in requests if not request.faults]
    try:
        return Group(number, good, prepared(good, batch) if good else None, refused)
    except Invalid as invalid:
        if len(good) == 1:
            return Group(number, [], None, [*refused, Request(good[0].line, good[0].asked, invalid.errors)])
    alone = [group(number, [request], batch) for request in good]
    fine = [request for one in alone for request in one.requests]
    return Group(
        number,
        fine,
        prepared(fine, batch) if fine else None,
        [*refused, *(request for one in alone for request in one.refused)],
    )


def prepared(requests: Sequence[Request], batch: str) -> Prepared:
    """The job of requests that differ only in what they ask. Raises Invalid."""
    found = _prepared(requests, batch)
    if unrated(found):
        raise Invalid([{"loc": ["search", "tpr"], "msg": "a line of a batch gives the rates by which it votes"}])
    planner.shards(found)  # refuses a job of too many pieces
    return found


def _prepared(requests: Sequence[Request], batch: str) -> Prepared:
    first = requests[0]
    if first.asked is None:
        try:
            return catalog.prepare(drawn(JobSpec.model_validate(first.line.body)))
        except ValidationError as error:
            raise Invalid(faults(error, JobSpec)) from None
    if len(requests) == 1:
        return first.asked.job(seed_of(f"{batch} {first.line.custom_id}"), priority="batch")
    items = [
        item
        for request in requests
        if request.asked
        for item in request.asked.named(lambda _, name=request.line.custom_id: name)
    ]
    return first.asked.prepared(items, seed_of(batch), {"priority": "batch"})
