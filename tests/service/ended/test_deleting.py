"""Deleted jobs: nothing of them is left, and nothing that others use is gone."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from helping import done, ended, found, frozen, job, outcome, prepared, refused, take, until
from typer.testing import CliRunner

from search.metering import Spent
from search.population import Population
from search.ports import Rows, Score
from search.run import Outcome
from search.verdicts import Verdicts
from service import deleting
from service.artifacts import Artifacts
from service.cli import app
from service.client import Client
from service.embedded import Stack
from service.execute import Finding
from service.store import Store, blobs, commits, creating, jobs
from service.store import deleting as table
from service.store.access import Missing
from service.store.jobs import Conflict
from service.store.schema import candidates, judges, metadata, orphans
from service.writing import written

LARGE = 200
"""Pixels of a side of noise whose PNG is an artifact, and no row."""


def rows_of(store: Store, number: int, of_judges: list[int]) -> dict[str, int]:
    """Rows of every table that belong to a job."""
    left: dict[str, int] = {}
    with store.reading() as connection:
        for one in metadata.tables.values():
            if one.name == "deleted":
                continue
            mine = one.c.job == number if "job" in one.c else one.c.judge.in_(of_judges) if "judge" in one.c else None
            mine = one.c.id == number if one.name == "jobs" else mine
            if mine is not None and one.name != "trials":
                count = sa.select(sa.func.count()).select_from(one).where(mine)
                left[one.name] = connection.execute(count).scalar_one()
    return left


def numbers(store: Store, name: str) -> tuple[int, list[int]]:
    """A job's number and those of its judges."""
    with store.reading() as connection:
        number = jobs.find(connection, name).id
        return number, list(connection.execute(sa.select(judges.c.id).where(judges.c.job == number)).scalars())


def test_nothing_of_it_is_left(client: Client, stack: Stack) -> None:
    """Of any table; a second time it is not there; its key makes a new job, which has another number."""
    store = Store(stack.settings.database)
    client.http.post("/v1/webhooks/secret")
    spec = job(2, 8, verifiers=[{"name": "toy/linear", "threshold": 0.0}], webhook="https://127.0.0.1/")
    spec |= {"search": {"n": 8, "select": "diverse", "features": "number"}}
    first = client.submit(spec, idempotency_key="deleted", wait=60)
    client.label(first.id, [{"item": 0, "sample": 0, "right": True}])
    other = done(client, spec)
    before = found(client, other.id)
    number, of_judges = numbers(store, first.id)
    full = rows_of(store, number, of_judges)
    assert all(full[name] for name in ("jobs", "items", "shards", "candidates", "judges", "scores", "tallies", "pools"))
    assert all(full[name] for name in ("events", "audits", "features", "webhook_deliveries"))
    told = client.delete(first.id)
    assert (told.id, told.state) == (first.id, "completed")
    assert set(rows_of(store, number, of_judges).values()) == {0}
    for method, path in (("DELETE", ""), ("GET", ""), ("GET", "/items"), ("GET", "/curve"), ("POST", "/cancel")):
        refused(client.http.request(method, f"/v1/jobs/{first.id}{path}"), 404)
    refused(client.http.get("/v1/compare", params={"jobs": f"{first.id},{other.id}"}), 404)
    assert found(client, other.id) == before
    again = client.submit(spec, idempotency_key="deleted", wait=60)
    assert again.id != first.id
    assert found(client, again.id) == before
    client.delete(again.id)
    last = done(client, spec)
    assert numbers(store, last.id)[0] > number
    store.close()


def test_a_number_is_not_given_again(store: Store) -> None:
    """Workers know jobs by it."""
    first = store.write(creating.create, prepared())
    store.write(jobs.cancel, first.name)
    store.write(table.delete, first.name)
    assert store.write(creating.create, prepared()).id > first.id


def test_what_has_not_ended(client: Client, stack: Stack) -> None:
    with frozen(stack):
        slow = client.submit(job(2, 200))
        told = refused(client.http.delete(f"/v1/jobs/{slow.id}"), 409)
        assert f"cancel it first: POST /v1/jobs/{slow.id}/cancel" in told["detail"]
        client.cancel(slow.id)
    ended(client, slow.id)
    assert client.delete(slow.id).state == "cancelled"


def test_bytes_that_others_name_stay(client: Client, stack: Stack) -> None:
    """Small ones in the database and large ones in files: gone with the last job that names them."""
    for prompt in ("image", "huge"):
        spec = job(1, 3, model="outside/by_prompt", items=[{"prompt": prompt}], verifiers=["any"], seed=77)
        first, second = done(client, spec), done(client, spec)
        names = [c.artifact or "" for c in client.candidates(first.id)]
        assert names == [c.artifact for c in client.candidates(second.id)]
        before = [client.artifact(name) for name in names]
        client.delete(first.id)
        assert [client.artifact(name) for name in names] == before
        client.delete(second.id)
        for name in names:
            refused(client.http.get(f"/v1/artifacts/{name}"), 404)
            assert not list((Path(stack.settings.data_dir) / "artifacts").rglob(f"{name}*"))


def test_a_rescored_job_stands_alone(client: Client, stack: Stack) -> None:
    """While it runs its source stays; afterwards it has all that it needs."""
    spec = job(1, 3, model="outside/by_prompt", items=[{"prompt": "huge"}], verifiers=["any"], seed=78)
    first = done(client, spec)
    second = client.rescore(first.id, {"verifiers": ["any"]}, wait=60)
    before, data = found(client, second.id), [client.artifact(c.artifact or "") for c in client.candidates(second.id)]
    with frozen(stack):
        third = client.rescore(first.id, {"verifiers": ["any"], "search": {"select": "first_pass"}})
        told = refused(client.http.delete(f"/v1/jobs/{first.id}"), 409)
    assert f"judged again by job {third.id}; cancel that first" in told["detail"]
    ended(client, third.id)
    client.delete(first.id)
    assert client.job(second.id).rescores == first.id
    assert found(client, second.id) == before
    assert [client.artifact(c.artifact or "") for c in client.candidates(second.id)] == data
    assert found(client, client.rescore(second.id, {"verifiers": ["any"]}, wait=60).id) == before


def test_tunes_and_batches(client: Client) -> None:
    """Jobs of theirs stay until they have ended; then their names lead nowhere."""
    size = {"samples": 20, "population": 2, "generations": 1, "finalists": 1}

    def tuned(seconds: float) -> str:
        """A tune whose candidates take 2,000 times that, and the baseline no time."""
        model, lever = {"name": "outside/slow", "steps": 100}, {"seconds": {"low": seconds, "high": 2 * seconds}}
        ask = {"preset": "deleted", "items": [{}], "verifiers": ["toy/linear"], "model": model, "levers": lever, **size}
        return client.http.post("/v1/tunes", json=ask).json()["id"]

    def trial(tune: str) -> Any:
        rows = client.http.get(f"/v1/tunes/{tune}/trials").json()["data"]
        return next((row["job"] for row in rows if row["job"] and client.job(row["job"]).finished), None)

    slow = tuned(0.01)
    name = until(lambda: trial(slow))
    assert f"tune {slow}" in refused(client.http.delete(f"/v1/jobs/{name}"), 409)["detail"]
    client.http.post(f"/v1/tunes/{slow}/cancel")
    until(lambda: client.http.get(f"/v1/tunes/{slow}").json()["state"] == "cancelled")
    client.delete(name)
    tune = tuned(1e-6)
    until(lambda: client.http.get(f"/v1/tunes/{tune}").json()["state"] == "completed")
    name = trial(tune)
    client.delete(name)
    rows = client.http.get(f"/v1/tunes/{tune}/trials").json()["data"]
    assert name in [row["job"] for row in rows]
    assert client.http.get(f"/v1/tunes/{tune}").json()["best"]
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": "toy/bits", "prompt": "x"}}
    upload = client.http.post("/v1/files", files={"file": ("a", json.dumps(line))}, data={"purpose": "batch"}).json()
    batch = client.http.post("/v1/batches", json={"input_file_id": upload["id"], "endpoint": "/v1/completions"}).json()
    view = until(lambda: (b := client.http.get(f"/v1/batches/{batch['id']}").json())["status"] == "completed" and b)
    (made,) = view["jobs"]
    client.delete(made)
    view = client.http.get(f"/v1/batches/{batch['id']}").json()
    assert (view["jobs"], view["request_counts"]["completed"]) == ([], 1)
    assert client.http.get(f"/v1/files/{view['output_file_id']}/content").status_code == 200


@pytest.mark.parametrize("state", ["validating", "in_progress", "cancelling", "finalizing"])
def test_a_batch_that_is_open(store: Store, state: str) -> None:
    from service.store import batches

    batch = store.write(batches.create, "/v1/completions", ("24h", 1.0), "file-0", None)
    store.write(batches.step, batch, state)
    one = store.write(creating.create, prepared(), None, batch.id)
    store.write(jobs.cancel, one.name)
    with pytest.raises(Conflict, match=f"batch {batch.name}, which has not ended"):
        store.write(table.delete, one.name)


def test_who_waits_for_a_deleted_job_is_told(store: Store) -> None:
    one = store.write(creating.create, prepared())
    assert list(store.read(jobs.ended, [one.id])) == []
    store.write(jobs.cancel, one.name)
    store.write(table.delete, one.name)
    assert list(store.read(jobs.ended, [one.id])) == [one.id]


def drawn(store: Store, artifacts: Artifacts, picture: Any) -> tuple[Any, Any, Any]:
    """A job of one answer that a worker has drawn, not yet committed: job, claim, results."""
    one = store.write(creating.create, prepared(1, 1))
    shard = store.read(lambda c: c.execute(sa.text(f"SELECT id FROM shards WHERE job = {one.id}")).scalar())
    claim = take(store, shard, f"{shard}-0")
    rows = Rows(np.zeros((1, 2), np.uint32), np.ones(1, np.int64), np.ones(1, bool), np.ones(1, np.int64), {})
    verdicts = Verdicts([picture], {"toy/linear": [Score(1.0)]}, {"toy/linear": 0.1})
    population = Population.of(rows).judged(np.array([0]), verdicts).found()
    finding = Finding(claim.spans[0], Outcome(population, None, Spent()), Verdicts())
    return one, claim, written(claim, prepared(1, 1), [finding], artifacts)


def raced(store: Store, artifacts: Artifacts, side: int) -> tuple[Any, str, Any, Any]:
    """A job, the name of its picture's bytes, and claim and results of another of the same picture, not committed."""
    picture = np.random.default_rng(1).integers(0, 255, (side, side), np.uint8)
    first, claim, results = drawn(store, artifacts, picture)
    assert store.write(commits.commit_all, [(claim, results)], artifacts.put)
    _, late, unwritten = drawn(store, artifacts, picture)
    (name,) = store.read(lambda c: c.execute(sa.select(candidates.c.artifact)).scalars().all())
    return first, name, late, unwritten


@pytest.mark.parametrize("side", [4, LARGE], ids=["blob", "file"])
def test_a_job_that_is_just_being_written_keeps_its_bytes(store: Store, tmp_path: Path, side: int) -> None:
    """Its worker has seen them there, and writes nothing; then the only other job that names them is deleted."""
    artifacts = Artifacts(f"{tmp_path / 'artifacts'}")
    first, name, late, unwritten = raced(store, artifacts, side)
    deleting.delete(store, artifacts, first.name)
    assert store.read(blobs.find, name) is None
    assert artifacts.get(name) is None
    assert store.write(commits.commit_all, [(late, unwritten)], artifacts.put)
    assert store.read(blobs.find, name) or artifacts.get(name)
    deleting.sweep_all(store, artifacts)
    assert store.read(blobs.find, name) or artifacts.get(name)


@pytest.mark.parametrize("side", [4, LARGE], ids=["blob", "file"])
def test_a_sweep_waits_for_who_is_writing(store: Store, tmp_path: Path, side: int) -> None:
    """An answer that is written and not committed cannot be seen; its bytes are not removed under it."""
    artifacts = Artifacts(f"{tmp_path / 'artifacts'}")
    first, name, late, unwritten = raced(store, artifacts, side)
    store.write(table.delete, first.name)
    begun, go = threading.Event(), threading.Event()

    def writing(connection: sa.Connection) -> None:
        assert commits.commit_all(connection, [(late, unwritten)], artifacts.put)
        begun.set()
        assert go.wait(60)

    with ThreadPoolExecutor(2) as pool:
        committed = pool.submit(store.write, writing)
        assert begun.wait(60)
        swept = pool.submit(deleting.sweep_all, store, artifacts)
        with pytest.raises(TimeoutError):
            swept.result(0.5)
        go.set()
        committed.result(60)
        swept.result(60)
    assert store.read(blobs.find, name) or artifacts.get(name)
    assert store.read(lambda c: c.execute(sa.select(orphans)).all()) == []


def test_bytes_that_cannot_be_removed_now(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The job is deleted all the same; the next sweep, of a worker that starts or another deletion, removes them."""
    artifacts = Artifacts(f"{tmp_path / 'artifacts'}")
    picture = np.random.default_rng(3).integers(0, 255, (LARGE, LARGE), np.uint8)
    one, claim, results = drawn(store, artifacts, picture)
    assert store.write(commits.commit_all, [(claim, results)], artifacts.put)
    (name,) = store.read(lambda c: c.execute(sa.select(candidates.c.artifact)).scalars().all())

    class Stuck(Artifacts):
        def forget(self, sha256: str) -> None:
            raise OSError("the disk is read-only")

    deleting.delete(store, Stuck(artifacts.url), one.name)
    assert "read-only" in caplog.text
    with pytest.raises(Missing):
        store.read(jobs.find, one.name)
    assert artifacts.get(name)
    deleting.sweep_all(store, artifacts)
    assert artifacts.get(name) is None


def test_two_at_once(client: Client, stack: Stack) -> None:
    name = done(client, job(4, 50)).id
    url = f"{stack.url}/v1/jobs/{name}"
    with ThreadPoolExecutor(4) as pool:
        codes = [
            one.status_code for one in pool.map(lambda _: httpx.delete(url, trust_env=False, timeout=60), range(4))
        ]
    assert sorted(codes) == [200, 404, 404, 404]


def test_a_worker_that_thaws_writes_nothing(store: Store) -> None:
    """Its claim is of a job that was cancelled, and is gone."""
    one = store.write(creating.create, prepared(1, 1))
    claim = take(store, 1)
    store.write(jobs.cancel, one.name)
    assert store.write(commits.commit, claim, outcome(claim))
    store.write(table.delete, one.name)
    assert not store.write(commits.commit, claim, outcome(claim))
    assert rows_of(store, one.id, [])["candidates"] == 0


def test_command(client: Client, stack: Stack) -> None:
    names = [done(client, job(1, 1)).id for _ in range(2)]
    said = CliRunner().invoke(app, ["delete", *names, "--url", stack.url])
    assert said.stdout.splitlines() == [f"{name} deleted" for name in names]
    again = CliRunner().invoke(app, ["delete", names[0], "--url", stack.url])
    assert again.exit_code == 1
    assert f"no job '{names[0]}'" in again.stderr
