"""A server that receives webhooks, with every fault of one."""

import base64
import contextlib
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Message(NamedTuple):
    """What came."""

    path: str
    id: str
    at: str
    signature: str
    body: bytes
    came: float

    def proven(self, secret: str) -> bool:
        """Whether it is signed as Standard Webhooks says."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.at}.".encode() + self.body
        right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return right in self.signature.split(" ") and abs(self.came - int(self.at)) < 60


@dataclass
class Receiver:
    """Where it is, and what has come so far."""

    url: str = ""
    got: list[Message] = field(default_factory=list)
    going: threading.Event = field(default_factory=threading.Event)  # set: nobody hangs any longer

    def at(self, path: str) -> list[Message]:
        """Messages to a path."""
        return [message for message in self.got if message.path == path]


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """/ok; /fails-twice; /down; /gone; /redirects to /ok; /hangs until told; /hangs-once; /closes."""
    state = Receiver()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            named = [self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
            times = len(state.at(self.path))
            state.got.append(Message(self.path, *named, body, time.time()))
            path = self.path.partition("?")[0]
            if path == "/hangs" or (path == "/hangs-once" and not times):
                state.going.wait(300)
            if path == "/closes":
                return
            failed = path == "/down" or (path == "/fails-twice" and times < 2)
            status = 503 if failed else 410 if path == "/gone" else 302 if path == "/redirects" else 204
            with contextlib.suppress(OSError):  # whoever asked may have left
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{state.url}/ok")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        state.going.set()
        server.shutdown()
        server.server_close()
