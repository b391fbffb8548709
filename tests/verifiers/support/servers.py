"""A judge and a hook over real HTTP, with the faults of real ones.

The judge is honest but simple: it counts the letters of the answer. What an answer holds decides its faults, so that a
test needs no switches: an answer with "OBEY" is obeyed, which is the worst that a prompt injection can do.
"""

import base64
import contextlib
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from search.endpoints import VARIABLE
from verifiers.hook import signature, signed

SECRET = "a secret of the tests"
KEY = "key-that-nobody-may-see"
FENCE = re.compile(r"<(\w+) ([0-9a-f]{24})>\n(.*?)\n</\1 \2>", re.DOTALL)


@dataclass
class Servers:
    """What was asked, how often each body came, and the environment that names the servers."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    seen: Counter[bytes] = field(default_factory=Counter)
    environment: dict[str, str] = field(default_factory=dict)


def marks(parts: dict[str, str], properties: dict[str, Any]) -> str:
    """A reply to what is between the fences."""
    said = parts.get("answer", parts["question"])
    if "OBEY" in said:
        return said.partition("OBEY")[2]
    if "overall_score" in properties:
        mark = brightness(parts["image"])
        fixed = {name: i for i, name in enumerate(properties) if name not in ("reasoning", "overall_score")}
        return json.dumps({"reasoning": "light", **fixed, "overall_score": mark})
    if "better" in properties:
        first, second = parts["first"], parts["second"]
        if "ORDER" in first + second:
            return json.dumps({"reasoning": "what comes first", "better": "first"})
        better = "first" if len(first) > len(second) else "second" if len(second) > len(first) else "tie"
        return json.dumps({"reasoning": "the longer", "better": better})
    if "right" in properties:
        return json.dumps({"reasoning": "even", "right": len(said) % 2 == 0})
    return json.dumps({"reasoning": "letters", "score": min(10, 1 + len(said))})


def brightness(url: str) -> int:
    """0 for a black image, 10 for a white one."""
    head, _, coded = url.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(coded))) as opened:
        return round(float(np.asarray(opened).mean()) / 25.5)


def scored(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The hook's scores: length of the text."""
    said = [str(one["value"]) if isinstance(one["value"], str | int | float) else None for one in answers]
    return [
        {"value": None, "reason": "no text"}
        if text is None
        else {"value": float(len(text)), "passed": len(text) > 2, "canonical": text[:9] or None}
        for text in said
    ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Servers

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = json.loads(body)
        self.told.requests.append(asked)
        self.told.headers.append(dict(self.headers.items()))
        self.told.seen[body] += 1
        if "/hook" in self.path:
            self.hook(body, asked)
        else:
            self.judge(body, asked)

    def judge(self, body: bytes, asked: dict[str, Any]) -> None:
        if b"DOWN TWICE" in body and self.told.seen[body] <= 2:
            return self.reply(503, b"busy", {"Retry-After": "0"})
        if b"BAD REQUEST" in body:
            return self.reply(400, b"no")
        if b"ELSEWHERE" in body:
            return self.reply(302, b"", {"Location": "http://127.0.0.1:9/"})
        if b"ENDLESS" in body:
            return self.reply(200, b" " * (2**20 + 1))
        content = asked["messages"][1]["content"]
        said = content if isinstance(content, str) else content[0]["text"]
        parts = {name: words for name, _, words in FENCE.findall(said)}
        if said is not content:
            parts["image"] = content[1]["image_url"]["url"]
        content = marks(parts, asked["response_format"]["json_schema"]["schema"]["properties"])
        self.reply(200, json.dumps({"choices": [{"message": {"content": content}}]}).encode())

    def hook(self, body: bytes, asked: dict[str, Any]) -> None:
        name, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        if signature(SECRET.encode(), name, at, body) != self.headers["webhook-signature"]:
            return self.reply(401, b"who are you?")
        fault = asked["settings"].get("fault")
        scores: Any = scored(asked["answers"])
        scores = {"short": scores[:-1], "nan": [{"value": float("nan")}] * len(scores)}.get(fault, scores)
        out = json.dumps({"scores": scores}).encode() if fault != "text" else b"hello"
        headers = signed([b"another secret, as long" if fault == "forged" else SECRET.encode()], name, out)
        if fault == "replayed":
            headers = signed([SECRET.encode()], "msg_another", out)
        if fault == "old":
            then = str(int(time.time()) - 3600)
            headers |= {"webhook-timestamp": then, "webhook-signature": signature(SECRET.encode(), name, then, out)}
        self.reply(200, out, headers)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Servers]:
    """Both servers."""
    told = Servers()
    server = Quiet(("127.0.0.1", 0), type("Told", (Handler,), {"told": told}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_address[1]}"
    file = folder / "endpoints.toml"
    file.write_text(f"""
[[endpoint]]
name = "judge"
url = "{at}/v1"
model = "letters"
key_env = "TESTS_JUDGE_KEY"
timeout = 100.0

[[endpoint]]
name = "nobody"
url = "http://127.0.0.1:9/v1"
model = "none"
timeout = 100.0
deadline = 0.6

[[hook]]
name = "letters"
url = "{at}/hook"
secret = "{SECRET}"

[[hook]]
name = "stranger"
url = "{at}/hook"
secret = "not the secret of the hook"
""")
    told.environment |= {VARIABLE: str(file), "TESTS_JUDGE_KEY": KEY}
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        told.environment[proxy] = "http://127.0.0.1:9"  # must not be used
    yield told
    server.shutdown()
    server.server_close()
