"""Who may do what: API keys as bearer tokens, scopes, and requests a minute.

While no key was ever made everybody is let in, and the service listens on loopback only (see `opening.guarded`).
"""

import asyncio
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import problem
from service.queue import Broker
from service.store import Store, access
from service.store.access import Key, acting

FREE = ("/healthz", "/readyz", "/docs", "/openapi.json", "/", "/v1/session")
FREE_FOLDERS = ("/static/", "/vendor/")
ADMIN = ("/metrics", "/v1/workers", "/v1/queue", "/v1/dead", "/v1/keys")
COOKIE = "winnow_key"
FRESH = 5.0
"""Seconds for which what the database said of a key is believed: a revoked key is refused so much later, at most."""
MOST = 10_000


@dataclass
class Access:
    """ASGI: lets a request through with its owner, or answers 401, 403 or 429."""

    app: ASGIApp
    store: Store
    broker: Broker
    known: dict[str, tuple[float, Key | None]] = field(default_factory=dict[str, tuple[float, Key | None]])
    closed: bool = False  # there are keys
    asked: float = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or path in FREE or path.startswith(FREE_FOLDERS) or not await self._guarded():
            await self.app(scope, receive, send)
            return
        key = await self._key(presented(scope))
        refusal = await self._refusal(key, scope["method"], path)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        assert key is not None
        with acting(None if "admin" in key.scopes else key.owner, key.name):
            await self.app(scope, receive, send)

    async def _guarded(self) -> bool:
        if not self.closed and time.monotonic() - self.asked >= 1.0:
            self.asked = time.monotonic()
            self.closed = await self.store.aread(access.exist)
        return self.closed

    async def _key(self, given: str | None) -> Key | None:
        if given is None:
            return None
        name = access.hashed(given)
        at, key = self.known.get(name, (-FRESH, None))
        if time.monotonic() - at >= FRESH:
            key = await self.store.aread(access.checked, given)
            if len(self.known) >= MOST:
                self.known.clear()
            self.known[name] = (time.monotonic(), key)
        return key

    async def _refusal(self, key: Key | None, method: str, path: str) -> Any:
        if key is None:
            told = {"WWW-Authenticate": "Bearer"}
            return problem(401, "send an API key that is valid: Authorization: Bearer wk_...", headers=told)
        admin = any(path == one or path.startswith(f"{one}/") for one in ADMIN)
        needed = "admin" if admin else "read" if method in ("GET", "HEAD", "OPTIONS") else "write"
        if needed not in key.scopes and "admin" not in key.scopes:
            return problem(403, f"this key has the scopes {', '.join(key.scopes)}; this needs {needed}")
        if key.rate is not None and (wait := await asyncio.to_thread(self._wait, key)):
            said = f"this key may send {key.rate} requests a minute"
            return problem(429, said, headers={"Retry-After": str(wait)}, code="rate_limit_exceeded")
        return None

    def _wait(self, key: Key) -> int:
        """Seconds until the key may ask again; 0 when it may now. A window of one minute by Redis's own clock."""
        seconds = self.broker.redis.time()[0]
        name = f"winnow:rate:{key.name}:{seconds // 60}"
        count = self.broker.redis.pipeline().incr(name).expire(name, 120).execute()[0]
        return 60 - seconds % 60 if key.rate is not None and count > key.rate else 0


def presented(scope: Scope) -> str | None:
    """The key of a request: its bearer token, or the page's cookie."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    kind, _, given = headers.get(b"authorization", "").partition(" ")
    if kind.lower() == "bearer" and given.strip():
        return given.strip()
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get(b"cookie", ""))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None
