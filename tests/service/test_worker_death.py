"""Processes die, freeze and lose their queue: nothing is lost, nothing is counted twice, the answers are the same."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helping import SLOW, alive, done, end, ended, found, items, job, offspring, pids, service, until, whole

from search.ports import Answer, Item, Score
from service import client as calls
from service import processes
from service.client import Client
from service.embedded import Stack
from service.queue import Broker
from service.views import JobView

N = 200
WORK = job(3, N, model={**SLOW, "seconds": 0.0004}, seed=5)  # six shards, 5 s for one worker


@pytest.fixture(scope="module")
def undisturbed(running: Any) -> Any:
    """What the job finds when nothing happens; the same numbers come without the sleep."""
    client: Client = running[1]
    return answers(client, done(client, {**WORK, "model": {**SLOW, "seconds": 0.0}}).id)


def answers(client: Client, name: str) -> Any:
    return found(client, name)


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    """A service with two workers and short leases, for one blow after the other."""
    with service(tmp_path_factory.mktemp("struck"), workers=2, lease_seconds=1.5) as pair:
        yield pair


@pytest.fixture
def pair(struck: tuple[Stack, Client]) -> tuple[Stack, Client]:
    """The same, recovered from the blow before."""
    stack, client = struck
    until(lambda: len(pids(stack)) == 2 and client.http.get("/readyz").status_code == 200)
    return struck


def shards_done(client: Client, name: str) -> int:
    return client.job(name).counts.shards_done


def begun(client: Client) -> JobView:
    """The work, submitted, once a shard of it is done."""
    view = client.submit(WORK)
    until(lambda: shards_done(client, view.id), 30)
    return view


def test_killed_again_and_again(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = client.submit(WORK)
    killed: list[int] = []
    seen = 0
    while len(killed) < 4:
        until(lambda: shards_done(client, view.id) > seen or client.job(view.id).finished, 30)  # noqa: B023
        if client.job(view.id).finished:
            break
        seen = shards_done(client, view.id)
        victim = until(lambda: [pid for pid in pids(stack) if pid not in killed], 10)[0]
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)
    last = ended(client, view.id, 60)
    assert len(killed) >= 3
    assert last.state == "completed"
    whole(client, last, N)
    assert answers(client, view.id) == undisturbed
    assert last.usage.evaluations == 3 * N * 20  # what the dead had done is paid once
    assert until(lambda: len(pids(stack)) == 2, 10)
    assert not set(killed) & set(pids(stack))


def test_a_shard_that_kills_its_worker(pair: tuple[Stack, Client]) -> None:
    _, client = pair
    spec = job(model="outside/by_prompt", search={"n": 1200}, verifiers=["outside/deadly"])
    view = client.submit(spec | {"items": items("number", "die", "number")})
    other = client.submit(job(2, 3000))
    last = ended(client, view.id, 60)
    assert last.state == "completed"
    assert last.counts.failed == 1
    states = list(client.items(view.id))
    assert [item.state for item in states] == ["completed", "failed", "completed"]
    assert states[1].error == "worker_lost: 3 workers died on this shard"
    whole(client, ended(client, other.id, 60), 3000)
    (letter,) = [letter for letter in client.send(calls.dead()).data if letter.job == view.id]
    assert (letter.deaths, letter.error) == (3, "worker_lost: 3 workers died on this shard")


def test_an_answer_that_kills_a_verifiers_process_is_unscored_alone() -> None:
    verifier = processes.Elsewhere("outside/poisoned", "{}")
    answers = [Answer("die" if i == 3 else "live", Item()) for i in range(9)]

    async def main() -> list[Sequence[Score]]:
        return await asyncio.gather(verifier(answers), verifier(answers[4:]))  # the second may share the first's fate

    first, second = asyncio.run(main())
    assert [score.value for score in first] == [None if i == 3 else 1.0 for i in range(9)]
    assert first[3].reason == "the process of verifier 'outside/poisoned' died"
    assert [score.value for score in second] == [1.0] * 5


def test_answers_that_all_kill_a_verifiers_process_are_not_all_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "DEATHS", 2)
    verifier = processes.Elsewhere("outside/poisoned", "{}")
    scores = asyncio.run(verifier([Answer("die", Item())] * 4))
    assert [score.value for score in scores] == [None] * 4
    assert [str(score.reason).startswith("not asked") for score in scores] == [False, False, True, True]


def test_a_healthy_pool_is_not_dropped_for_a_broken_one() -> None:
    pool = processes.Pool(1)
    broken = pool.get()
    pool.drop(broken)
    healthy = pool.get()
    pool.drop(broken)
    assert pool.get() is healthy is not broken


def test_terminated_hands_back(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = begun(client)
    workers = list(stack.children.values())
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(15) for worker in workers] == [0, 0]
    whole(client, ended(client, view.id, 60), N)
    assert answers(client, view.id) == undisturbed
    with sqlite3.connect(stack.settings.data_dir / "winnow.db") as database:
        deaths = "select sum(deaths) from shards join jobs on jobs.id = shards.job where jobs.name = ?"
        assert database.execute(deaths, (view.id,)).fetchone() == (0,)  # nobody is to blame
    database.close()


def test_frozen_and_thawed(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = begun(client)
    log, late = stack.settings.data_dir / "worker.log", "another worker has it, nothing written"
    said = log.read_text().count(late)
    frozen = pids(stack)[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        last = ended(client, view.id, 60)  # the other one takes over when the lease has run out
        before = answers(client, view.id)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert frozen in pids(stack)
    whole(client, last, N)
    assert before == undisturbed
    done(client, job(2, 2))  # time for the thawed one to try
    until(lambda: log.read_text().count(late) > said, 20)
    assert client.job(view.id) == last
    assert answers(client, view.id) == undisturbed


def test_queue_killed_and_back(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = begun(client)
    for _ in range(2):
        first = stack._queue
        assert first
        first.kill()
        until(lambda: stack._queue is not first and client.http.get("/readyz").status_code == 200, 30)  # noqa: B023
        until(lambda: client.job(view.id).finished or shards_done(client, view.id) > 2, 30)
    whole(client, ended(client, view.id, 60), N)
    assert answers(client, view.id) == undisturbed


def test_queue_emptied(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = begun(client)
    broker = Broker(stack.settings.redis_url or "")
    broker.redis.flushall()
    broker.redis.close()
    whole(client, ended(client, view.id, 60), N)
    assert answers(client, view.id) == undisturbed


def test_queue_stalled_longer_than_the_lease(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = begun(client)
    assert stack._queue
    os.kill(stack._queue.pid, signal.SIGSTOP)
    try:
        assert client.http.get("/healthz").status_code == 200
        seen = client.http.get("/readyz", timeout=60)
        assert seen.status_code == 503
        assert seen.headers["retry-after"]
    finally:
        os.kill(stack._queue.pid, signal.SIGCONT)
    whole(client, ended(client, view.id, 60), N)
    assert answers(client, view.id) == undisturbed


def test_database_locked_for_a_while(pair: tuple[Stack, Client], undisturbed: Any) -> None:
    stack, client = pair
    view = begun(client)
    other = sqlite3.connect(stack.settings.data_dir / "winnow.db", isolation_level=None)
    other.execute("begin immediate")
    client.job(view.id)  # readers do not wait
    time.sleep(3)  # longer than the lease
    other.execute("rollback")
    other.close()
    whole(client, ended(client, view.id, 60), N)
    assert answers(client, view.id) == undisturbed


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
        until(lambda: not any(alive(pid) for pid in family), 15)
        # A second one finds the folder free and the first one's job in it.
        parent.wait(10)
        parent.stdout.close()
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert parent.stdout
        url = parent.stdout.readline().split("answers at ")[1].split(",")[0]
        with Client(url) as client:
            assert client.http.get("/v1/jobs").json()["data"][0]["state"] == "completed"
            done(client, job(1, 1))
        family = offspring(parent.pid)
        parent.terminate()
        assert parent.wait(20) == 0
        until(lambda: not any(alive(pid) for pid in family), 10)
    finally:
        end(parent)
