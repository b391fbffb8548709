"""What methods may do, and the optional verbs of generators behind it."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from search.keys import Words
from search.ports import Floats, Generator, Item, Rows
from search.verdicts import Verdicts


class Renoising(Protocol):
    """A generator that offers `renoise`."""

    def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows back at an earlier step by the forward process; noise from their keys, which the caller has forked."""
        ...


class Neighbouring(Protocol):
    """A generator that offers `neighbours`."""

    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        """One row at step 0 for each key, its noise as long as that of its pivot (at step 0) and at this cosine."""
        ...


class Weighted(Protocol):
    """A generator that offers `log_weights`: a process that carries its own weight (correctors)."""

    def toward(self, exponents: tuple[float, ...]) -> Generator:
        """The same models, sampling prod q_i^b_i."""
        ...

    def log_weights(self, rows: Rows) -> Floats:
        """What each row's last step (at step 0: its start) added to its log-weight."""
        ...


class Remote(Protocol):
    """A generator whose network is elsewhere: rows wait for an answer, not for this device.

    `limit`: rows worth having in flight. A cancelled `advance` raises CancelledError, or returns what it already has,
    with `Failed` answers for the rest.
    """

    steps: int
    price: int
    limit: int

    @property
    def batch_key(self) -> Hashable: ...

    def start(self, items: Sequence[Item], keys: Words) -> Rows: ...

    async def advance(self, rows: Rows) -> Rows:
        """One step of every row (none is done), side by side."""
        ...

    def preview(self, rows: Rows) -> Sequence[Any]: ...

    def finish(self, rows: Rows) -> Sequence[Any]: ...


class Tools(Protocol):
    """What a method may do. Awaiting shares work with every other live search; a budget may refuse: BudgetSpent."""

    @property
    def steps(self) -> int:
        """The most steps that a row takes."""
        ...

    async def start(self, first: int, count: int) -> Rows:
        """The task's rows from its `first`-th on, at most `count`: fewer when the budget affords fewer."""
        ...

    async def advance(self, rows: Rows) -> Rows:
        """One step of every row that is not done; done rows pass through free."""
        ...

    async def preview(self, rows: Rows) -> Verdicts:
        """Have every verifier score the previews of rows that are not done: decoded, but no evaluation."""
        ...

    async def judge(self, rows: Rows) -> Verdicts:
        """Finish done rows and have every verifier score them."""
        ...

    async def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows put back to an earlier step. Needs `renoise`."""
        ...

    async def neighbours(self, pivots: Rows, cosine: float) -> Rows:
        """A new start at this cosine to each of `pivots`, whose keys are those of the new rows. Needs `neighbours`."""
        ...

    def increments(self, rows: Rows) -> Floats:
        """What each row's last step added to its log-weight; 0 for a model without weights of its own."""
        ...
