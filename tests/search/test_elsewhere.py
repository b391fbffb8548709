"""Models that run elsewhere: rows wait side by side, a stopped search keeps what is there, tokens are never guessed."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import Search, killed_anywhere, ready, same_in_company

from generators.fake import Elsewhere
from search.checkpoint import pack, unpack
from search.engine import Engine
from search.metering import Budget
from search.methods.best_of_n import BestOfN, best_of_n
from search.ports import Answer, Failed, Item, Rows, Score, Task
from search.run import Outcome, run
from search.scoring import Judge

ROUGH = Elsewhere(steps=3, lost=0.15, quiet=0.2)


def red(answers: Sequence[Answer]) -> list[Score]:
    """Counts a word. Whatever is no text would raise."""
    values = [answer.value.split().count("red") for answer in answers]
    return [Score(float(n), n > 1, canonical=str(n)) for n in values]


RED = Judge("v", "red", red)


def best(generator: Any, n: int = 16, budget: Budget | None = None, **more: Any) -> Outcome:
    """Best of n, alone."""
    config, task = BestOfN(n=n, **more), Task(Item(id="a", prompt="say a word"), 3, 0, n)
    tools = ready(Engine(), generator, RED, "best_of_n", config, task, budget)
    return asyncio.run(run(best_of_n(task, tools, config), tools))


def words(outcome: Outcome) -> int:
    """What was really said, told or not."""
    assert outcome.population is not None
    return sum(len(text.split()) for text in outcome.population.rows.columns["text"])


@dataclass(frozen=True)
class Together(Elsewhere):
    """Answers only when two calls wait at once."""

    batch_key = "together"
    barrier: Any = field(default_factory=lambda: asyncio.Barrier(2))

    async def advance(self, rows: Rows) -> Rows:
        await asyncio.wait_for(self.barrier.wait(), 60)
        return await super().advance(rows)


def test_searches_wait_side_by_side() -> None:
    """Of one batch key, and still neither waits for the other's answer: one at a time would wait for ever."""

    async def main() -> list[Outcome]:
        engine, model, config = Engine(), Together(), BestOfN(n=2)
        tasks = [Task(Item(id=name), 0, 0, 2) for name in "ab"]
        tools = [ready(engine, model, RED, "best_of_n", config, task) for task in tasks]
        pairs = zip(tasks, tools, strict=True)
        return await asyncio.gather(*(run(best_of_n(task, mine, config), mine) for task, mine in pairs))

    for outcome in asyncio.run(main()):
        assert outcome.error is None
        assert outcome.population is not None
        assert len(outcome.population.found()) == 2


def test_no_batch_is_measured_of_a_model_elsewhere() -> None:
    engine, model = Engine(), Elsewhere(limit=7)
    asyncio.run(engine.load("m", model, Item()))
    (filled,) = engine.filled().values()
    assert (filled.limit, filled.calls) == (7, 0)


METHODS: list[tuple[str, dict[str, Any]]] = [
    ("best_of_n", {"n": 12}),
    ("best_of_n", {"n": 12, "select": "first_pass"}),
    ("feynman_kac", {"particles": 8, "tilt": 1.0, "ess": 0.9}),
    ("soft_value", {"n": 3, "children": 3}),
]


@pytest.mark.parametrize(("name", "config"), METHODS)
def test_killed_anywhere_and_in_company(name: str, config: dict[str, Any]) -> None:
    """Rows of JSON values are kept like numbers: every stored state leads to the same end at the same cost.

    A particle that is lost has no weight and would end these searches, so only the independent answers are lost.
    """
    model = ROUGH if name == "best_of_n" else replace(ROUGH, lost=0.0)
    search = Search(model, RED, name, config)
    assert killed_anywhere(search) > 3
    same_in_company(search)


def test_lost_answers_are_records() -> None:
    """No judge sees them, none is paid for; the others are judged as if they were alone."""
    outcome = best(replace(ROUGH, lost=0.3), 40)
    assert outcome.error is None
    assert outcome.population is not None
    verdicts = outcome.population.verdicts
    lost = [isinstance(answer, Failed) for answer in verdicts.answers]
    assert 5 < sum(lost) < 35
    assert outcome.spent.verifier_calls == 40 - sum(lost)
    for answer, score in zip(verdicts.answers, verdicts.scores["v"], strict=True):
        if isinstance(answer, Failed):
            assert score == Score(None, None, "503: nobody there")
        else:
            assert score == red([Answer(answer, Item())])[0]


def test_nothing_could_be_had() -> None:
    outcome = best(Elsewhere(lost=1.0), 3)
    assert outcome.error is None
    assert outcome.population is not None
    assert outcome.population.verdicts.answers == [Failed("503: nobody there")] * 3
    assert (outcome.spent.verifier_calls, outcome.spent.tokens) == (0, 0)


@dataclass(frozen=True)
class Half(Elsewhere):
    """Every second row answers at once, the others in days."""

    batch_key = "half"
    begun: Any = field(default_factory=asyncio.Event)

    async def advance(self, rows: Rows) -> Rows:
        self.begun.set()
        slow = asyncio.ensure_future(Elsewhere.advance(replace(self, seconds=1e6), rows[1::2]))
        first = await super().advance(rows[::2])
        with suppress(asyncio.CancelledError):
            await asyncio.wait([slow])
        slow.cancel()
        both = Rows.join([first, await slow])
        return both[np.argsort([*range(0, len(rows), 2), *range(1, len(rows), 2)])]


@dataclass(frozen=True)
class Deaf(Elsewhere):
    """Keeps nothing when it is cancelled."""

    batch_key = "deaf"

    async def advance(self, rows: Rows) -> Rows:
        await asyncio.sleep(600)
        return await super().advance(rows)


def stopped(generator: Any) -> Outcome:
    """A search that is told to stop while it waits."""

    async def main() -> Outcome:
        task, config = Task(Item(id="a"), 0, 0, 8), BestOfN(n=8)
        tools = ready(Engine(), generator, RED, "best_of_n", config, task)
        asked: Any = tools.tools
        asked.stopped = lambda: "cancelled"
        return await asyncio.wait_for(run(best_of_n(task, tools, config), tools, _after_first()), 60)

    return asyncio.run(main())


def _after_first() -> Any:
    """Says nothing of the first state, before which nothing was asked."""
    told = iter([None])
    return lambda: next(told, "cancelled")


def test_a_stopped_search_keeps_what_is_there() -> None:
    outcome = stopped(Half())
    assert (outcome.stop_reason, outcome.error) == ("cancelled", None)
    assert outcome.population is not None
    rows = outcome.population.rows
    assert rows.done.all()
    assert rows.columns["why"].tolist() == [None, "cancelled"] * 4
    assert all(rows.columns["text"][::2])
    assert outcome.spent.tokens == words(outcome) > 0


def test_a_stopped_search_whose_model_keeps_nothing() -> None:
    outcome = stopped(Deaf())
    assert (outcome.stop_reason, outcome.error) == ("cancelled", None)
    assert outcome.population is not None
    assert not len(outcome.population.found())
    assert outcome.spent.tokens == 0


@dataclass(frozen=True)
class Queueing(Elsewhere):
    """Its server takes one search at a time; asked and sent say when each came, and came to its turn."""

    batch_key = "queueing"
    place: Any = field(default_factory=lambda: asyncio.Semaphore(1))
    asked: list[float] = field(default_factory=list[float])
    sent: list[float] = field(default_factory=list[float])

    async def advance(self, rows: Rows) -> Rows:
        self.asked.append(asyncio.get_running_loop().time())
        async with self.place:
            self.sent.append(asyncio.get_running_loop().time())
            await asyncio.sleep(600)
        return await super().advance(rows)


def test_searches_that_are_stopped_together_send_nothing_more() -> None:
    """The place that one gives up is not taken by another one of the same job, for a request that would be paid."""
    model, told = Queueing(), list[str]()

    async def one(engine: Engine, number: int) -> Outcome:
        await asyncio.sleep(0.07 * number)  # each would look at a time of its own
        task, config = Task(Item(id=str(number)), 0, 0, 8), BestOfN(n=8)
        tools = ready(engine, model, RED, "best_of_n", config, task)
        asked: Any = tools.tools
        asked.stopped = lambda: next(iter(told), None)
        return await run(best_of_n(task, tools, config), tools, asked.stopped)

    async def main() -> list[Outcome]:
        engine = Engine()
        searches = [asyncio.create_task(one(engine, number)) for number in range(6)]
        async with asyncio.timeout(60):
            while len(model.asked) < 6:
                await asyncio.sleep(0.01)
        told.append("cancelled")
        return await asyncio.wait_for(asyncio.gather(*searches), 60)

    assert [outcome.stop_reason for outcome in asyncio.run(main())] == ["cancelled"] * 6
    assert len(model.sent) == 1


def test_a_cancelled_search_leaves_no_request_behind() -> None:
    async def main() -> None:
        task, config, model = Task(Item(id="a"), 0, 0, 8), BestOfN(n=8), Half()
        tools = ready(Engine(), model, RED, "best_of_n", config, task)
        search = asyncio.create_task(run(best_of_n(task, tools, config), tools))
        await asyncio.wait_for(model.begun.wait(), 60)
        await asyncio.sleep(0)  # the rows that answer in days are asked for
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        async with asyncio.timeout(60):  # the word is passed on in a few turns of the loop
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0.01)

    asyncio.run(main())


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    limit=st.integers(0, 90),
    n=st.integers(1, 12),
    steps=st.integers(1, 3),
    quiet=st.sampled_from([0.0, 0.5, 1.0]),
    lost=st.sampled_from([0.0, 0.3]),
    select=st.sampled_from(["verifier", "first_pass"]),
)
def test_a_budget_of_tokens_is_hard(limit: int, n: int, steps: int, quiet: float, lost: float, select: Any) -> None:
    """Told or not, no more is said than the budget has; an answer starts only when its longest form still fits."""
    model = Elsewhere(steps=steps, quiet=quiet, lost=lost)
    outcome = best(model, n, Budget(tokens=limit), select=select)
    assert outcome.error is None
    if limit < model.tokens * steps:
        assert (outcome.population, outcome.stop_reason) == (None, "budget")
        return
    assert words(outcome) <= limit
    assert outcome.population is not None
    assert outcome.population.rows.done.all()
    if select == "verifier":
        assert len(outcome.population) >= min(n, limit // (model.tokens * steps))


def test_tokens_are_exact_where_told() -> None:
    outcome = best(ROUGH, 60)
    assert outcome.population is not None
    columns = outcome.population.rows.columns
    told = columns["tokens"] >= 0
    said = np.array([len(text.split()) for text in columns["text"]])
    assert 0 < told.sum() < 60
    assert (columns["tokens"][told] == said[told]).all()
    assert (columns["prompt_tokens"] >= -1).all()
    loud = best(replace(ROUGH, quiet=0.0), 60)
    assert loud.spent.unreported == 0
    assert loud.spent.tokens == words(loud)
    assert loud.population is not None
    assert loud.spent.prompt_tokens == int(loud.population.rows.columns["prompt_tokens"].sum()) > 0
    silent = best(replace(ROUGH, quiet=1.0, lost=0.0), 60)
    assert (silent.spent.tokens, silent.spent.prompt_tokens, silent.spent.unreported) == (0, 0, 60 * 3)


def test_objects_are_kept_with_their_shape() -> None:
    column = np.empty((2, 2), object)
    column[0, 0], column[0, 1], column[1, 0], column[1, 1] = None, "a", [1, {"b": [2.5]}], {"c": None}
    again = unpack(pack({"x": column}))["x"]
    assert (again.dtype, again.shape) == (object, (2, 2))
    assert again.tolist() == column.tolist()
    assert unpack(pack(Failed("gone"))) == Failed("gone")
    with pytest.raises(TypeError, match="a state holds a object"):
        pack(np.array([object()], object))
