"""Every request has an id: its log lines and its response carry it, and one line says how it ended."""

import logging
import re
import uuid
from dataclasses import dataclass
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, tracing

log = logging.getLogger("winnow.api")
HEADER = b"x-request-id"
VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,127}")
QUIET = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines."""
JOB = re.compile(r"job_[0-9a-f]{27}")


def header(scope: Scope, name: bytes) -> str | None:
    """The first of that name."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), None)


def request_id(scope: Scope) -> str:
    """The id that the client gave, if it is 8 to 128 letters, digits, `.`, `_`, `-` and no API key; else a new one."""
    given = header(scope, HEADER) or ""
    return given if VALID.fullmatch(given) and not logs.SECRET.search(given) else uuid.uuid4().hex


@dataclass
class Requested:
    """ASGI: the outermost layer. What it binds is seen by the handler of unexpected errors, which runs around it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] in QUIET:
            await self._answer(scope, receive, send, tracing.Span())
        else:
            with tracing.span("request", header(scope, b"traceparent"), "server") as open:
                await self._answer(scope, receive, send, open)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, open: tracing.Span) -> None:
        name, started, status = request_id(scope), perf_counter(), 500
        logs.bind(request=name)

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, name.encode())]
            await send(message)

        try:
            await self.app(scope, receive, named)
        finally:
            route = getattr(scope.get("route"), "path", "none")  # the path itself may hold anything
            job = scope.get("path_params", {}).get("job", "")
            about = {"method": scope["method"], "route": route, "status": status}
            about |= {"ms": round(1000 * (perf_counter() - started), 1), "job": job if JOB.fullmatch(job) else None}
            open.say(f"{scope['method']} {route}", **{"http.response.status_code": status, "request": name})
            log.log(logging.DEBUG if route in QUIET else logging.INFO, "answered", extra=about)
