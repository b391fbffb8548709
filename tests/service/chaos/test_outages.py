"""Queue, database, network, disk and clock: rows 4, 5, 7, 8 and 16."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from auditing import LEASE, WORK, Bed, Calm, N
from cutting import Cut
from helping import done, end, ended, found, items, job, pids, service, until, whole

from service.queue import Broker

Recovered = Callable[[int, float], None]


def test_queue_killed_and_back(bed: Bed, begun: str, calm: Calm, recovered: Recovered) -> None:
    for _ in range(2):
        first = bed.stack._queue
        assert first
        first.kill()
        start = time.monotonic()
        until(lambda: bed.stack._queue is not first and bed.client.http.get("/readyz").status_code == 200)  # noqa: B023
        until(lambda: bed.client.job(begun).finished or bed.shards_done(begun) > 2)
        recovered(4, time.monotonic() - start)
    whole(bed.client, ended(bed.client, begun), N)
    bed.audit([(begun, calm)])


def test_queue_emptied(bed: Bed, begun: str, calm: Calm, recovered: Recovered) -> None:
    broker = Broker(bed.stack.settings.redis_url or "")
    broker.redis.flushall()
    broker.redis.close()
    recovered(4, bed.progress(begun))
    whole(bed.client, ended(bed.client, begun), N)
    bed.audit([(begun, calm)])


def test_queue_stalled_longer_than_the_lease(bed: Bed, begun: str, calm: Calm, recovered: Recovered) -> None:
    assert bed.stack._queue
    os.kill(bed.stack._queue.pid, signal.SIGSTOP)
    try:
        assert bed.client.http.get("/healthz").status_code == 200
        seen = bed.client.http.get("/readyz", timeout=60)
        assert seen.status_code == 503
        assert seen.headers["retry-after"]
    finally:
        os.kill(bed.stack._queue.pid, signal.SIGCONT)
    recovered(5, bed.progress(begun))
    whole(bed.client, ended(bed.client, begun), N)
    bed.audit([(begun, calm)])


def test_database_locked_for_a_while(bed: Bed, begun: str, calm: Calm, recovered: Recovered) -> None:
    other = sqlite3.connect(bed.stack.settings.data_dir / "winnow.db", isolation_level=None)
    other.execute("begin immediate")
    bed.client.job(begun)  # readers do not wait
    time.sleep(LEASE + 1)
    other.execute("rollback")
    other.close()
    recovered(7, bed.progress(begun))
    whole(bed.client, ended(bed.client, begun), N)
    bed.audit([(begun, calm)])


@contextlib.contextmanager
def worker(folder: Path, **environment: str) -> Iterator[None]:
    """A worker of one's own."""
    command = [sys.executable, "-m", "service.cli", "worker"]
    with (folder / "worker.log").open("ab") as log:
        child = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        yield
    finally:
        end(child)


@pytest.mark.parametrize("which", ["redis", "database"])
def test_network_cut(which: str, postgres_url: str, tmp_path: Path, calm: Calm, recovered: Recovered) -> None:
    """A worker alone: while it is cut off nothing is written; then the same worker goes on."""
    lease = 1.5
    with service(tmp_path, workers=0, lease_seconds=lease, database_url=postgres_url) as (stack, client):
        redis_url = stack.settings.redis_url or ""
        with Cut(redis_url) as redis, Cut(postgres_url) as database:
            told = {"WINNOW_REDIS_URL": redis.url, "WINNOW_DATABASE_URL": database.url}
            told |= {"WINNOW_ARTIFACTS_URL": stack.settings.artifacts, "WINNOW_LEASE_SECONDS": str(lease)}
            with worker(tmp_path, **told):
                view = client.submit(WORK)
                until(lambda: client.job(view.id).counts.shards_done)
                cut = redis if which == "redis" else database
                cut.cut()
                time.sleep(2 * lease)
                during = client.job(view.id).counts.shards_done
                start = time.monotonic()
                cut.heal()
                until(lambda: client.job(view.id).counts.shards_done > during or client.job(view.id).finished)
                recovered(7, time.monotonic() - start)
                whole(client, ended(client, view.id), N)
                assert found(client, view.id) == calm


def test_artifacts_on_a_full_disk(small_disk: Path, tmp_path: Path, recovered: Recovered) -> None:
    with service(tmp_path / "d", artifacts_url=str(small_disk)) as (_, client):
        view = ended(client, client.submit(job(model="outside/by_prompt", items=items("huge"), search={"n": 2000})).id)
        assert view.state == "failed"
        assert "No space left on device" in str(view.error)
        assert not list(small_disk.rglob("*.part"))
        for path in list(small_disk.rglob("*.json")):
            path.unlink()
        start = time.monotonic()
        done(client, job(model="outside/by_prompt", items=items("huge")))
        recovered(8, time.monotonic() - start)


def test_the_clock_jumps(bed: Bed, calm: Calm, monkeypatch: pytest.MonkeyPatch, recovered: Recovered) -> None:
    """An hour ahead and back in a worker and in the API: no lease is lost, and no deadline passes."""
    before, now = pids(bed.stack), time.time
    for hours in (1, -1):
        spec = job(model={"name": "outside/by_prompt"}, items=items("ahead" if hours > 0 else "back"))
        jumped = bed.submit(spec)
        assert ended(bed.client, jumped.id).state == "completed"
        monkeypatch.setattr(time, "time", lambda hours=hours: now() + 3600 * hours)
        view = bed.submit({**WORK, "budget": {"seconds": 600}})
        last = ended(bed.client, view.id)
        monkeypatch.setattr(time, "time", now)
        assert (last.state, last.stop_reason) == ("completed", None)
        whole(bed.client, last, N)
        recovered(16, 0)
        assert pids(bed.stack) == before
        bed.audit([(view.id, calm)])
