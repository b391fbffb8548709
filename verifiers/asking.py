"""Requests to servers that the operator named: tried again while that can help, small replies, no redirects."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

import httpx

from search.endpoints import Server

LARGEST = 2**20  # bytes of a reply
TRIES = 6
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unanswered(Exception):
    """No reply that could be used; says why, without anything secret."""


@dataclass(frozen=True)
class Reply:
    """A reply with status 200."""

    body: bytes
    headers: Mapping[str, str]


_ROOMS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


def room(server: Server) -> asyncio.Semaphore:
    """Places of a server, shared by everybody on this event loop."""
    mine = _ROOMS.setdefault(asyncio.get_running_loop(), {})
    return mine.setdefault(f"{server.name} {server.url}", asyncio.Semaphore(server.concurrency))


@cache
def certificates() -> ssl.SSLContext:
    """Whom to believe; made once, since that takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)


@asynccontextmanager
async def client(server: Server) -> AsyncGenerator[httpx.AsyncClient]:
    """For one call of a verifier. Nothing of the environment reaches it: no proxy, no certificates, no .netrc."""
    limits = httpx.Limits(max_connections=server.concurrency)
    async with httpx.AsyncClient(
        timeout=server.timeout, follow_redirects=False, trust_env=False, limits=limits, verify=certificates()
    ) as opened:
        yield opened


async def post(
    opened: httpx.AsyncClient, server: Server, url: str, body: bytes, headers: Callable[[], Mapping[str, str]]
) -> Reply:
    """The reply to one request; tried again after outages, at most TRIES times and within the server's deadline.

    headers: made anew for each try, since a signature holds the time. Raises Unanswered.
    """
    ends = time.monotonic() + server.deadline
    why = "no time was left"
    for attempt in range(TRIES):
        wait = 0.25 * 2**attempt * (0.5 + spread(body, attempt))
        async with room(server):
            if (left := ends - time.monotonic()) <= 0:
                break
            try:
                async with asyncio.timeout(min(left, server.timeout)):
                    status, reply = await _once(opened, url, body, headers())
            except (httpx.TransportError, TimeoutError) as error:
                status, why = 0, f"{type(error).__name__}"
            else:
                if status == 200:
                    return reply
                why = f"status {status}"
                wait = max(wait, _pause(reply.headers.get("retry-after", "")))
        if status and status not in AGAIN:
            break
        if time.monotonic() + wait >= ends:
            break
        await asyncio.sleep(wait)
    raise Unanswered(f"{server.name!r} gave no answer: {why}")


async def _once(opened: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Reply]:
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    async with opened.stream("POST", url, content=body, headers=sent) as response:
        read = bytearray()
        async for part in response.aiter_bytes():
            read += part
            if len(read) > LARGEST:
                raise Unanswered(f"the reply has more than {LARGEST} bytes")
        return response.status_code, Reply(bytes(read), dict(response.headers))


def spread(body: bytes, attempt: int) -> float:
    """From 0 to 1: what keeps many requests from coming again at once."""
    digest = hashlib.blake2b(body, digest_size=8, salt=attempt.to_bytes(4, "big")).digest()
    return int.from_bytes(digest, "big") / 2**64


def _pause(after: str) -> float:
    """Seconds of a Retry-After; 0 for a date or nonsense, at most a minute."""
    return min(60.0, float(after)) if after.isascii() and after.isdigit() else 0.0
