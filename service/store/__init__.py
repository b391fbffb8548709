"""The database: an engine, and transactions as plain functions of a connection.

A transaction is one function that runs in one thread from BEGIN to COMMIT: no half-finished await can cut it, and it
costs one thread hop instead of one a statement.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.event import listens_for
from sqlalchemy.exc import OperationalError

MIGRATION = 0x77696E6E6F77
"""PostgreSQL's advisory lock of a migration."""
PATIENCE, POLL = 30.0, 0.001
"""Seconds that SQLite's locks are waited for, and between two looks at the write lock."""
P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """Connections to one database. durable: each commit reaches the disk before it is acknowledged (SQLite)."""

    def __init__(self, url: str, durable: bool = True) -> None:
        self.engine = sa.create_engine(plain(url), pool_size=8, max_overflow=32, **_options(url))
        self._reads: dict[str, Any] = {}
        self._turn, self._writer = threading.Lock(), threading.Lock()
        if self.engine.dialect.name == "sqlite":
            _tune(self.engine, durable)
        else:
            self._reads = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A consistent view."""
        with self.engine.connect().execution_options(**self._reads) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """A transaction that takes its write lock at once: a read that turns into a write could be refused midway.

        Of SQLite's writers in one process each has its turn: whoever asks again at once would be faster.
        """
        with self._alone(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _alone(self) -> Generator[None]:
        if self.engine.dialect.name != "sqlite":
            yield
            return
        with self._turn:  # who has just written queues here behind who waits
            self._writer.acquire()
        try:
            yield
        finally:
            self._writer.release()

    def read(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(connection, ...)` in a reading transaction."""
        with self.reading() as connection:
            return work(connection, *args, **kwargs)

    def write(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(connection, ...)` in a writing transaction: all of it or nothing."""
        with self.writing() as connection:
            return work(connection, *args, **kwargs)

    async def awrite(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write`, in a thread."""
        return await asyncio.to_thread(self.write, work, *args, **kwargs)

    async def aread(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`read`, in a thread."""
        return await asyncio.to_thread(self.read, work, *args, **kwargs)

    def migrate(self) -> None:
        """Bring the tables up to date."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":  # of several that start at once, one migrates
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def plain(url: str) -> sa.URL:
    """The URL with the driver that Winnow brings: postgresql:// and postgres:// alike are psycopg."""
    found = sa.make_url(url)
    ours = found.drivername in ("postgresql", "postgres")
    return found.set(drivername="postgresql+psycopg") if ours else found


def _options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"check_same_thread": False, "timeout": PATIENCE}}
    # A server that restarts leaves dead connections in the pool; one that does not answer is an outage, not a wait.
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "application_name": "winnow"}}


def _tune(engine: sa.Engine, durable: bool) -> None:
    """WAL; transactions that begin when we say so."""

    @listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin or commit on its own
        for pragma in ("journal_mode=WAL", f"synchronous={'FULL' if durable else 'NORMAL'}", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        if writes:
            _immediately(connection.connection.driver_connection)
        else:
            connection.exec_driver_sql("BEGIN")


def _immediately(sqlite: Any) -> None:
    """BEGIN IMMEDIATE as soon as no other process writes. Raises SQLAlchemy's OperationalError.

    SQLite itself would let who waits sleep for longer and longer, up to 0.1 s.
    """
    end = time.monotonic() + PATIENCE
    sqlite.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                sqlite.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise OperationalError("BEGIN IMMEDIATE", None, error) from error
                time.sleep(POLL)
    finally:
        sqlite.execute(f"PRAGMA busy_timeout={int(1000 * PATIENCE)}")
