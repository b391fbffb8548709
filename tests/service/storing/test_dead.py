"""Dead letters: listed, requeued once, and then as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helping import done, ended, found, items, job, outcome, prepared, refused, service, take

from service.client import Client
from service.embedded import Stack
from service.store import Store, access, commits, creating, dead, jobs, quotas, shards
from service.store.access import Missing
from service.store.jobs import Conflict
from service.store.schema import items as item_table


def items_of(store: Store, job_: int) -> list[tuple[Any, ...]]:
    columns = (item_table.c.state, item_table.c.error, item_table.c.stop_reason, item_table.c.shards_left)
    with store.reading() as connection:
        rows = connection.execute(sa.select(*columns).where(item_table.c.job == job_).order_by(item_table.c.number))
        return [tuple(row) for row in rows]


def test_requeued_and_done(store: Store) -> None:
    """An item of two failed shards is well again when both are; an ended job goes on, and ends again."""
    job = store.write(creating.create, prepared(2, 2000))  # two shards of each item
    for shard in (1, 2, 3):
        assert store.write(shards.fail, take(store, shard), f"error {shard}")
    last = take(store, 4)
    assert store.write(commits.commit, last, outcome(last))
    before = store.read(jobs.find, job.name)
    assert (before.state, before.items_done, before.items_failed, before.shards_done) == ("failed", 2, 2, 4)
    letters = store.read(dead.page, 2, None)
    assert [(row.number, row.error) for row in letters] == [(2, "error 3"), (1, "error 2")]
    (first,) = store.read(dead.page, 2, f"{job.name}.1")
    assert first.error == "error 1"
    for wrong in (f"{job.name}.9", f"{job.name}.x", "nothing", "job_x.1", f"{job.name}.\u00b2", f"{job.name}.{9**20}"):
        with pytest.raises(Missing):
            store.write(dead.requeue, wrong)
    with pytest.raises(Conflict, match="no dead letter"):
        store.write(dead.requeue, f"{job.name}.3")
    opened = store.write(dead.requeue, f"{job.name}.0")
    counts = (opened.state, opened.finished, opened.items_done, opened.shards_done, opened.items_failed)
    assert counts == ("in_progress", None, 1, 3, 0)
    assert items_of(store, job.id)[0] == ("in_progress", "error 2", "error", 1)
    with pytest.raises(Conflict):
        store.write(dead.requeue, f"{job.name}.0")  # once
    assert store.write(dead.requeue, f"{job.name}.1").items_done == 1
    assert items_of(store, job.id)[0] == ("in_progress", None, None, 2)
    assert store.write(dead.requeue, f"{job.name}.2").items_done == 0
    for shard in (1, 2, 3):
        again = take(store, shard, "9-0")
        assert (again.attempt, again.deaths) == (2, 0)
        assert store.write(commits.commit, again, outcome(again))
    after = store.read(jobs.find, job.name)
    assert (after.state, after.stop_reason, after.items_done, after.items_failed) == ("completed", None, 2, 0)
    assert (after.shards_done, after.candidates, after.error) == (4, 4000, None)
    assert items_of(store, job.id) == [("completed", None, None, 0)] * 2


def test_what_is_over_stays_over(store: Store) -> None:
    cancelled = store.write(creating.create, prepared(2, 1000))
    assert store.write(shards.fail, take(store, 1), "error")
    store.write(jobs.cancel, cancelled.name)
    with pytest.raises(Conflict, match="is cancelled"):
        store.write(dead.requeue, f"{cancelled.name}.0")
    late = store.write(creating.create, prepared(1, 4, budget={"seconds": 0.0}))
    assert store.write(shards.fail, take(store, 3), "error")
    with pytest.raises(Conflict, match=r"the 0 s of job .* are over"):
        store.write(dead.requeue, f"{late.name}.0")


def test_requeued_work_is_paid_once(store: Store) -> None:
    quota = json.dumps({"samples": {"total": 8}})
    key = store.write(access.create, "ann", ("write",), None, None, quota)[0].name
    with access.acting("ann", key):
        job = store.write(creating.create, prepared(2, 4))
    assert store.write(shards.fail, take(store, 1), "error")
    with access.acting("ann", key):
        other = store.write(creating.create, prepared(2, 4))
    with pytest.raises(quotas.Exhausted):  # somebody else has what it held
        store.write(dead.requeue, f"{job.name}.0")
    store.write(jobs.cancel, other.name)
    store.write(dead.requeue, f"{job.name}.0")
    assert store.read(quotas.account, key, quotas.today())["total"]["held_samples"] == 8
    claim = take(store, 1, "9-0")
    assert store.write(commits.commit, claim, outcome(claim))
    total = store.read(quotas.account, key, quotas.today())["total"]
    assert (total["held_samples"], total["spent_samples"]) == (0, 8)


def test_killed_mended_requeued(tmp_path: Path) -> None:
    """By the command line; the answers are those of a job to which nothing happened, its events tell it all."""
    with service(tmp_path) as (stack, client):
        _mended(stack, client, tmp_path / "mended")


def _mended(stack: Stack, client: Client, mended: Path) -> None:
    spec = job(model="outside/by_prompt", search={"n": 1200}, items=items("number", "die", "number"))
    judge = {"name": "outside/deadly", "mended": f"{mended}"}
    view = ended(client, client.submit(spec | {"verifiers": [judge]}).id)
    assert (view.state, view.counts.failed) == ("completed", 1)

    def winnow(*words: str) -> str:
        command = [sys.executable, "-m", "service.cli", "dead", *words, "--url", stack.url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    (line,) = [line for line in winnow("list").splitlines() if view.id in line]
    letter, model, deaths, error = line.split("  ")
    assert (model, deaths, error) == ("outside/by_prompt", "3", "worker_lost: 3 workers died on this shard")
    mended.touch()
    assert winnow("requeue", letter) == f"{letter}  in_progress\n"
    last = ended(client, view.id)
    assert (last.state, last.counts.failed, last.error) == ("completed", 0, None)
    assert view.id not in winnow("list")
    fine = done(client, spec | {"verifiers": [judge]})
    assert found(client, last.id) == found(client, fine.id)
    with client.http.stream("GET", f"/v1/jobs/{view.id}/events") as stream:
        told = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    assert [kind for kind in told if kind != "progress"] == [
        *("created", "in_progress", "completed"),
        *("requeued", "completed"),
    ]


def test_routes(client: Client) -> None:
    for after in ("nothing", "job_x.1", "x" * 150):
        refused(client.http.get("/v1/dead", params={"after": after}), 404)
    for limit in (0, 1001, "x"):
        refused(client.http.get("/v1/dead", params={"limit": limit}), 422)
    refused(client.http.post("/v1/dead/job_x.1/requeue"), 404)
    view = done(client, job())
    refused(client.http.post(f"/v1/dead/{view.id}.0/requeue"), 409)
