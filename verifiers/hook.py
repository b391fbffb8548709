"""A verifier that runs elsewhere, behind HTTP: requests and replies are signed, and the operator says where it is.

Signatures are those of Standard Webhooks: base64 of HMAC-SHA256 over `id.timestamp.body`, in the headers `webhook-id`,
`webhook-timestamp` and `webhook-signature: v1,...`. The reply carries the same id, its own time and its own signature.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import httpx
import numpy as np
from pydantic import AfterValidator, Field, JsonValue, ValidationError

from search import endpoints
from search.plugins import plugin
from search.ports import Answer, Config, Frozen, Many, Score, Verifier, unscored
from verifiers.asking import Reply, Unanswered, client, post
from verifiers.each import Unreadable
from verifiers.structured import no_constant

MOST = 64  # answers of one request
LARGEST = 2**20  # bytes of one answer
SKEW = 300  # seconds by which a reply's clock may differ


def named(name: str) -> str:
    """The name of a hook. Raises Unknown, a ValueError that lists the valid ones, or Unreadable."""
    return endpoints.hook(name).name


class Http(Config):
    """A verifier elsewhere."""

    hook: Annotated[str, AfterValidator(named)] = Field(max_length=200, description="Name that the operator gave.")
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Sent along with every request.")


class Given(Frozen):
    """One score of a reply."""

    value: float | None
    passed: bool | None = None
    reason: str | None = Field(None, max_length=100_000)
    canonical: str | None = Field(None, max_length=100_000)

    @property
    def score(self) -> Score:
        """As a verdict."""
        if self.value is None:
            return unscored((self.reason or "the hook gave no value and no reason")[:900])
        reason = None if self.reason is None else self.reason[:900]
        return Score(float(self.value), self.passed, reason, self.canonical or None)


class Scores(Frozen):
    """A reply."""

    scores: Many[Given]


def signature(key: bytes, name: str, at: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id, time and body."""
    digest = hmac.new(key, b".".join([name.encode(), at.encode(), body]), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signed(keys: Sequence[bytes], name: str, body: bytes) -> dict[str, str]:
    """The headers of a request, or of a reply to it: a signature with each key, any of which proves it."""
    at = str(int(time.time()))
    proofs = " ".join(signature(key, name, at, body) for key in keys)
    return {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": proofs}


def proven(key: bytes, name: str, reply: Reply) -> None:
    """Raise Unreadable unless the reply is the hook's own, to this very request, and new."""
    at = reply.headers.get("webhook-timestamp", "")
    given = reply.headers.get("webhook-signature", "")
    if reply.headers.get("webhook-id") != name or not (at.isascii() and at.isdigit()):
        raise Unreadable("the hook's reply is not signed for this request")
    if abs(time.time() - int(at[:18])) > SKEW:
        raise Unreadable(f"the hook's reply is more than {SKEW} s old")
    right = signature(key, name, at, reply.body)
    if not any(hmac.compare_digest(one.encode(), right.encode()) for one in given.split(" ")):
        raise Unreadable("the hook's reply has a wrong signature")


def plain(value: object) -> Any:
    """An answer as JSON; an array as its type, shape and bytes in base64. Raises Unreadable."""
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        if array.dtype.hasobject:
            raise Unreadable("an array of objects cannot be sent")
        coded = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {"dtype": str(array.dtype), "shape": list(array.shape), "base64": coded}
    return value


def written(answer: Answer) -> str:
    """An answer and its item as JSON text. Raises Unreadable."""
    item = answer.item
    try:
        fields = {**item.model_dump(mode="json"), "value": plain(answer.value)}
        said = json.dumps(fields, allow_nan=False)
        said.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"the answer cannot be written as JSON: {type(error).__name__}") from error
    if len(said) > LARGEST:
        raise Unreadable(f"the answer has {len(said)} bytes with its item; at most {LARGEST} are sent")
    return said


def read(reply: Reply, count: int) -> list[Score]:
    """The scores of a reply. Raises Unreadable unless it holds exactly one for each answer."""
    try:
        given = Scores.model_validate(json.loads(reply.body, parse_constant=no_constant)).scores
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise Unreadable(f"the hook's reply is not of the schema: at {where}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable("the hook's reply is not JSON") from error
    if len(given) != count:
        raise Unreadable(f"the hook gave {len(given)} scores for {count} answers")
    return [one.score for one in given]


@plugin(version="1")
def http(config: Http) -> Verifier:
    """Scores by a server that the operator named."""
    settings = json.dumps(config.settings)

    async def some(opened: httpx.AsyncClient, answers: Sequence[str]) -> list[Score]:
        hook = endpoints.hook(config.hook)
        body = f'{{"settings": {settings}, "answers": [{", ".join(answers)}]}}'.encode()
        name = f"msg_{uuid.uuid4().hex}"

        def headers() -> Mapping[str, str]:
            return signed([hook.key()], name, body)

        try:
            reply = await post(opened, hook, hook.url, body, headers)
            proven(hook.key(), name, reply)
            return read(reply, len(answers))
        except (Unanswered, Unreadable) as error:
            return [unscored(str(error)[:900])] * len(answers)

    async def verify(answers: Sequence[Answer]) -> Sequence[Score]:
        out: list[Score] = []
        sent: list[tuple[int, str]] = []
        for i, answer in enumerate(answers):
            try:
                sent.append((i, written(answer)))
                out.append(unscored("not asked"))
            except Unreadable as error:
                out.append(unscored(str(error)))
        blocks = packed(sent)
        async with client(endpoints.hook(config.hook)) as opened:
            found = await asyncio.gather(*(some(opened, [said for _, said in block]) for block in blocks))
        for block, scores in zip(blocks, found, strict=True):
            for (i, _), score in zip(block, scores, strict=True):
                out[i] = score
        return out

    return verify


def packed(sent: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """Blocks of at most MOST answers and about LARGEST bytes."""
    blocks: list[list[tuple[int, str]]] = []
    size = 0
    for one in sent:
        if not blocks or len(blocks[-1]) == MOST or size + len(one[1]) > LARGEST:
            blocks.append([])
            size = 0
        blocks[-1].append(one)
        size += len(one[1])
    return blocks
