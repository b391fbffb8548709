"""From tokens to text and back: prompts, where an answer stops, where a step ends, and what is returned."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from search.ports import Frozen, Item, Many

Unit = Literal["token", "line", "regex"]
PATIENCE = 0.05  # seconds for one search of a pattern, which may be slow on purpose


class Manner(Frozen):
    """All of a job's settings that its rows follow; rows carry its digest."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: Many[str]
    logprobs: bool
    unit: Unit
    pattern: str | None
    most: int
    """Steps."""
    tokens: int
    """Of one step, at most."""

    @property
    def digest(self) -> int:
        """63 bits that name these settings."""
        whole = hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).digest()
        return int.from_bytes(whole, "little") >> 1

    def cut(self, text: str) -> str | None:
        """The text before the first stop string; None when there is none."""
        found = [at for stop in self.stop if (at := text.find(stop)) >= 0]
        return text[: min(found)] if found else None

    @property
    def window(self) -> int:
        """Tokens at the end of a text in which a stop string that has just come is found."""
        return 16 + max(map(len, self.stop), default=0)

    def pauses(self, said: Callable[[], str]) -> bool:
        """Whether a step that has said this is at its end."""
        if self.unit == "token":
            return True
        if self.unit == "line":
            return "\n" in said()
        import regex

        try:
            return regex.search(self.pattern or "", said(), timeout=PATIENCE) is not None
        except TimeoutError:
            return False


def prompt(tokenizer: Any, item: Item) -> tuple[int, ...]:
    """Token ids of what an item asks: raw text as it is, a conversation by the model's chat template.

    Raises ValueError for a conversation when the model has no template, and for a text of no tokens.
    """
    if item.messages:
        if not tokenizer.chat_template:
            raise ValueError("this model has no chat template; give the item a `prompt` instead of `messages`")
        said = tuple((turn.role, turn.content) for turn in item.messages)
        ids = _chat(tokenizer, said)
    else:
        ids = _raw(tokenizer, item.prompt)
    if not ids:
        raise ValueError(f"the prompt {item.prompt[:50]!r} has no tokens; at least one is needed")
    return ids


@lru_cache(maxsize=1024)
def _raw(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text).input_ids)


@lru_cache(maxsize=1024)
def _chat(tokenizer: Any, said: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
    turns = [{"role": role, "content": content} for role, content in said]
    written = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tuple(tokenizer(written, add_special_tokens=False).input_ids)


def text(tokenizer: Any, ids: Sequence[int]) -> str:
    """What some tokens say, special ones left out."""
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def answer(tokenizer: Any, ids: Sequence[int], logprobs: Sequence[float], manner: Manner, reason: str | None) -> Any:
    """A string; with logprobs an object of text, the tokens that begin in it with theirs, and why it ended."""
    whole = text(tokenizer, ids)
    cut = manner.cut(whole)
    said = whole if cut is None else cut
    if not manner.logprobs:
        return said
    pieces: list[list[Any]] = []
    length = 0
    for token, value in zip(ids, logprobs, strict=True):
        if length >= len(said) or token in tokenizer.all_special_ids:
            break
        pieces.append([text(tokenizer, [token]), float(np.float32(value))])
        length += len(pieces[-1][0])
    return {"text": said, "logprobs": pieces} | ({} if reason is None else {"finish_reason": reason})
