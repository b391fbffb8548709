"""Searches that are killed, moved into company or cut short, and generators that the toys lack."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from exact import model, verifier

from generators.fake import Fake
from search.checkpoint import pack, unpack
from search.engine import Engine, Shared
from search.keys import START, Words, normals
from search.metering import Budget, Metered, Spent
from search.methods import METHODS
from search.population import Population
from search.ports import Answer, Floats, Item, Rows, Score, Task, unscored
from search.run import Outcome, run
from search.scoring import Judge


@dataclass(frozen=True)
class Straight:
    """A deterministic model: d normals, `steps` steps that change nothing, the first number is the answer."""

    steps: int = 3
    size: int = 8
    price: int = 1
    batch_key: str = "straight"

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        return Rows.fresh(keys, {"x": normals(keys, START, self.size)})

    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        assert not pivots.step.any()
        p, g = pivots.columns["x"], normals(keys, START, self.size)
        length = np.linalg.norm(p, axis=1, keepdims=True)
        w = g - (g * p).sum(1, keepdims=True) * p / length**2
        w /= np.linalg.norm(w, axis=1, keepdims=True)
        return Rows.fresh(keys, {"x": cosine * p + np.sqrt(1 - cosine**2) * length * w})

    def advance(self, rows: Rows) -> Rows:
        return rows.moved(rows.step + 1 >= self.steps, {})

    def preview(self, rows: Rows) -> list[Any]:
        return rows.columns["x"][:, 0].tolist()

    finish = preview


@dataclass(frozen=True)
class Early(Fake):
    """A walk that ends where it rises above 1: rows of one search take different numbers of steps."""

    @property
    def batch_key(self) -> str:
        return "early"

    def advance(self, rows: Rows) -> Rows:
        moved = super().advance(rows)
        return replace(moved, done=moved.done | (moved.columns["x"] > 1))


def judge(score: Callable[[Any], float | None]) -> Judge:
    """A judge by a function of the answer; None is unscored."""

    def scores(answers: Sequence[Answer]) -> list[Score]:
        values = [score(answer.value) for answer in answers]
        return [unscored("cannot read") if value is None else Score(value) for value in values]

    return Judge("v", ("test", score), scores)


VALUE = judge(float)


def ready(
    engine: Engine, generator: Any, by: Judge, name: str, config: Any, task: Task, budget: Budget | None = None
) -> Metered:
    """The tools of a search."""
    shared = Shared(engine, task, generator, [by])
    return Metered(shared, generator, 1, budget or Budget(), config.verdicts(generator.steps))


@dataclass(frozen=True)
class Search:
    """One search of some samples."""

    generator: Any
    by: Judge
    name: str
    config: dict[str, Any]
    seed: int = 5
    first: int = 0
    count: int | None = None
    budget: Budget | None = None

    @property
    def plan(self) -> Any:
        return METHODS.find(self.name).config(**self.config)

    def tools(self, engine: Engine) -> Metered:
        count = self.count or self.plan.piece or self.plan.samples
        task = Task(Item(id="a"), self.seed, self.first, count)
        return ready(engine, self.generator, self.by, self.name, self.plan, task, self.budget)

    def states(self, tools: Any, resume: Population | None = None) -> Any:
        return METHODS.find(self.name).factory(tools.tools.task, tools, self.plan, resume)

    async def outcome(self, engine: Engine) -> Outcome:
        tools = self.tools(engine)
        return await run(self.states(tools), tools, seen=self.sound)

    def sound(self, state: Population) -> None:
        """Whatever is found of a search that is cut short here: no more answers than its samples."""
        count = self.count or self.plan.piece or self.plan.samples
        assert len(state.found()) <= count
        assert len(set(state.found().names())) == len(state.found())

    def end(self) -> Outcome:
        """Alone, on an engine of its own."""
        return asyncio.run(self.outcome(Engine()))

    def found(self) -> Population:
        """Its answers. Raises what ended it too early."""
        outcome = self.end()
        if outcome.error:
            raise outcome.error
        assert outcome.population is not None
        assert outcome.population.idle
        return outcome.population


def many(searches: Sequence[Search]) -> list[Population]:
    """All at once on one engine."""

    async def main() -> list[Outcome]:
        engine, found = Engine(), list[Outcome]()
        for i in range(0, len(searches), 500):
            found += await asyncio.gather(*(search.outcome(engine) for search in searches[i : i + 500]))
        return found

    ended = asyncio.run(main())
    assert [one.error for one in ended if one.error] == []
    return [one.population for one in ended if one.population is not None]


def record(population: Population) -> tuple[Any, ...]:
    """All that the store keeps of a population."""
    rows, verdicts = population.rows, population.verdicts
    columns = {name: column.tolist() for name, column in rows.columns.items()}
    answers = [np.asarray(answer).tolist() for answer in verdicts.answers]
    return population.names(), rows.step.tolist(), rows.spent.tolist(), columns, answers, verdicts.scores


def killed_anywhere(search: Search) -> int:
    """Every state, stored and read back on another engine, leads to the same end at the same cost. How many there are.

    Between two states at most one call of the network was made, and at most one of the judge for each kind of row.
    """

    async def main() -> int:
        tools = search.tools(Engine())
        states: list[tuple[bytes, Spent]] = []
        last = None
        async for last in search.states(tools):
            states.append((pack(last), Spent(**vars(tools.spent))))
        assert last is not None
        for stored, spent in states:
            again = search.tools(Engine())
            again.spent = Spent(**vars(spent))
            outcome = await run(search.states(again, unpack(stored)), again)
            assert outcome.error is None
            assert outcome.population is not None
            assert record(outcome.population) == record(last)
            assert replace(again.spent, verifier_seconds=0.0) == replace(tools.spent, verifier_seconds=0.0)
        return len(states)

    return asyncio.run(main())


def same_in_company(search: Search) -> None:
    """Alone, and among 12 other searches on one engine."""
    company = many([search, *(replace(search, seed=seed) for seed in range(100, 112))])
    assert record(company[0]) == record(search.found())
    assert record(company[1]) != record(company[0])


def gain(name: str, config: dict[str, Any], repeats: int = 30) -> tuple[float, float]:
    """Mean reward of a method's answers on the mixture G2 less that of its model, -0.6, and its standard error."""
    mixture, by = model("toy/gaussian_mixture"), verifier("toy/linear")
    means = [p.verdicts.rewards.mean() for p in many([Search(mixture, by, name, config, s) for s in range(repeats)])]
    return float(np.mean(means)) + 0.6, float(np.std(means, ddof=1) / np.sqrt(repeats))


def rewards(population: Population) -> Floats:
    """Of the rows, in order."""
    return population.verdicts.rewards[population.verdict]
