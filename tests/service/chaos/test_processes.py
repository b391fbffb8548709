"""Workers die, freeze, and are told to end: rows 2, 3, 6, 11 and 15."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from auditing import WORK, Bed, Calm, N
from helping import alive, done, end, ended, items, job, offspring, pids, strike, until, whole

from service.client import Client
from service.store import dead

Recovered = Callable[[int, float], None]


def test_killed_again_and_again(bed: Bed, calm: Calm, recovered: Recovered) -> None:
    """Both workers, and one of those that took their places; each with a shard in its hands."""
    view = bed.submit(WORK)
    killed = [strike(bed.stack, signal.SIGKILL) for _ in range(2)]
    recovered(2, bed.progress(view.id))
    killed.append(strike(bed.stack, signal.SIGKILL))
    recovered(2, bed.progress(view.id))
    last = ended(bed.client, view.id)
    assert len(set(killed)) == 3
    whole(bed.client, last, N)
    assert last.usage.evaluations == 3 * N * 20  # what the dead had done is paid once
    until(lambda: len(pids(bed.stack)) == 2)
    assert not set(killed) & set(pids(bed.stack))
    bed.audit([(view.id, calm)])


def test_killed_while_there_is_nothing_to_do(bed: Bed, recovered: Recovered) -> None:
    for pid in pids(bed.stack):
        os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    view = bed.submit(job(2, 2))
    ended(bed.client, view.id)
    recovered(2, time.monotonic() - start)
    bed.audit()


def test_a_shard_that_kills_its_worker(bed: Bed, recovered: Recovered) -> None:
    spec = job(model="outside/by_prompt", search={"n": 1200}, verifiers=["outside/deadly"])
    view = bed.submit(spec | {"items": items("number", "die", "number")})
    other = bed.submit(job(2, 3000))
    last = ended(bed.client, view.id)
    assert last.state == "completed"
    assert last.counts.failed == 1
    states = list(bed.client.items(view.id))
    assert [item.state for item in states] == ["completed", "failed", "completed"]
    assert states[1].error == "worker_lost: 3 workers died on this shard"
    whole(bed.client, ended(bed.client, other.id), 3000)
    (letter,) = [letter for letter in bed.store.read(dead.page, 100, None) if letter.name == view.id]
    assert (letter.deaths, letter.error) == (3, "worker_lost: 3 workers died on this shard")
    recovered(6, 0)
    bed.audit()


def test_terminated_hands_back(bed: Bed, begun: str, calm: Calm, recovered: Recovered) -> None:
    workers = list(bed.stack.children.values())
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(60) for worker in workers] == [0, 0]
    recovered(11, bed.progress(begun))
    whole(bed.client, ended(bed.client, begun), N)
    assert bed.deaths(begun) == 0  # nobody is to blame
    bed.audit([(begun, calm)])


def test_frozen_and_thawed(bed: Bed, calm: Calm, recovered: Recovered) -> None:
    log, late = bed.stack.settings.data_dir / "worker.log", "another worker has it, nothing written"
    said = log.read_text().count(late)
    view = bed.submit(WORK)
    frozen = strike(bed.stack, signal.SIGSTOP)
    try:
        start = time.monotonic()
        last = ended(bed.client, view.id)  # the other one takes over when the lease has run out
        recovered(3, time.monotonic() - start)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert frozen in pids(bed.stack)
    whole(bed.client, last, N)
    done(bed.client, job(2, 2))  # time for the thawed one to try
    until(lambda: log.read_text().count(late) > said)
    assert bed.client.job(view.id) == last
    bed.audit([(view.id, calm)])


@pytest.mark.parametrize("prompt", ["exit", "interrupt"])
def test_the_thread_of_the_network_ends(bed: Bed, prompt: str, recovered: Recovered) -> None:
    """What ends a thread, and a process, in the middle of a call fails that item, with a reason, and no other."""
    view = bed.submit(job(model="outside/by_prompt", items=items("number", prompt), search={"n": 3}))
    start = time.monotonic()
    last = ended(bed.client, view.id)
    good, bad = bed.client.items(view.id)
    assert (last.state, good.state, bad.state) == ("completed", "completed", "failed")
    assert bad.error
    recovered(15, time.monotonic() - start)
    done(bed.client, job(2, 2))
    bed.audit()


def test_killed_with_a_sandbox_running(bed: Bed, recovered: Recovered) -> None:
    """Its sandboxes, running and waiting, are gone with the worker; the shard is done by another, and says why not."""
    if bed.client.http.get("/readyz").json()["programs"]["tier"] not in ("strict", "lite"):
        pytest.skip("NOT TESTED, a sandbox without its worker: this machine has no tier to run programs at")
    verifier = {"name": "program/values", "call_seconds": 2.0, "total_seconds": 2.0}
    item = {"prompt": "endless", "target": {"entry": "f", "cases": [{"args": [], "expected": 1}]}}
    view = bed.submit(job(1, 1, model="outside/by_prompt", items=[item], verifiers=[verifier]))

    def busy() -> list[tuple[int, list[int]]]:
        below = [(pid, offspring(pid)) for pid in pids(bed.stack)]
        return [(pid, more) for pid, more in below if any(b"-I" in words(one) for one in more)]

    ((worker, below), *_) = until(busy)
    os.kill(worker, signal.SIGKILL)
    start = time.monotonic()
    until(lambda: not any(alive(pid) for pid in below), every=0.005)
    recovered(12, time.monotonic() - start)
    assert ended(bed.client, view.id).state == "completed"
    (one,) = bed.client.candidates(view.id)
    assert (one.scores[0].passed, str(one.scores[0].reason).split(":")[0]) in ((False, "timeout"), (None, "timeout"))
    bed.audit()


def words(pid: int) -> list[bytes]:
    """A process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def test_a_killed_parent_leaves_nobody(tmp_path: Path) -> None:
    """The service is killed outright: no queue server, no worker, no process of a verifier stays."""
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--data-dir", str(tmp_path / "d")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert parent.stdout
        url = parent.stdout.readline().split("answers at ")[1].split(",")[0]
        with Client(url) as client:
            spec = job(model="outside/by_prompt", verifiers=[{"name": "regex", "pattern": "x"}])
            done(client, spec | {"items": items("huge", "huge")})
        assert len(family := offspring(parent.pid)) >= 4
        parent.kill()
        until(lambda: not any(alive(pid) for pid in family))
        # A second one finds the folder free and the first one's job in it.
        parent.wait(60)
        parent.stdout.close()
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert parent.stdout
        url = parent.stdout.readline().split("answers at ")[1].split(",")[0]
        with Client(url) as client:
            assert client.http.get("/v1/jobs").json()["data"][0]["state"] == "completed"
            done(client, job(1, 1))
        family = offspring(parent.pid)
        parent.terminate()
        assert parent.wait(60) == 0
        until(lambda: not any(alive(pid) for pid in family))
    finally:
        end(parent)
