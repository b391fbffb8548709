"""A language model as a generator: rows of text in progress, at any place, of any job, share each call."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from generators import wording
from generators.decoding import Network
from generators.drawing import Law, drawn
from generators.wording import Manner
from search.keys import Words
from search.ports import Ints, Item, Rows

REASONS = (None, "stop", "length")  # why a row ended, by number; 0 while it has not
STOP, LENGTH = 1, 2
LIMIT = 64
MOVING = ("ids", "logprobs", "length", "reason", "tokens", "evaluations")


@dataclass(frozen=True, eq=False)
class Writer:
    """Generator over a network; one call of it is a token of every row. context: tokens of prompt and answer, at most.

    Columns: "ids", int32 [n, context], the tokens so far, of which "prompt" are the prompt and "length" are all;
    "logprobs", float32 [n, context], of the generated ones; "manner", the digest of the job's settings; "reason", why a
    row ended; "tokens", "prompt_tokens" and "evaluations", the cost.
    """

    network: Network
    manner: Manner
    context: int

    def __post_init__(self) -> None:
        self.network.settings[self.manner.digest] = self.manner

    @property
    def batch_key(self) -> Hashable:
        """All jobs on the same weights, but token steps apart from longer ones, for which they would have to wait."""
        return ("language", self.network.name, self.context, self.manner.unit == "token")

    @property
    def steps(self) -> int:
        """As the settings say."""
        return self.manner.most

    @property
    def price(self) -> int:
        """An evaluation for each token of a step, at most."""
        return self.manner.tokens

    @property
    def tokens(self) -> int:
        """An evaluation each."""
        return self.price

    @property
    def limit(self) -> int:
        """Rows of a call: more gain little. Not measured, as a step may be long, and a busy machine would mislead."""
        return LIMIT if self.network.device() == "cpu" else 4 * LIMIT

    @property
    def padded(self) -> int:
        """Rows that the network's calls have been filled up with."""
        return self.network.padded

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """The prompts. Raises ValueError for one that leaves no room for an answer."""
        n, tokenizer = len(keys), self.network.loaded.tokenizer
        asked = [wording.prompt(tokenizer, item) for item in items]
        ids, seen = np.zeros((n, self.context), np.int32), set[tuple[int, ...]]()
        prompts, read = np.array(list(map(len, asked)), np.int64), np.zeros(n, np.int64)
        for i, prompt in enumerate(asked):
            if len(prompt) + self.manner.max_tokens > self.context:
                room = f"max_tokens {self.manner.max_tokens} are more than context {self.context}"
                raise ValueError(f"the prompt's {len(prompt)} tokens and {room}: set context higher")
            ids[i, : len(prompt)] = prompt
            read[i] = 0 if prompt in seen else len(prompt)  # rows of one request share it
            seen.add(prompt)
        zeros = dict.fromkeys(("tokens", "evaluations", "reason"), np.zeros(n, np.int64))
        columns = {
            "ids": ids,
            "logprobs": np.zeros((n, self.context), np.float32),
            "length": prompts,
            "prompt": prompts,
            "manner": np.full(n, self.manner.digest, np.int64),
            "prompt_tokens": read,
            **zeros,
        }
        return Rows.fresh(keys, columns)

    def advance(self, rows: Rows) -> Rows:
        """Tokens for every row until its step ends. A row that is there waits for the others at no cost."""
        import torch

        state = {name: rows.columns[name].copy() for name in MOVING}
        manners = [self.network.settings[digest] for digest in rows.columns["manner"].tolist()]
        law, moving = law_of(manners), np.arange(len(rows))
        with torch.inference_mode():
            while len(moving):
                self._write(rows, state, moving, law.of(moving))
                moving = np.array([i for i in moving.tolist() if not self._rests(rows, state, i, manners[i])], np.int64)
        return rows.moved(state["reason"] > 0, state)

    def _write(self, rows: Rows, state: dict[str, Any], moving: Ints, law: Law) -> None:
        """One more token of the rows `moving`: one call of the network."""
        at, prompts = state["length"][moving], rows.columns["prompt"][moving]
        logits = self.network.logits(state["ids"][moving], at, prompts, rows.keys[moving])
        state["ids"][moving, at], state["logprobs"][moving, at] = drawn(logits, rows.keys[moving], at - prompts, law)
        for name in ("length", "tokens", "evaluations"):
            state[name][moving] += 1

    def _rests(self, rows: Rows, state: dict[str, Any], i: int, manner: Manner) -> bool:
        """Whether row i is at the end of its step; notes the reason if that is the end of the row."""
        begun, prompt = int(rows.columns["length"][i]), int(rows.columns["prompt"][i])
        ids, length = state["ids"][i], int(state["length"][i])
        if int(ids[length - 1]) in self.network.ends or self._stopped(
            ids[max(prompt, length - manner.window) : length], manner
        ):
            state["reason"][i] = STOP
            return True
        full = length - prompt >= manner.max_tokens
        rests = full or length - begun >= manner.tokens or manner.pauses(lambda: self._text(ids[begun:length]))
        if full or (rests and rows.step[i] + 1 >= manner.most):
            state["reason"][i] = LENGTH
        return rests

    def _stopped(self, ids: Any, manner: Manner) -> bool:
        return bool(manner.stop) and manner.cut(self._text(ids)) is not None

    def _text(self, ids: Any) -> str:
        return wording.text(self.network.loaded.tokenizer, ids.tolist())

    def preview(self, rows: Rows) -> list[Any]:
        """The text so far."""
        return self.finish(rows)

    def finish(self, rows: Rows) -> list[Any]:
        """The texts."""
        columns, out = rows.columns, list[Any]()
        for i, (first, last) in enumerate(zip(columns["prompt"].tolist(), columns["length"].tolist(), strict=True)):
            manner, reason = self.network.settings[int(columns["manner"][i])], REASONS[int(columns["reason"][i])]
            ids, logprobs = columns["ids"][i, first:last].tolist(), columns["logprobs"][i, first:last].tolist()
            out.append(wording.answer(self.network.loaded.tokenizer, ids, logprobs, manner, reason))
        return out


def law_of(manners: Sequence[Manner]) -> Law:
    """How each row's token is drawn."""
    return Law(
        np.array([one.temperature for one in manners], np.float64),
        np.array([one.top_k for one in manners], np.int64),
        np.array([one.top_p for one in manners], np.float64),
    )
