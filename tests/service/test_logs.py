"""Log lines: listed fields only, the ids that find a request's work, and no secret in any output."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from helping import end, free_port, job, until
from starlette.testclient import TestClient

from service import logs
from service.api import create_app
from service.artifacts import Artifacts
from service.queue import Broker
from service.redis_server import answers, redis_program
from service.settings import Settings
from service.store import Store

PASSWORD, TOKEN, HOOK = "planted-password-1", "planted-token-2", "planted-secret-3-long"
NONE = logs.pattern([])
KEYS = {"time", "level", "logger", "message", "error", *logs.FIELDS}


def line(formatter: logging.Formatter, message: str, *args: Any, **extra: Any) -> str:
    record = logging.makeLogRecord({"msg": message, "args": args, "name": "winnow.test", "levelname": "INFO", **extra})
    return formatter.format(record)


def test_listed_fields_only() -> None:
    said = json.loads(
        line(logs.Json(NONE, worker="w"), "a %s", "b", request="r-1", headers={"Authorization": "x"}, shard=7)
    )
    assert said.keys() == {"time", "level", "logger", "message", "request", "shard", "worker"}
    assert (said["message"], said["request"], said["shard"], said["level"]) == ("a b", "r-1", 7, "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", said["time"])


def test_a_message_is_one_line() -> None:
    assert line(logs.Words(NONE), "two\nlines\u2028three", job="job_1").endswith(
        "winnow.test: two\\nlines\\nthree job=job_1"
    )
    assert "\n" not in line(logs.Json(NONE), "two\nlines")


@pytest.mark.parametrize(
    "text",
    [
        f"redis://user:{PASSWORD}@host:6379/0",
        f"said {TOKEN!r}",
        "wk_0123456789abcdef.secretpart",
        "Authorization: Bearer eyJhbGciOi",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    """In messages, in what they are about, and in tracebacks."""
    environment = {"SOME_KEY": TOKEN, "WINNOW_REDIS_URL": f"redis://:{PASSWORD}@h", "SHORT_KEY": "no"}
    formatter = logs.Json(logs.pattern(logs.secrets_of(environment)))
    try:
        raise ValueError(text)
    except ValueError:
        said = line(formatter, "it said %s", text, route=text, exc_info=sys.exc_info())
    for secret in (PASSWORD, TOKEN, "secretpart", "eyJhbGciOi"):
        assert secret not in said
    assert "ValueError" in json.loads(said)["error"]
    assert said.count("***") >= 3


@pytest.fixture
def api(store: Store, broker: Broker, tmp_path: Path) -> TestClient:
    app = create_app(store, broker, Artifacts(str(tmp_path)), Settings(data_dir=tmp_path))

    @app.get("/bug")
    def bug() -> None:
        raise ZeroDivisionError

    return TestClient(app, raise_server_exceptions=False)


def test_request_ids(api: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A valid id is kept and another is replaced; every answer has one, errors and refusals too."""
    caplog.set_level(logging.INFO, "winnow.api")
    given = "Order-2026.11_29"
    assert api.get("/v1/jobs", headers={"X-Request-Id": given}).headers["x-request-id"] == given
    for bad in ("", "short", "has space", "a" * 129, "wk_0123456789.secret", "line\tbreak", "-dashed-first"):
        made = api.get("/v1/jobs", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    for path, status in (("/bug", 500), ("/nowhere", 404), ("/v1/jobs?limit=x", 422)):
        response = api.get(path, headers={"X-Request-Id": given})
        assert (response.status_code, response.headers.get_list("x-request-id")) == (status, [given])
    created = api.post("/v1/jobs", json=job(1, 1)).json()["id"]
    api.get(f"/v1/jobs/{created}")
    said = [vars(record) for record in caplog.records if record.message == "answered"]
    routes = [(record["method"], record["route"], record["status"]) for record in said]
    assert routes[0] == ("GET", "/v1/jobs", 200)
    assert routes[-5:-2] == [("GET", "/bug", 500), ("GET", "none", 404), ("GET", "/v1/jobs", 422)]
    assert routes[-2:] == [("POST", "/v1/jobs", 202), ("GET", "/v1/jobs/{job}", 200)]
    assert said[-1]["job"] == created


@pytest.fixture
def fleet(plugins: None, tmp_path: Path) -> Iterator[tuple[str, list[Path], "subprocess.Popen[bytes]"]]:
    """API and worker as in production, all that is secret of them planted: address, what they print, their Redis."""
    ports = [free_port(), free_port()]
    servers = tmp_path / "endpoints.toml"
    servers.write_text(f'[[hook]]\nname = "h"\nurl = "http://127.0.0.1:9/x"\nsecret = "{HOOK}"\n')
    env = {
        **os.environ,
        "WINNOW_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{ports[0]}/0",
        "WINNOW_DATA_DIR": str(tmp_path),
        "WINNOW_ENDPOINTS": str(servers),
        "WINNOW_LOG": "json",
        "MODEL_TOKEN": TOKEN,
    }
    printed = [tmp_path / name for name in ("api.log", "worker.log")]
    api = [sys.executable, "-m", "service.cli", "api", "--port", str(ports[1])]
    commands = [api, [sys.executable, "-m", "service.cli", "worker"]]
    queue = [redis_program(), "--port", str(ports[0]), "--requirepass", PASSWORD, "--save", "", "--dir", str(tmp_path)]
    with ExitStack() as undo:
        redis_ = subprocess.Popen(queue, stdout=subprocess.DEVNULL)
        undo.callback(end, redis_)
        until(lambda: answers(env["WINNOW_REDIS_URL"]))
        for command, path in zip(commands, printed, strict=True):
            with path.open("wb") as out:
                undo.callback(end, subprocess.Popen(command, env=env, stdout=out, stderr=out))
        url = f"http://127.0.0.1:{ports[1]}"

        def ready() -> bool:
            try:
                return httpx.get(f"{url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready)
        yield url, printed, redis_


def test_no_output_holds_a_secret(fleet: tuple[str, list[Path], "subprocess.Popen[bytes]"]) -> None:
    """A planted key, a password, a token and a secret, through a job, errors and an outage: in no line, no answer."""
    url, printed, queue = fleet
    key = "wk_0123456789abcdef.planted-key-4"
    told: list[str] = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=90) as client:
        spec, judged = job(1, 2, model={"name": "outside/leaky"}), job(1, 2, verifiers=["outside/leaky"])
        sent = client.post("/v1/jobs", json=spec, headers={"Prefer": "wait=60", "X-Request-Id": "the-request-1"})
        name = sent.json()["id"]
        other = client.post("/v1/jobs", json=judged, headers={"Prefer": "wait=60"}).json()["id"]
        told += [client.get(f"/v1/jobs/{each}/candidates").text for each in (name, other)]
        assert "it read ***" in told[-1]
        told += [sent.text, client.get(f"/v1/jobs/{name}/items").text]
        assert "it read ***" in told[-1]
        client.get(f"/v1/jobs?after={key}")  # what a client sends wrong it may read again in its own answer, no log
        client.post("/v1/jobs", json={key: 1})
        client.get(f"/{key}")
        told.append(client.get("/metrics").text)
        queue.send_signal(signal.SIGKILL)
        until(lambda: all("rror" in path.read_text().rsplit("answered", 1)[-1] for path in printed))
        told.append(client.get("/readyz").text)
        assert client.get("/readyz").status_code == 503
    # A last line may be half written.
    lines = [[json.loads(one) for one in path.read_text().rpartition("\n")[0].splitlines()] for path in printed]
    for text in [*told, *(path.read_text() for path in printed)]:
        for secret in (PASSWORD, TOKEN, HOOK, key, "planted-key-4"):
            assert secret not in text, text[max(0, text.find(secret) - 300) :][:600]
    for said in (one for each in lines for one in each):
        assert said.keys() <= KEYS
    # The id of the request leads to its job, and the job to its shard on a worker.
    (accepted,) = [one for one in lines[0] if one.get("request") == "the-request-1" and one["message"] == "answered"]
    assert (accepted["job"], accepted["status"]) == (name, 202)
    failed = [one for one in lines[1] if one.get("job") == name]
    assert failed
    assert all({"shard", "worker"} <= one.keys() for one in failed)
    assert any("it read ***" in one.get("error", "") for one in failed)
