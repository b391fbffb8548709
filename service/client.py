"""A typed client of the API, sync and async. The command line uses it too.

Every call is described once, as a `Call`: method, path and how to read the answer. The two clients only send.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import httpx
from pydantic import BaseModel

from service.spec import JobSpec
from service.views import (
    Audits,
    Candidates,
    CandidateView,
    Card,
    Cards,
    Comparison,
    CurveView,
    DeadLetters,
    Items,
    ItemView,
    Jobs,
    JobView,
    NextAudits,
    Plugins,
    Presets,
    PresetView,
    Trials,
    Tunes,
    TuneView,
    Verified,
)

T = TypeVar("T", bound=BaseModel)
Body = JobSpec | Mapping[str, Any]


class Refused(RuntimeError):
    """The server's problem+json as an exception."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        try:
            self.problem: dict[str, Any] = response.json()
        except ValueError:
            self.problem = {"detail": response.text[:500]}
        super().__init__(f"{self.status}: {self.problem.get('detail', 'no detail')}")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the model of its answer."""

    method: str
    path: str
    answer: type[T]
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def read(self, response: httpx.Response) -> T:
        """The answer. Raises Refused."""
        if response.is_error:
            raise Refused(response)
        return self.answer.model_validate_json(response.content)


def preferring(idempotency_key: str | None, wait: float) -> dict[str, str]:
    """Headers of a request that makes a job."""
    headers = {"Prefer": f"wait={int(wait)}"} if wait else {}
    return headers | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})


def submit(spec: Body, idempotency_key: str | None = None, wait: float = 0) -> Call[JobView]:
    """POST /v1/jobs."""
    headers = preferring(idempotency_key, wait)
    body = spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, JobSpec) else dict(spec)
    return Call("POST", "/v1/jobs", JobView, json=body, headers=headers)


def job(name: str) -> Call[JobView]:
    """GET /v1/jobs/{id}."""
    return Call("GET", f"/v1/jobs/{name}", JobView)


def listing(limit: int = 20, after: str | None = None) -> Call[Jobs]:
    """GET /v1/jobs."""
    return Call("GET", "/v1/jobs", Jobs, {"limit": limit} | ({"after": after} if after else {}))


def cancel(name: str) -> Call[JobView]:
    """POST /v1/jobs/{id}/cancel."""
    return Call("POST", f"/v1/jobs/{name}/cancel", JobView)


def extend(
    name: str,
    search: Mapping[str, int] | None = None,
    budget: Mapping[str, float | None] | None = None,
    idempotency_key: str | None = None,
    wait: float = 0,
) -> Call[JobView]:
    """POST /v1/jobs/{id}/extend."""
    body = {"search": dict(search or {}), "budget": dict(budget or {})}
    headers = preferring(idempotency_key, wait)
    return Call("POST", f"/v1/jobs/{name}/extend", JobView, json=body, headers=headers)


def delete(name: str) -> Call[JobView]:
    """DELETE /v1/jobs/{id}."""
    return Call("DELETE", f"/v1/jobs/{name}", JobView)


def rescore(name: str, asked: Mapping[str, Any], idempotency_key: str | None = None, wait: float = 0) -> Call[JobView]:
    """POST /v1/jobs/{id}/rescore. asked: verifiers, and perhaps graders, search, budget, ..."""
    headers = preferring(idempotency_key, wait)
    return Call("POST", f"/v1/jobs/{name}/rescore", JobView, json=dict(asked), headers=headers)


def verify(asked: Mapping[str, Any], idempotency_key: str | None = None, wait: float = 60) -> Call[Verified]:
    """POST /v1/verify. asked: answers, verifiers, and perhaps item and pictures."""
    headers = {"Prefer": f"wait={int(wait)}"} | preferring(idempotency_key, 0)
    return Call("POST", "/v1/verify", Verified, json=dict(asked), headers=headers)


def items(name: str, after: str = "-1", limit: int = 100) -> Call[Items]:
    """GET /v1/jobs/{id}/items."""
    return Call("GET", f"/v1/jobs/{name}/items", Items, {"after": after, "limit": limit})


def candidates(name: str, after: str = "-1:-1", limit: int = 1000) -> Call[Candidates]:
    """GET /v1/jobs/{id}/candidates."""
    return Call("GET", f"/v1/jobs/{name}/candidates", Candidates, {"after": after, "limit": limit})


def curve(name: str, judge: str | None = None, level: float = 0.95, **stakes: float) -> Call[CurveView]:
    """GET /v1/jobs/{id}/curve. stakes: value, loss, cost and target, for the advice."""
    params = {"level": level, **stakes} | ({"judge": judge} if judge else {})
    return Call("GET", f"/v1/jobs/{name}/curve", CurveView, params)


def compare(names: Sequence[str], judge: str | None = None, level: float = 0.95) -> Call[Comparison]:
    """GET /v1/compare."""
    params = {"jobs": ",".join(names), "level": level} | ({"judge": judge} if judge else {})
    return Call("GET", "/v1/compare", Comparison, params)


def next_audits(name: str, judge: str | None = None, **plan: Any) -> Call[NextAudits]:
    """GET /v1/jobs/{id}/audits/next. plan: limit, by, seed and show."""
    return Call("GET", f"/v1/jobs/{name}/audits/next", NextAudits, plan | ({"judge": judge} if judge else {}))


def label(name: str, labels: Sequence[Mapping[str, Any]], judge: str | None = None) -> Call[Audits]:
    """POST /v1/jobs/{id}/audits. labels: item, sample and right."""
    body = {"labels": [dict(one) for one in labels]} | ({"judge": judge} if judge else {})
    return Call("POST", f"/v1/jobs/{name}/audits", Audits, json=body)


def audits(name: str, judge: str | None = None, after: str = "-1:-1", limit: int = 1000) -> Call[Audits]:
    """GET /v1/jobs/{id}/audits."""
    params = {"after": after, "limit": limit} | ({"judge": judge} if judge else {})
    return Call("GET", f"/v1/jobs/{name}/audits", Audits, params)


def cards() -> Call[Cards]:
    """GET /v1/cards."""
    return Call("GET", "/v1/cards", Cards)


def card(name: str, **asked: Any) -> Call[Card]:
    """GET /v1/cards/{name}. asked: version, config, level, against and interval."""
    return Call("GET", f"/v1/cards/{name}", Card, {key: value for key, value in asked.items() if value is not None})


def dead(after: str | None = None, limit: int = 1000) -> Call[DeadLetters]:
    """GET /v1/dead."""
    return Call("GET", "/v1/dead", DeadLetters, {"limit": limit} | ({"after": after} if after else {}))


def requeue(letter: str) -> Call[JobView]:
    """POST /v1/dead/{id}/requeue."""
    return Call("POST", f"/v1/dead/{letter}/requeue", JobView)


def tune(spec: Mapping[str, Any], idempotency_key: str | None = None) -> Call[TuneView]:
    """POST /v1/tunes."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    return Call("POST", "/v1/tunes", TuneView, json=dict(spec), headers=headers)


def tune_of(name: str) -> Call[TuneView]:
    """GET /v1/tunes/{id}."""
    return Call("GET", f"/v1/tunes/{name}", TuneView)


def cancel_tune(name: str) -> Call[TuneView]:
    """POST /v1/tunes/{id}/cancel."""
    return Call("POST", f"/v1/tunes/{name}/cancel", TuneView)


def tunes(limit: int = 20, after: str | None = None) -> Call[Tunes]:
    """GET /v1/tunes."""
    return Call("GET", "/v1/tunes", Tunes, {"limit": limit} | ({"after": after} if after else {}))


def trials(name: str, after: str = "-1", limit: int = 1000) -> Call[Trials]:
    """GET /v1/tunes/{id}/trials."""
    return Call("GET", f"/v1/tunes/{name}/trials", Trials, {"after": after, "limit": limit})


def presets(limit: int = 100, after: str | None = None) -> Call[Presets]:
    """GET /v1/presets."""
    return Call("GET", "/v1/presets", Presets, {"limit": limit} | ({"after": after} if after else {}))


def preset(name: str) -> Call[PresetView]:
    """GET /v1/presets/{name}."""
    return Call("GET", f"/v1/presets/{name}", PresetView)


def forget_preset(name: str) -> Call[PresetView]:
    """DELETE /v1/presets/{name}."""
    return Call("DELETE", f"/v1/presets/{name}", PresetView)


def plugins(kind: str) -> Call[Plugins]:
    """GET /v1/models, /v1/verifiers or /v1/methods."""
    return Call("GET", f"/v1/{kind}", Plugins)


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
        return self.send(submit(spec, idempotency_key, wait))

    def job(self, name: str) -> JobView:
        """One job."""
        return self.send(job(name))

    def cancel(self, name: str) -> JobView:
        """Stop a job."""
        return self.send(cancel(name))

    def extend(
        self,
        name: str,
        search: Mapping[str, int] | None = None,
        budget: Mapping[str, float | None] | None = None,
        idempotency_key: str | None = None,
        wait: float = 0,
    ) -> JobView:
        """Let a job that has ended go on: `search={"n": 64}`, or a limit of its budget raised, or what it lacks."""
        return self.send(extend(name, search, budget, idempotency_key, wait))

    def delete(self, name: str) -> JobView:
        """Delete a job that has ended; it is shown for the last time."""
        return self.send(delete(name))

    def rescore(
        self, name: str, asked: Mapping[str, Any], idempotency_key: str | None = None, wait: float = 0
    ) -> JobView:
        """A new job with its answers under other verifiers. asked: verifiers, and perhaps graders, search, ..."""
        return self.send(rescore(name, asked, idempotency_key, wait))

    def verify(self, asked: Mapping[str, Any], idempotency_key: str | None = None, wait: float = 60) -> Verified:
        """Verdicts on given answers. asked: answers, verifiers, and perhaps item and pictures."""
        return self.send(verify(asked, idempotency_key, wait))

    def curve(self, name: str, judge: str | None = None, level: float = 0.95, **stakes: float) -> CurveView:
        """Its curve. stakes: value, loss, cost and target, for the advice."""
        return self.send(curve(name, judge, level, **stakes))

    def compare(self, names: Sequence[str], judge: str | None = None, level: float = 0.95) -> Comparison:
        """Jobs on the same items, side by side."""
        return self.send(compare(names, judge, level))

    def next_audits(self, name: str, judge: str | None = None, **plan: Any) -> NextAudits:
        """Answers to label next. plan: limit, by, seed and show."""
        return self.send(next_audits(name, judge, **plan))

    def label(self, name: str, labels: Sequence[Mapping[str, Any]], judge: str | None = None) -> Audits:
        """Say of answers whether they are right: item, sample and right of each."""
        return self.send(label(name, labels, judge))

    def audits(self, name: str, judge: str | None = None) -> Audits:
        """Its first labels, at most 1000, and the counts of all."""
        return self.send(audits(name, judge))

    def cards(self) -> Cards:
        """Verifiers that judged anything."""
        return self.send(cards())

    def card(self, name: str, **asked: Any) -> Card:
        """What is known of a verifier. asked: version, config, level, against and interval."""
        return self.send(card(name, **asked))

    def watch(self, name: str, every: float = 0.2) -> Iterator[JobView]:
        """The job, again and again, until it has ended."""
        while not (view := self.job(name)).finished:
            yield view
            time.sleep(every)
        yield view

    def items(self, name: str) -> Iterator[ItemView]:
        """All its items."""
        return self.every(lambda after: items(name, after or "-1"))

    def candidates(self, name: str) -> Iterator[CandidateView]:
        """All its answers."""
        return self.every(lambda after: candidates(name, after or "-1:-1"))

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
    """The same for asyncio: `await AsyncClient(url).send(service.client.job(name))`."""

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
        return await self.send(submit(spec, idempotency_key, wait))

    async def job(self, name: str) -> JobView:
        """One job."""
        return await self.send(job(name))

    async def events(self, name: str, after: str = "0") -> AsyncIterator[str]:
        """Lines of the job's event stream, to its end."""
        headers = {"Last-Event-ID": after}
        async with self.http.stream("GET", f"/v1/jobs/{name}/events", headers=headers) as response:
            async for line in response.aiter_lines():
                yield line
