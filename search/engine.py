"""One engine a device: the requests of all live searches meet in its batches."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from inspect import iscoroutinefunction
from typing import Any, cast

import numpy as np

from search import keys
from search.answers import Answers, joined
from search.batching import Batcher, Filled, OutOfMemory, best_limit, contained
from search.known import Known, worth
from search.ports import Answer, Failed, Floats, Generator, Item, Rows, Score, Task, unscored
from search.scoring import Awaited, Combine, Judge, Plain, Scored, awaited, clean, shared
from search.stepping import fault, stepped
from search.ticking import Ticks
from search.tools import Neighbouring, Renoising, Tools
from search.verdicts import Verdicts


class Stopped(Exception):
    """The search was told to stop while it waited."""


@dataclass
class Engine:
    """The batchers of one device. lanes: calls of plug-ins on the device that may run at once.

    A GPU has one lane. A CPU has one for each core that the worker may use, each call on a single thread: several calls
    side by side share nothing, where the threads of one call wait for each other at every layer. What is short
    (`start`, `finish`) runs beside them: it would wait for a whole call of the network, and its rows miss the next.
    """

    lanes: int = 1
    threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(2, "verifier"))
    most: int = 4096
    known: Known = field(default_factory=Known)
    batchers: dict[Hashable, Batcher[Any, Any]] = field(default_factory=dict[Hashable, Batcher[Any, Any]])
    profiled: set[Hashable] = field(default_factory=set[Hashable])
    loaded: set[str] = field(default_factory=set[str])
    ticks: Ticks = field(default_factory=Ticks)

    def __post_init__(self) -> None:
        self.device: Executor = ThreadPoolExecutor(self.lanes, "device")
        self.beside = self.device if self.lanes == 1 else ThreadPoolExecutor(self.lanes, "beside")

    def filled(self) -> dict[str, Filled]:
        """Running counts of every batcher."""
        return {str(key): batcher.filled for key, batcher in self.batchers.items()}

    def verb(
        self, generator: Generator, verb: str, call: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> Batcher[Any, Any]:
        """The batcher of one verb of a network."""
        key = (generator.batch_key, verb)
        if key not in self.batchers:
            where = self.device if verb == "advance" else self.beside
            self.batchers[key] = Batcher(call, self.most, where, self.lanes)
        return self.batchers[key]

    def network(self, generator: Generator) -> Batcher[Rows, Rows]:
        """The batcher of a network's steps."""
        return self.verb(generator, "advance", partial(stepped, generator))

    async def load(self, name: str, generator: Generator, item: Item) -> None:
        """Hold a model: find the best batch size of its network, once, measured on this device."""
        self.loaded.add(name)
        advance = self.network(generator)
        if generator.batch_key in self.profiled:
            return

        def rows(n: int) -> Rows:
            return generator.start([item] * n, keys.rows(keys.problem(0, item.id), 0, n))

        loop = asyncio.get_running_loop()
        limit = await loop.run_in_executor(self.device, contained, getattr, generator, "limit", None)  # it may load
        if limit is not None:  # it knows best: see `Remote`
            advance.allow(limit)
            return
        best = await loop.run_in_executor(self.device, contained, best_limit, generator.advance, rows, self.most)
        advance.allow(best)
        self.profiled.add(generator.batch_key)

    async def judge(self, judge: Judge, answers: Sequence[Answer]) -> Scored:
        """One judge's scores of some answers of one item; an answer that it has scored before is not asked again."""
        if judge.together or not worth(answers):
            return await self._ask(judge, answers)
        looked, seconds, scores = self.known.look(judge.key, answers), 0.0, dict[Hashable, Score]()
        if looked.missing:
            given = await self._ask(judge, list(looked.missing.values()))
            scores, seconds = dict(zip(looked.missing, given.scores, strict=True)), given.seconds
            self.known.learn(judge.key, answers[0].item, scores)
        scores |= looked.scores
        return Scored([scores[name] for name in looked.names], seconds)

    async def _ask(self, judge: Judge, answers: Sequence[Answer]) -> Scored:
        if judge.combine is not None:
            return await self._combined(judge, judge.combine, answers)
        if iscoroutinefunction(judge.verifier) or iscoroutinefunction(type(judge.verifier).__call__):
            return await awaited(cast(Awaited, judge.verifier), answers)
        if judge.key not in self.batchers:
            call = cast(Plain, judge.verifier)
            where = (self.device, self.lanes) if judge.place == "device" else (self.threads, 1)
            self.batchers[judge.key] = Batcher(lambda questions: shared(call, questions), self.most, *where)
        return await self.batchers[judge.key](answers)

    async def _combined(self, judge: Judge, combine: Combine, answers: Sequence[Answer]) -> Scored:
        """Scores made out of those of a judge's parts; the seconds are theirs."""
        seconds: list[float] = []

        async def part(index: int, some: Sequence[Answer]) -> Sequence[Score]:
            found = await self.judge(judge.parts[index], some)
            seconds.append(found.seconds)
            return judge.parts[index].ruled(found.scores)

        found = await awaited(lambda some: combine(some, part), answers)
        return Scored(found.scores, sum(seconds))


def is_remote(generator: Generator) -> bool:
    """Whether its network is elsewhere."""
    return iscoroutinefunction(generator.advance)


@dataclass
class Shared(Tools):
    """The tools of one search on an engine that it shares with others."""

    engine: Engine
    task: Task
    generator: Generator
    judges: Sequence[Judge]
    stopped: Callable[[], object] = lambda: None  # asked while an answer from elsewhere is waited for

    async def start(self, first: int, count: int) -> Rows:
        """Rows whose keys follow from the task alone."""
        named = keys.rows(keys.problem(self.task.seed, self.task.item.id), self.task.first + first, count)
        return await self._beside(self.generator.start, [self.task.item] * count, named)

    @property
    def steps(self) -> int:
        """Of the generator."""
        return self.generator.steps

    async def advance(self, rows: Rows) -> Rows:
        """One network call, together with everybody else's; each row that moves pays for its evaluations."""
        if np.count_nonzero(rows.done):
            live = np.flatnonzero(~rows.done)
            return rows.updated(live, await self.advance(rows[live])) if len(live) else rows
        moved = await self._elsewhere(rows) if self._is_remote else Rows.join(await self._asked(self._network, rows))
        spent = moved.columns.get("evaluations")
        spent = rows.spent + self.generator.price if spent is None else spent
        return Rows(moved.keys, moved.step, moved.done, spent, moved.columns)

    @cached_property
    def _network(self) -> Batcher[Rows, Rows]:
        return self.engine.network(self.generator)

    @cached_property
    def _is_remote(self) -> bool:
        return is_remote(self.generator)

    async def _elsewhere(self, rows: Rows) -> Rows:
        """One step of a remote network; given up, but for what is there already, when the search is stopped."""
        filled = self._network.filled
        filled.calls += 1
        filled.rows += len(rows)
        asking = asyncio.ensure_future(cast(Awaitable[Rows], self.generator.advance(rows)))
        try:
            while not asking.done():
                await asyncio.wait([asking, self.engine.ticks.next()], return_when=asyncio.FIRST_COMPLETED)
                if self.stopped():
                    asking.cancel()
        except asyncio.CancelledError:
            asking.cancel()
            raise
        try:
            moved = await asking
        except asyncio.CancelledError:
            raise Stopped from None
        if error := fault(moved):
            raise error
        return moved

    async def preview(self, rows: Rows) -> Verdicts:
        """Every judge's scores of the rows' previews."""
        return await self._decoded("preview", self.generator.preview, rows)

    async def judge(self, rows: Rows) -> Verdicts:
        """Answers of finished rows and every judge's scores."""
        return await self._decoded("finish", self.generator.finish, rows)

    async def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows put back to an earlier step."""
        return await self._beside(cast(Renoising, self.generator).renoise, rows, step)

    async def neighbours(self, pivots: Rows, cosine: float) -> Rows:
        """New starts beside the pivots, whose keys become those of the new rows."""
        return await self._beside(cast(Neighbouring, self.generator).neighbours, pivots, pivots.keys, cosine)

    def increments(self, rows: Rows) -> Floats:
        """What each row's last step added to its log-weight."""
        weigh: Callable[[Rows], Floats] | None = getattr(self.generator, "log_weights", None)
        return np.zeros(len(rows)) if weigh is None else weigh(rows)

    async def _beside(self, call: Callable[..., Rows], *arguments: Any) -> Rows:
        return await asyncio.get_running_loop().run_in_executor(self.engine.beside, contained, call, *arguments)

    async def _decoded(self, verb: str, decode: Callable[[Rows], Sequence[Any]], rows: Rows) -> Verdicts:
        if not len(rows):
            return Verdicts()
        call = self.engine.verb(self.generator, verb, lambda blocks: [decode(block) for block in blocks])
        blocks = await self._asked(call, rows)
        values = joined(blocks)
        if len(values) != len(rows):
            raise ValueError(f"{verb} returned {len(values)} answers for {len(rows)} rows")
        return await self.judged(values, rows)

    async def _asked(self, call: Batcher[Rows, Any], rows: Rows) -> list[Any]:
        """Answers about the rows, in order: one for each block within the batch limit, also when memory lowers it."""
        limit = call.share(len(rows))
        if len(rows) <= limit:  # no task between: whoever is answered asks again before the next batch is cut
            return await self._fitted(call, rows)
        parts = (self._fitted(call, rows[i : i + limit]) for i in range(0, len(rows), limit))
        return [block for part in await asyncio.gather(*parts) for block in part]

    async def _fitted(self, call: Batcher[Rows, Any], rows: Rows) -> list[Any]:
        """The answer about the rows; several, about smaller blocks, when they do not fit the memory."""
        try:
            return [await call(rows)]
        except OutOfMemory:
            if len(rows) <= call.filled.limit:
                raise
            return await self._asked(call, rows)

    async def judged(self, values: Sequence[Any], rows: Rows | None = None) -> Verdicts:
        """Every judge's scores of some answers of this task's item. rows: whose answers they are."""
        answers = Answers.of(values, self.task.item, rows)
        found = await asyncio.gather(*(self.engine.judge(judge, answers) for judge in self.judges))
        pairs = list(zip(self.judges, found, strict=True))
        scores = {judge.label: beside(values, judge.ruled(given.scores)) for judge, given in pairs}
        return Verdicts(values, scores, {judge.label: given.seconds for judge, given in pairs})


def beside(values: Sequence[Any], scores: Sequence[Score]) -> Sequence[Score]:
    """A score for each value, given those of the answers that could be had; the others are unscored, and why."""
    if len(scores) == len(values):
        return scores
    given = iter(scores)
    return [unscored(clean(value.reason)) if isinstance(value, Failed) else next(given) for value in values]
