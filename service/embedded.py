"""Everything on one machine in one process tree: SQLite, a real Valkey or Redis, the API and its workers."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis

from service.children import end, follow_parent
from service.opening import KEEP_ALIVE, Unusable, folder, guarded, listen, opened, reached
from service.queue import Broker
from service.redis_server import alive, start_redis
from service.settings import Settings, core_count
from service.store import Store

log = logging.getLogger("winnow.stack")

# glibc gives every large tensor back to the kernel and has it cleared again, layer by layer: a tenth of a CPU worker's
# time. With these it keeps up to 1 GiB.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}


@dataclass
class Stack:
    """The embedded service as a context: on entering it answers HTTP at `url`, on leaving all of it is gone."""

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    log: Path | None = None
    open: bool = False
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
        listener = listen(self.host, self.port)
        self._undo.append(listener.close)
        self.url = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{listener.getsockname()[1]}"
        ours = self.settings.redis_url is None
        if ours:
            url, self._queue = start_redis(self.settings.data_dir)
            self._undo.append(self._end_queue)
            self.settings = self.settings.model_copy(update={"redis_url": url})
        broker = reached(self.settings)
        store = opened(self.settings)
        guarded(store, self.host, self.open)
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
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", timeout_graceful_shutdown=3, timeout_keep_alive=KEEP_ALIVE
        )
        server = uvicorn.Server(config)
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
            "WINNOW_LOG": self.settings.log,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        command = [sys.executable, "-m", "service.cli", "worker", "--name", name]
        with open(self.log or os.devnull, "ab") as out:
            self.children[name] = subprocess.Popen(  # noqa: S603 - our own command line
                command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=follow_parent
            )

    def _monitor(self, broker: Broker, ours: bool) -> None:
        """Start dead children again, and end the workers. What a dead one held is free at once: it is certainly dead.

        A child ends with the thread that started it; so this thread stays until the workers have handed back.
        """
        while not self._stopping.wait(0.2):
            with contextlib.suppress(Unusable, OSError):  # the next round tries again
                if ours and not alive(self._queue, broker.url):
                    self._end_queue()
                    self._queue = start_redis(self.settings.data_dir)[1]
                for name in [name for name, child in list(self.children.items()) if child.poll() is not None]:
                    with contextlib.suppress(redis.RedisError):  # their leases will run out
                        broker.release(name)
                    self._spawn(f"{name.rsplit('.', 1)[0]}.{int(time.time() * 1000)}")
                    code = self.children.pop(name).returncode
                    log.warning("worker %s ended (%s); another has taken its place", name, code)
                    self._stopping.wait(0.5)
        for child in self.children.values():
            child.terminate()
        for child in self.children.values():
            end(child)

    def _end_queue(self) -> None:
        if self._queue is not None:
            end(self._queue)

    def _stop(self) -> None:
        while self._undo:
            self._undo.pop()()
