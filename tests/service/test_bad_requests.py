"""A table of bad requests to every door, each with the status that it gets; bodies of jobs are in test_bad_input."""

import json
from typing import Any

import pytest
from helping import job, refused

from service.client import Client

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LONG = "x" * 300
CHAT = {"model": "toy/bits", "messages": [{"role": "user", "content": "a"}]}
WORD = {"model": "toy/bits", "prompt": "a"}
BATCH = {"input_file_id": "file-0", "endpoint": "/v1/completions", "completion_window": "24h"}
LABELS = {"labels": [{"item": 0, "sample": 0, "right": True}]}


def posted(path: str, body: Any, status: int = 422) -> tuple[str, str, dict[str, Any], int]:
    return "POST", path, {"content": json.dumps(body), "headers": JSON}, status


def got(path: str, status: int, **named: Any) -> tuple[str, str, dict[str, Any], int]:
    return "GET", path, named, status


ROWS = [
    # Keys and quotas. A good one would close the service to everybody else.
    posted("/v1/keys", {}),
    posted("/v1/keys", {"owner": 7}),
    posted("/v1/keys", {"owner": LONG}),
    posted("/v1/keys", {"owner": "a\ud800"}, 400),
    posted("/v1/keys", {"owner": "a", "scopes": []}),
    posted("/v1/keys", {"owner": "a", "scopes": "read"}),
    posted("/v1/keys", {"owner": "a", "scopes": ["read", "write", "admin", "read"]}),
    posted("/v1/keys", {"owner": "a", "days": 0}),
    posted("/v1/keys", {"owner": "a", "days": 1e9}),
    posted("/v1/keys", {"owner": "a", "rate": 1.5}),
    posted("/v1/keys", {"owner": "a", "quotas": []}),
    posted("/v1/keys", {"owner": "a", "quotas": {"tokens": {"day": "5"}}}),
    posted("/v1/keys", {"owner": "a", "quotas": {"tokens": {"day": 2**60}}}),
    posted("/v1/keys", {"owner": "a", "quotas": {"tokens": {"hour": 1}}}),
    posted("/v1/keys", {"owner": "a", "quotas": {"dollars": {"day": 1}}}),
    ("PUT", "/v1/keys/wk_0/quotas", {"json": {}}, 404),
    ("PUT", "/v1/keys/wk_0/quotas", {"content": b"{", "headers": JSON}, 400),
    ("PUT", "/v1/keys/wk_0/quotas", {"content": b"a", "headers": {"Content-Type": "text/plain"}}, 415),
    ("PATCH", "/v1/keys/wk_0", {"json": {}}, 405),
    ("DELETE", f"/v1/keys/{LONG}", {}, 422),
    got("/v1/keys/wk_0", 404),
    got("/v1/keys/%00", 404),
    got("/v1/usage", 404),  # without a key
    posted("/v1/session", {"key": 5}),
    posted("/v1/session", {"key": LONG}),
    posted("/v1/session", {"key": "wk_0.x"}, 401),
    # Dead letters and webhooks.
    got("/v1/dead?limit=0", 422),
    got("/v1/dead?limit=1e3", 422),
    got(f"/v1/dead?after={LONG}", 422),
    got("/v1/dead?after=job_0.0", 404),
    ("POST", "/v1/dead/job_0/requeue", {}, 404),
    ("POST", "/v1/dead/job_0.-1/requeue", {}, 404),
    ("POST", "/v1/dead/job_0.%D9%A3/requeue", {}, 404),
    ("GET", "/v1/dead/job_0.0/requeue", {}, 405),
    got("/v1/jobs/job_0/deliveries", 404),
    got("/v1/webhooks/secret", 405),
    posted("/v1/jobs", job(webhook=7)),
    posted("/v1/jobs", job(webhook={"url": "https://a.example"})),
    posted("/v1/jobs", job(webhook="//a.example")),
    posted("/v1/jobs", job(webhook="http://[::1")),
    # Answers that are there already.
    posted("/v1/jobs/job_0/rescore", {"verifiers": ["any"]}, 404),
    posted("/v1/jobs/job_0/rescore", {"verifiers": "any"}),
    posted("/v1/jobs/job_0/rescore", {"verifiers": ["any"], "model": "toy/bits"}),
    posted("/v1/jobs/job_0/rescore", {"verifiers": ["any"], "search": "majority"}),
    posted("/v1/jobs", job(model={"name": "given", "answers": ["a"]})),
    posted("/v1/verify", {}),
    posted("/v1/verify", {"answers": "a", "verifiers": ["any"]}),
    posted("/v1/verify", {"answers": ["a\ud800"], "verifiers": ["any"]}, 400),
    posted("/v1/verify", {"answers": ["a"], "verifiers": ["any"], "item": {"prompt": 7}}),
    posted("/v1/verify", {"answers": [None], "verifiers": ["any"], "pictures": True}),
    ("DELETE", "/v1/jobs/job_0", {}, 404),
    ("DELETE", f"/v1/jobs/{LONG}", {}, 404),
    # OpenAI's doors.
    posted("/v1/chat/completions", {}),
    posted("/v1/chat/completions", CHAT | {"messages": []}),
    posted("/v1/chat/completions", CHAT | {"messages": [{"role": "king", "content": "a"}]}),
    posted("/v1/chat/completions", CHAT | {"n": 0}),
    posted("/v1/chat/completions", CHAT | {"temperature": "hot"}),
    posted("/v1/chat/completions", CHAT | {"tools": [{"type": "function"}]}),
    posted("/v1/completions", WORD | {"model": "gpt-4"}),
    posted("/v1/completions", WORD | {"prompt": []}),
    posted("/v1/completions", WORD | {"prompt": {"a": 1}}),
    posted("/v1/completions", WORD | {"search": {"method": "magic"}}),
    posted("/v1/completions", WORD | {"best_of": 5}),
    (
        "POST",
        "/v1/completions",
        {"content": b"a=b", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        415,
    ),
    # Files and batches.
    got("/v1/files?limit=0", 422),
    got("/v1/files?after=file-0", 404),
    got("/v1/files/file-0", 404),
    got("/v1/files/..%2F..%2Fetc%2Fpasswd/content", 404),
    ("DELETE", "/v1/files/file-0", {}, 404),
    ("POST", "/v1/files", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
    ("POST", "/v1/files", {"content": b"--a\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=a"}}, 422),
    posted("/v1/batches", BATCH, 404),
    posted("/v1/batches", BATCH | {"endpoint": "/v1/embeddings"}),
    posted("/v1/batches", BATCH | {"completion_window": "0h"}),
    posted("/v1/batches", BATCH | {"completion_window": "24 hours"}),
    posted("/v1/batches", BATCH | {"metadata": {"a": 1}}),
    posted("/v1/batches", BATCH | {"metadata": {str(i): "" for i in range(17)}}),
    got("/v1/batches?limit=-1", 422),
    got("/v1/batches?after=batch_0", 404),
    # Jobs that go on.
    ("POST", "/v1/jobs/job_0/extend", {}, 404),
    posted("/v1/jobs/job_0/extend", {"search": {"n": 64}}, 404),
    posted("/v1/jobs/job_0/extend", {"search": 64}),
    posted("/v1/jobs/job_0/extend", {"search": {"n": {}}, "budget": []}),
    posted("/v1/jobs/job_0/extend", {"budget": {"evaluations": "64"}}),
    posted("/v1/jobs/job_0/extend", {"budget": {"evaluations": -1}}),
    posted("/v1/jobs/job_0/extend", [1]),
    ("POST", "/v1/jobs/job_0/extend", {"json": {}, "headers": {"Prefer": "wait=soon"}}, 400),
    ("POST", "/v1/jobs/job_0/extend", {"json": {}, "headers": {"Idempotency-Key": LONG}}, 422),
    ("GET", "/v1/jobs/job_0/extend", {}, 405),
    # Labels, cards, comparisons, the catalog, artifacts.
    posted("/v1/jobs/job_0/audits", LABELS, 404),
    posted("/v1/jobs/job_0/audits", {"labels": []}),
    posted("/v1/jobs/job_0/audits", {"labels": [{"item": -1, "sample": 0, "right": True}]}),
    posted("/v1/jobs/job_0/audits", {"labels": [{"item": 0, "sample": 0, "right": "yes"}]}),
    got("/v1/compare", 422),
    got("/v1/compare?jobs=job_0", 422),
    got("/v1/compare?jobs=job_0,job_1", 404),
    got("/v1/cards/nobody", 404),
    got("/v1/cards/toy/linear?level=2", 422),
    got("/v1/models/gpt-4", 404),
    got("/v1/artifacts/..%2F..%2Fwinnow.db", 404),
    got(f"/v1/artifacts/{'g' * 64}", 404),
    # Parameters that nobody reads.
    got("/v1/jobs?state=failed", 422),
    got("/v1/jobs?limit=5&limti=5", 422),
    got("/v1/jobs/job_0?fields=id", 422),
    got("/v1/compare?jobs=job_0,job_1&alpha=0.05", 422),
    got("/v1/files?order=asc", 422),
    got("/v1/queue?verbose", 422),
    got("/v1/models?q=digits", 422),
    posted("/v1/jobs?dry_run=1", job()),
    ("DELETE", "/v1/jobs/job_0?force=1", {}, 422),
    # What is around the body.
    ("POST", "/v1/jobs", {"content": b"{}", "headers": JSON | {"Content-Encoding": "zstd"}}, 415),
    ("POST", "/v1/jobs", {"json": job(), "headers": {"Prefer": "wait=1e3"}}, 400),
    ("TRACE", "/v1/jobs", {}, 405),
    ("DELETE", "/v1/jobs", {}, 405),
    got("/v1/jobs/../../etc/passwd", 404),
    got("/v1/", 404),
    got("/vendor/../winnow.db", 404),
    got("/static/%2e%2e/api.py", 404),
]


@pytest.mark.parametrize(("method", "path", "named", "status"), ROWS, ids=[f"{row[0]} {row[1][:50]}" for row in ROWS])
def test_bad_requests(client: Client, method: str, path: str, named: dict[str, Any], status: int) -> None:
    refused(client.http.request(method, path, **named), status)


def test_an_unknown_parameter_is_named_with_what_is_valid(client: Client) -> None:
    said = refused(client.http.get("/v1/jobs?state=failed&limit=5"), 422)
    assert said["detail"] == "query.state: unknown parameter; valid: after, limit"
    assert said["error"]["param"] == "query.state"
    assert (
        "query.fields: unknown parameter; there is none"
        in refused(client.http.get("/v1/jobs/a?fields=id"), 422)["detail"]
    )
    for path in ("/healthz", "/readyz", "/metrics", "/"):  # balancers and scrapers add what they like
        assert client.http.get(f"{path}?probe=1").status_code == 200
