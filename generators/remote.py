"""Rows whose next step is a request to an endpoint: many side by side, each with a fate of its own."""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from generators.asking import line
from generators.openai import OpenAI
from generators.outstanding import Asked
from search import keys
from search.endpoints import Endpoint
from search.ports import Failed, Item, Rows


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
        asked = Asked(self.config, line(self.endpoint), rows)
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


def objects(values: Iterable[Any]) -> np.ndarray[Any, Any]:
    """A column of JSON values; numpy would take lists apart."""
    listed = list(values)
    column = np.empty(len(listed), object)
    for i, value in enumerate(listed):
        column[i] = value
    return column
