"""A PostgreSQL server of the tests' own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from helping import free_port

from service.store import Store, plain

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def binary(name: str) -> str | None:
    """A program of PostgreSQL; Debian keeps them off the PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, PLACES)]))


@contextlib.contextmanager
def server() -> Iterator[str]:
    """URL of a server that lives as long as this. It refuses root, so there it runs as `postgres` or `nobody`."""
    initdb, postgres = binary("initdb"), binary("postgres")
    assert initdb
    assert postgres
    user = None
    folder = Path(tempfile.mkdtemp(prefix="winnow-postgres-"))  # pytest's folders are closed to other users
    if os.getuid() == 0:
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", data, "-U", "winnow", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True, capture_output=True, user=user, cwd=folder,
    )  # fmt: skip
    port = free_port()
    options = ["-c", "fsync=off", "-c", "max_connections=200", "-c", "listen_addresses=127.0.0.1", "-k", ""]
    log = (folder / "log").open("wb")
    child = subprocess.Popen(
        [postgres, "-D", data, "-p", str(port), *options],
        user=user, cwd=folder, stdout=log, stderr=log,
    )  # fmt: skip
    url = f"postgresql://winnow@127.0.0.1:{port}/postgres"
    try:
        _answers(url, child)
        yield url
    finally:
        child.send_signal(signal.SIGINT)  # without waiting for clients
        child.wait(20)
        log.close()
        shutil.rmtree(folder)


def _answers(url: str, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return run(url, "select 1")
        except sa.exc.OperationalError:
            if child.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def run(url: str, statement: str) -> None:
    """One statement outside any transaction, as databases are made."""
    engine = sa.create_engine(plain(url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def made(url: str, name: str) -> str:
    """URL of a new database, migrated once and copied from then on."""
    other = str(sa.make_url(url).set(database=name))
    run(url, f"CREATE DATABASE {name} TEMPLATE {'template1' if name == 'winnow_empty' else 'winnow_empty'}")
    if name == "winnow_empty":
        store = Store(other)
        store.migrate()
        store.close()
    return other
