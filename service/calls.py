"""Every call of the API, described once as a `Call`: method, path, how to read the answer. Clients only send them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel

from service.spec import JobSpec
from service.views import (
    Audits,
    Candidates,
    Card,
    Cards,
    Comparison,
    CurveView,
    DeadLetters,
    Items,
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
