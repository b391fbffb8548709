"""Answers that are there already, as a generator: a search over them judges and selects, and draws nothing.

No client names this model: `service.given` fills it with a job's stored answers, or with those of a request.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from generators.pipelines.given import read
from search.configs import ModelConfig
from search.keys import Words, name
from search.metering import BudgetSpent
from search.plugins import plugin
from search.ports import Generator, Item, Many, Rows

GIVEN = "given"
"""The model's name."""
PIECE = 64
"""Answers in one piece of work, at most: they may be large pictures, and judging one may take seconds."""


class Given(ModelConfig):
    """Where the answers are: with a job, or here."""

    job: str | None = Field(None, description="Public id of the job whose answers these are.")
    population: int | None = Field(None, ge=1, description="Samples of that job that depend on each other.")
    early: bool = Field(False, description="Drawing them may have ended early, by what its verifiers said.")
    answers: Many[JsonValue] = Field((), description="The answers themselves, of one item.")
    pictures: bool = Field(False, description="Each of them is a picture in base64.")

    @property
    def evaluations(self) -> int:
        """They are there."""
        return 0

    @property
    def shard(self) -> int:
        """Samples in one piece of work."""
        return PIECE


def picture(text: str, what: str, pixels: int = 2**63) -> NDArray[np.uint8]:
    """A picture out of base64, uint8 [h, w] where it is grey, else [h, w, 3].

    Raises ValueError, also for one of more than so many pixels.
    """
    found = read(text, what)
    if found.size[0] * found.size[1] > pixels:
        raise ValueError(f"`{what}` has {found.size[0]} x {found.size[1]} pixels; at most {pixels} are left for it")
    return np.asarray(found if found.mode == "L" else found.convert("RGB"), np.uint8)


class Kept(NamedTuple):
    """An answer (or `Failed`) and the key of the row that it was, uint32 [1, 2]."""

    key: Words
    value: Any


@dataclass(frozen=True)
class Held:
    """Answers by the names of the rows that ask for them: rows are done when they start, and cost nothing."""

    answers: Mapping[str, Kept] = field(default_factory=dict[str, Kept])
    steps = 0
    price = 0
    limit = PIECE

    @property
    def batch_key(self) -> Hashable:
        """Rows hold all that `finish` needs, so all share its calls."""
        return GIVEN

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Those of the rows whose answers there are, up to the first without. Raises BudgetSpent for none."""
        found: list[Kept] = []
        for one in name(keys):
            if one not in self.answers:
                break
            found.append(self.answers[one])
        if not found:
            raise BudgetSpent("answers")
        n, column = len(found), np.empty(len(found), object)
        for i, kept in enumerate(found):
            column[i] = kept.value
        done, zeros = np.ones(n, bool), np.zeros(n, np.int64)
        return Rows(np.concatenate([kept.key for kept in found]), zeros, done, zeros, {"answer": column})

    def advance(self, rows: Rows) -> Rows:
        """Nothing is left to do."""
        return rows

    def preview(self, rows: Rows) -> list[Any]:
        """The answers."""
        return self.finish(rows)

    def finish(self, rows: Rows) -> list[Any]:
        """The answers."""
        return list(rows.columns["answer"])


@plugin(version="1", offers=("chat", "image"))
def given(config: Given) -> Generator:
    """Answers that were drawn before; nothing is drawn again."""
    return Held()
