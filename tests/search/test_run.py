"""Many searches on one engine: each gets what it would get alone, whatever its neighbours and its verifiers do."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from generators.fake import Fake
from generators.toy import Bits, bits
from search import keys
from search.batching import OutOfMemory
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods.best_of_n import BestOfN, best_of_n
from search.population import Population
from search.ports import Answer, Generator, Item, Rows, Score, Task, Verifier, unscored
from search.run import Outcome, run
from search.scoring import Judge, plain
from search.verdicts import Verdicts


@dataclass(frozen=True)
class Traced(Fake):
    """A generator that keeps the sizes of its calls and its threads, and that holds so many rows and no more."""

    holds: int = 10**9
    sizes: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def _fits(self, rows: Rows) -> None:
        self.threads.add(threading.current_thread().name.rpartition("_")[0])
        if len(rows) > self.holds:
            raise MemoryError("too many rows")

    def advance(self, rows: Rows) -> Rows:
        self.sizes.append(len(rows))
        self._fits(rows)
        return super().advance(rows)

    def finish(self, rows: Rows) -> list[Any]:
        self.finished.append(len(rows))
        self._fits(rows)
        return super().finish(rows)


def value(answers: Sequence[Answer]) -> list[Score]:
    return [Score(answer.value, answer.value > 0) for answer in answers]


def ones(answers: Sequence[Answer]) -> list[Score]:
    return [Score(float(sum(answer.value)), canonical=str(answer.value)) for answer in answers]


async def search(engine: Engine, generator: Generator, judges: Sequence[Judge], item: str = "a", n: int = 8) -> Outcome:
    task = Task(Item(id=item), 3, 0, n)
    metered = Metered(Shared(engine, task, generator, judges), generator, len(judges), Budget())
    return await run(best_of_n(task, metered, BestOfN(n=n)), metered)


def one(engine: Engine, generator: Generator, judges: Sequence[Judge], item: str = "a", n: int = 8) -> Population:
    outcome = asyncio.run(asyncio.wait_for(search(engine, generator, judges, item, n), 100))
    if outcome.error:
        raise outcome.error
    assert outcome.population is not None
    return outcome.population


def same(one: Population, other: Population) -> None:
    """Bit for bit."""
    assert one.names() == other.names()
    assert list(one.verdicts.answers) == list(other.verdicts.answers)
    assert one.verdicts.scores == other.verdicts.scores
    for name in ("step", "done", "spent"):
        np.testing.assert_array_equal(getattr(one.rows, name), getattr(other.rows, name))
    assert one.rows.columns.keys() == other.rows.columns.keys()
    for name, column in one.rows.columns.items():
        np.testing.assert_array_equal(column, other.rows.columns[name])


def scores(verifier: Verifier, place: Any = "thread", threshold: float | None = None, n: int = 4) -> list[Score]:
    """Of the answers 0, 1, ..., n - 1."""
    tools = Shared(Engine(), Task(Item(), 0, 0, 1), Fake(), [Judge("v", "v", verifier, place, threshold)])
    return list(asyncio.run(asyncio.wait_for(tools.judged(range(n)), 100)).scores["v"])


@pytest.mark.parametrize(
    ("generator", "other", "verifier"),
    [
        (Fake(5), [Fake(1 + i % 9) for i in range(64)], value),
        (bits(Bits(length=6)), [bits(Bits(length=6))] * 64, ones),
    ],
    ids=["walk", "bits"],
)
def test_a_search_alone_equals_the_same_among_64_others(generator: Any, other: Any, verifier: Any) -> None:
    """Bit for bit, with walks of other lengths in the same calls."""
    judges = [Judge("v", "v", verifier)]
    alone = one(Engine(), generator, judges)

    async def main() -> Outcome:
        engine = Engine()
        company = [search(engine, g, judges, str(i), 1 + i % 5) for i, g in enumerate(other)]
        company.insert(31, search(engine, generator, judges))
        found = (await asyncio.gather(*company))[31]
        assert engine.batchers[(generator.batch_key, "advance")].filled.calls < 40  # of 300 steps: calls were shared
        return found

    among = asyncio.run(main()).population
    assert among is not None
    same(alone, among)


@pytest.mark.parametrize("most", [1, 3, 7, 64])
def test_results_do_not_depend_on_the_batch_limit(most: int) -> None:
    """Rows beyond the limit are divided over calls, and answers as well."""
    generator = Traced(4)
    limited = one(Engine(most=most), generator, [Judge("v", "v", value)], n=17)
    same(limited, one(Engine(), Fake(4), [Judge("v", "v", value)], n=17))
    assert max(generator.sizes) == max(generator.finished) == min(most, 17)
    assert sum(generator.sizes) == 4 * 17


@pytest.mark.parametrize("lanes", [2, 3])
def test_lanes_divide_a_search_and_change_nothing(lanes: int) -> None:
    """40 rows are cut once, into a part a lane."""
    generator, judges = Traced(4), [Judge("v", "v", value, "device")]
    same(one(Engine(lanes=lanes), generator, judges, n=40), one(Engine(), Fake(4), judges, n=40))
    assert max(generator.sizes) == max(generator.finished) == -(-40 // lanes)
    assert len(generator.sizes) == 4 * lanes
    assert generator.threads == {"device", "beside"}


@pytest.mark.parametrize(("lanes", "waits"), [(1, True), (2, False)])
def test_short_calls_wait_for_a_gpu_and_pass_the_lanes_of_a_cpu(lanes: int, waits: bool) -> None:
    engine, busy = Engine(lanes=lanes), threading.Event()

    async def decoded() -> Verdicts:
        tools = Shared(engine, Task(Item(id="a"), 3, 0, 4), Fake(1), [Judge("v", "v", value)])
        return await tools.judge(await tools.start(0, 4))

    for _ in range(lanes):
        engine.device.submit(busy.wait, 200)
    timer = threading.Timer(0.2 if waits else 90, busy.set)
    timer.start()
    assert len(asyncio.run(asyncio.wait_for(decoded(), 100))) == 4
    assert busy.is_set() == waits
    timer.cancel()
    busy.set()


def test_a_late_search_joins_the_calls_of_the_others() -> None:
    """Two walks of 30 steps, and one that starts during the first call: about 31 calls, not 60 in turns."""
    started, released = threading.Event(), threading.Event()

    class Slow(Traced):
        def advance(self, rows: Rows) -> Rows:
            started.set()
            assert released.wait(100)
            return super().advance(rows)

    generator, engine = Slow(30), Engine()

    async def walk(item: str) -> None:
        tools = Shared(engine, Task(Item(id=item), 0, 0, 1), generator, [])
        rows = generator.start([Item()], keys.rows(keys.problem(0, item), 0, 1))
        while not rows.done.all():
            rows = await tools.advance(rows)

    async def main() -> None:
        walks = [asyncio.create_task(walk(name)) for name in ("a", "b")]
        await asyncio.to_thread(started.wait, 100)
        walks.append(asyncio.create_task(walk("late")))
        await asyncio.sleep(0)  # its first question waits
        released.set()
        await asyncio.gather(*walks)

    asyncio.run(main())
    assert sum(generator.sizes) == 90
    assert len(generator.sizes) <= 33


def test_rows_that_do_not_fit_the_memory_are_halved() -> None:
    """A single search, whose rows are one question: the engine divides what the batcher cannot."""
    generator = Traced(3, holds=5)
    engine = Engine()
    same(one(engine, generator, [Judge("v", "v", value)], n=16), one(Engine(), Fake(3), [Judge("v", "v", value)], n=16))
    assert engine.batchers[("fake", "advance")].filled.limit == 4
    assert sorted(set(generator.sizes)) == [4, 8, 16]
    assert generator.finished[-4:] == [4] * 4
    with pytest.raises(OutOfMemory):
        one(Engine(), Traced(3, holds=0), [])


@pytest.mark.parametrize("error", [ValueError("broken"), StopIteration(), SystemExit(1), asyncio.CancelledError()])
@pytest.mark.parametrize("verb", ["start", "advance", "finish"])
def test_a_broken_generator_fails_its_search_and_hangs_nobody(verb: str, error: BaseException) -> None:
    class Broken(Fake):
        batch_key = "broken"

    def broken(*_: Any) -> Any:
        raise error

    setattr(Broken, verb, broken)

    async def main() -> None:
        engine = Engine()
        fails, lives = await asyncio.wait_for(
            asyncio.gather(search(engine, Broken(2), []), search(engine, Fake(2), [])), 100
        )
        assert fails.stop_reason == "error"
        assert isinstance(fails.error, ValueError | RuntimeError)
        assert lives.stop_reason is lives.error is None

    asyncio.run(main())


@pytest.mark.parametrize("verb", ["advance", "finish"])
def test_a_generator_that_loses_rows_fails(verb: str) -> None:
    class Lossy(Fake):
        def advance(self, rows: Rows) -> Rows:
            return super().advance(rows[:-1] if verb == "advance" else rows)

        def finish(self, rows: Rows) -> list[Any]:
            return super().finish(rows)[:-1]

    with pytest.raises(ValueError, match=r"returned 7"):
        one(Engine(), Lossy(2), [])


# Verifiers: what goes wrong with one answer is a reason on that answer.


def raising(answers: Sequence[Answer]) -> list[Score]:
    if any(answer.value == 2 for answer in answers):
        raise ValueError("cannot read 2")
    return [Score(float(answer.value), True) for answer in answers]


def exiting(answers: Sequence[Answer]) -> list[Score]:
    if any(answer.value == 2 for answer in answers):
        raise SystemExit("exit")
    return [Score(float(answer.value), True) for answer in answers]


def giving(odd: Any) -> Verifier:
    """A verifier whose score of the answer 2 is odd."""

    def verify(answers: Sequence[Answer]) -> list[Any]:
        return [odd if answer.value == 2 else Score(float(answer.value), True) for answer in answers]

    return verify


def lossy(answers: Sequence[Answer]) -> list[Score]:
    """Leaves out the answer 2."""
    return [Score(float(answer.value), True) for answer in answers if answer.value != 2]


NAN = float("nan")
AMISS: list[tuple[Any, str]] = [
    (raising, "ValueError: cannot read 2"),
    (exiting, "SystemExit: exit"),
    (lossy, "ValueError: the verifier returned 0 scores for 1 answers"),
    (giving(Score(NAN, True)), "the verifier's value nan is not a finite number"),
    (giving(Score(float("inf"))), "the verifier's value inf is not a finite number"),
    (giving(Score(np.float32("-inf"))), "the verifier's value -inf is not a finite number"),  # type: ignore[arg-type]
    (giving(Score(None)), "the verifier gave no value and no reason"),
    (giving(unscored("not a number")), "not a number"),
    (giving(Score("high")), "TypeError: must be real number, not str"),  # type: ignore[arg-type]
    (giving(Score(10**400)), "OverflowError: int too large to convert to float"),
    (giving(3.0), "TypeError: cannot unpack non-iterable float object"),
    (giving(None), "TypeError: cannot unpack non-iterable NoneType object"),
]


def awaited(verifier: Any) -> Verifier:
    async def verify(answers: Sequence[Answer]) -> Any:
        await asyncio.sleep(0)
        return verifier(answers)

    return verify


@pytest.mark.parametrize("place", ["thread", "device", "async"])
@pytest.mark.parametrize(("verifier", "reason"), AMISS)
def test_one_answer_unscored_and_its_siblings_unharmed(place: str, verifier: Any, reason: str) -> None:
    got = scores(awaited(verifier)) if place == "async" else scores(verifier, place)
    assert got == [Score(0.0, True), Score(1.0, True), unscored(reason), Score(3.0, True)]


def test_a_malformed_score_does_not_ask_for_the_others_again() -> None:
    calls: list[int] = []

    def verify(answers: Sequence[Answer]) -> Any:
        calls.append(len(answers))
        return giving(Score("high"))(answers)  # type: ignore[arg-type]

    scores(verify)
    scores(awaited(verify))
    assert calls == [4, 4]


def test_a_verifier_that_always_fails_leaves_all_unscored() -> None:
    def broken(answers: Sequence[Answer]) -> list[Score]:
        raise RuntimeError("x" * 1000)

    for verifier in (broken, awaited(broken)):
        got = scores(verifier)
        assert [score.value for score in got] == [None] * 4
        assert {len(score.reason or "") for score in got} == {500}


def test_an_async_verifier_that_cancels_itself_is_a_failed_verdict() -> None:
    """Else the search would look cancelled, and its shard would be nobody's."""

    async def verify(answers: Sequence[Answer]) -> list[Score]:
        raise asyncio.CancelledError

    assert scores(verify) == [unscored("CancelledError: ")] * 4


def test_a_cancelled_search_cancels_its_async_verifier() -> None:
    async def main() -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def verify(answers: Sequence[Answer]) -> list[Score]:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return []

        task = asyncio.create_task(search(Engine(), Fake(1), [Judge("v", "v", verify)]))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


def test_scores_are_made_of_pythons_own_types() -> None:
    odd = Score(np.float32(0.5), np.bool_(True), np.str_("why"), 7)  # type: ignore[arg-type]
    for score in (scores(giving(odd))[2], scores(awaited(giving(odd)))[2]):
        assert score == Score(0.5, True, "why", "7")
        assert [type(x) for x in score[:2]] == [float, bool]
    assert scores(giving(Score(np.int64(3), np.bool_(False))))[2] == Score(3.0, False)  # type: ignore[arg-type]
    assert type(scores(giving(Score(np.int64(3), np.bool_(False))))[2].passed) is bool  # type: ignore[arg-type]


def test_words_of_a_score_can_be_stored() -> None:
    """No NUL and no lone surrogate: one such answer would fail the commit of its whole shard."""
    assert plain(Score(1.0, True, "a\0b", "\ud800c")) == Score(1.0, True, "a?b", "?c")
    assert plain(unscored("\udfff\0")) == unscored("??")

    def amiss(answers: Sequence[Answer]) -> list[Score]:
        raise RuntimeError("\ud800\0")

    assert scores(amiss)[0] == unscored("RuntimeError: ??")


def test_passed_by_a_numpy_bool_stops_a_search() -> None:
    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [Score(1.0, np.bool_(True)) for _ in answers]  # type: ignore[arg-type]

    assert one(Engine(), Fake(1), [Judge("v", "v", verify)]).verdicts.passed.all()


def test_a_threshold_overrules_the_verifier_but_not_an_unscored_answer() -> None:
    got = scores(raising, threshold=1.0)
    assert [score.passed for score in got] == [False, True, None, True]
    assert [score.passed for score in scores(awaited(raising), threshold=1.0)] == [False, True, None, True]
    assert [score.passed for score in scores(giving(Score(NAN)), threshold=-1.0)] == [True, True, None, True]


class Later:
    """An object with an async __call__."""

    async def __call__(self, answers: Sequence[Answer]) -> list[Score]:
        return [Score(1.0) for _ in answers]


async def scaled(answers: Sequence[Answer], scale: float) -> list[Score]:
    return [Score(scale * answer.value) for answer in answers]


@pytest.mark.parametrize(
    ("verifier", "values"), [(Later(), [1.0] * 4), (partial(scaled, scale=2.0), [0.0, 2.0, 4.0, 6.0])]
)
def test_async_verifiers_of_any_make(verifier: Any, values: list[float]) -> None:
    assert [score.value for score in scores(verifier)] == values


def test_no_answers_are_no_scores() -> None:
    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [Score(float(x)) for x in np.stack([answer.value for answer in answers])]  # raises for none

    assert scores(verify, n=0) == []
    assert scores(awaited(verify), n=0) == []


def test_nothing_is_judged_of_no_rows() -> None:
    rows = Fake().start([Item()], keys.rows(keys.problem(0, "a"), 0, 1))
    tools = Shared(Engine(), Task(Item(), 0, 0, 1), Fake(), [Judge("v", "v", value)])
    assert len(asyncio.run(tools.judge(rows[:0]))) == 0


def test_verifiers_run_where_they_say() -> None:
    """One that uses the device runs in the thread of the networks; others run beside it."""
    where: dict[str, str] = {}

    def at(place: str) -> Verifier:
        def verify(answers: Sequence[Answer]) -> list[Score]:
            where[place] = threading.current_thread().name.rpartition("_")[0]
            return [Score(1.0) for _ in answers]

        return verify

    generator = Traced(2)
    places: list[Any] = ["device", "thread"]
    one(Engine(), generator, [Judge(place, place, at(place), place) for place in places])
    assert where == {"device": "device", "thread": "verifier"}
    assert generator.threads == {"device"}


def test_judges_with_one_key_share_calls_and_split_the_seconds() -> None:
    calls: list[int] = []

    def verify(answers: Sequence[Answer]) -> list[Score]:
        calls.append(len(answers))
        return [Score(float(answer.value), None, answer.item.id) for answer in answers]

    async def main() -> list[Verdicts]:
        engine, judge = Engine(), Judge("v", "v", verify)
        tools = [Shared(engine, Task(Item(id=str(i)), 0, 0, 1), Fake(), [judge]) for i in range(3)]
        return await asyncio.gather(*(t.judged(range(10 * i, 10 * i + i + 1)) for i, t in enumerate(tools)))

    found = asyncio.run(main())
    assert calls == [6]
    for i, verdicts in enumerate(found):
        assert verdicts.scores["v"] == [Score(10.0 * i + j, None, str(i)) for j in range(i + 1)]
        assert verdicts.seconds["v"] == pytest.approx(found[0].seconds["v"] * (i + 1))


# The engine and the drive of one search.


def test_a_model_is_measured_once_and_leaves_its_limit() -> None:
    async def main() -> None:
        engine, generator = Engine(most=8), Traced(3)
        await engine.load("fake", generator, Item())
        limit, calls = engine.filled()[str(("fake", "advance"))].limit, len(generator.sizes)
        assert calls > 0
        assert 1 <= limit <= 8
        await engine.load("fake again", generator, Item())
        assert len(generator.sizes) == calls
        assert engine.loaded == {"fake", "fake again"}

    asyncio.run(main())


def test_a_model_larger_than_the_memory_is_measured_up_to_there() -> None:
    async def main() -> None:
        engine, generator = Engine(most=64), Traced(3, holds=4)
        await engine.load("fake", generator, Item())
        assert engine.batchers[("fake", "advance")].filled.limit <= 4
        broken = Engine()
        with pytest.raises(MemoryError):
            await broken.load("fake", Traced(3, holds=0), Item())
        await broken.load("fake", Traced(3), Item())  # a failure is not remembered as a measurement
        assert broken.batchers[("fake", "advance")].filled.limit >= 1
        assert broken.profiled == {"fake"}

    asyncio.run(main())


@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_stopped_search_keeps_its_last_state(after: int) -> None:
    """Three steps: the start, two unfinished states and the judged one are yielded; work done is kept."""
    states = iter(["cancelled" if i == after else None for i in range(1, 9)])
    task = Task(Item(id="a"), 3, 0, 8)

    async def main() -> Outcome:
        tools = Metered(Shared(Engine(), task, Fake(3), [Judge("v", "v", value)]), Fake(3), 1, Budget())
        return await run(best_of_n(task, tools, BestOfN(n=8)), tools, lambda: next(states))

    outcome = asyncio.run(main())
    assert outcome.stop_reason == "cancelled"
    assert outcome.population is not None
    assert outcome.population.rows.step.tolist() == [after - 1] * 8
    assert outcome.spent.evaluations == 8 * (after - 1)


def test_an_error_in_a_method_ends_the_search_with_it() -> None:
    closed: list[bool] = []

    async def method() -> Any:
        try:
            yield Population.of(Fake().start([Item()], keys.rows(keys.problem(0, "a"), 0, 1)))
            raise KeyError("method")
        finally:
            closed.append(True)

    tools = Metered(Shared(Engine(), Task(Item(), 0, 0, 1), Fake(), []), Fake(), 0, Budget())
    outcome = asyncio.run(run(method(), tools))
    assert outcome.stop_reason == "error"
    assert isinstance(outcome.error, KeyError)
    assert outcome.population is not None  # what was found stays found
    assert closed == [True]


def test_a_model_that_names_its_batch_is_asked_where_it_may_load() -> None:
    """Not on the event loop, which a network that loads would stop; what it cannot load is said before a search."""

    class Named:
        batch_key = "named"
        asked: list[str] = []  # noqa: RUF012 - of this test alone

        @property
        def limit(self) -> int:
            self.asked.append(threading.current_thread().name)
            return 7

        def advance(self, rows: Any) -> Any:
            raise AssertionError("nothing is measured")

    class Missing(Named):
        @property
        def limit(self) -> int:
            raise ImportError("torch is not installed")

    engine = Engine()
    model: Any = Named()
    missing: Any = Missing()
    asyncio.run(engine.load("named", model, Item()))
    assert engine.network(model).filled.limit == 7
    assert [name.partition("_")[0] for name in model.asked] == ["device"]
    with pytest.raises(ImportError, match="torch is not installed"):
        asyncio.run(engine.load("missing", missing, Item()))
