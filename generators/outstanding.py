"""One step of some rows while its requests are out: every row has a fate and an account of its own."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from generators.asking import Line, Lost, Refused
from generators.bodies import cut, request, stepped
from generators.openai import OpenAI
from generators.replies import UNKNOWN, Choice, Reply
from search import keys
from search.ports import TOGETHER, Bools, Ints, Rows

JITTER = 0x7FFF0000
"""Counter of the random numbers that spread retries; seeds of requests have the step's."""
FORMS = 3  # replies in no known form that are paid for one row, at most


class Asked:
    """One step of some rows while its requests are out."""

    def __init__(self, config: OpenAI, line: Line, rows: Rows) -> None:
        self.config, self.line, self.before = config, line, rows
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
        chat, body = self._request(first, n)
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
        chat, body = self._request(row, 1)
        try:
            for _ in range(FORMS):
                found = await self.line.ask(chat, body, partial(self._jitter, row))
                self._paid([row], found)
                if (choice := found.choices[0]) is not None:
                    return self.keep(row, choice)
            self.fail(row, f"endpoint {self.line.endpoint.name!r}: {FORMS} replies with a choice in no known form")
        except Refused as error:
            self.fail(row, str(error))
        except Lost as error:
            self.fail(row, str(error), unknown=True)

    def _request(self, row: int, n: int) -> tuple[bool, dict[str, Any]]:
        prompt, text = self.before.columns["prompt"][row], self.before.columns["text"][row]
        return request(self.config, self.line.endpoint, prompt, text, self.seeds[row], n)

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
        config = self.config
        self.had[row] = True
        if choice.text is None:
            self.fail(row, f"endpoint {self.line.endpoint.name!r}: an answer without text ({choice.reason})")
        elif config.step is None:
            said = cut(choice.text, config.stop)
            self.columns["text"][row] = choice.text if said is None else said
            if config.logprobs:
                self.columns["more"][row] = {"logprobs": choice.logprobs, "finish_reason": choice.reason}
        else:
            text, ended = stepped(config.step, config.stop, choice)
            self.columns["text"][row] += text
            self.done[row] = ended or bool(self.before.step[row] + 1 >= config.evaluations)

    def fail(self, row: int, reason: str, unknown: bool = False) -> None:
        """A record in place of an answer. unknown: nobody can say what it cost."""
        self.had[row] = self.done[row] = True
        self.columns["failed"][row] = reason
        if unknown and self.spent["tokens"][row] == 0:
            self.spent["tokens"][row] = UNKNOWN
