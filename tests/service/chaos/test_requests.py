"""Requests that come twice, race, or lose their reply: rows 1, 13 and 14."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import sqlalchemy as sa
from auditing import Bed
from helping import SLOW, TERMINAL, end, ended, free_port, job, until, whole

from service.client import Client
from service.queue import Broker
from service.store.schema import jobs

Recovered = Callable[[int, float], None]


def test_every_submit_twice(bed: Bed, recovered: Recovered) -> None:
    """Forty requests at once for twenty jobs."""

    def submit(number: int) -> str:
        key = f"twice-{number // 2}"
        return bed.client.submit(job(1, 2, seed=number // 2), idempotency_key=key).id

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(submit, range(40)))
    assert names[0::2] == names[1::2]
    assert len(set(names)) == 20
    bed.accepted += set(names)
    made = bed.store.read(lambda c: c.execute(sa.select(sa.func.count()).where(jobs.c.name.in_(names))).scalar_one())
    assert made == 20
    recovered(1, 0)
    bed.audit()


def test_cancel_racing_completion(bed: Bed, recovered: Recovered) -> None:
    states: set[str] = set()
    for i in range(200):
        view = bed.submit(job(2, 2))
        time.sleep(0.001 * (i % 50))
        bed.client.cancel(view.id)
        last = ended(bed.client, view.id)
        states.add(last.state)
        told = [
            line for line in bed.client.http.get(f"/v1/jobs/{view.id}/events").text.splitlines() if line[:6] == "event:"
        ]
        assert [line[7:] for line in told if line[7:] in TERMINAL] == [last.state]
        assert last.counts.candidates == len(list(bed.client.candidates(view.id)))
        if last.state == "completed":
            whole(bed.client, last, 2)
    assert states <= {"cancelled", "completed"}
    recovered(13, 0)
    bed.audit()


def begun(broker: Broker) -> dict[str, int]:
    """Rows that each worker has had in calls of the slow network, as it said last."""
    told = {beat.worker: beat.models.get("outside/slow") for beat in broker.beats()}
    return {worker: batches.rows for worker, batches in told.items() if batches}


def test_cancelled_between_steps(bed: Bed) -> None:
    """The steps that were made are paid, though no answer came of them."""
    broker = Broker(bed.stack.settings.redis_url or "")
    told = {beat.at for beat in broker.beats()}
    until(lambda: not told & {beat.at for beat in broker.beats()})  # all that was before has been told
    before = begun(broker)
    view = bed.submit(job(1, 100, model={**SLOW, "seconds": 0.005}))  # one shard, 0.5 s a step, 10 s
    # More rows than a step has: the first one is over.
    until(lambda: any(rows > before.get(worker, 0) + 100 for worker, rows in begun(broker).items()))
    bed.client.cancel(view.id)
    broker.redis.close()
    last = ended(bed.client, view.id)
    assert (last.state, last.counts.candidates) == ("cancelled", 0)
    assert 0 < last.usage.evaluations < 100 * 20
    bed.audit()


API = """
import os, signal, sys, uvicorn
from service.api import create_app
from service.artifacts import Artifacts
from service.opening import opened, reached
from service.settings import Settings
settings = Settings()
app = create_app(opened(settings), reached(settings), Artifacts(settings.artifacts), settings)
async def deadly(scope, receive, send):
    async def dying(message):
        if scope["type"] == "http" and scope["method"] == "POST" and sys.argv[2:]:
            os.kill(os.getpid(), signal.SIGKILL)
        await send(message)
    await app(scope, receive, dying)
uvicorn.run(deadly, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


def test_killed_between_commit_and_reply(bed: Bed, recovered: Recovered) -> None:
    """The job is there, the reply is not; asked again with the same key, another API tells of that job."""
    settings, port = bed.stack.settings, free_port()
    env = {**os.environ, "WINNOW_REDIS_URL": settings.redis_url or "", "WINNOW_DATABASE_URL": settings.database}
    env |= {"WINNOW_DATA_DIR": str(settings.data_dir)}
    child = subprocess.Popen([sys.executable, "-c", API, str(port), "die"], env=env)
    try:
        with Client(f"http://127.0.0.1:{port}", key=bed.client.http.headers["authorization"][7:]) as client:
            until(lambda: up(client))
            key, spec = "reply lost", job(1, 2, seed=77)
            before = bed.client.http.get("/v1/jobs").json()["data"][0]["id"]
            try:
                client.submit(spec, idempotency_key=key)
                raise AssertionError("it replied")
            except httpx.TransportError:
                assert child.wait(60) == -9
        start = time.monotonic()
        (first, second) = (bed.submit(spec, idempotency_key=key).id for _ in range(2))
        assert first == second == bed.client.http.get("/v1/jobs").json()["data"][0]["id"] != before
        ended(bed.client, first)
        recovered(14, time.monotonic() - start)
        bed.audit()
    finally:
        end(child)


def up(client: Client) -> bool:
    try:
        return client.http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
