"""Every error is problem+json (RFC 9457) that also carries OpenAI's `error` object; no stack trace, no echo."""

import logging
import math
import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

import redis
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from service import logs
from service.catalog import Invalid
from service.curve import Judgeless, TooMany
from service.faults import worded
from service.spec import JobSpec
from service.store.access import Missing
from service.store.jobs import Conflict
from service.store.quotas import Exhausted

log = logging.getLogger("winnow.api")
LONGEST = 2000
"""Characters of a message, at most: a long input is not sent back."""


class Problem(HTTPException):
    """A refusal with its status and a sentence."""


def problem(
    status: int,
    detail: str,
    errors: Sequence[dict[str, Any]] = (),
    headers: dict[str, str] | None = None,
    code: str | None = None,
    more: dict[str, Any] | None = None,
) -> JSONResponse:
    """The one shape of errors. more: members that one kind of them has beside the others."""
    title = HTTPStatus(status).phrase
    detail = _short(detail)
    kind = "invalid_request_error" if status < 500 else "server_error"
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body |= more or {}
    if errors:
        body["errors"] = [{**e, "loc": [_short(p, 100) for p in e["loc"]], "msg": _short(e["msg"])} for e in errors]
    param = ".".join(map(str, body["errors"][0]["loc"])) or None if errors else None
    body["error"] = {"message": detail, "type": kind, "param": param, "code": code}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _short(value: Any, longest: int = LONGEST) -> Any:
    return value[:longest] + "..." if isinstance(value, str) and len(value) > longest else value


def said(faults: Sequence[dict[str, Any]]) -> str:
    """The first faults as a sentence."""
    return "; ".join(f"{'.'.join(str(_short(p, 100)) for p in f['loc']) or 'body'}: {f['msg']}" for f in faults[:3])


def fields_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Valid field names of the object in which `loc` ends."""
    here: Any = model
    for part in loc[:-1]:
        if isinstance(part, str) and part in here.model_fields:
            here = _model_in(here.model_fields[part].annotation) or here
    return sorted(here.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for part in getattr(annotation, "__args__", ()) if (m := _model_in(part))), None)


def install(app: FastAPI) -> None:
    """Handlers for everything that may be raised."""

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _shape(request: Request, error: RequestValidationError) -> JSONResponse:
        faults: list[dict[str, Any]] = []
        field = getattr(request.scope.get("route"), "body_field", None)
        body = _model_in(field.field_info.annotation if field else None) or JobSpec
        for fault, message in islice(worded(error.errors()), 20):
            loc = [part for part in fault["loc"] if part != "body"]
            if fault["type"] == "extra_forbidden":
                message = f"unknown field; valid: {', '.join(fields_at(body, loc))}"
            faults.append({"loc": loc, "msg": message})
        return problem(422, said(faults), faults)

    @app.exception_handler(Invalid)
    async def _invalid(_: Request, error: Invalid) -> JSONResponse:
        return problem(422, said(error.errors), error.errors[:20])

    @app.exception_handler(Missing)
    async def _missing(_: Request, error: Missing) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(Judgeless)
    async def _judgeless(_: Request, error: Judgeless) -> JSONResponse:
        return problem(422, str(error), [{"loc": ["judge"], "msg": str(error)}])

    @app.exception_handler(TooMany)
    async def _too_many(_: Request, error: TooMany) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(Conflict)
    async def _conflict(_: Request, error: Conflict) -> JSONResponse:
        return problem(409, str(error))

    @app.exception_handler(Exhausted)
    async def _exhausted(_: Request, error: Exhausted) -> JSONResponse:
        names = ("currency", "period", "limit", "left", "wanted")
        more = {"quota": {**{name: getattr(error, name) for name in names}, "renews_at": error.renews}}
        if error.renews is None:
            return problem(403, str(error), code="insufficient_quota", more=more)
        wait = {"Retry-After": str(max(1, math.ceil(error.renews - time.time())))}
        return problem(429, str(error), headers=wait, code="insufficient_quota", more=more)

    async def _outage(_: Request, error: Exception) -> JSONResponse:
        log.warning("unavailable: %s", error)
        full = isinstance(error, OperationalError) and re.search("is full|No space left", str(error.orig))
        why = "the database's disk is full: make room" if full else "the database or the queue cannot be reached"
        return problem(503, f"{why}; try again", headers={"Retry-After": "2"})

    app.add_exception_handler(redis.RedisError, _outage)
    app.add_exception_handler(OperationalError, _outage)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> JSONResponse:
        log.exception("unexpected", exc_info=error)
        told = {"X-Request-Id": str(logs.CONTEXT.get().get("request", ""))}
        return problem(500, "an unexpected error; it is in the server's log", headers=told)
