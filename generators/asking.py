"""Asking one endpoint: places in flight, retries with backoff and jitter, a deadline. Its key stays in here."""

import asyncio
import contextlib
import email.utils
import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from generators.gate import Gate
from generators.replies import Malformed, Reply, reply, said
from search.endpoints import Endpoint

LARGEST = 64 * 2**20  # bytes of a reply
FIRST, SLOWEST = 0.25, 20.0  # seconds of backoff
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class Refused(Exception):
    """The server will not answer this request, however often it is asked."""


class Lost(Exception):
    """No answer within the deadline."""


class Again(Exception):
    """This time there was no answer. wait: seconds that the server wants. busy: it has too much to do (429)."""

    def __init__(self, reason: str, wait: float = 0.0, busy: bool = False) -> None:
        self.wait, self.busy = wait, busy
        super().__init__(reason)


@dataclass(eq=False)
class Line:
    """The way to one endpoint, shared by all jobs of an event loop. alone: the server gives one answer a request.

    A client for each request in flight: one client looks at all of its connections twice a request, which costs more
    than all else when there are many.
    """

    endpoint: Endpoint
    gate: Gate
    secret: str = field(repr=False, default="")
    alone: bool = False
    trusted: ssl.SSLContext = field(repr=False, default_factory=httpx.create_ssl_context)
    idle: list[httpx.AsyncClient] = field(default_factory=list[httpx.AsyncClient])
    clients: list[httpx.AsyncClient] = field(default_factory=list[httpx.AsyncClient])

    @classmethod
    def to(cls, endpoint: Endpoint) -> "Line":
        """A new one. Raises Unreadable for a key that is not there."""
        return cls(endpoint, Gate(endpoint.concurrency), endpoint.secret)

    @contextlib.contextmanager
    def _client(self) -> Generator[httpx.AsyncClient]:
        """One that nobody uses: the last one that fell idle, whose connection is the warmest."""
        client = self.idle.pop() if self.idle else self._another()
        try:
            yield client
        finally:
            self.idle.append(client)

    def _another(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.secret}"} if self.secret else {},
            timeout=httpx.Timeout(self.endpoint.timeout, connect=min(10.0, self.endpoint.timeout)),
            verify=self.trusted,
            follow_redirects=False,  # the key is for this host alone
        )
        self.clients.append(client)
        return client

    async def ask(self, chat: bool, body: dict[str, Any], jitter: Callable[[int], float], tries: int = 0) -> Reply:
        """The reply to one request. jitter: uniform in (0, 1), by try. tries: at most, apart from 429; 0 for no limit.

        Raises Refused, Lost.
        """
        loop, started, failed = asyncio.get_running_loop(), 0.0, 0
        for attempt in count():
            async with self.gate.place(again=attempt > 0):
                sent = loop.time()
                started = started or sent
                try:
                    found = await self._sent(chat, body)
                    self.gate.served()
                    return found
                except Again as again:
                    fault = again
                    if again.busy:
                        self.gate.limited(sent, again.wait)
            failed += not fault.busy
            pause = max(fault.wait, min(SLOWEST, FIRST * 2 ** min(attempt, 10)) * (0.5 + 0.5 * jitter(attempt)))
            late = loop.time() + pause - started > self.endpoint.deadline
            if late or (tries and failed >= tries):
                raise Lost(self._named(f"{fault} (tries: {attempt + 1})"))
            await asyncio.sleep(pause)
        raise AssertionError

    async def _sent(self, chat: bool, body: dict[str, Any]) -> Reply:
        """One try. Raises Refused, Again."""
        url = f"{self.endpoint.url}/{'chat/completions' if chat else 'completions'}"
        try:
            with self._client() as client:
                async with asyncio.timeout(self.endpoint.timeout), client.stream("POST", url, json=body) as response:
                    content = await received(response)
        except TimeoutError:
            raise Again(f"no reply within {self.endpoint.timeout:g} s") from None
        except httpx.RequestError as error:
            raise Again(f"{type(error).__name__} {error}".strip()) from None
        status = response.status_code
        if self.secret and status != 200:
            content = content.replace(self.secret.encode(), b"[key]")  # before it is cut to a few hundred characters
        if status == 200:
            try:
                return reply(content, chat)
            except Malformed as error:
                raise Again(str(error)) from None
        if status in AGAIN:
            wait = seconds(response.headers.get("retry-after", ""))
            raise Again(f"{status} {said(content)}", wait, status == 429)
        if 300 <= status < 400:
            raise Refused(self._named(f"{status}: it redirects, and redirects are not followed"))
        raise Refused(self._named(f"{status} {said(content)}"))

    def _named(self, reason: str) -> str:
        return f"endpoint {self.endpoint.name!r}: {reason}"


async def received(response: httpx.Response) -> bytes:
    """The body. Raises Again for one that is too large."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST:
            raise Again(f"a reply of more than {LARGEST} bytes")
        parts.append(part)
    return b"".join(parts)


def seconds(after: str) -> float:
    """A Retry-After header in seconds, 0 for none; it may be a date."""
    with contextlib.suppress(ValueError):
        return min(86_400.0, max(0.0, float(after)))
    with contextlib.suppress(ValueError, TypeError):
        return min(86_400.0, max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - time.time()))
    return 0.0


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Line]] = WeakKeyDictionary()


def line(endpoint: Endpoint) -> Line:
    """The line to an endpoint on the running event loop: connections belong to a loop."""
    mine = _lines.setdefault(asyncio.get_running_loop(), {})
    if endpoint.name not in mine or mine[endpoint.name].endpoint != endpoint:
        mine[endpoint.name] = Line.to(endpoint)
    return mine[endpoint.name]


async def hang_up() -> None:
    """Close all connections of the running event loop."""
    for one in _lines.pop(asyncio.get_running_loop(), {}).values():
        for client in one.clients:
            await client.aclose()
