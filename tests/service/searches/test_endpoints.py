"""Jobs whose model is behind an endpoint, through the whole service: nothing that could be had is lost."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from helping import done, end, ended, pids, refused, service, until, whole

from service.client import Client
from service.embedded import Stack
from service.store import Store
from service.store.schema import jobs
from service.store.schema import shards as table

ROUGH = {"errors": 0.08, "truncated": 0.05, "resets": 0.03, "limited": 0.04, "odd": 0.02, "retry-after": 0.02}
FAKES: dict[str, tuple[dict[str, Any], str]] = {  # faults, and what the operator says of it
    "rough": (ROUGH | {"latency": 0.01}, ""),
    "refusing": ({"refused": 0.3}, "n = 1"),
    "going-on": ({"errors": 0.05}, "continues = true"),
    "slow": ({"latency": 30}, "n = 1\nconcurrency = 16"),
    "many": ({"latency": 0.005}, "n = 1"),
}


@pytest.fixture(scope="module")
def urls(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """All fakes, listed in the operator's file."""
    file = tmp_path_factory.mktemp("operator") / "endpoints.toml"
    children: dict[str, subprocess.Popen[str]] = {}
    for name, (faults, _) in FAKES.items():
        options = [f"--{fault}={value}" for fault, value in faults.items()]
        command = [sys.executable, "-m", "generators.misbehaving", *options]
        children[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found: dict[str, str] = {}
    try:
        with open(file, "w") as out:
            for name, child in children.items():
                assert child.stdout
                found[name] = child.stdout.readline().strip()
                said = FAKES[name][1]
                out.write(f'[[endpoint]]\nname = "{name}"\nurl = "{found[name]}"\nmodel = "m"\nkey = "sk-1"\n{said}\n')
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WINNOW_ENDPOINTS", str(file))
            yield found
    finally:
        for child in children.values():
            end(child)


@pytest.fixture(scope="module")
def ours(urls: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    with service(tmp_path_factory.mktemp("data")) as pair:
        yield pair


@pytest.fixture
def winnow(ours: tuple[Stack, Client]) -> Client:
    return ours[1]


def stats(url: str) -> dict[str, Any]:
    return httpx.get(url.replace("/v1", "/stats"), timeout=60).json()


def asked(name: str, count: int, n: int, **changes: Any) -> dict[str, Any]:
    """count questions, each answered n times; a last line that says 2 is right."""
    return {
        "model": {"name": "endpoint", "endpoint": name, "max_tokens": 20},
        "items": [{"prompt": f"Question {i}. A:", "target": "2"} for i in range(count)],
        "search": {"method": "best_of_n", "n": n},
        "verifiers": ["numeric"],
    } | changes


def test_forty_items_on_a_server_where_a_fifth_of_all_goes_wrong(winnow: Client, urls: dict[str, str]) -> None:
    view = done(winnow, asked("rough", 40, 8))
    whole(winnow, view, 8)
    assert view.counts.lost == view.counts.unscored == 0
    assert 40 * 8 * 12 <= view.usage.tokens <= stats(urls["rough"])["tokens"]  # 6 symbols and 6 line ends each
    assert view.usage.unreported == 0
    answers = [c.answer for c in winnow.candidates(view.id)]
    assert all(re.fullmatch(r"([012]\n){6}", str(answer)) for answer in answers)
    assert winnow.curve(view.id).points[-1].k == 8


def test_refused_prompts_are_lost_and_said(winnow: Client) -> None:
    view = done(winnow, asked("refusing", 6, 8))
    assert 0 < view.counts.lost < 48
    assert view.usage.tokens == 12 * (48 - view.counts.lost)
    told = [c for c in winnow.candidates(view.id) if c.answer is None]
    assert len(told) == view.counts.lost
    reasons = {score.reason for c in told for score in c.scores}
    assert reasons == {"endpoint 'refusing': 400 this prompt cannot be answered"}


def test_names_and_searches_are_checked_at_submit_without_the_network(winnow: Client, urls: dict[str, str]) -> None:
    body = refused(winnow.http.post("/v1/jobs", json=asked("other", 1, 2)), 422)
    assert "unknown endpoint 'other'; valid: going-on, many, refusing, rough, slow" in str(body["errors"])
    before = stats(urls["many"])["requests"]
    body = refused(winnow.http.post("/v1/jobs", json=asked("many", 1, 2, search={"method": "beam"})), 422)
    assert "this endpoint serves best_of_n" in str(body["errors"])
    assert stats(urls["many"])["requests"] == before


def test_searches_that_steer_run_on_texts(winnow: Client) -> None:
    model = {"name": "endpoint", "endpoint": "going-on", "step": {"unit": "line", "most": 6, "tokens": 4}}
    for search in (
        {"method": "feynman_kac", "particles": 6, "tilt": 2},
        {"method": "beam", "n": 2, "start": 2, "end": 2, "children": 2},
        {"method": "soft_value", "n": 2, "children": 2},
    ):
        changes = {"model": model, "search": search, "verifiers": [{"name": "regex", "pattern": "2"}]}
        view = done(winnow, asked("going-on", 1, 2, **changes))
        assert view.counts.lost == view.counts.failed == 0
        assert all(re.fullmatch(r"([012]\n){6}", str(c.answer)) for c in winnow.candidates(view.id))
        assert view.usage.previews > 0


def test_cancel_closes_the_requests(winnow: Client, urls: dict[str, str]) -> None:
    view = winnow.submit(asked("slow", 4, 16))
    until(lambda: stats(urls["slow"])["flying"] == 16)
    winnow.cancel(view.id)
    until(lambda: stats(urls["slow"])["flying"] == 0)
    assert stats(urls["slow"])["closed"] == 16
    assert ended(winnow, view.id).state == "cancelled"


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_many_samples_in_flat_memory_and_a_worker_that_dies_loses_a_shard(
    ours: tuple[Stack, Client], urls: dict[str, str]
) -> None:
    """900 samples of one item; bench/endpoint.py does the same with 10,000."""
    (stack, client), n = ours, 900
    view = client.submit(asked("many", 1, n))
    until(lambda: client.job(view.id).counts.candidates >= 200)
    (pid,) = pids(stack)
    before = resident(pid)
    until(lambda: client.job(view.id).counts.candidates >= n - 200)
    assert resident(pid) - before < 20 * 2**20
    os.kill(pid, signal.SIGKILL)
    whole(client, ended(client, view.id), n)
    # Asked for twice: at most the shards that somebody had to begin again.
    store = Store(stack.settings.database)
    mine = sa.select(table.c.spans).where(jobs.c.name == view.id, table.c.job == jobs.c.id, table.c.attempt > 1)
    spans = store.read(lambda connection: connection.execute(mine).scalars().all())
    store.close()
    again = sum(span["count"] for shard in spans for span in json.loads(shard))
    assert stats(urls["many"])["samples"] <= n + again < 2 * n


def test_the_key_is_told_nowhere(ours: tuple[Stack, Client]) -> None:
    stack, client = ours
    folder = stack.settings.data_dir
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"sk-1" not in path.read_bytes(), path
    assert "sk-1" not in client.http.get("/v1/models").text
