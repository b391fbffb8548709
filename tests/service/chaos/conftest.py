"""What chaos tests share: a service to be struck, the same work undisturbed, and a table of what recovery took."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from auditing import LEASE, WORK, Bed, Calm
from helping import SLOW, done, found, service, until

from service.client import Client
from service.queue import Broker
from service.store import Store, access

FAULTS = {
    1: ("every submit sent twice with the same Idempotency-Key", "one job each"),
    2: ("a worker killed again and again, and on a quiet queue", "done; what the dead had begun is paid once"),
    3: ("a worker frozen past its lease, then thawed", "its late commit is refused"),
    4: ("Redis killed and back; Redis emptied", "nothing lost; 503 with Retry-After meanwhile"),
    5: ("Redis stalled longer than the lease", "nothing counted twice"),
    6: ("a shard that kills its process", "dead-lettered after 3, the others unharmed"),
    7: ("network cut between a worker and Redis, and the database", "what it held is done by whoever can; it resumes"),
    8: ("disk full for artifacts", "a clear error, no half file, recovers"),
    9: ("out of memory in the network", "smaller batches; else failed with a reason, and the worker lives"),
    10: ("verifiers that are slow, hang, raise, are NaN, too short, too large, die", "unscored with a reason"),
    11: ("SIGTERM during a step", "handed back, exit 0"),
    12: ("a worker dies with a sandbox running", "the sandbox is gone"),
    13: ("cancel racing completion, 200 rounds", "one terminal state"),
    14: ("API killed between commit and reply", "the retry with the key gets the same job"),
    15: ("the thread that runs the network ends", "the shard is done by others, or failed with a reason"),
    16: ("the clock jumps by an hour, both ways", "no lease is lost, no deadline passes"),
}
MEASURED: dict[int, list[float]] = {}


@pytest.fixture
def recovered() -> Callable[[int, float], None]:
    """Note that a row's fault was over, and for how many seconds (0: there was nothing to wait for)."""
    return lambda row, seconds: MEASURED.setdefault(row, []).append(seconds)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CHAOS_TABLE=FILE: write the table of a whole run between the file's marks."""
    path = os.environ.get("CHAOS_TABLE")
    if path and MEASURED and not session.testsfailed:
        begin, finish = "<!-- chaos -->", "<!-- end of chaos -->"
        text = Path(path).read_text()
        before, after = text.split(begin)[0], text.split(finish)[1]
        Path(path).write_text(f"{before}{begin}\n{table()}\n{finish}{after}")


def table() -> str:
    """Rows that ran, with the longest time that any of their recoveries took."""
    lines = ["| # | fault | what holds | recovery, s (times seen) |", "|---|---|---|---|"]
    for row, (fault, shown) in FAULTS.items():
        seen = MEASURED.get(row)
        took = "not run" if seen is None else f"{max(seen):.1f} ({len(seen)})" if any(seen) else "none needed"
        lines.append(f"| {row} | {fault} | {shown} | {took} |")
    return "\n".join(lines)


@pytest.fixture(scope="package")
def struck(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A service with two workers, keys and short leases, for one blow after the other."""
    with service(tmp_path_factory.mktemp("struck"), workers=2, lanes=1, lease_seconds=LEASE) as (stack, _):
        store = Store(stack.settings.database)
        own, other = (store.write(access.create, who, ("read", "write"), None, None)[1] for who in ("ann", "bob"))
        until(lambda: httpx.get(f"{stack.url}/v1/jobs", timeout=60).status_code == 401)
        with Client(stack.url, key=own) as client, Client(stack.url, key=other) as stranger:
            yield Bed(stack, client, stranger, store)
        store.close()


@pytest.fixture
def bed(struck: Bed) -> Bed:
    """The same, recovered from the blow before: both workers have told that they are there, and hear signals."""
    until(lambda: struck.client.http.get("/readyz").status_code == 200)
    broker = Broker(struck.stack.settings.redis_url or "")

    def here() -> bool:
        living = {name for name, child in list(struck.stack.children.items()) if child.poll() is None}
        return len(living) == 2 and living <= {beat.worker for beat in broker.beats()}

    until(here)
    broker.redis.close()
    return struck


@pytest.fixture(scope="package")
def calm(struck: Bed) -> Calm:
    """What WORK finds when nothing happens; the same numbers come without the sleep."""
    view = done(struck.client, {**WORK, "model": {**SLOW, "seconds": 0.0}})
    return found(struck.client, view.id)


@pytest.fixture
def begun(bed: Bed) -> str:
    """WORK, submitted, once a shard of it is done."""
    view = bed.submit(WORK)
    until(lambda: bed.shards_done(view.id))
    return view.id
