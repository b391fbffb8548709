"""Whatever is sent, the answer is a refusal that says what would have been right; never a 5xx."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helping import GAUSS, job, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generators.builtin import GENERATORS
from search.methods import METHODS
from service.api import guard
from service.client import Client
from service.spec import JobSpec
from verifiers.builtin import VERIFIERS

JSON = {"Content-Type": "application/json"}


def send(client: Client, body: Any) -> Any:
    """POST a job; whatever was accepted is stopped, so that the worker is free for others."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.http.post("/v1/jobs", content=content, headers=JSON)
    if response.status_code == 202:
        client.cancel(response.json()["id"])
    return response


@pytest.mark.parametrize(
    ("change", "where", "valid"),
    [
        ({"model": "toy/unknown"}, ["model"], GENERATORS.names()),
        ({"search": {"method": "worst_of_n"}}, ["search"], METHODS.names()),
        ({"verifiers": ["toy/lineal"]}, ["verifiers", 0], VERIFIERS.names()),
        ({"graders": ["toy/linear", "nobody"], "verifiers": ["toy/ones"]}, ["graders", 1], VERIFIERS.names()),
        ({"itmes": []}, ["itmes"], list(JobSpec.model_fields)),
        ({"items": [{"id": "a"}, {"propmt": "7"}]}, ["items", 1, "propmt"], ["id", "prompt", "target"]),
        ({"budget": {"minutes": 3}}, ["budget", "minutes"], ["evaluations", "seconds", "verifier_calls"]),
        ({"model": {**GAUSS, "sigma": 1}}, ["model", "sigma"], ["means", "steps", "variances", "weights"]),
        ({"verifiers": [{"name": "toy/linear", "slop": 1}]}, ["verifiers", 0, "slop"], ["intercept", "slope"]),
        ({"search": {"method": "best_of_n", "m": 4}}, ["search", "m"], ["n", "select"]),
    ],
)
def test_unknown_names_list_the_valid_ones(client: Client, change: Any, where: Any, valid: list[str]) -> None:
    body = refused(send(client, job() | change), 422)
    assert body["errors"][0]["loc"] == where
    for name in valid:
        assert name in body["errors"][0]["msg"]
        assert name in body["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "body: Field required"),
        ([], "body: Input should be an object"),
        (job() | {"items": "x"}, "items: Input should be a list"),
        (job() | {"verifiers": []}, "verifiers: List should have at least 1 item, not 0"),
        (
            job() | {"verifiers": [{"name": "toy/ones", "threshold": "x"}]},
            "verifiers.0.threshold: Input should be a valid number",
        ),
        (job() | {"items": [{"id": "a"}, {"id": "a"}]}, "items: item ids must differ; 'a' stands more than once"),
        (
            job()
            | {
                "verifiers": [
                    {"name": "cascade", "stages": [{"verifier": "exact", "above": 1}, {"verifier": "nobody"}]}
                ]
            },
            "verifiers.0.stages.1.verifier: unknown verifier 'nobody'; valid: ",
        ),
        (job() | {"metadata": {str(i): "" for i in range(17)}}, "metadata: Object should have at most 16 fields, not "),
    ],
)
def test_the_words_are_those_of_json(client: Client, body: Any, said: str) -> None:
    """One fault is one sentence: no tuples, nothing of pydantic's, and no list that is short for a wrong member."""
    content = b"" if body == "" else json.dumps(body).encode()
    found = refused(client.http.post("/v1/jobs", content=content, headers=JSON), 422)
    assert found["detail"].startswith(said)
    assert len(found["errors"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"model": 7},
        {"model": None},
        {"model": {}},
        {"model": {**GAUSS, "weights": "1"}},
        {"model": {**GAUSS, "weights": [0.5]}},
        {"model": {**GAUSS, "steps": "2"}},
        {"model": {**GAUSS, "steps": 2.5}},
        {"model": {**GAUSS, "steps": True}},
        {"model": {"name": "toy/markov", "initial": [1e308, 1e308, 1e308]}},
        {"model": {"name": "toy/markov", "initial": [], "transition": []}},
        {"model": {"name": "outside/missing"}},
        {"model": "outside/by_prompt", "items": [{"prompt": "overflow"}]},
        {"items": []},
        {"items": {}},
        {"items": [7]},
        {"items": [{"id": 7}]},
        {"items": [{}] * 10_001},
        {"items": [{"id": "a"}, {"id": "a"}]},
        {"items": [{"id": "1"}, {}]},  # the second is called by its position
        {"items": [{"id": "x" * 201}]},
        {"verifiers": []},
        {"verifiers": "toy/linear"},
        {"verifiers": ["toy/linear", "toy/linear"]},
        {"verifiers": ["toy/linear"], "graders": ["toy/linear"]},
        {"verifiers": [{"name": "toy/linear", "label": "a"}, {"name": "toy/ones", "label": "a"}]},
        {"verifiers": [{"name": "toy/linear", "label": f"{i}"} for i in range(17)]},
        {"verifiers": ["exact"]},  # the items have no target
        {"verifiers": [{"name": "toy/linear", "threshold": "0"}]},
        {"verifiers": [{"name": "regex", "pattern": "("}]},
        {"verifiers": [{"name": "json_schema", "schema": {"type": 7}}]},
        {"model": "digits", "items": [{"prompt": "cat"}]},
        {"search": {"n": 0}},
        {"search": {"n": 1_000_001}},
        {"search": {"n": "4"}},
        {"search": {"select": "best"}},
        {"search": {"n": 1_000_000}, "items": [{}] * 1000},  # half a million pieces of work
        {"search": "best_of_n"},
        {"budget": {"evaluations": -1}},
        {"budget": {"evaluations": 1.5}},
        {"budget": {"seconds": "1"}},
        {"seed": 2**63},
        {"seed": 0.5},
        {"seed": "0"},
        {"keep": "some"},
        {"keep": "top_k", "search": {"select": "majority"}},
        {"keep": "top_k", "verifiers": ["toy/linear", "toy/quadratic"]},
        {"top_k": 0},
        {"mode": "sample"},
        {"priority": "urgent"},
        {"metadata": {"a": 1}},
        {"metadata": {str(i): "" for i in range(17)}},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_unusable_jobs(client: Client, change: dict[str, Any]) -> None:
    body = refused(send(client, job() | change), 422)
    assert body["errors"]
    assert body["error"]["param"]


@pytest.mark.parametrize("missing", ["model", "items", "verifiers"])
def test_missing_fields(client: Client, missing: str) -> None:
    body = refused(send(client, {name: value for name, value in job().items() if name != missing}), 422)
    assert body["errors"][0]["loc"] == [missing]


def hostile() -> Iterator[tuple[str, bytes]]:
    """Bodies that are not JSON of one meaning."""
    plain = json.dumps(job()).encode()
    yield "NaN", plain.replace(b"1.0", b"NaN", 1)
    yield "Infinity", plain.replace(b"1.0", b"-Infinity", 1)
    yield "1e999", plain.replace(b"1.0", b"1e999", 1)
    yield "twice", plain.replace(b"{", b'{"seed": 1, "seed": 2, ', 1)
    yield "twice inside", plain.replace(b'"id": "i0"', b'"id": "i0", "id": "i1"', 1)
    yield "surrogate", plain.replace(b'"i0"', b'"\\ud800"', 1)
    yield "surrogate key", plain.replace(b"{", b'{"\\udfff": 1, ', 1)
    yield "NUL", plain.replace(b'"i0"', b'"a\\u0000"', 1)
    yield "raw NUL", plain.replace(b'"i0"', b'"a\0"', 1)
    yield "deep", plain.replace(b'"i0"', b'"i0", "target": ' + b"[" * 65 + b"]" * 65, 1)
    yield "very deep", b"[" * 500_000
    yield "66 bits", plain.replace(b"{", b'{"seed": 36893488147419103232, ', 1)
    yield "5000 digits", plain.replace(b"{", b'{"seed": ' + b"9" * 5000 + b", ", 1)
    yield "BOM", b"\xef\xbb\xbf" + plain
    yield "UTF-16", plain.decode().encode("utf-16")
    yield "latin-1", plain.replace(b'"i0"', b'"\xe4"', 1)
    yield "cut", plain[:-1]
    yield "more", plain + b"{}"
    yield "comment", b"/* */" + plain
    yield "no JSON", b"model=digits"


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in hostile()])
def test_not_json_of_one_meaning(client: Client, body: bytes) -> None:
    refused(send(client, body), 400)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b'"digits"', b"true", b"{}", b"[{}]"])
def test_json_that_is_no_job(client: Client, body: bytes) -> None:
    refused(send(client, body), 422)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonl"},
        {**JSON, "Content-Encoding": "gzip"},
        {**JSON, "Content-Encoding": "br"},
        {**JSON, "Content-Encoding": "identity, gzip"},
    ],
    ids=str,
)
def test_other_types_and_encodings(client: Client, headers: dict[str, str]) -> None:
    refused(client.http.post("/v1/jobs", content=b"{}", headers=headers), 415)


def test_large_bodies_are_read_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop goes on: a megabyte takes a tenth of a second."""
    threads: list[threading.Thread] = []

    def loads(body: bytes) -> Any:
        threads.append(threading.current_thread())
        return body

    async def read(size: int) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        await guard.StrictRequest({"type": "http"}, receive).json()

    monkeypatch.setattr(guard, "loads", loads)
    for size in (100, 100_000):
        asyncio.run(read(size))
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


def test_a_model_that_does_not_say_what_it_costs(client: Client) -> None:
    body = refused(send(client, job(model="outside/unbased")), 422)
    assert body["errors"][0]["loc"] == ["model"]
    assert "a subclass of ModelConfig" in body["detail"]


def test_too_large(client: Client) -> None:
    body = json.dumps(job(metadata={"a": "x" * 2**20})).encode()
    refused(client.http.post("/v1/jobs", content=body, headers=JSON), 413)
    streamed = (body[i : i + 50_000] for i in range(0, len(body), 50_000))  # no Content-Length
    refused(client.http.post("/v1/jobs", content=streamed, headers=JSON), 413)
    small = json.dumps(job(1, 1)).encode()
    streamed = (small[i : i + 50] for i in range(0, len(small), 50))
    assert client.http.post("/v1/jobs", content=streamed, headers=JSON).status_code == 202


def test_a_long_input_is_not_sent_back(client: Client) -> None:
    long = "x" * 100_000
    for change in (
        {long: 1},
        {"metadata": {long: 1}},
        {"model": {**GAUSS, long: 1}},
        {"model": long},
        {"search": {"method": long}},
        {"items": [{long: 1}]},
        {"items": [{"prompt": long}], "model": "digits"},
        {"items": [{"target": [long]}], "verifiers": ["exact"]},
        {"keep": long},
        {"budget": {long: 1}},
        {"verifiers": [{"name": "regex", "pattern": long}]},
    ):
        body = refused(send(client, job() | change), 422)
        assert "x" * 3000 not in json.dumps(body)
    name = "x" * 20_000
    for path in (f"/v1/jobs/{name}", f"/v1/models/{name}", f"/v1/artifacts/{name}", f"/v1/jobs?after={name}"):
        body = refused(client.http.get(path), 404)
        assert len(body["detail"]) < 2000


@pytest.mark.parametrize("prefer", [b"wait=", b"wait=x", b"wait=-1", b"wait=1.5", b"wait=\xb2", b"a, wait = z"])
def test_broken_prefer(client: Client, prefer: bytes) -> None:
    headers = [(b"prefer", prefer), (b"content-type", b"application/json")]
    refused(client.http.post("/v1/jobs", content=json.dumps(job()).encode(), headers=headers), 400)


def test_prefer_for_others_is_ignored(client: Client) -> None:
    assert client.http.post("/v1/jobs", json=job(1, 1), headers={"Prefer": "respond-async"}).status_code == 202


@pytest.mark.parametrize("path", ["", "/items", "/candidates", "/candidates?format=jsonl", "/curve", "/events"])
def test_unknown_job(client: Client, path: str) -> None:
    refused(client.http.get(f"/v1/jobs/job_nowhere{path}"), 404)
    refused(client.http.get(f"/v1/jobs/%00{path}"), 404)
    refused(client.http.get(f"/v1/jobs/%ED%A0%80{path}"), 404)


def test_unknown_paths_and_methods(client: Client) -> None:
    refused(client.http.get("/v2/jobs"), 404)
    refused(client.http.post("/v1/jobs/job_nowhere/cancel"), 404)
    refused(client.http.put("/v1/jobs", json={}), 405)
    refused(client.http.get("/v1/jobs?after=job_nowhere"), 404)


def test_bad_cursors_and_parameters(client: Client) -> None:
    name = client.submit(job(1, 1), wait=60).id
    huge = 10**30
    for query in (
        "items?after=x",
        f"items?after={huge}",
        "items?after=-2",
        "items?limit=0",
        "items?limit=1001",
        f"items?limit={huge}",
        "candidates?after=1",
        "candidates?after=a:b",
        f"candidates?after={huge}:0",
        "candidates?format=xml",
        f"candidates?item={huge}",
        "candidates?item=x",
        "curve?level=0",
        "curve?level=1",
        "curve?level=nan",
        "curve?judge=nobody",
    ):
        refused(client.http.get(f"/v1/jobs/{name}/{query}"), 422)
    refused(client.http.get("/v1/jobs?limit=0"), 422)
    for last in ("x", "-1", "1" * 19, "\u00b2"):
        headers = [(b"last-event-id", last.encode("latin-1"))]
        refused(client.http.get(f"/v1/jobs/{name}/events", headers=headers), 422)
    assert "toy/linear" in refused(client.http.get(f"/v1/jobs/{name}/curve?judge=nobody"), 422)["detail"]


def test_long_idempotency_key(client: Client) -> None:
    refused(client.http.post("/v1/jobs", json=job(), headers={"Idempotency-Key": "k" * 201}), 422)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**66), 2**66)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["toy/linear", "exact", "digits", "\0", "\ud800", "x" * 1000, -0.0, 1e308, 2**63, 2**64])
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3))
FULL = job(
    graders=[{"name": "toy/quadratic", "label": "q", "threshold": 0.5, "center": 0.0, "scale": 1.0}],
    verifiers=[{"name": "toy/linear", "slope": 1.0}, {"name": "toy/count", "symbol": 1}],
    budget={"evaluations": 100, "verifier_calls": 10, "verifier_seconds": 1.0, "seconds": 1.0},
    seed=1,
    keep="all",
    top_k=1,
    mode="optimise",
    priority="batch",
    metadata={"a": "b"},
    items=[{"id": "a", "prompt": "7", "target": ["7", {"x": 1}]}, {"prompt": "8"}],
)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield here
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*here, key))


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The value with something else in one place."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURES)
@given(st.lists(st.tuples(st.sampled_from(list(places(FULL))), values), min_size=1, max_size=2))
def test_any_value_in_any_place(client: Client, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    body: Any = FULL
    for place, new in changes:
        try:
            body = changed(body, place, new)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # an earlier change has taken this place away
    response = send(client, body)
    if response.status_code != 202:
        refused(response, response.status_code)
    assert response.status_code < 500


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURES)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(client: Client, body: bytes) -> None:
    response = send(client, body)
    refused(response, response.status_code)
    assert response.status_code in (400, 422)
