"""What travels through a search, and the protocols of the two kinds of plug-in.

A *row* is one trajectory in progress. Rows are plain numpy on this side of the port: a generator moves them to its
device and back inside one batched call, so that rows of different jobs meet in it and checkpoints need no framework.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from search.keys import Words, fork

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Field(strict=False)]
"""An immutable list: a JSON array in, a tuple inside."""

UNSAID, TOGETHER = -1, -2
"""Counts of tokens that nobody has told, and that were told of several rows in one sum."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Frozen(BaseModel):
    """Base of every value that crosses a process: immutable, strict, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Message(Frozen):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str = Field(max_length=100_000)


class Item(Frozen):
    """One prompt or problem of a job: raw text, or a conversation in its place."""

    id: str = Field(default="", max_length=200, description="Unique in its job; the position when left out.")
    prompt: str = Field(default="", max_length=100_000, description="What the model is asked.")
    messages: Many[Message] = Field(default=(), max_length=1000, description="A conversation, in place of `prompt`.")
    target: JsonValue = Field(default=None, description="What verifiers and graders compare with.")
    image: str = Field(
        default="", max_length=15_000_000, description="A picture to go on from: PNG, JPEG or WebP in base64."
    )
    mask: str = Field(
        default="", max_length=15_000_000, description="A picture, white where `image` is to be filled in."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.prompt and self.messages:
            raise ValueError("an item has a `prompt` or `messages`, not both")
        if self.mask and not self.image:
            raise ValueError("a `mask` goes with an `image`; this item has none")
        return self

    @property
    def asked(self) -> str:
        """The prompt, or what the conversation's last turn says."""
        return self.messages[-1].content if self.messages else self.prompt


class Config(Frozen):
    """Base of a plug-in's configuration. Its JSON schema is served by the catalog."""

    def check(self, item: Item) -> None:
        """Raise ValueError, naming the value and what would have been right, when `item` cannot be used."""


@dataclass(frozen=True)
class Task:
    """Samples `first` to `first + count - 1` of one item. `seed`, item and sample decide every random number."""

    item: Item
    seed: int
    first: int
    count: int


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """A block of trajectories in progress: every array has the rows as its first axis.

    keys: uint32 [n, 2], names all noise that a row will ever draw. step: steps taken. done: nothing left to advance.
    spent: evaluations used so far. columns: the generator's own state, opaque to methods; of numbers, or (dtype object)
    of JSON values. Three names are known to all: `tokens`, generated so far, and `prompt_tokens`, read, int64; UNSAID
    where a server has not said. `tokens` is TOGETHER where it has said it of several rows at once; their sum stands on
    one of them, in `tokens_together`. `trajectory_variance`, float64 or UNSAID, is what verifiers see of a row beside
    its answer.
    """

    keys: Words
    step: Ints
    done: Bools
    spent: Ints
    columns: Mapping[str, NDArray[Any]]

    @classmethod
    def fresh(cls, keys: Words, columns: Mapping[str, NDArray[Any]]) -> Self:
        """Rows at step 0."""
        n = len(keys)
        return cls(keys, np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, np.int64), columns)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: slice | NDArray[Any]) -> Self:
        columns = {name: column[index] for name, column in self.columns.items()}
        return replace(
            self,
            keys=self.keys[index],
            step=self.step[index],
            done=self.done[index],
            spent=self.spent[index],
            columns=columns,
        )

    def fork(self, ancestors: NDArray[Any]) -> Self:
        """Children of the rows `ancestors` (int [m]); each gets a key of its own, and so a future of its own."""
        return replace(self[ancestors], keys=fork(self.keys, ancestors))

    def moved(self, done: Bools, columns: Mapping[str, NDArray[Any]]) -> Self:
        """One step later, with new state."""
        return replace(self, step=self.step + 1, done=done, columns={**self.columns, **columns})

    def updated(self, index: NDArray[Any], block: "Rows") -> Self:
        """A copy in which the rows `index` are those of `block`."""

        def put(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            out = old.copy()
            out[index] = new
            return out

        return replace(
            self,
            keys=put(self.keys, block.keys),
            step=put(self.step, block.step),
            done=put(self.done, block.done),
            spent=put(self.spent, block.spent),
            columns={name: put(self.columns[name], block.columns[name]) for name in self.columns},
        )

    @classmethod
    def join(cls, blocks: Sequence["Rows"]) -> "Rows":
        """One block of all rows, in order. Raises ValueError for no blocks."""
        if len(blocks) == 1:
            return blocks[0]
        if not blocks:
            raise ValueError("cannot join no blocks of rows")
        return cls(
            np.concatenate([b.keys for b in blocks]),
            np.concatenate([b.step for b in blocks]),
            np.concatenate([b.done for b in blocks]),
            np.concatenate([b.spent for b in blocks]),
            {name: np.concatenate([b.columns[name] for b in blocks]) for name in blocks[0].columns},
        )


class Answer(NamedTuple):
    """What a verifier sees: a finished (or previewed) answer and the item it answers."""

    value: Any
    item: Item
    trajectory_variance: float | None = None
    """Of x0-hat along the way to it, where the generator keeps it; UNSAID before there are two to compare."""


class Score(NamedTuple):
    """A verdict. `value` None is *unscored*, with the reason: an error is a record, never a score."""

    value: float | None
    passed: bool | None = None
    reason: str | None = None
    canonical: str | None = None
    """The answer in the form in which it votes; None never votes."""


@dataclass(frozen=True, eq=False)
class Values(Sequence[Score]):
    """Scores that are finite values and nothing else, float64 [n]: a whole population's cost no more than an array."""

    array: Floats

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> Score: ...
    @overload
    def __getitem__(self, index: slice) -> "Values": ...
    def __getitem__(self, index: int | slice) -> "Score | Values":
        return Values(self.array[index]) if isinstance(index, slice) else Score(float(self.array[index]))

    def __iter__(self) -> Iterator[Score]:
        return map(Score, self.array.tolist())


def unscored(reason: str) -> Score:
    """No verdict, and why."""
    return Score(None, None, reason)


class Failed(NamedTuple):
    """In place of an answer that could not be had, such as of an endpoint that is down: a record, never a score."""

    reason: str


class Generator(Protocol):
    """A network as a few verbs over blocks of rows. `many in, as many out`: the engine batches rows of all live jobs.

    `batch_key`: rows of generators with equal keys may share a call; `advance`, `preview` and `finish` must then depend
    on the rows alone. `steps`: the most steps that a row takes. `price`: evaluations that one step of one row costs, at
    most; a column `evaluations` (int64, so far) says what they were. `async def advance` serves several calls at once
    and batches by itself (see `Remote`). `tokens`, if there is one: those that one step of one row generates, at most.
    `limit`, if there is one: the best number of rows in a call, which is measured else. `padded`, if there is one: rows
    that its calls have been filled up with so far, for nobody.
    """

    @property
    def batch_key(self) -> Hashable: ...
    @property
    def steps(self) -> int: ...
    @property
    def price(self) -> int: ...

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Noise, or the prefix: one row for each item and key (uint32 [n, 2])."""
        ...

    def advance(self, rows: Rows) -> Rows:
        """One step of every row (none is done)."""
        ...

    def preview(self, rows: Rows) -> Sequence[Any]:
        """Best guess of each row's finished answer, from what its last evaluation already gave."""
        ...

    def finish(self, rows: Rows) -> Sequence[Any]:
        """The answers of rows that are done: a JSON value, an image as uint8 [h, w] or [h, w, 3], or `Failed`.

        `search.answers.Numbers` for plain numbers costs a large population least.
        """
        ...


Verifier = Callable[[Sequence[Answer]], Sequence[Score]] | Callable[[Sequence[Answer]], Awaitable[Sequence[Score]]]
"""Answers in, as many scores out; plain functions are batched by the engine and run in a thread."""
