"""The command line, as a person meets it: a result, or one sentence and a non-zero exit; never a traceback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helping import done, end, free_port, items, job, until
from PIL import Image
from typer.testing import CliRunner

from service.cli import app
from service.client import Client
from service.embedded import Stack

Said = subprocess.CompletedProcess[str]


def winnow(*words: str | Path, stdin: str = "", **env: str) -> Said:
    """Run a command to its end."""
    command = [sys.executable, "-m", "service.cli", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "200", **env}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=200, env=environment)


def inside(*words: str | Path, **env: str) -> Said:
    """The same in this process: for refusals, of which there are many."""
    said = CliRunner().invoke(app, [*map(str, words)], env=env)
    if said.exception is not None and not isinstance(said.exception, SystemExit):
        raise said.exception
    return Said(words, said.exit_code, said.stdout, said.stderr)


def fill(path: Path) -> None:
    """Use up the disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(file, b"x" * 4096):
            pass
    os.close(file)


def sentence(said: Said, *parts: str) -> None:
    """It failed, and said why in one sentence."""
    assert said.returncode != 0
    assert "Traceback" not in said.stderr + said.stdout
    last = said.stderr.strip().splitlines()
    assert len(last) == 1, said.stderr
    assert last[0].startswith("winnow: ")
    for part in parts:
        assert part in last[0]


@contextlib.contextmanager
def started(*words: str | Path, **env: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`winnow serve` and its address."""
    command = [sys.executable, "-m", "service.cli", *map(str, words)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert "answers at " in line, process.communicate()[1]
            yield process, line.split("answers at ")[1].split(",")[0]
        finally:
            end(process)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job(3, 5)))
    return path


def test_help() -> None:
    said = winnow("--help")
    assert said.returncode == 0
    for command in ("serve", "api", "worker", "run", "submit", "watch", "results", "curve", "report", "demo"):
        assert command in said.stdout
        assert inside(command, "--help").returncode == 0


def test_run(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # A service of its own: a shared one that the environment names is not touched.
    shared = {"WINNOW_REDIS_URL": "redis://127.0.0.1:1", "WINNOW_DATABASE_URL": "sqlite:////nowhere/winnow.db"}
    said = winnow("run", spec, "--out", out, **shared)
    assert said.returncode == 0, said.stderr
    value = json.loads(said.stdout)
    assert value["state"] == "completed"
    assert [item["id"] for item in value["items"]] == ["i0", "i1", "i2"]
    assert value["curve"]["samples"] == 5
    assert json.loads((out / "result.json").read_text()) == value
    again = winnow("run", "-", stdin=spec.read_text())
    assert json.loads(again.stdout)["items"] == [
        {**item, "best": [_untimed(c, d) for c, d in zip(item["best"], other["best"], strict=True)]}
        for item, other in zip(value["items"], json.loads(again.stdout)["items"], strict=True)
    ]


def _untimed(candidate: Any, other: Any) -> Any:
    """The candidate with the other's times, which are the only thing that may differ."""
    scores = [{**s, "ms": o["ms"]} for s, o in zip(candidate["scores"], other["scores"], strict=True)]
    return {**candidate, "scores": scores}


def test_run_keeps_pictures(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job(model="outside/by_prompt", items=items("image", "number"), top_k=2)))
    said = winnow("run", path, "--out", tmp_path / "out", "--data-dir", tmp_path / "data")
    assert said.returncode == 0, said.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"result.json"}
    best = json.loads(said.stdout)["items"][0]["best"]
    for rank in range(len(best)):
        assert Image.open(tmp_path / "out" / f"00000-{rank}.png").size == (4, 4)
    assert (tmp_path / "data" / "winnow.db").exists()


def test_run_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(job(model="toy/unknown")))
    sentence(inside("run", path), "unknown model 'toy/unknown'", "toy/noop")
    path.write_text(json.dumps(job(model="outside/by_prompt", items=items("boom"))))
    failed = winnow("run", path)
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("winnow: the job has failed: RuntimeError: boom")
    assert json.loads(failed.stdout)["state"] == "failed"


def test_job_files(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    sentence(inside("run", path), "No such file")
    sentence(inside("run", tmp_path), "Is a directory")
    for text, why in (
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not list"),
        ("7", "not int"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "twice"),
    ):
        path.write_text(text)
        sentence(inside("run", path), why)
    path.write_bytes(b"\xff\xfe")
    sentence(inside("submit", path), "not UTF-8")


def test_submit_watch_results_curve(client: Client, spec: Path, tmp_path: Path) -> None:
    env = {"WINNOW_URL": str(client.http.base_url)}
    name = winnow("submit", spec, **env).stdout.strip()
    assert inside("submit", spec, "--key", "cli", **env).stdout == inside("submit", spec, "--key", "cli", **env).stdout
    watched = winnow("watch", name, **env)
    assert watched.stdout == f"{name} completed\n"
    assert json.loads(inside("results", name, "--out", tmp_path / "o", **env).stdout)["id"] == name
    assert "coverage" in inside("curve", name, "--judge", "toy/linear", **env).stdout
    sentence(inside("curve", name, "--judge", "nobody", **env), "valid: toy/linear")
    for command in ("watch", "results", "curve"):
        sentence(inside(command, "job_0", **env), "404: no job 'job_0'")
    (tmp_path / "file").write_text("")
    sentence(inside("results", name, "--out", tmp_path / "file", **env), "file' cannot be written: File exists")
    sentence(inside("watch", "job_0", WINNOW_URL="http://127.0.0.1:9"), "no answer from")
    sentence(inside("watch", "job_0", WINNOW_URL="nonsense"), "no answer from")
    sentence(inside("watch", "job_0", WINNOW_URL="http://a:port"), "is no address")


@pytest.mark.parametrize("command", ["api", "worker"])
def test_without_redis(command: str, tmp_path: Path) -> None:
    sentence(inside(command), "set WINNOW_REDIS_URL")
    away = f"unix://{tmp_path}/no.sock"
    sentence(winnow(command, WINNOW_REDIS_URL=away), "does not answer")
    sentence(inside(command, WINNOW_REDIS_URL="nonsense"), "does not answer")
    sentence(inside("serve", "--port", "0", "--data-dir", tmp_path / "d", WINNOW_REDIS_URL=away), "does not answer")


def test_settings_and_databases(tmp_path: Path, valkey: str) -> None:
    sentence(inside("serve", WINNOW_LEASE_SECONDS="soon"), "WINNOW_LEASE_SECONDS")
    sentence(inside("serve", WINNOW_WINDOW="0"), "WINNOW_WINDOW")
    folder = ("--data-dir", tmp_path)
    for url in ("nonsense", "oracle://x/y", "sqlite:////nowhere/at/all.db"):
        sentence(inside("api", *folder, WINNOW_REDIS_URL=valkey, WINNOW_DATABASE_URL=url), "database cannot be used")
    (tmp_path / "winnow.db").write_text("this is no database" * 100)
    sentence(winnow("api", *folder, WINNOW_REDIS_URL=valkey), "file is not a database")
    sentence(inside("worker", "--model", "nothing", WINNOW_REDIS_URL=valkey), "unknown model 'nothing'")


def test_data_folders(tmp_path: Path, spec: Path, stack: Stack) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for command in (("serve", "--port", "0"), ("run", spec)):
        sentence(inside(*command, "--data-dir", path), "cannot be used: File exists")
        sentence(inside(*command, "--data-dir", path / "below"), "cannot be used: Not a directory")
        sentence(inside(*command, "--data-dir", stack.settings.data_dir), "in use by another winnow")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "redis").write_text("")
    sentence(inside("serve", "--port", "0", "--data-dir", tmp_path / "d"), "cannot be used: File exists")


def test_ports_and_hosts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        sentence(inside("serve", "--port", port, "--data-dir", tmp_path), f"127.0.0.1:{port}", "in use")
    sentence(inside("serve", "--port", "70000", "--data-dir", tmp_path), "70000")
    sentence(inside("serve", "--host", "no.such.host.invalid", "--data-dir", tmp_path), "no.such.host.invalid")


def test_serve_answers_and_stops(tmp_path: Path) -> None:
    with started("serve", "--port", "0", "--host", "::1", "--data-dir", tmp_path) as (process, url):
        with Client(url) as client:
            done(client, job(1, 2))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_api_and_worker_apart(tmp_path: Path, valkey: str) -> None:
    """The set-up of many machines, on one: nothing is shared but Redis and the database."""
    env = {"WINNOW_REDIS_URL": valkey, "WINNOW_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    env |= {"WINNOW_ARTIFACTS_URL": str(tmp_path / "a")}
    port = free_port()
    with contextlib.ExitStack() as undo:

        def start(*words: str) -> "subprocess.Popen[bytes]":
            with open(tmp_path / "log", "ab") as log:
                command = [sys.executable, "-m", "service.cli", *words]
                process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
            undo.callback(end, process)
            return process

        api = start("api", "--port", str(port))
        workers = [start("worker", "--model", model) for model in ("toy/gaussian_mixture", "toy/noop")]
        client = undo.enter_context(Client(f"http://127.0.0.1:{port}"))

        def up() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return client.http.get("/readyz").status_code == 200
            return False

        until(up)
        done(client, job(2, 3))
        done(client, job(2, 3, model="toy/noop"))
        waiting = client.submit(job(1, 1, model="toy/bits", verifiers=["toy/ones"]))  # nobody holds this one
        done(client, job(2, 3))
        assert client.job(waiting.id).state == "queued"
        for process in (*workers, api):
            process.terminate()
        assert [process.wait(60) for process in workers] == [0, 0]
        assert api.wait(60) in (0, -signal.SIGTERM)  # uvicorn ends in order, then passes the signal on


def test_a_worker_that_ends_is_told(tmp_path: Path) -> None:
    with started("serve", "--port", "0", "--data-dir", tmp_path / "d") as (process, url):

        def names() -> set[str]:
            return {worker["worker"] for worker in httpx.get(f"{url}/v1/workers", timeout=60).json()["data"]}

        (name,) = until(names)
        found = subprocess.run(["pgrep", "-P", str(process.pid), "-f", name], capture_output=True, text=True)
        os.kill(int(found.stdout), signal.SIGKILL)
        until(lambda: names() - {name})
        process.terminate()
        assert f"worker {name} ended (-9); another has taken its place" in process.communicate(timeout=90)[1]


def test_full_disk_at_the_start(small_disk: Path, spec: Path) -> None:
    fill(small_disk / "fill")
    sentence(winnow("run", spec, "--data-dir", small_disk))


def test_full_disk_in_the_middle(small_disk: Path) -> None:
    """Answers do not fit: the job fails and says so, no half file stays, and with room again the next job works."""
    from helping import service

    with service(small_disk) as (_, client):
        done(client, job(1, 1))
        fill(small_disk / "fill")
        big = client.http.post("/v1/jobs", json=job(items=[{"prompt": "a" * 20_000}] * 20), timeout=90)
        assert (big.status_code, big.json()["detail"]) == (503, "the database's disk is full: make room; try again")
        assert client.http.get("/readyz").json()["warnings"] == ["the disk of the data folder has 0 MB left: make room"]
        response = client.http.post("/v1/jobs", json=job(model="outside/by_prompt", items=items("huge")), timeout=90)
        assert response.status_code in (202, 503)
        (small_disk / "fill").unlink()
        if response.status_code == 202:
            until(lambda: client.job(response.json()["id"]).finished)
        done(client, job(model="outside/by_prompt", items=items("huge")))
        assert not list(small_disk.rglob("*.part"))
