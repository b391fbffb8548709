"""The API against its own OpenAPI document: schemathesis makes requests of every operation, right and wrong ones."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from helping import done, job, service, until
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.client import Client
from service.store import Store, access

EXAMPLES = 5
"""Requests of each operation and kind."""
NO_HTTP = b"Invalid HTTP request received."
"""What the server says of a request that is no HTTP: such as of a Content-Length that is no number."""
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    response_schema_conformance,
    content_type_conformance,
]


@pytest.fixture(scope="module")
def served(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, dict[str, Any]]]:
    """A service with keys, a client that may ask everything, and names of what is there."""
    with service(tmp_path_factory.mktemp("contract"), body_limit=2**20) as (stack, _):
        store = Store(stack.settings.database)
        key = store.write(access.create, "ops", ("admin",), None, None)[1]
        until(lambda: httpx.get(f"{stack.url}/v1/jobs").status_code == 401)
        with Client(stack.url, key=key) as client:
            client.http.post("/v1/webhooks/secret")
            yield client, names(client, store.write(access.create, "eve", ("read",), None, None)[0].name)
        store.close()


def names(client: Client, key: str) -> dict[str, Any]:
    """One of everything that a path can name."""
    spec = job(2, 4, verifiers=[{"name": "toy/linear", "threshold": 0.0}], webhook="https://127.0.0.1/")
    view = done(client, spec)
    body = {"model": "toy/bits", "prompt": "x"}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body}
    upload = {"file": ("a", json.dumps(line))}
    file = client.http.post("/v1/files", files=upload, data={"purpose": "batch"}).json()["id"]
    ask = {"input_file_id": file, "endpoint": "/v1/completions"}
    batch = client.http.post("/v1/batches", json=ask).json()["id"]
    until(lambda: client.http.get(f"/v1/batches/{batch}").json()["status"] == "completed")
    huge = done(client, job(1, 1, model="outside/by_prompt", items=[{"prompt": "huge"}], verifiers=["any"]))
    (answer,) = client.candidates(huge.id)
    levers = {"means": {"low": 0.0, "high": 1.0, "count": 1}}
    ask = {**job(1, 1), "preset": "found", "levers": levers, "samples": 2, "population": 2, "generations": 1}
    del ask["search"]
    tune = client.http.post("/v1/tunes", json=ask).json()["id"]
    until(lambda: client.http.get(f"/v1/tunes/{tune}").json()["state"] == "completed")
    catalog = {"models": "toy/bits", "verifiers": "any", "methods": "best_of_n", "cards": "toy/linear"}
    paths = {"job": view.id, "item": 0, "file": file, "batch": batch, "key": key, "letter": f"{view.id}.0"}
    paths |= {"tune": tune, "preset": "found"}
    return {**catalog, "features": "pixels", **paths, "sha256": answer.artifact}


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with names that are there, so that some jobs are accepted."""
    shapes = document["components"]["schemas"]
    valid = {"ModelRef": ["toy/bits", "toy/markov"], "JudgeRef": ["any"], "Search": ["best_of_n"]}
    for name, values in valid.items():
        shapes[name]["additionalProperties"] = False
        shapes[name]["properties"]["method" if name == "Search" else "name"] |= {"enum": values}
    spec = shapes["JobSpec"]["properties"]
    for name in ("items_from", "webhook", "graders", "mode", "budget"):
        del spec[name]
    del shapes["Item"]["properties"]["messages"]
    spec["model"] = {"$ref": "#/components/schemas/ModelRef"}
    spec["verifiers"] |= {"items": {"$ref": "#/components/schemas/JudgeRef"}, "maxItems": 1}
    spec["items"] |= {"minItems": 1, "maxItems": 1}
    shapes["JobSpec"]["required"] += ["items"]
    for door in ("Chat", "Completion"):
        shapes[door]["properties"]["model"] |= {"enum": ["toy/bits"]}
    (smiles,) = document["paths"]["/v1/depictions/molecule"]["get"]["parameters"]
    smiles["schema"] |= {"enum": ["CCO", "c1ccccc1"]}
    return document


def test_every_operation(served: tuple[Client, dict[str, Any]]) -> None:
    """No 5xx, no status, type or shape that is not declared; a third of the requests name what is there."""
    client, known = served
    document = client.http.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(narrowed(document))
    seen: Counter[tuple[str, int]] = Counter()
    url, headers = str(client.http.base_url), dict(client.http.headers)

    def ask(case: Any) -> None:
        response = case.call(base_url=url, headers={"Authorization": headers["authorization"]}, timeout=90)
        if response.content == NO_HTTP:
            return
        seen[case.operation.label, response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    def asked(strategy: Any) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def examples(case: Any) -> None:
            ask(case)

        examples()

    operations = [found.ok() for found in schema.get_all_operations()]
    operations.sort(key=lambda operation: operation.method == "delete")  # last: others ask for what they take away
    for operation in operations:
        asked(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        if operation.body or operation.query or operation.headers:
            asked(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        kind = operation.path.split("/")[2] if operation.path.count("/") > 1 else ""
        there = known | {"name": known.get(kind)}
        if mine := {name: value for name, value in there.items() if f"{{{name}}}" in operation.path}:
            asked(operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=mine))
        if operation.method == "get":  # and without parameters that are right by chance
            ask(operation.Case(path_parameters=mine))
    assert {label for label, _ in seen} == {operation.label for operation in operations}
    well = {label for label, status in seen if status < 300}
    # A body that is right in all its parts, or a name in a query, is made by chance; other tests ask these rightly.
    assert {label for label, _ in seen if label.startswith("GET") and label != "GET /v1/compare"} <= well
