"""Bodies are refused before they are believed: size, type and JSON that means one thing only."""

import asyncio
import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import Problem, problem
from service.catalog import Invalid

DEPTH = 64
LARGE = 64 * 1024
"""Bytes from which a body is read in a thread: a megabyte takes a tenth of a second."""
BROKEN = re.compile("[\0\ud800-\udfff]")
"""NUL and lone surrogates: no database and no file keeps them."""


class BodyLimit:
    """ASGI: a body must be identity-encoded JSON of at most `limit` bytes, counted while it streams.

    files: the same for a form that uploads a file.
    """

    def __init__(self, app: ASGIApp, limit: int, files: int) -> None:
        self.app, self.limit, self.files = app, limit, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "0")
        bodied = length != "0" or b"transfer-encoding" in headers
        kind = headers.get(b"content-type", "").split(";")[0].strip().lower()
        upload = scope["path"] == "/v1/files"
        limit, wanted = (self.files, "multipart/form-data") if upload else (self.limit, "application/json")
        refusal = None
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            refusal = problem(415, "the body must not be encoded; send it without Content-Encoding")
        elif bodied and kind != wanted:
            refusal = problem(415, f"the body must be {wanted}")
        elif not (length.isascii() and length.isdigit()):
            refusal = problem(400, "Content-Length must be a number")
        elif int(length) > limit:
            refusal = problem(413, too_large(limit))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._counted(scope, receive, send, limit)

    async def _counted(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        seen = 0

        async def counting() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise Problem(413, too_large(limit))
            return message

        await self.app(scope, counting, send)


def too_large(limit: int) -> str:
    """Why a body is refused."""
    return f"the body may have at most {limit} bytes"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise Problem(400, "an object of the body has the same key twice")
    return out


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Problem(400, "a number of the body is too large")
    return value


def _constant(text: str) -> Any:
    raise Problem(400, f"{text} is not JSON")


def _check(value: Any, depth: int = 0) -> None:
    """Depth, integers and characters of a parsed body."""
    if depth > DEPTH:
        raise Problem(400, f"the body is nested deeper than {DEPTH}")
    if isinstance(value, str):
        if BROKEN.search(value):
            raise Problem(400, "a string of the body holds NUL or a lone surrogate")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check(key, depth)
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise Problem(400, "an integer of the body has more than 64 bits")


def loads(body: bytes) -> Any:
    """JSON with one meaning: no duplicate keys, NaN, infinities, huge integers, NUL, surrogates. Raises Problem."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "the body is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Problem(400, "the body starts with a byte order mark")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_float=_number, parse_constant=_constant)
    except RecursionError:
        raise Problem(400, f"the body is nested deeper than {DEPTH}") from None
    except ValueError as error:
        message = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "bad number"
        raise Problem(400, f"the body is not JSON: {message}") from None
    _check(value)
    return value


class StrictRequest(Request):
    """A request whose JSON means one thing."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = await asyncio.to_thread(loads, body) if len(body) > LARGE else loads(body)
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its body strictly, and no parameter that it does not know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        known = sorted(field.alias for field in self.dependant.query_params)
        told = f"unknown parameter; valid: {', '.join(known)}" if known else "unknown parameter; there is none"

        async def strict(request: Request) -> Response:
            unknown = [name for name in request.query_params if name not in known]
            if unknown:
                raise Invalid([{"loc": ("query", name), "msg": told} for name in unknown])
            return await handler(StrictRequest(request.scope, request.receive))

        return strict
