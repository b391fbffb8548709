"""Budgets are hard: metering wraps the tools, methods never count.

Every currency is counted exactly. A call that a budget does not afford is refused before it is made, so a search never
spends more than its limits; only the two clocks can be passed, by the one call that was running.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from search.answers import had
from search.ports import UNSAID, Floats, Frozen, Generator, Rows
from search.tools import Tools
from search.verdicts import Verdicts


class BudgetSpent(Exception):
    """The next call would pass a limit; `currency` says which."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        super().__init__(f"the budget of {currency} is spent")


class Budget(Frozen):
    """Hard limits; None is no limit."""

    evaluations: int | None = Field(None, ge=0, description="Network evaluations, per row and guidance branch.")
    tokens: int | None = Field(None, ge=0, description="Tokens generated; an answer of unknown length counts in full.")
    previews: int | None = Field(None, ge=0, description="Unfinished answers decoded.")
    verifier_calls: int | None = Field(None, ge=0, description="Answers and previews scored, per verifier.")
    verifier_seconds: float | None = Field(None, ge=0, description="Seconds in verifiers: its share of each call.")
    seconds: float | None = Field(None, ge=0, description="Wall-clock seconds from the job's first shard.")


@dataclass
class Spent:
    """What a search has used so far."""

    evaluations: int = 0
    previews: int = 0
    verifier_calls: int = 0
    verifier_seconds: float = 0.0
    tokens: int = 0  # generated, as far as they are known
    prompt_tokens: int = 0  # read, as far as they are known
    unreported: int = 0  # steps of rows whose tokens nobody has told

    def read(self, before: Rows | None, after: Rows) -> None:
        """Count the tokens by which rows have grown."""
        self.tokens += grown("tokens", before, after) + grown("tokens_together", before, after)
        self.prompt_tokens += grown("prompt_tokens", before, after)
        if before is not None and "tokens" in after.columns:
            self.unreported += int((~before.done & (after.columns["tokens"] == UNSAID)).sum())


def grown(name: str, before: Rows | None, after: Rows) -> int:
    """Sum of what was added to a column of counts, as far as they are known."""
    if (now := after.columns.get(name)) is None:
        return 0
    old = 0 if before is None else np.maximum(before.columns[name], 0)
    return int(np.where(now < 0, 0, now - old).sum())


@dataclass
class Metered(Tools):
    """Tools within a budget.

    judges: verifiers that score each answer. verdicts: answers and previews to be scored for one row, at most.
    deadline: on the clock `now`, in seconds.
    """

    tools: Tools
    generator: Generator
    judges: int
    budget: Budget
    verdicts: int = 1
    deadline: float = float("inf")
    now: Callable[[], float] = time.monotonic
    spent: Spent = field(default_factory=Spent)

    def _clock(self) -> None:
        if self.now() >= self.deadline:
            raise BudgetSpent("seconds")
        self._verifier_clock()

    def _verifier_clock(self) -> None:
        limit = self.budget.verifier_seconds
        if limit is not None and self.spent.verifier_seconds >= limit:
            raise BudgetSpent("verifier_seconds")

    @property
    def _tokens(self) -> int:
        """Tokens of one step of one row, at most."""
        return getattr(self.generator, "tokens", 0)

    def _affords(self, currency: str, each: int, wanted: int) -> int:
        """How many of `wanted` calls at `each` still fit."""
        limit: int | None = getattr(self.budget, currency)
        if limit is None or each == 0:
            return wanted
        unknown = self.spent.unreported * self._tokens if currency == "tokens" else 0
        return min(wanted, (limit - getattr(self.spent, currency) - unknown) // each)

    @property
    def steps(self) -> int:
        """Of the generator."""
        return self.generator.steps

    def _carries(self, count: int, steps: int) -> int:
        """How many of `count` rows the budget can carry through `steps` steps to their verdict; at least one."""
        self._clock()
        for currency, each in (
            ("evaluations", steps * self.generator.price),
            ("tokens", steps * self._tokens),
            ("previews", self.verdicts - 1),
            ("verifier_calls", self.judges * self.verdicts),
        ):
            count = self._affords(currency, each, count)
            if count < 1:
                raise BudgetSpent(currency)
        return count

    async def start(self, first: int, count: int) -> Rows:
        """As many rows as the budget can carry to their end and to their verdict."""
        rows = await self.tools.start(first, self._carries(count, self.steps))
        self.spent.read(None, rows)
        return rows

    async def neighbours(self, pivots: Rows, cosine: float) -> Rows:
        """As many of these starts as the budget can carry to their end and to their verdict."""
        return await self.tools.neighbours(pivots[: self._carries(len(pivots), self.steps)], cosine)

    async def renoise(self, rows: Rows, step: int) -> Rows:
        """As many of these rows as the budget can carry to their end and to their verdict."""
        return await self.tools.renoise(rows[: self._carries(len(rows), self.steps - step)], step)

    def increments(self, rows: Rows) -> Floats:
        """Costs nothing."""
        return self.tools.increments(rows)

    async def advance(self, rows: Rows) -> Rows:
        """One step, refused when it does not fit."""
        self._clock()
        live = len(rows) - int(np.count_nonzero(rows.done))
        for currency, each in (("evaluations", self.generator.price), ("tokens", self._tokens)):
            if self._affords(currency, each, live) < live:
                raise BudgetSpent(currency)
        moved = await self.tools.advance(rows)
        self.spent.evaluations += int((moved.spent - rows.spent).sum())
        self.spent.read(rows, moved)
        return moved

    async def preview(self, rows: Rows) -> Verdicts:
        """Verdicts on previews, refused when they do not fit."""
        self._clock()
        if self._affords("previews", 1, len(rows)) < len(rows):
            raise BudgetSpent("previews")
        verdicts = await self._scored(rows, self.tools.preview)
        self.spent.previews += len(rows)
        return verdicts

    async def judge(self, rows: Rows) -> Verdicts:
        """Verdicts, refused when they do not fit. Already paid work is judged even after the deadline."""
        self._verifier_clock()
        return await self._scored(rows, self.tools.judge)

    async def _scored(self, rows: Rows, ask: Callable[[Rows], Awaitable[Verdicts]]) -> Verdicts:
        if self._affords("verifier_calls", self.judges, len(rows)) < len(rows):
            raise BudgetSpent("verifier_calls")
        verdicts = await ask(rows)
        self.spent.verifier_calls += self.judges * len(had(verdicts.answers))
        self.spent.verifier_seconds += sum(verdicts.seconds.values())
        return verdicts
