"""An endpoint to test against, with every fault that real ones have, each at a rate of one's choice.

    python -m generators.misbehaving --port 0 [--latency 0.05] [--errors 0.05] ...

Prints its URL. What befalls a request, and what it is answered, follows from `seed`, the request's body and how often
it came before: two runs that ask the same see the same. Answers are texts of a known law (`generators.scripted`), also
when a text is continued. `GET /stats` counts what came.
"""

import argparse
import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Self, cast

from generators.scripted import Chance, written

TEXTS = {400: "this prompt cannot be answered", 401: "no such key", 500: "out of luck", 429: "slow down"}


@dataclass(frozen=True)
class Faults:
    """How it misbehaves; rates are shares of requests, 0 to 1."""

    seed: int = 0
    latency: float = 0.0  # seconds
    length: int = 6  # symbols of an answer
    refused: float = 0.0  # 400, for the same body always
    errors: float = 0.0  # 500
    limited: float = 0.0  # 429
    retry_after: float = 0.05  # seconds, in a 429
    truncated: float = 0.0  # the body ends early
    hangs: float = 0.0  # no answer
    resets: float = 0.0  # the connection is closed instead
    odd: float = 0.0  # one choice too few, or too many
    broken: float = 0.0  # one choice has no form
    unreported: float = 0.0  # no usage
    ignores_n: bool = False
    refuses_n: bool = False
    logprobs: bool = True
    stop_reason: bool = False
    capacity: int = 1_000_000  # requests at once; 429 beyond
    key: str = ""  # 401 without it
    redirect: str = ""  # 307 to this URL


@dataclass
class Stats:
    """What came so far.

    flying: requests that are worked on; hanging: those of them that are never answered. closed: connections that the
    client closed while their request was worked on.
    """

    requests: int = 0
    samples: int = 0
    tokens: int = 0
    flying: int = 0
    hanging: int = 0
    most: int = 0
    closed: int = 0
    by_status: Counter[int] = field(default_factory=Counter[int])


class Connection(asyncio.Protocol):
    """One client's connection; it sees at once when the client goes."""

    def __init__(self, server: "Misbehaving") -> None:
        self.server, self.buffer = server, bytearray()
        self.work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.open.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self.transport)
        if self.work is not None and not self.work.done():
            self.server.stats.closed += 1
            self.work.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, *lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(self.buffer) < end + 4 + size:
            return
        body = bytes(self.buffer[end + 4 : end + 4 + size])
        del self.buffer[: end + 4 + size]
        path = head.split(" ")[1]
        if path == "/stats":
            self.send(200, json.dumps(vars(self.server.stats)).encode())
        else:
            self.work = asyncio.ensure_future(self.server.serve(self, path, headers, body))

    def send(self, status: int, body: bytes, more: str = "", cut: bool = False) -> None:
        """A reply. cut: its end never comes."""
        kind = "text/event-stream" if body.startswith(b"data:") else "application/json"
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self.transport.write(head.encode() + (body[: len(body) // 2] if cut else body))
        if cut:
            self.transport.close()


class Misbehaving:
    """The server, as an async context; `url` is what an endpoint's `url` wants."""

    def __init__(self, faults: Faults | None = None, port: int = 0) -> None:
        self.faults, self.port, self.stats = faults or Faults(), port, Stats()
        self.seen: Counter[bytes] = Counter()
        self.open: set[asyncio.Transport] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.get_running_loop().create_server(lambda: Connection(self), "127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for transport in list(self.open):
            transport.abort()
        await self.server.wait_closed()
        await asyncio.sleep(0)  # connections hear of it

    async def serve(self, connection: Connection, path: str, headers: dict[str, str], body: bytes) -> None:
        """One request, with whatever befalls it."""
        stats = self.stats
        stats.requests += 1
        stats.flying += 1
        stats.most = max(stats.most, stats.flying)
        try:
            status = await self._answer(connection, path, headers, body)
            stats.by_status[status] += 1
        finally:
            stats.flying -= 1

    async def _answer(self, connection: Connection, path: str, headers: dict[str, str], body: bytes) -> int:
        faults = self.faults
        name = blake2b(body, digest_size=16).digest()
        fate = Chance(faults.seed, name, self.seen[name])
        self.seen[name] += 1
        if faults.key and headers.get("authorization") != f"Bearer {faults.key}":
            return self._fault(connection, 401, f"; you sent {headers.get('authorization', 'nothing')}")
        if faults.redirect:
            connection.send(307, b"{}", f"Location: {faults.redirect}\r\n")
            return 307
        if self.stats.flying > faults.capacity or fate() < faults.limited:
            return self._fault(connection, 429)
        await asyncio.sleep(faults.latency)
        asked: dict[str, Any] = json.loads(body)
        if Chance(faults.seed, "refused", name)() < faults.refused or (faults.refuses_n and asked.get("n", 1) > 1):
            return self._fault(connection, 400)
        if fate() < faults.errors:
            return self._fault(connection, 500)
        if fate() < faults.hangs:
            await self._hang()
        if fate() < faults.resets:
            connection.transport.close()
            return 0
        if fate() < faults.truncated:
            cut = fate() < 0.5  # before its length says so, or complete but for the JSON
            whole = self._reply(path, asked, fate)
            connection.send(200, whole if cut else whole[: len(whole) // 2], cut=cut)
            return 0
        connection.send(200, self._reply(path, asked, fate))
        return 200

    async def _hang(self) -> None:
        self.stats.hanging += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.stats.hanging -= 1

    def _fault(self, connection: Connection, status: int, more: str = "") -> int:
        text = json.dumps({"error": {"message": TEXTS[status] + more, "type": "x", "code": status}})
        after = f"Retry-After: {self.faults.retry_after:g}\r\n" if status == 429 else ""
        connection.send(status, text.encode(), after)
        return status

    def _reply(self, path: str, asked: dict[str, Any], fate: Chance) -> bytes:
        """A reply with status 200, with the faults that such replies have."""
        faults, chat = self.faults, path.endswith("/chat/completions")
        n = 1 if faults.ignores_n else asked.get("n", 1)
        if fate() < faults.odd:
            n = max(1, n - 1) if n > 1 and fate() < 0.5 else n + 1
        seed = asked.get("seed", self.stats.requests)
        choices, tokens = list[dict[str, Any]](), 0
        for index in range(n):
            choice, used = self._choice(asked, chat, index, seed)
            choices.append(choice)
            tokens += used
        if fate() < faults.broken:
            choices[int(fate() * n)] = {"index": 0}
        self.stats.samples += n
        self.stats.tokens += tokens
        reply: dict[str, Any] = {"object": "x", "model": asked.get("model"), "choices": choices}
        if fate() >= faults.unreported:
            read = len(json.dumps(asked.get("messages", asked.get("prompt")))) // 4
            reply["usage"] = {"prompt_tokens": read, "completion_tokens": tokens, "total_tokens": read + tokens}
        return self._streamed(reply, chat) if asked.get("stream") else json.dumps(reply).encode()

    def _choice(self, asked: dict[str, Any], chat: bool, index: int, seed: int) -> tuple[dict[str, Any], int]:
        turns: list[dict[str, str]] = asked.get("messages") or []
        going_on = bool(turns) and turns[-1]["role"] == "assistant"
        prefix = turns[-1]["content"] if going_on else ""
        prompt = json.dumps(turns[: len(turns) - going_on]) if chat else str(asked.get("prompt"))
        if not chat:  # the text behind the prompt's last line
            prompt, mark, prefix = prompt.rpartition("A:")
            prompt += mark
        chance = Chance(self.faults.seed, "text", prompt, prefix, seed, index)
        stop, most = asked.get("stop") or [], asked.get("max_tokens", 10**6)
        tokens, reason, stopped = written(prefix, chance, most, stop, self.faults.length)
        text = "".join(tokens)
        choice: dict[str, Any] = {"index": index, "finish_reason": reason}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if self.faults.stop_reason:
            choice["stop_reason"] = stopped
        if asked.get("logprobs") and self.faults.logprobs:
            pairs = [{"token": token, "logprob": -0.5} for token in tokens]
            columns = {"tokens": tokens, "token_logprobs": [-0.5] * len(tokens)}
            choice["logprobs"] = {"content": pairs} if chat else columns
        return choice, len(tokens)

    def _streamed(self, reply: dict[str, Any], chat: bool) -> bytes:
        """The same reply as server-sent events, a chunk a character."""
        events: list[dict[str, Any]] = []
        for choice in reply["choices"]:
            for mark in choice["message"]["content"] if chat else choice["text"]:
                piece = {"delta": {"content": mark}} if chat else {"text": mark}
                events.append({"choices": [{"index": choice["index"], **piece, "finish_reason": None}]})
            last = {"index": choice["index"], "finish_reason": choice["finish_reason"]}
            events.append({"choices": [last | ({"delta": {}} if chat else {"text": ""})]})
        events.append({"choices": [], "usage": reply.get("usage")})
        return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


async def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    for one in fields(Faults):
        flag = f"--{one.name.replace('_', '-')}"
        if isinstance(one.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=one.default)
        else:
            parser.add_argument(flag, type=type(one.default), default=one.default)
    options = vars(parser.parse_args())
    port = options.pop("port")
    async with Misbehaving(Faults(**options), port) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
