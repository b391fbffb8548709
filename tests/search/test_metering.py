"""Hard budgets: whatever the limits, no call is made that passes one, and what is spent is counted to the unit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.fake import Fake
from search.engine import Engine, Shared
from search.metering import Budget, BudgetSpent, Metered, Spent
from search.methods.best_of_n import BestOfN, best_of_n
from search.ports import TOGETHER, UNSAID, Answer, Item, Rows, Score, Task
from search.run import Outcome, run
from search.scoring import Judge
from search.tools import Tools
from search.verdicts import Verdicts


@dataclass(frozen=True)
class Counted(Fake):
    """A generator that counts the evaluations that it is really asked for."""

    seen: list[int] = field(default_factory=list)
    batch_key = ("counted",)  # of this engine alone: one an example

    def advance(self, rows: Rows) -> Rows:
        self.seen.append(len(rows) * self.price)
        return super().advance(rows)


class Seconds(Tools):
    """Tools whose verdicts take a second for each judge."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    async def start(self, first: int, count: int) -> Rows:
        return await self.tools.start(first, count)

    async def advance(self, rows: Rows) -> Rows:
        return await self.tools.advance(rows)

    async def judge(self, rows: Rows) -> Verdicts:
        verdicts = await self.tools.judge(rows)
        return replace(verdicts, seconds=dict.fromkeys(verdicts.scores, 1.0))


def tools(
    generator: Fake, judges: Sequence[Judge] = (), budget: Budget | None = None, n: int = 8, **more: Any
) -> Metered:
    shared = Shared(Engine(), Task(Item(id="a"), 0, 0, n), generator, judges)
    return Metered(shared, generator, len(judges), budget or Budget(), **more)


def positive(answers: Sequence[Answer]) -> list[Score]:
    return [Score(answer.value, answer.value > 1) for answer in answers]


def search(metered: Metered, config: BestOfN) -> Outcome:
    task = Task(Item(id="a"), 0, 0, config.n)
    return asyncio.run(run(best_of_n(task, metered, config), metered))


def whole(limit: int | None, each: int) -> float:
    return float("inf") if limit is None or each == 0 else limit // each


limits = st.none() | st.integers(0, 60)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(
    n=st.integers(1, 9),
    steps=st.integers(1, 4),
    price=st.integers(0, 3),
    judges=st.integers(0, 3),
    evaluations=limits,
    verifier_calls=limits,
    first_pass=st.booleans(),
)
def test_no_budget_is_ever_passed(
    n: int, steps: int, price: int, judges: int, evaluations: int | None, verifier_calls: int | None, first_pass: bool
) -> None:
    seen: list[int] = []

    def verifier(answers: Sequence[Answer]) -> list[Score]:
        seen.append(len(answers))
        return positive(answers)

    generator = Counted(steps, price)
    panel = [Judge(f"judge {i}", i, verifier, "device") for i in range(judges)]
    metered = tools(generator, panel, Budget(evaluations=evaluations, verifier_calls=verifier_calls), n)
    outcome = search(metered, BestOfN(n=n, select="first_pass" if first_pass else "verifier"))

    spent, pool = outcome.spent, outcome.population
    drawn = len(pool) if pool else 0
    assert spent.evaluations <= (evaluations if evaluations is not None else spent.evaluations)
    assert spent.verifier_calls <= (verifier_calls if verifier_calls is not None else spent.verifier_calls)
    # to the unit: what was counted is what was done, and what the rows say of themselves
    assert spent.evaluations == sum(generator.seen) == drawn * steps * price
    assert spent.verifier_calls == sum(seen) == drawn * judges
    # only rows that can be carried to their end and their verdict are started, and as many of them as are wanted
    affordable = min(n, whole(evaluations, steps * price), whole(verifier_calls, judges))
    passed = False
    if pool:
        assert pool.rows.spent.sum() == spent.evaluations
        assert pool.idle
        passed = bool(first_pass and pool.verdicts.passed.any())
    assert drawn == affordable or passed
    assert outcome.stop_reason == (None if passed or drawn == n else "budget")


def test_fewer_rows_are_started_when_only_fewer_are_affordable() -> None:
    judges = [Judge("a", 0, positive), Judge("b", 1, positive)]
    for budget, count in (
        (Budget(), 8),
        (Budget(evaluations=17), 5),  # 3 a row
        (Budget(verifier_calls=7), 3),  # 2 a row
        (Budget(evaluations=9, verifier_calls=4), 2),
    ):
        assert len(asyncio.run(tools(Fake(3), judges, budget).start(0, 8))) == count


@pytest.mark.parametrize(
    ("budget", "currency"),
    [(Budget(evaluations=2), "evaluations"), (Budget(verifier_calls=0), "verifier_calls")],
)
def test_a_start_that_affords_no_row_is_refused(budget: Budget, currency: str) -> None:
    with pytest.raises(BudgetSpent, match=currency) as refused:
        asyncio.run(tools(Fake(3), [Judge("a", 0, positive)], budget).start(0, 8))
    assert refused.value.currency == currency


def test_a_budget_lowered_below_what_is_spent_refuses_all() -> None:
    metered = tools(Fake(3), [Judge("a", 0, positive)], Budget(evaluations=5, verifier_calls=1), spent=Spent(9, 2))
    for call in (metered.start(0, 1), metered.advance(Fake(3).start([Item()], np.zeros((1, 2), np.uint32)))):
        with pytest.raises(BudgetSpent):
            asyncio.run(call)
    assert metered.spent == Spent(9, 2)


def test_only_rows_that_move_are_paid() -> None:
    async def main() -> None:
        metered = tools(Fake(2, price=3))
        rows = await metered.start(0, 4)
        rows = rows.updated(np.array([1, 2]), replace(rows[1:3], done=np.ones(2, bool)))
        moved = await metered.advance(rows)
        assert metered.spent == Spent(evaluations=6)
        assert moved.spent.tolist() == [3, 0, 0, 3]
        assert moved.step.tolist() == [1, 0, 0, 1]
        done = replace(moved, done=np.ones(4, bool))
        assert await metered.advance(done) is done
        assert metered.spent == Spent(evaluations=6)

    asyncio.run(main())


def test_a_step_or_a_verdict_that_does_not_fit_is_refused_before_it_is_made() -> None:
    async def main() -> None:
        generator = Counted(2, 1)
        metered = tools(generator, [Judge("a", 0, positive)])
        rows = await metered.start(0, 4)
        metered.budget = Budget(evaluations=3, verifier_calls=3)
        with pytest.raises(BudgetSpent, match="evaluations"):
            await metered.advance(rows)
        with pytest.raises(BudgetSpent, match="verifier_calls"):
            await metered.judge(rows)
        assert metered.spent == Spent()
        assert generator.seen == []

    asyncio.run(main())


def test_past_the_deadline_nothing_starts_but_finished_work_is_judged() -> None:
    clock = [0.0]

    async def main() -> None:
        metered = tools(Fake(1), [Judge("a", 0, positive)], deadline=10.0, now=lambda: clock[0])
        rows = await metered.advance(await metered.start(0, 2))
        clock[0] = 10.0
        for call in (metered.start(2, 1), metered.advance(rows)):
            with pytest.raises(BudgetSpent, match="seconds"):
                await call
        assert len(await metered.judge(rows)) == 2

    asyncio.run(main())


def test_a_deadline_ends_a_search_and_keeps_its_rows() -> None:
    """The clock is read once at the start and once before each step: the third step comes too late."""
    ticks = iter(range(100))
    metered = tools(Fake(5), [Judge("a", 0, positive)], deadline=3.0, now=lambda: float(next(ticks)))
    outcome = search(metered, BestOfN(n=4))
    assert outcome.stop_reason == "deadline"
    assert outcome.population is not None
    assert outcome.population.rows.step.tolist() == [2] * 4
    assert outcome.spent == Spent(evaluations=8)
    assert len(outcome.population.verdicts) == 0


def test_verifier_seconds_are_passed_by_one_call_at_most() -> None:
    """A second for each verdict of two judges, and 3 s in all: rounds of 1 and 1 answers, and the third is refused."""

    def never(answers: Sequence[Answer]) -> list[Score]:
        return [Score(0.0, False) for _ in answers]

    metered = tools(Fake(1), [Judge("a", 0, never), Judge("b", 1, never)], Budget(verifier_seconds=3.0))
    metered.tools = Seconds(metered.tools)
    outcome = search(metered, BestOfN(n=16, select="first_pass"))
    assert outcome.spent == Spent(evaluations=2, verifier_calls=4, verifier_seconds=4.0)
    assert outcome.stop_reason == "budget"
    assert outcome.population is not None
    assert len(outcome.population.verdicts) == 2


def test_verifier_seconds_end_a_search_after_a_block() -> None:
    """All 200 answers are drawn at once and judged 64 at a time, a second each: the third block is refused."""

    async def main() -> None:
        metered = tools(Fake(1), [Judge("a", 0, positive)], Budget(verifier_seconds=1.5), n=200)
        metered.tools = Seconds(metered.tools)
        outcome = await run(best_of_n(Task(Item(id="a"), 0, 0, 200), metered, BestOfN(n=200)), metered)
        assert outcome.spent == Spent(evaluations=200, verifier_calls=128, verifier_seconds=2.0)
        assert outcome.stop_reason == "budget"
        assert outcome.population is not None
        assert len(outcome.population.verdicts) == 128
        with pytest.raises(BudgetSpent, match="verifier_seconds"):
            await metered.judge(outcome.population.rows[:1])
        assert metered.spent == outcome.spent

    asyncio.run(main())


def test_a_budget_that_allows_nothing_leaves_nothing() -> None:
    outcome = search(tools(Fake(3), budget=Budget(evaluations=2)), BestOfN(n=4))
    assert (outcome.population, outcome.stop_reason, outcome.spent) == (None, "budget", Spent())


def test_tokens_told_together_are_counted_once_and_unknown_ones_never() -> None:
    def rows(tokens: list[int], together: list[int]) -> Rows:
        counts = {"tokens": tokens, "tokens_together": together, "prompt_tokens": [3, 0, 0]}
        columns = {name: np.array(values) for name, values in counts.items()}
        return Rows.fresh(np.zeros((3, 2), np.uint32), columns)

    spent = Spent()
    spent.read(None, before := rows([0, 0, 0], [0, 0, 0]))
    spent.read(before, middle := rows([TOGETHER, TOGETHER, 4], [10, 0, 0]))
    assert (spent.tokens, spent.prompt_tokens, spent.unreported) == (14, 3, 0)
    spent.read(middle, after := rows([TOGETHER, TOGETHER, UNSAID], [10, 0, 0]))
    assert (spent.tokens, spent.unreported) == (14, 1)  # what was known of the third row stays counted
    spent.read(after, rows([TOGETHER, TOGETHER, UNSAID], [15, 0, 0]))
    assert (spent.tokens, spent.unreported) == (19, 2)
