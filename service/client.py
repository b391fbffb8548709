"""A typed client of the API, sync and async. The command line uses it too. What it sends stands in `service.calls`."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import httpx

from service import calls
from service.calls import Body, Call, Refused, T
from service.views import (
    Audits,
    CandidateView,
    Card,
    Cards,
    Comparison,
    CurveView,
    ItemView,
    JobView,
    NextAudits,
    Verified,
)


def bearer(key: str | None) -> dict[str, str]:
    """How an API key is sent."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


class Client:
    """Calls that wait: `Client("http://127.0.0.1:8000").submit({...})`."""

    def __init__(
        self, url: str, transport: httpx.BaseTransport | None = None, timeout: float = 90, key: str | None = None
    ) -> None:
        self.http = httpx.Client(
            base_url=url, timeout=timeout, transport=transport, trust_env=False, headers=bearer(key)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, call: Call[T]) -> T:
        """Any call. Raises Refused, or httpx.HTTPError when the server cannot be reached."""
        response = self.http.request(call.method, call.path, params=call.params, json=call.json, headers=call.headers)
        return call.read(response)

    def submit(self, spec: Body, idempotency_key: str | None = None, wait: float = 0) -> JobView:
        """Submit a job; with `wait`, answer when it has ended or after so many seconds."""
        return self.send(calls.submit(spec, idempotency_key, wait))

    def job(self, name: str) -> JobView:
        """One job."""
        return self.send(calls.job(name))

    def cancel(self, name: str) -> JobView:
        """Stop a job."""
        return self.send(calls.cancel(name))

    def extend(
        self,
        name: str,
        search: Mapping[str, int] | None = None,
        budget: Mapping[str, float | None] | None = None,
        idempotency_key: str | None = None,
        wait: float = 0,
    ) -> JobView:
        """Let a job that has ended go on: `search={"n": 64}`, or a limit of its budget raised, or what it lacks."""
        return self.send(calls.extend(name, search, budget, idempotency_key, wait))

    def delete(self, name: str) -> JobView:
        """Delete a job that has ended; it is shown for the last time."""
        return self.send(calls.delete(name))

    def rescore(
        self, name: str, asked: Mapping[str, Any], idempotency_key: str | None = None, wait: float = 0
    ) -> JobView:
        """A new job with its answers under other verifiers. asked: verifiers, and perhaps graders, search, ..."""
        return self.send(calls.rescore(name, asked, idempotency_key, wait))

    def verify(self, asked: Mapping[str, Any], idempotency_key: str | None = None, wait: float = 60) -> Verified:
        """Verdicts on given answers. asked: answers, verifiers, and perhaps item and pictures."""
        return self.send(calls.verify(asked, idempotency_key, wait))

    def curve(self, name: str, judge: str | None = None, level: float = 0.95, **stakes: float) -> CurveView:
        """Its curve. stakes: value, loss, cost and target, for the advice."""
        return self.send(calls.curve(name, judge, level, **stakes))

    def compare(self, names: Sequence[str], judge: str | None = None, level: float = 0.95) -> Comparison:
        """Jobs on the same items, side by side."""
        return self.send(calls.compare(names, judge, level))

    def next_audits(self, name: str, judge: str | None = None, **plan: Any) -> NextAudits:
        """Answers to label next. plan: limit, by, seed and show."""
        return self.send(calls.next_audits(name, judge, **plan))

    def label(self, name: str, labels: Sequence[Mapping[str, Any]], judge: str | None = None) -> Audits:
        """Say of answers whether they are right: item, sample and right of each."""
        return self.send(calls.label(name, labels, judge))

    def audits(self, name: str, judge: str | None = None) -> Audits:
        """Its first labels, at most 1000, and the counts of all."""
        return self.send(calls.audits(name, judge))

    def cards(self) -> Cards:
        """Verifiers that judged anything."""
        return self.send(calls.cards())

    def card(self, name: str, **asked: Any) -> Card:
        """What is known of a verifier. asked: version, config, level, against and interval."""
        return self.send(calls.card(name, **asked))

    def watch(self, name: str, every: float = 0.2) -> Iterator[JobView]:
        """The job, again and again, until it has ended."""
        while not (view := self.job(name)).finished:
            yield view
            time.sleep(every)
        yield view

    def items(self, name: str) -> Iterator[ItemView]:
        """All its items."""
        return self.every(lambda after: calls.items(name, after or "-1"))

    def candidates(self, name: str) -> Iterator[CandidateView]:
        """All its answers."""
        return self.every(lambda after: calls.candidates(name, after or "-1:-1"))

    def every(self, page: Callable[[str | None], Call[Any]]) -> Iterator[Any]:
        """What is listed, page by page: `page` is the request behind a place, None for the first."""
        after: str | None = None
        while True:
            found = self.send(page(after))
            yield from found.data
            if (after := found.next) is None:
                return

    def artifact(self, sha256: str) -> bytes:
        """Bytes of an answer."""
        response = self.http.get(f"/v1/artifacts/{sha256}")
        if response.is_error:
            raise Refused(response)
        return response.content


class AsyncClient:
    """The same for asyncio: `await AsyncClient(url).send(service.calls.job(name))`."""

    def __init__(
        self, url: str, transport: httpx.AsyncBaseTransport | None = None, timeout: float = 90, key: str | None = None
    ) -> None:
        self.http = httpx.AsyncClient(
            base_url=url, timeout=timeout, transport=transport, trust_env=False, headers=bearer(key)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Any call. Raises Refused, or httpx.HTTPError when the server cannot be reached."""
        response = await self.http.request(
            call.method, call.path, params=call.params, json=call.json, headers=call.headers
        )
        return call.read(response)

    async def submit(self, spec: Body, idempotency_key: str | None = None, wait: float = 0) -> JobView:
        """Submit a job; with `wait`, answer when it has ended or after so many seconds."""
        return await self.send(calls.submit(spec, idempotency_key, wait))

    async def job(self, name: str) -> JobView:
        """One job."""
        return await self.send(calls.job(name))

    async def events(self, name: str, after: str = "0") -> AsyncIterator[str]:
        """Lines of the job's event stream, to its end."""
        headers = {"Last-Event-ID": after}
        async with self.http.stream("GET", f"/v1/jobs/{name}/events", headers=headers) as response:
            async for line in response.aiter_lines():
                yield line
