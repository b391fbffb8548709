"""What the tests of the service share."""

import contextlib
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import sqlalchemy as sa

from search.ports import Item, Score
from service import catalog
from service.catalog import Prepared
from service.client import Client
from service.embedded import Stack
from service.settings import Settings
from service.spec import JobSpec
from service.store import Store, shards
from service.store.commits import Results
from service.store.pools import packed
from service.store.schema import shards as shard_table
from service.store.shards import Claim
from service.views import JobView

T = TypeVar("T")
GAUSS = {"name": "toy/gaussian_mixture", "weights": [1.0], "means": [0.0], "variances": [1.0], "steps": 2}
SLOW = {"name": "outside/slow", "seconds": 0.0005, "steps": 20}
"""100 samples are a shard and take 1 s, 0.05 s a step, where `lanes` is 1: else that is divided by the cores."""
TERMINAL = {"completed", "failed", "cancelled"}


def job(items: int = 2, n: int = 4, /, **changes: Any) -> dict[str, Any]:
    """A small job."""
    value: dict[str, Any] = {
        "model": GAUSS,
        "items": [{"id": f"i{i}"} for i in range(items)],
        "search": {"method": "best_of_n", "n": n},
        "verifiers": ["toy/linear"],
    }
    return value | changes


def prepared(items: int = 2, n: int = 4, /, **changes: Any) -> Prepared:
    """The same, checked."""
    return catalog.prepare(JobSpec.model_validate(job(items, n, **changes)))


def take(store: Store, shard: int, message: str = "1-0", worker: str = "w") -> Claim:
    """A worker claims a shard."""
    return store.write(shards.claim, worker, [(message, shard)]).claims[message, shard]


def outcome(claim: Claim, passed: bool = True) -> Results:
    """What a search of the claim's spans might give."""
    out = Results(evaluations=7, verifier_calls=3, verifier_seconds=0.5)
    for span in claim.spans:
        samples = range(span.first, span.first + span.count)
        out.candidates += [(claim.job, span.item, s, f"{s}", "1", None, 1, None, None) for s in samples]
        out.scores.setdefault("toy/linear", []).extend(
            (span.item, s, float(s), passed, None, None, 1.0) for s in samples
        )
        scored = [Score(float(s), passed) for s in samples]
        out.pools.setdefault("toy/linear", []).append((span.item, span.first, span.count, packed(scored)))
        out.tallies.setdefault("toy/linear", []).append(
            {"item": span.item, "scored": span.count, "unscored": 0, "passed": span.count if passed else 0}
            | {"first_pass": span.first if passed else None}
        )
        out.items.append(
            {"n": span.item, "drawn_": span.count, "evaluations_": 7, "reason_": None, "error_": None},
        )
    return out


def until(condition: Callable[[], T], seconds: float = 120, every: float = 0.02) -> T:
    """Poll until the condition holds; its value. A limit is for what never comes: it costs nothing when all is well."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(every)
    return value


def ended(client: Client, name: str, seconds: float = 120) -> JobView:
    """The job, when it has ended."""
    until(lambda: client.job(name).finished, seconds, 0.05)
    return client.job(name)


def done(client: Client, spec: Any, seconds: float = 120) -> JobView:
    """Submit, wait, and insist that it completed."""
    view = client.submit(spec, wait=min(60, seconds))
    view = view if view.finished else ended(client, view.id, seconds)
    assert view.state == "completed", view
    return view


def found(client: Client, name: str) -> list[Any]:
    """Everything that was found, as values to compare; times left out."""
    return [
        (
            c.item,
            c.sample,
            c.seed,
            c.answer,
            c.artifact,
            c.evaluations,
            [(s.name, s.value, s.passed, s.reason, s.canonical) for s in [*c.scores, *c.grades]],
        )
        for c in client.candidates(name)
    ]


def whole(client: Client, view: JobView, n: int) -> None:
    """The audit of a job whose budget was no limit: nothing lost, nothing twice."""
    rows = [(c.item, c.sample) for c in client.candidates(view.id)]
    assert rows == [(i, s) for i in range(view.counts.items) for s in range(n)]
    assert view.counts.candidates == len(rows)
    assert view.counts.shards_done == view.counts.shards
    assert view.counts.done == view.counts.items
    assert view.counts.failed == 0
    assert all(item.drawn == n and item.state == "completed" for item in client.items(view.id))


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem+json of a refusal, checked for its shape."""
    assert response.status_code == status, (response.status_code, response.text[:500])
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "error"} <= body.keys()
    assert body["status"] == status
    assert body["error"]["message"] == body["detail"]
    assert {"message", "type", "param", "code"} <= body["error"].keys()
    assert len(response.content) < 50_000
    assert "Traceback" not in response.text
    return body


@contextlib.contextmanager
def service(folder: Path, workers: int = 1, **changes: Any) -> Iterator[tuple[Stack, Client]]:
    """A service of one's own."""
    settings = Settings(data_dir=folder, **changes)
    with Stack(settings, workers=workers, log=folder / "worker.log") as stack, Client(stack.url) as client:
        yield stack, client


def pids(stack: Stack) -> list[int]:
    """Its workers that live."""
    return [child.pid for child in list(stack.children.values()) if child.poll() is None]


@contextlib.contextmanager
def frozen(stack: Stack) -> Iterator[None]:
    """Workers do nothing meanwhile: what is submitted waits, and what runs is where it is, until a test has seen it.

    None is stopped while it writes to SQLite: nobody else could write until it goes on.
    """
    workers = pids(stack)

    def send(sent: signal.Signals) -> None:
        for pid in workers:
            os.kill(pid, sent)

    def stopped() -> bool:
        send(signal.SIGSTOP)
        until(lambda: all(state(task) in "TZX" for pid in workers for task in tasks(pid)))
        if writable(stack.settings.database):
            return True
        send(signal.SIGCONT)
        return False

    try:
        until(stopped)
        yield
    finally:
        send(signal.SIGCONT)


def strike(stack: Stack, number: int) -> int:
    """Send a signal to a worker in the middle of a shard, and return its pid. SQLite has one writer, which is this one
    meanwhile: the worker can neither commit its shard nor claim another before it is killed or stopped.

    Workers are spared whose shard has seen two die: the third one would close it.
    """
    held = sa.select(shard_table.c.worker).where(shard_table.c.state == "running").group_by(shard_table.c.worker)
    held = held.having(sa.func.max(shard_table.c.deaths) < 2)

    def struck(connection: sa.Connection) -> int | None:
        children = [stack.children.get(name) for name in connection.execute(held).scalars()]
        pid = next((child.pid for child in children if child is not None and child.poll() is None), None)
        if pid is not None:
            os.kill(pid, number)
            until(lambda: number == signal.SIGTERM or all(state(task) in "TZX" for task in tasks(pid)))
        return pid

    store = Store(stack.settings.database)
    try:
        return until(lambda: store.write(struck))
    finally:
        store.close()


def writable(url: str) -> bool:
    """Whether nobody holds SQLite's one lock for writing, apart from moments."""
    path = url.removeprefix("sqlite:///")
    if path == url:
        return True
    with contextlib.closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def tasks(pid: int) -> list[Path]:
    """A process's threads."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def state(process: Path) -> str:
    """The letter that /proc has for the state of a process or thread: T stopped, Z zombie, X gone."""
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return state(Path(f"/proc/{pid}")) not in "ZX"


def offspring(pid: int) -> list[int]:
    """All its children and theirs."""
    try:
        mine = [int(word) for task in tasks(pid) for word in (task / "children").read_text().split()]
    except OSError:
        return []
    return mine + [deeper for child in mine for deeper in offspring(child)]


def free_port() -> int:
    """A port that nobody has, below those that the kernel gives to whoever connects: no client takes it meanwhile.

    So is the one 10,000 above it, for the bus of a Redis in a Cluster.
    """
    while True:
        port = 12_000 + secrets.randbelow(10_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


def end(process: "subprocess.Popen[Any]") -> None:
    """Stop a process that a test started, whatever state it is in."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
    process.wait(60)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()


def items(*prompts: str) -> list[dict[str, Any]]:
    """Items with these prompts."""
    return [Item(prompt=prompt, id=f"{i}").model_dump() for i, prompt in enumerate(prompts)]
