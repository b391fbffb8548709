"""What servers answer, read with distrust: whatever is not there is unknown, and nothing is guessed."""

import json
from dataclasses import dataclass
from typing import Any, cast

from search.ports import UNSAID as UNKNOWN


class Malformed(ValueError):
    """No reply in OpenAI's form: cut off, or something else."""


@dataclass(frozen=True)
class Choice:
    """One answer. text None: the server gave an answer without text. logprobs None: it gave none.

    reason: why it ended. stopped: the stop string that ended it, where the server says so.
    """

    text: str | None
    reason: str | None
    logprobs: list[list[Any]] | None
    stopped: str | None


@dataclass(frozen=True)
class Reply:
    """The answers of one request, None for one in no known form, and its tokens (UNKNOWN where it does not say)."""

    choices: list[Choice | None]
    tokens: int
    prompt_tokens: int

    def each(self) -> list[int] | None:
        """Tokens of each answer, where that can be told: one answer, or logprobs that add up to the total."""
        if len(self.choices) == 1:
            return [self.tokens]
        counts = [len(choice.logprobs) if choice and choice.logprobs else 0 for choice in self.choices]
        return counts if self.tokens != UNKNOWN and sum(counts) == self.tokens else None


def reply(content: bytes, chat: bool) -> Reply:
    """Read the body of a reply with status 200. Raises Malformed."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Malformed(f"no complete JSON in {len(content)} bytes") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        raise Malformed("a reply without choices")
    usage = cast(dict[str, Any], body).get("usage")
    read = chat_choice if chat else text_choice
    return Reply(
        [read(choice) if isinstance(choice, dict) else None for choice in cast(list[Any], choices)],
        count(usage, "completion_tokens"),
        count(usage, "prompt_tokens"),
    )


def count(usage: Any, name: str) -> int:
    """A count of tokens, or UNKNOWN."""
    value = cast(dict[str, Any], usage).get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value < 2**40 else UNKNOWN


def chat_choice(choice: dict[str, Any]) -> Choice | None:
    """One of /chat/completions."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    pairs = [
        (told.get("token"), told.get("logprob")) if isinstance(told, dict) else (None, None)
        for told in values(choice.get("logprobs"), "content")
    ]
    return _choice(choice, cast(dict[str, Any], message).get("content"), pairs)


def text_choice(choice: dict[str, Any]) -> Choice | None:
    """One of /completions."""
    if "text" not in choice:
        return None
    told = choice.get("logprobs")
    tokens, numbers = values(told, "tokens"), values(told, "token_logprobs")
    pairs = list(zip(tokens, numbers, strict=True)) if len(tokens) == len(numbers) else []
    return _choice(choice, choice["text"], pairs)


def values(of: Any, name: str) -> list[Any]:
    """A list in an object; empty where there is none."""
    found = cast(dict[str, Any], of).get(name) if isinstance(of, dict) else None
    return cast(list[Any], found) if isinstance(found, list) else []


def _choice(choice: dict[str, Any], text: Any, pairs: list[tuple[Any, Any]]) -> Choice | None:
    if not isinstance(text, str | None):
        return None
    right = all(isinstance(token, str) and type(value) in (int, float) and value <= 1e-3 for token, value in pairs)
    stopped = choice.get("stop_reason", choice.get("matched_stop"))
    reason = choice.get("finish_reason")
    return Choice(
        None if text is None else whole(text),
        whole(reason) if isinstance(reason, str) else None,
        [[whole(token), float(max(value, -(10**9)))] for token, value in pairs] if pairs and right else None,
        stopped if isinstance(stopped, str) else None,
    )


def whole(text: str) -> str:
    """Text that can be stored: JSON can spell halves of characters."""
    return text.encode("utf-8", "replace").decode()


def said(content: bytes) -> str:
    """The message of an error in whatever form it comes, in a few hundred characters."""
    text = content[:20_000].decode("utf-8", "replace")
    try:
        found = json.loads(text)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and name in found:
                found = cast(dict[str, Any], found)[name]
        text = found if isinstance(found, str) else json.dumps(found)
    except (ValueError, RecursionError):
        pass
    return whole(" ".join(text.split())[:300])
