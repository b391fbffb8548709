"""Rows whose next step is a request to an endpoint: many side by side, each with a fate of its own."""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import regex

from generators.asking import Line, Lost, Refused, line
from generators.endpoints import Endpoint
from generators.openai import OpenAI, Step
from generators.replies import UNKNOWN, Choice, Reply
from search import keys
from search.ports import TOGETHER, Bools, Failed, Ints, Item, Rows

JITTER = 0x7FFF0000
"""Counter of the random numbers that spread retries; seeds of requests have the step's."""
PATIENCE = 0.05  # seconds for one search of a pattern, which may be slow on purpose
MARK = "\n"  # ends a line
FORMS = 3  # replies in no known form that are paid for one row, at most


@dataclass(frozen=True, eq=False)
class Completions:
    """A remote generator. A row that was refused or lost is done, and its answer is `Failed` with the reason.

    Columns: `prompt` (a text, or a list of turns), `text` so far, `more` (what goes with it), `failed` (the reason),
    `tokens`, `prompt_tokens`, `tokens_together`.
    """

    config: OpenAI
    endpoint: Endpoint
    price = 1

    def __post_init__(self) -> None:
        self.endpoint.secret  # noqa: B018 - raises, before any job's samples are lost to a missing key

    @property
    def batch_key(self) -> Hashable:
        """Equal configurations; but no rows share a call."""
        return ("endpoint", self.config.model_dump_json())

    @property
    def steps(self) -> int:
        """As configured."""
        return self.config.evaluations

    @property
    def tokens(self) -> int:
        """Of one step, at most."""
        return self.config.per_step

    @property
    def limit(self) -> int:
        """Every place in flight with as many answers as a request may bring."""
        return self.endpoint.concurrency * (1 if self.config.step else self.endpoint.n)

    def start(self, items: Sequence[Item], keys: keys.Words) -> Rows:
        """Nothing said yet."""
        n, zero = len(keys), np.zeros(len(keys), np.int64)
        prompts = [[turn.model_dump() for turn in item.messages] if item.messages else item.prompt for item in items]
        columns = {"prompt": prompts, "text": [""] * n, "more": [None] * n, "failed": [None] * n}
        counts = {"tokens": zero, "prompt_tokens": zero, "tokens_together": zero}
        return Rows.fresh(keys, {name: objects(column) for name, column in columns.items()} | counts)

    async def advance(self, rows: Rows) -> Rows:
        """One request for each row; without steps, one for up to `n` rows of the same prompt.

        Cancelled, it closes its requests at once and returns the rows that it has, the others failed.
        """
        asked = Asked(self, line(self.endpoint), rows)
        work = [asyncio.ensure_future(asked.all_of(group)) for group in self._groups(rows)]
        try:
            await asyncio.gather(*work)
        except BaseException as error:
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            if not isinstance(error, asyncio.CancelledError) or not asked.had.any():
                raise
            for row in np.flatnonzero(~asked.had).tolist():
                asked.fail(row, "the job was stopped before the answer came", unknown=True)
        return asked.rows()

    def _groups(self, rows: Rows) -> list[list[int]]:
        """Rows that are asked for in one request."""
        most = 1 if self.config.step else self.endpoint.n
        same: dict[str, list[int]] = {}
        for row, prompt in enumerate(rows.columns["prompt"].tolist()):
            same.setdefault(prompt if isinstance(prompt, str) else repr(prompt), []).append(row)
        return [group[i : i + most] for group in same.values() for i in range(0, len(group), most)]

    def request(self, rows: Rows, row: int, seed: int, n: int) -> tuple[bool, dict[str, Any]]:
        """Whether it goes to /chat/completions, and its body."""
        config, server = self.config, self.endpoint
        prompt, text = rows.columns["prompt"][row], rows.columns["text"][row]
        stop = [*config.stop, *([MARK] if config.step and config.step.unit == "line" and server.stop_reason else [])]
        body: dict[str, Any] = {
            **server.body,
            "model": config.model or server.model,
            "temperature": config.temperature,
            "top_p": config.top_p,
            server.limit_field: config.per_step,
            **({"stop": stop} if stop else {}),
            **({"seed": seed} if server.seed else {}),
            **({"n": n} if n > 1 else {}),
        }
        if isinstance(prompt, str) and server.completions:
            return False, body | {"prompt": prompt + text} | ({"logprobs": 1} if config.logprobs else {})
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if text:
            turns = [*turns, {"role": "assistant", "content": text}]
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return True, body | {"messages": turns} | ({"logprobs": True} if config.logprobs else {})

    def preview(self, rows: Rows) -> list[Any]:
        """The text so far."""
        return [
            answer if done else text
            for answer, done, text in zip(self.finish(rows), rows.done, rows.columns["text"], strict=True)
        ]

    def finish(self, rows: Rows) -> list[Any]:
        """Texts, objects where logprobs were asked for, and what failed."""
        told = zip(*(rows.columns[name] for name in ("text", "more", "failed")), strict=True)
        return [
            Failed(failed) if failed is not None else {"text": text, **more} if more else text
            for text, more, failed in told
        ]


class Asked:
    """One step of some rows while its requests are out."""

    def __init__(self, model: Completions, line: Line, rows: Rows) -> None:
        self.model, self.line, self.before = model, line, rows
        self.had: Bools = np.zeros(len(rows), bool)
        self.done: Bools = np.ones(len(rows), bool)
        self.columns = {name: column.copy() for name, column in rows.columns.items()}
        self.spent: dict[str, Ints] = {name: np.zeros(len(rows), np.int64) for name in ("tokens", "prompt_tokens")}
        self.seeds = (keys.bits(rows.keys, rows.step, 1)[0][:, 0] >> 1).tolist()

    def rows(self) -> Rows:
        """One step later. What is unknown of a step is unknown of its row."""
        for name, new in self.spent.items():
            old = self.columns[name]
            self.columns[name] = np.where((old < 0) | (new < 0), np.where(new < 0, new, old), old + new)
        return self.before.moved(self.done, self.columns)

    async def all_of(self, group: Sequence[int]) -> None:
        """Rows of one prompt, in one request if the server can; those that it does not bring, one by one."""
        missing, refused = group, False
        if len(group) > 1 and not self.line.alone:
            try:
                missing = await self._several(group)
            except Refused:
                refused = True
        await asyncio.gather(*(self._one(row) for row in missing))
        if refused and any(self.columns["failed"][row] is None for row in group):
            self.line.alone = True  # it answers the same prompt when it is asked for one answer

    async def _several(self, group: Sequence[int]) -> Sequence[int]:
        """Ask for all at once; the rows that are still missing. A request that fails takes no row with it."""
        first, n = group[0], len(group)
        chat, body = self.model.request(self.before, first, self.seeds[first], n)
        try:
            found = await self.line.ask(chat, body, partial(self._jitter, first), tries=1)
        except Lost:
            return group
        if len(found.choices) == 1:
            self.line.alone = True
        self._paid(group[: len(found.choices)], found)
        missing: list[int] = []
        for row, choice in zip(group, [*found.choices, *[None] * n][:n], strict=True):
            if choice is None:
                missing.append(row)
            else:
                self.keep(row, choice)
        return missing

    async def _one(self, row: int) -> None:
        """One row, however often it takes."""
        chat, body = self.model.request(self.before, row, self.seeds[row], 1)
        try:
            for _ in range(FORMS):
                found = await self.line.ask(chat, body, partial(self._jitter, row))
                self._paid([row], found)
                if (choice := found.choices[0]) is not None:
                    return self.keep(row, choice)
            self.fail(row, f"endpoint {self.model.endpoint.name!r}: {FORMS} replies with a choice in no known form")
        except Refused as error:
            self.fail(row, str(error))
        except Lost as error:
            self.fail(row, str(error), unknown=True)

    def _jitter(self, row: int, attempt: int) -> float:
        return float(keys.uniforms(self.before.keys[row : row + 1], JITTER + attempt, 1)[0, 0])

    def _paid(self, group: Sequence[int], found: Reply) -> None:
        """Count a reply's tokens: by row where each row's can be told, else together on the first of them."""
        self._count("prompt_tokens", group[0], found.prompt_tokens)
        each = found.each()
        if each is not None and len(each) == len(group):
            for row, count in zip(group, each, strict=True):
                self._count("tokens", row, count)
        elif found.tokens == UNKNOWN:
            self.spent["tokens"][group] = UNKNOWN
        else:
            self.spent["tokens"][group] = TOGETHER
            self._count("tokens", group[0], found.tokens)

    def _count(self, name: str, row: int, count: int) -> None:
        """Add a reply's tokens to a row's. One reply that does not say makes the sum unknown."""
        so_far = self.spent[name]
        if count == UNKNOWN or so_far[row] == UNKNOWN:
            so_far[row] = UNKNOWN
        elif so_far[row] == TOGETHER:
            self.columns["tokens_together"][row] += count
        else:
            so_far[row] += count

    def keep(self, row: int, choice: Choice) -> None:
        """Take an answer, or the next step of one."""
        config = self.model.config
        self.had[row] = True
        if choice.text is None:
            self.fail(row, f"endpoint {self.model.endpoint.name!r}: an answer without text ({choice.reason})")
        elif config.step is None:
            self.columns["text"][row] = choice.text
            if config.logprobs:
                self.columns["more"][row] = {"logprobs": choice.logprobs, "finish_reason": choice.reason}
        else:
            text, ended = stepped(config.step, choice)
            self.columns["text"][row] += text
            self.done[row] = ended or bool(self.before.step[row] + 1 >= self.model.steps)

    def fail(self, row: int, reason: str, unknown: bool = False) -> None:
        """A record in place of an answer. unknown: nobody can say what it cost."""
        self.had[row] = self.done[row] = True
        self.columns["failed"][row] = reason
        if unknown and self.spent["tokens"][row] == 0:
            self.spent["tokens"][row] = UNKNOWN


def stepped(step: Step, choice: Choice) -> tuple[str, bool]:
    """What a step adds to the text, and whether that ends it.

    A server may say that it stopped at the end of a line. Any other text is cut here behind the step's end: the first
    tokens of a longer draw are a draw of a shorter one.
    """
    text = choice.text or ""
    if step.unit == "line" and choice.stopped == MARK:
        return text + MARK, False
    if step.unit == "line":
        at = text.find(MARK) + 1
    else:
        try:
            found = regex.search(step.pattern or "", text, timeout=PATIENCE)
        except TimeoutError:
            found = None
        at = found.end() if found else 0
    if 0 < at < len(text) or (at and choice.reason == "length"):
        return text[:at], False
    return text, choice.reason != "length"


def objects(values: Iterable[Any]) -> np.ndarray[Any, Any]:
    """A column of JSON values; numpy would take lists apart."""
    listed = list(chain(values))
    column = np.empty(len(listed), object)
    for i, value in enumerate(listed):
        column[i] = value
    return column
