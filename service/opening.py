"""What a service opens before it starts: data folder, address, database, queue. Each may refuse in one sentence."""

import fcntl
import socket
from pathlib import Path
from typing import IO

import redis
from sqlalchemy.exc import SQLAlchemyError

from search import endpoints
from service import owning
from service.queue import Broker
from service.settings import Settings
from service.store import Store, access


class Unusable(RuntimeError):
    """The service cannot start; one sentence says why."""


def folder(path: Path) -> IO[str]:
    """Make a data folder and lock it for this process. Raises Unusable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / "lock", "a+")  # noqa: SIM115 - it is held as long as the service runs
    except OSError as error:
        raise Unusable(f"the data folder {str(path)!r} cannot be used: {error.strerror or error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Unusable(f"the data folder {str(path)!r} is in use by another winnow; give another --data-dir") from None
    return lock


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address, port 0 for any. Raises Unusable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, answers wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise Unusable(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    return listener


def listed() -> None:
    """Read the operator's endpoints, if there are any. Raises Unusable."""
    try:
        endpoints.servers()
    except endpoints.Unreadable as error:
        raise Unusable(str(error)) from None


def opened(settings: Settings) -> Store:
    """The database, migrated. Raises Unusable."""
    listed()
    try:
        owning.owned()
        store = Store(settings.database)
        store.migrate()
    except owning.Shadowed as error:
        raise Unusable(str(error)) from None
    except (SQLAlchemyError, ImportError) as error:
        reason = getattr(error, "orig", None) or error
        raise Unusable(f"the database cannot be used: {reason}") from None
    return store


KEEP_ALIVE = 75
"""Seconds that an idle connection stays: longer than clients keep theirs, else they write into one that is closing."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def guarded(store: Store, host: str, open: bool) -> None:
    """An address that others reach needs keys, or the word that it does not. Raises Unusable."""
    if host not in LOOPBACK and not open and not store.read(access.exist):
        remedy = "make one with `winnow keys create NAME`, or say --open"
        raise Unusable(f"anybody who reaches {host} could submit jobs, for there are no API keys: {remedy}")


def reached(settings: Settings) -> Broker:
    """The queue of a production set-up. Raises Unusable when it is not configured or does not answer."""
    if not settings.redis_url:
        raise Unusable("no Redis: set WINNOW_REDIS_URL (for one machine, `winnow serve` brings its own)")
    try:
        broker = Broker(settings.redis_url, settings.lease_seconds)
        broker.redis.ping()
    except (redis.RedisError, ValueError) as error:
        raise Unusable(f"Redis at WINNOW_REDIS_URL does not answer: {error}") from None
    return broker
