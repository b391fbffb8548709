"""API keys: who is let in, to what, how often; and that two owners never see each other's work."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helping import done, job, refused, service, until

from service.api import create_app
from service.api.access import ADMIN
from service.artifacts import Artifacts
from service.client import Client
from service.embedded import Stack
from service.opening import Unusable
from service.queue import Broker
from service.settings import Settings
from service.store import Store, access


@pytest.fixture(scope="module")
def guarded(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str], Store]]:
    """A service with keys: its address, the keys by name, its database."""
    folder = tmp_path_factory.mktemp("guarded")
    with service(folder) as (stack, _):
        store = Store(stack.settings.database)
        keys = {
            name: store.write(access.create, owner, scopes, None, None)[1]
            for name, owner, scopes in (
                ("ann", "ann", ("read", "write")),
                ("anne", "ann", ("read",)),
                ("bob", "bob", ("read", "write")),
                ("root", "ops", ("admin",)),
            )
        }
        until(lambda: httpx.get(f"{stack.url}/v1/jobs").status_code == 401)
        yield stack.url, keys, store
        store.close()


def client_of(guarded: tuple[str, dict[str, str], Store], name: str) -> Client:
    return Client(guarded[0], key=guarded[1][name])


def test_who_is_let_in(guarded: tuple[str, dict[str, str], Store]) -> None:
    url, keys, _ = guarded
    wrong = keys["ann"][:-1] + ("A" if keys["ann"][-1] != "A" else "B")
    for headers in ({}, {"Authorization": f"Bearer {wrong}"}, {"Authorization": "Basic x"}, {"Cookie": "winnow_key=x"}):
        answer = httpx.get(f"{url}/v1/jobs", headers=headers)
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert wrong not in answer.text
    for path in ("/healthz", "/readyz", "/", "/static/app.js"):
        assert httpx.get(f"{url}{path}").status_code == 200
    with client_of(guarded, "ann") as ann:
        assert done(ann, job()).state == "completed"
    with client_of(guarded, "anne") as anne:
        assert anne.http.get("/v1/jobs").status_code == 200
        refused(anne.http.post("/v1/jobs", json=job()), 403)
        for path in ("/metrics", "/v1/workers", "/v1/queue", "/v1/keys"):
            refused(anne.http.get(path), 403)
    with client_of(guarded, "root") as root:
        assert all(root.http.get(path).status_code == 200 for path in ("/metrics", "/v1/workers", "/v1/keys"))


NAMED = {"{job}", "{file}", "{batch}", "{tune}", "{preset}"}
OWNED = ("jobs", "files", "batches", "tunes", "presets")
LISTS = {*(f"/v1/{name}" for name in (*OWNED, "cards", "cards/{name:path}", "usage"))}
"""What each key sees its own part of."""
ALIKE = {
    *(f"/v1/{kind}{name}" for kind in ("models", "verifiers", "methods", "features") for name in ("", "/{name:path}")),
    *(
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/",
        "/static",
        "/vendor/{name}",
    ),
    *("/v1/session", "/v1/artifacts/{sha256}"),  # by the hash of its bytes, which nobody can guess
    "/v1/depictions/molecule",  # a drawing of what is asked
}
"""What is the same for all who are let in."""
BELOW = {"/v1/compare"}
"""What takes names in its query: asked below."""
DOORS = ("chat/completions", "completions", "images/generations")
MADE = {*(f"/v1/{name}" for name in (*OWNED, "webhooks/secret", "verify", *DOORS))}
"""What is posted there is whoever's posts it."""


BODIES: dict[str, Any] = {
    "audits": {"labels": [{"item": 0, "sample": 0, "right": True}]},
    "rescore": {"verifiers": ["any"]},
}
"""What must be right before a name is looked up."""


def routes(router: Any) -> Iterator[tuple[str, str]]:
    """Every method and path that the app answers, whether it is in the document or not."""
    for route in router.routes:
        if inner := getattr(route, "original_router", None):
            yield from routes(inner)
            continue
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            if method != "HEAD":
                yield method, route.path


def everything(client: Client) -> dict[str, str]:
    """One of everything that a key can have: names by what paths call them."""
    view = done(client, job(3, 8, verifiers=[{"name": "toy/linear", "threshold": 0.0}]))
    body = {"model": "toy/bits", "prompt": "x"}
    line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body})
    upload = client.http.post("/v1/files", files={"file": ("a", line)}, data={"purpose": "batch"})
    ask = {"input_file_id": upload.json()["id"], "endpoint": "/v1/completions", "completion_window": "24h"}
    batch = client.http.post("/v1/batches", json=ask).json()["id"]
    until(lambda: client.http.get(f"/v1/batches/{batch}").json()["status"] == "completed")
    model, lever = {"name": "toy/gaussian_mixture", "steps": 2}, {"means": {"low": -1.0, "high": 1.0, "count": 2}}
    size = {"samples": 1, "population": 2, "generations": 1, "finalists": 1}
    search = {"items": [{}], "verifiers": ["toy/linear"], "model": model, "levers": lever, **size}
    tune = client.http.post("/v1/tunes", json={"preset": f"tuned-{view.id}", **search})
    assert tune.status_code == 202, tune.text
    preset = client.http.post("/v1/presets", json={"name": f"of-{view.id}", "model": model}).json()["name"]
    return {"job": view.id, "file": upload.json()["id"], "batch": batch, "tune": tune.json()["id"], "preset": preset}


def test_two_owners(guarded: tuple[str, dict[str, str], Store], tmp_path: Path) -> None:
    """Every route of the app, asked with what is somebody else's: as if there were none. A new route needs a row."""
    store = guarded[2]
    app = create_app(store, Broker("unix:///nowhere"), Artifacts(f"{tmp_path}"), Settings(data_dir=tmp_path))
    with client_of(guarded, "ann") as ann, client_of(guarded, "bob") as bob, client_of(guarded, "root") as root:
        mine, theirs = everything(ann), everything(bob)
        key = guarded[1]["ann"].partition(".")[0]
        filled = {**mine, "item": "0", "key": key, "letter": f"{mine['job']}.0", "name": "toy/linear"}
        asked = 0
        for method, path in routes(app):
            full = re.sub(r"\{(\w+)(:path)?\}", lambda found: filled.get(found[1], "x"), path)
            body = {"json": BODIES[end]} if (end := path.rpartition("/")[2]) in BODIES else {}
            if path.startswith(ADMIN):
                refused(bob.http.request(method, full, json={} if method == "PUT" else None), 403)
            elif any(name in path for name in NAMED):
                refused(bob.http.request(method, full, **body), 404)
                if method == "GET":
                    assert ann.http.get(full).status_code < 300
                    assert root.http.get(full).status_code < 300
            elif method == "GET" and path in LISTS:
                seen = [client.http.get(full).text for client in (bob, ann)]
                for name in mine.values():
                    assert name not in seen[0]
                for name in theirs.values():
                    assert name not in seen[1]
                assert any(name in seen[1] for name in (*mine.values(), key, "toy/linear")), path
            else:
                known = ALIKE | BELOW if method in ("GET", "DELETE") else ALIKE | MADE
                assert path in known, f"no row for {method} {path}"
                continue
            asked += 1
        assert asked >= 30
        refused(bob.http.get("/v1/compare", params={"jobs": f"{mine['job']},{theirs['job']}"}), 404)
        ask = {"input_file_id": mine["file"], "endpoint": "/v1/completions", "completion_window": "24h"}
        refused(bob.http.post("/v1/batches", json=ask), 404)
        for kind, listing in (("job", "jobs"), ("file", "files"), ("batch", "batches")):
            refused(bob.http.get(f"/v1/{listing}", params={"after": mine[kind]}), 404)
        assert mine["job"] in root.http.get("/v1/jobs").text
        assert ann.job(mine["job"]).state == "completed"
        for name in ann.http.get(f"/v1/batches/{mine['batch']}").json()["jobs"]:
            assert ann.job(name).state == "completed"  # a batch's jobs are its owner's
            refused(bob.http.get(f"/v1/jobs/{name}"), 404)
        same = {"Idempotency-Key": "the same"}
        ids = {client.http.post("/v1/jobs", json=job(), headers=same).json()["id"] for client in (ann, ann, bob)}
        assert len(ids) == 2


def test_rate(guarded: tuple[str, dict[str, str], Store]) -> None:
    url, _, store = guarded

    def asked() -> list[httpx.Response] | None:
        """Answers to a key of its own; None where a minute ended meanwhile, after which it may ask anew."""
        minute = time.time() // 60
        with Client(url, key=store.write(access.create, "sid", ("read",), 3, None)[1]) as slow:
            answers = [slow.http.get("/v1/jobs") for _ in range(5)]
        return answers if time.time() // 60 == minute else None

    codes = until(asked)
    assert [answer.status_code for answer in codes] == [200, 200, 200, 429, 429]
    assert 1 <= int(codes[-1].headers["retry-after"]) <= 60
    assert refused(codes[-1], 429)["error"]["code"] == "rate_limit_exceeded"


def test_keys_over_http(guarded: tuple[str, dict[str, str], Store]) -> None:
    with client_of(guarded, "root") as root:
        made = root.http.post("/v1/keys", json={"owner": "eve", "scopes": ["read"], "days": 1}).json()
        with Client(guarded[0], key=made["key"]) as eve:
            assert eve.http.get("/v1/jobs").json()["data"] == []
        listed = root.http.get("/v1/keys").text
        assert made["id"] in listed
        assert made["key"].partition(".")[2] not in listed
        assert root.http.delete(f"/v1/keys/{made['id']}").json()["revoked_at"] is not None
        refused(root.http.delete("/v1/keys/wk_0"), 404)
        for bad in (
            {"owner": ""},
            {"owner": "x", "scopes": ["all"]},
            {"owner": "x", "rate": 0},
            {"owner": "x", "a": 1},
        ):
            refused(root.http.post("/v1/keys", json=bad), 422)
    with Client(guarded[0], key=made["key"]) as eve:
        until(lambda: eve.http.get("/v1/jobs").status_code == 401)  # what was known of it is forgotten


def test_expiry(store: Store) -> None:
    row, key = store.write(access.create, "a", ("read",), None, time.time() + 600)
    assert store.read(access.checked, key)
    store.write(access.change, row.name, expires=time.time())
    assert store.read(access.checked, key) is None
    assert store.read(access.checked, "nonsense") is None


def test_the_pages_cookie(guarded: tuple[str, dict[str, str], Store]) -> None:
    url, keys, _ = guarded
    with httpx.Client(base_url=url) as browser:
        refused(browser.post("/v1/session", json={"key": "wrong"}), 401)
        answer = browser.post("/v1/session", json={"key": keys["ann"]})
        told = answer.headers["set-cookie"].lower()
        assert answer.status_code == 204
        assert "httponly" in told
        assert "samesite=strict" in told
        assert browser.get("/v1/jobs").status_code == 200
        browser.delete("/v1/session")
        assert browser.get("/v1/jobs").status_code == 401


def test_no_key_no_open_address(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="winnow keys create"), Stack(Settings(data_dir=tmp_path), "0.0.0.0", workers=0):
        pass
    with Stack(Settings(data_dir=tmp_path), "0.0.0.0", workers=0, open=True) as stack:
        assert stack.url


def test_command(tmp_path: Path) -> None:
    def winnow(*words: str) -> Any:
        command = [sys.executable, "-m", "service.cli", "keys", *words, "--data-dir", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=200)

    key = winnow("create", "ann", "--scope", "read").stdout.strip()
    assert key.startswith("wk_")
    (line,) = winnow("list").stdout.splitlines()
    assert line.split() == [key.partition(".")[0], "ann", "read", "valid"]
    assert winnow("revoke", key.partition(".")[0]).returncode == 0
    assert winnow("list").stdout.split()[-1] == "revoked"
    for bad, said in ((("create", "x", "--scope", "all"), "valid: read, write, admin"), (("revoke", "wk_0"), "no key")):
        told = winnow(*bad)
        assert told.returncode == 1
        assert said in told.stderr
