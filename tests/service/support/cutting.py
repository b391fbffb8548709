"""A network that can be cut: a forwarder between a client and a server."""

import socket
import threading
from contextlib import suppress
from typing import Any, Self

import sqlalchemy as sa


class Cut:
    """Forwards to a Redis by its unix socket, or a PostgreSQL by TCP, until `cut`, and again after `heal`."""

    def __init__(self, url: str) -> None:
        self._open: set[socket.socket] = set()
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        if url.startswith("unix://"):
            self._target: Any = url.removeprefix("unix://")
            self.url = f"redis://127.0.0.1:{port}/0"
        else:
            there = sa.make_url(url)
            self._target = (there.host, there.port)
            self.url = there.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        self.heal()  # lets go of those that wait

    def cut(self) -> None:
        """End all connections; new ones are accepted and hear nothing."""
        self._whole.clear()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Forward again."""
        self._whole.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        self._open.add(near)
        self._whole.wait()
        with near, socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET) as far:
            with suppress(OSError):
                far.connect(self._target)
                self._open.add(far)
                back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
                back.start()
                self._copy(near, far)
                back.join()
            self._open -= {near, far}

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
