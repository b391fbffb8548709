"""Budgets are hard: metering wraps the tools, methods never count.

Every currency is counted exactly. A call that a budget does not afford is refused before it is made, so a search never
spends more than its limits; only the two clocks can be passed, by the one call that was running.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import Field

from search.ports import Frozen, Generator, Rows, Tools, Verdicts


class BudgetSpent(Exception):
    """The next call would pass a limit; `currency` says which."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        super().__init__(f"the budget of {currency} is spent")


class Budget(Frozen):
    """Hard limits; None is no limit."""

    evaluations: int | None = Field(None, ge=0, description="Network evaluations, per row and guidance branch.")
    verifier_calls: int | None = Field(None, ge=0, description="Answers scored, per verifier.")
    verifier_seconds: float | None = Field(None, ge=0, description="Seconds in verifiers: its share of each call.")
    seconds: float | None = Field(None, ge=0, description="Wall-clock seconds from the job's first shard.")


@dataclass
class Spent:
    """What a search has used so far."""

    evaluations: int = 0
    verifier_calls: int = 0
    verifier_seconds: float = 0.0


@dataclass
class Metered(Tools):
    """Tools within a budget. deadline: on the clock `now`, in seconds."""

    tools: Tools
    generator: Generator
    judges: int
    budget: Budget
    deadline: float = float("inf")
    now: Callable[[], float] = time.time
    spent: Spent = field(default_factory=Spent)

    def _clock(self) -> None:
        if self.now() >= self.deadline:
            raise BudgetSpent("seconds")
        self._verifier_clock()

    def _verifier_clock(self) -> None:
        limit = self.budget.verifier_seconds
        if limit is not None and self.spent.verifier_seconds >= limit:
            raise BudgetSpent("verifier_seconds")

    def _affords(self, currency: str, each: int, wanted: int) -> int:
        """How many of `wanted` calls at `each` still fit."""
        limit: int | None = getattr(self.budget, currency)
        if limit is None or each == 0:
            return wanted
        return min(wanted, (limit - getattr(self.spent, currency)) // each)

    async def start(self, first: int, count: int) -> Rows:
        """As many rows as the budget can carry to their end and to their verdict."""
        self._clock()
        for currency, each in (
            ("evaluations", self.generator.steps * self.generator.price),
            ("verifier_calls", self.judges),
        ):
            count = self._affords(currency, each, count)
            if count < 1:
                raise BudgetSpent(currency)
        return await self.tools.start(first, count)

    async def advance(self, rows: Rows) -> Rows:
        """One step, refused when it does not fit."""
        self._clock()
        live = int((~rows.done).sum())
        if self._affords("evaluations", self.generator.price, live) < live:
            raise BudgetSpent("evaluations")
        self.spent.evaluations += live * self.generator.price
        return await self.tools.advance(rows)

    async def judge(self, rows: Rows) -> Verdicts:
        """Verdicts, refused when they do not fit. Already paid work is judged even after the deadline."""
        self._verifier_clock()
        if self._affords("verifier_calls", self.judges, len(rows)) < len(rows):
            raise BudgetSpent("verifier_calls")
        self.spent.verifier_calls += self.judges * len(rows)
        verdicts = await self.tools.judge(rows)
        self.spent.verifier_seconds += sum(verdicts.seconds.values())
        return verdicts
