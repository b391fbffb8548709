"""A real service for the tests: SQLite, a Valkey child, a worker process; and plug-ins from outside."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))

import postgres  # noqa: E402
from helping import service  # noqa: E402
from outside import ENTRY_POINTS  # noqa: E402

from service.children import end  # noqa: E402
from service.client import Client  # noqa: E402
from service.embedded import Stack  # noqa: E402
from service.queue import Broker  # noqa: E402
from service.redis_server import start_redis  # noqa: E402
from service.store import Store  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An installed distribution `outside`, for this process and for the workers."""
    root = tmp_path_factory.mktemp("site")
    info = root / "outside-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        path = os.pathsep.join(filter(None, [str(root), str(SUPPORT), os.environ.get("PYTHONPATH")]))
        patch.setenv("PYTHONPATH", path)
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in [name for name in os.environ if name.startswith("WINNOW_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def running(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    """One service for all tests that leave it well."""
    with service(tmp_path_factory.mktemp("data"), body_limit=2**20) as pair:
        yield pair


@pytest.fixture
def stack(running: tuple[Stack, Client]) -> Stack:
    return running[0]


@pytest.fixture
def client(running: tuple[Stack, Client]) -> Client:
    return running[1]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server; without one, what needs it is skipped loudly."""
    if postgres.binary("initdb") is None:
        pytest.skip("NOT TESTED on PostgreSQL: it is not installed (Debian: postgresql)")
    with postgres.server() as url:
        postgres.made(url, "winnow_empty")
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database, migrated."""
    name = f"winnow_{uuid.uuid4().hex}"
    yield postgres.made(postgres_server, name)
    postgres.run(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty database, migrated: of either kind."""
    kind = request.param
    database = Store(
        f"sqlite:///{tmp_path / 'winnow.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    )
    database.migrate()
    yield database
    database.close()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a queue server without a service."""
    url, child = start_redis(tmp_path_factory.mktemp("valkey"))
    assert child is not None
    yield url
    end(child)


@pytest.fixture
def broker(valkey: str) -> Iterator[Broker]:
    """An empty queue. Its leases outlast any test, on a slow machine too."""
    broker = Broker(valkey, 600.0)
    broker.redis.flushall()
    yield broker
    broker.redis.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    said = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path], capture_output=True, text=True)
    if said.returncode:
        pytest.skip(f"NOT TESTED, a full disk: this needs the right to mount a tmpfs ({said.stderr.strip()})")
    yield path
    subprocess.run(["umount", "-l", path], check=True)
