"""Every question gets its own answer, whatever waits beside it, fails beside it, or is cancelled."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.batching import PATIENCE, Batcher, OutOfMemory, best_limit, contained

Question = tuple[int, ...]


class Inline(Executor):
    """Runs a call where it is submitted: no threads, so that every schedule is reproducible."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Device:
    """Answers a question with its double; keeps every call; fails on poison and on more rows than it holds."""

    def __init__(self, holds: int = 1000, poison: int = -1) -> None:
        self.holds, self.poison = holds, poison
        self.calls: list[list[Question]] = []

    def __call__(self, questions: Sequence[Question]) -> list[Question]:
        self.calls.append(list(questions))
        if any(self.poison in question for question in questions):
            raise ValueError("poison")
        if sum(map(len, questions)) > self.holds:
            raise MemoryError("too many rows")
        return [tuple(2 * x for x in question) for question in questions]

    @property
    def sizes(self) -> list[int]:
        return [sum(map(len, questions)) for questions in self.calls]


class Held(Device):
    """A device whose first call lasts until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.released = threading.Event(), threading.Event()
        self.begun: list[int] = []  # sizes of the calls in the order in which they began

    def __call__(self, questions: Sequence[Question]) -> list[Question]:
        self.begun.append(len(questions))
        self.started.set()
        assert self.released.wait(100)
        return super().__call__(questions)


async def ask(batcher: Batcher[Question, Question], questions: Sequence[Question]) -> list[Any]:
    return await asyncio.gather(*map(batcher, questions), return_exceptions=True)


def batcher(device: Device, limit: int = 1000, lanes: int = 1) -> Batcher[Question, Question]:
    return Batcher(device, limit, Inline(), lanes)


def test_everything_waiting_goes_in_one_call() -> None:
    device, questions = Device(), [(i,) for i in range(20)]
    assert asyncio.run(ask(batcher(device), questions)) == [(2 * i,) for i in range(20)]
    assert device.calls == [questions]


def test_what_arrives_while_the_device_is_busy_is_the_next_call() -> None:
    async def main() -> None:
        device = Held()
        with ThreadPoolExecutor(1) as executor:
            busy: Batcher[Question, Question] = Batcher(device, 10, executor)
            answers = [busy((1,))]
            await asyncio.to_thread(device.started.wait, 100)
            answers += [busy((2,)), busy((3, 4)), busy((5,))]
            device.released.set()
            assert await asyncio.gather(*answers) == [(2,), (4,), (6, 8), (10,)]
        assert device.calls == [[(1,)], [(2,), (3, 4), (5,)]]
        assert (busy.filled.calls, busy.filled.rows) == (2, 5)

    asyncio.run(main())


def test_a_late_search_joins_the_others_calls() -> None:
    """Who is answered asks again before the next batch is cut; else the late one would always travel alone."""

    async def main() -> None:
        device = Device()
        shared = batcher(device)

        async def search(name: int, late: int) -> None:
            for _ in range(late):
                await asyncio.sleep(0)
            for _ in range(20):
                assert await shared((name,)) == (2 * name,)

        await asyncio.gather(search(1, 0), search(2, 0), search(3, 3))
        assert len(device.calls) <= 22

    asyncio.run(main())


def test_the_limit_holds_and_the_order_of_arrival_too() -> None:
    device = Device()
    questions = [(1, 1), (2,), (3, 3, 3), (4,), (5, 5, 5, 5, 5), (6,)]
    asyncio.run(ask(batcher(device, 4), questions))
    assert device.calls == [[(1, 1), (2,)], [(3, 3, 3), (4,)], [(5, 5, 5, 5, 5)], [(6,)]]


def test_an_empty_question_counts_as_a_row() -> None:
    device = Device()
    assert asyncio.run(ask(batcher(device, 2), [(), (), ()])) == [(), (), ()]
    assert device.calls == [[(), ()], [()]]


def test_a_failing_call_fails_only_its_own_question() -> None:
    device = Device(poison=3)
    got = asyncio.run(ask(batcher(device), [(i,) for i in range(6)]))
    assert isinstance(got.pop(3), ValueError)
    assert got == [(0,), (2,), (4,), (8,), (10,)]


def test_a_call_that_answers_too_few_fails() -> None:
    short: Batcher[Question, Question] = Batcher(lambda questions: questions[:1], 10, Inline())
    assert asyncio.run(ask(short, [(1,)])) == [(1,)]
    nothing: Batcher[Question, Question] = Batcher(lambda _: [], 10, Inline())
    (error,) = asyncio.run(ask(nothing, [(1,)]))
    assert "answered 0 of 1 questions" in str(error)


def test_an_error_among_the_answers_fails_its_own_question_alone() -> None:
    def call(questions: Sequence[Question]) -> list[Any]:
        calls.append(len(questions))
        return [KeyError("two") if 2 in question else question for question in questions]

    calls: list[int] = []
    got = asyncio.run(ask(Batcher(call, 10, Inline()), [(1,), (2,), (3,)]))
    assert isinstance(got.pop(1), KeyError)
    assert (got, calls) == ([(1,), (3,)], [3])


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(1), asyncio.CancelledError()])
def test_what_no_future_carries_is_an_error_all_the_same(error: BaseException) -> None:
    """StopIteration in a future hangs its caller in Python 3.11; SystemExit would end the whole worker."""

    def call(_: Sequence[Question]) -> Sequence[Question]:
        raise error

    async def main() -> None:
        with pytest.raises(RuntimeError, match=type(error).__name__):
            await asyncio.wait_for(asyncio.shield(Batcher(call, 10, Inline())((1,))), 100)

    asyncio.run(main())
    with pytest.raises(RuntimeError, match=type(error).__name__):
        contained(call, [(1,)])


def test_out_of_memory_halves_until_it_fits() -> None:
    """A batch far below the limit shows what fits: half of its rows, not half of the limit."""
    device = Device(holds=3)
    shared = batcher(device, 4096)
    questions = [(i,) for i in range(12)]
    assert asyncio.run(ask(shared, questions)) == [(2 * i,) for i in range(12)]
    assert device.sizes == [12, 6, 3, 3, 6, 3, 3]
    assert shared.filled.limit == 3
    device.calls.clear()
    asyncio.run(ask(shared, questions))
    assert device.sizes == [3, 3, 3, 3]


def test_out_of_memory_alone_is_said_and_lowers_the_limit() -> None:
    """The question cannot be divided here, but whoever asked can do so: below the limit that is left."""
    shared = batcher(Device(holds=3), 4096)
    (error,) = asyncio.run(ask(shared, [(1,) * 8]))
    assert isinstance(error, OutOfMemory)
    assert shared.filled.limit == 4
    (error,) = asyncio.run(ask(batcher(Device(holds=0)), [(1,)]))
    assert isinstance(error, OutOfMemory)


async def calls(shared: Batcher[Question, Question], rows: int, times: int) -> list[int]:
    """Limits after each of several calls of so many rows."""
    limits: list[int] = []
    for _ in range(times):
        await shared((0,) * rows)
        limits.append(shared.filled.limit)
    return limits


def test_a_lowered_limit_grows_back_slowly_up_to_what_was_allowed() -> None:
    """25 rows did not fit, 12 do: 24 are tried after PATIENCE calls, and 25, not 48, after as many again."""
    device = Device(holds=24)
    shared = batcher(device, 25)
    (error,) = asyncio.run(ask(shared, [(0,) * 25]))
    assert isinstance(error, OutOfMemory)
    assert shared.filled.limit == 12
    assert asyncio.run(calls(shared, 6, PATIENCE)) == [12] * (PATIENCE - 1) + [24]
    device.holds = 1000
    assert asyncio.run(calls(shared, 24, 2 * PATIENCE)) == [24] * (PATIENCE - 1) + [25] * (PATIENCE + 1)


def test_a_limit_grows_only_by_calls_that_show_something() -> None:
    """Small calls fit whatever the memory; after another failure the count begins anew."""
    device = Device(holds=24)
    shared = batcher(device, 64)
    asyncio.run(ask(shared, [(0,) * 32]))
    assert set(asyncio.run(calls(shared, 7, 2 * PATIENCE))) == {16}
    asyncio.run(calls(shared, 16, PATIENCE - 1))
    assert isinstance(asyncio.run(ask(shared, [(0,) * 25]))[0], OutOfMemory)
    assert shared.filled.limit == 12
    assert asyncio.run(calls(shared, 12, PATIENCE)) == [12] * (PATIENCE - 1) + [24]


def test_torch_out_of_memory_is_known_by_its_name() -> None:
    error = type("OutOfMemoryError", (RuntimeError,), {})

    def call(_: Sequence[Question]) -> Sequence[Question]:
        raise error("CUDA out of memory")

    (got,) = asyncio.run(ask(Batcher(call, 10, Inline()), [(1,)]))
    assert isinstance(got, OutOfMemory)


def test_cancelled_questions_are_skipped() -> None:
    async def main() -> None:
        device = Held()
        with ThreadPoolExecutor(1) as executor:
            busy: Batcher[Question, Question] = Batcher(device, 2, executor)
            running, waiting, last = busy((1,)), busy((2, 2)), busy((3,))
            await asyncio.to_thread(device.started.wait, 100)
            for future in (running, waiting):
                asyncio.ensure_future(future).cancel()
            device.released.set()
            assert await last == (6,)
        assert device.calls == [[(1,)], [(3,)]]

    asyncio.run(main())


def test_a_question_cancelled_in_a_failing_call_is_not_tried_again() -> None:
    async def main() -> None:
        device = Held()
        device.poison = 1
        with ThreadPoolExecutor(1) as executor:
            busy: Batcher[Question, Question] = Batcher(device, 10, executor)
            cancelled, other = asyncio.ensure_future(busy((1,))), busy((2,))
            await asyncio.to_thread(device.started.wait, 100)
            cancelled.cancel()
            device.released.set()
            assert await other == (4,)
        assert device.calls == [[(1,), (2,)], [(2,)]]

    asyncio.run(main())


def test_a_batcher_outlives_its_event_loop() -> None:
    shared = batcher(Device())
    assert [asyncio.run(ask(shared, [(i,)])) for i in range(3)] == [[(0,)], [(2,)], [(4,)]]


def test_a_batcher_outlives_a_loop_that_ends_in_a_call() -> None:
    """The call's answer and its runner are lost with the loop; the next loop's questions are answered all the same."""

    async def left_alone(shared: Batcher[Question, Question], device: Held) -> None:
        shared((1,))
        await asyncio.to_thread(device.started.wait, 100)

    for lanes in (1, 2):
        device = Held()
        with ThreadPoolExecutor(lanes) as executor:
            shared: Batcher[Question, Question] = Batcher(device, 10, executor, lanes)
            asyncio.run(left_alone(shared, device))
            device.released.set()
            assert asyncio.run(asyncio.wait_for(ask(shared, [(2,), (3,)]), 100)) == [(4,), (6,)]


def test_lanes_share_what_waits() -> None:
    """Ten questions over two lanes are five and five; while one lane has one, the other takes half of all there is."""

    async def main() -> None:
        device = Held()
        with ThreadPoolExecutor(2) as executor:
            shared: Batcher[Question, Question] = Batcher(device, 100, executor, 2)
            first = [shared((i,)) for i in range(10)]
            device.released.set()
            assert await asyncio.gather(*first) == [(2 * i,) for i in range(10)]
            assert device.begun == [5, 5]
            device.begun.clear()
            device.started.clear()
            device.released.clear()
            busy = shared((0,))
            await asyncio.to_thread(device.started.wait, 100)
            device.started.clear()
            rest = [shared((i,)) for i in range(6)]
            await asyncio.to_thread(device.started.wait, 100)
            assert device.begun == [1, 4]  # half of the seven; the first lane takes of the rest when it is free
            device.released.set()
            await asyncio.gather(busy, *rest)
            assert sum(device.begun) == 7

    asyncio.run(main())


@pytest.mark.parametrize(
    ("rows", "lanes", "share"),
    [(64, 1, 64), (200, 1, 100), (64, 4, 16), (65, 4, 17), (12, 4, 8), (3, 4, 3), (1000, 4, 100)],
)
def test_a_questions_share_of_a_lane(rows: int, lanes: int, share: int) -> None:
    """As many parts as lanes, but none above the limit (100), and none below 8 rows, where a cut gains nothing."""
    assert min(rows, batcher(Device(), 100, lanes).share(rows)) == share


asked = st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(["ask", "ask", "poison", "cancel"]))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(asked, max_size=12), st.integers(1, 8), st.integers(1, 12), st.integers(1, 3))
def test_any_interleaving_gives_everyone_the_answer_to_their_own_question(
    plan: list[tuple[int, int, str]], limit: int, holds: int, lanes: int
) -> None:
    """Questions of any size, asked at any turn of the loop, some poisoned, some given up, on a device in lanes."""
    device = Device(holds, poison=-1)
    shared = batcher(device, limit, lanes)

    async def one(i: int, size: int, turns: int, fate: str) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        question = (-1 if fate == "poison" else i,) * size
        future = asyncio.ensure_future(shared(question))
        if fate == "cancel":
            await asyncio.sleep(0)
            future.cancel()
            return
        if fate == "poison" and size:
            with pytest.raises(ValueError, match="poison"):
                await future
        elif size > holds:
            with pytest.raises(OutOfMemory):
                await future
        else:
            assert await future == tuple(2 * x for x in question)

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(i, *p) for i, p in enumerate(plan))), 100)

    asyncio.run(main())
    assert all(sum(max(1, len(q)) for q in call) <= limit or len(call) == 1 for call in device.calls)


class Clock:
    """Time that passes only in calls."""

    def __init__(self, cost: Callable[[int], float], holds: int = 10**9) -> None:
        self.now, self.cost, self.holds = 0.0, cost, holds
        self.sizes: list[int] = []

    def call(self, question: range) -> None:
        self.sizes.append(len(question))
        if len(question) > self.holds:
            raise MemoryError
        self.now += self.cost(len(question))


@pytest.mark.parametrize(
    ("cost", "best"),
    [
        (lambda n: 0.001 * n, 1),  # nothing to gain
        (lambda n: 0.01, 4096),  # always twice as good, up to the most
        (lambda n: 0.01 + 1e-4 * n, 2048),  # 1.049e-4 a row at 2048, 2.4 % above 1.024e-4 at 4096
        (lambda n: 0.01 * -(-n // 32), 32),  # a device that takes 32 rows at once
        (lambda n: 0.01 * -(-n // 32) + (0.01 if n == 2 else 0), 32),  # one flat doubling does not end it
        (lambda n: 0.2 + 0.1 * n, 4),  # a call of 4 lasts 0.6 s: long enough
    ],
)
def test_best_limit_on_known_costs(monkeypatch: pytest.MonkeyPatch, cost: Callable[[int], float], best: int) -> None:
    clock = Clock(cost)
    monkeypatch.setattr("search.batching.perf_counter", lambda: clock.now)
    assert best_limit(clock.call, range, 4096, around=0) == best
    assert max(clock.sizes) <= 4096


def test_best_limit_stops_where_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(lambda _: 0.01, holds=100)
    monkeypatch.setattr("search.batching.perf_counter", lambda: clock.now)
    assert best_limit(clock.call, range, 4096) == 64
    with pytest.raises(MemoryError):
        best_limit(Clock(lambda _: 0.01, holds=0).call, range, 4096)


@pytest.mark.parametrize("calls", range(0, 130, 3))
def test_best_limit_does_not_depend_on_other_work(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """From some call on the machine is three times as slow: that is no property of the size that it was at."""
    clock = Clock(lambda n: (0.01 + 1e-4 * n) * (3 if len(clock.sizes) > calls else 1))
    monkeypatch.setattr("search.batching.perf_counter", lambda: clock.now)
    assert best_limit(clock.call, range, 4096, around=0) == 2048


def test_best_limit_counts_what_a_call_costs_around_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network to which the size means nothing, 1 ms a row: 1.0625 ms with all around it at 16, 1.031 ms at 32."""
    clock = Clock(lambda n: 0.001 * n)
    monkeypatch.setattr("search.batching.perf_counter", lambda: clock.now)
    assert best_limit(clock.call, range, 4096, around=0.001) == 32


def test_best_limit_ignores_a_slow_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(lambda n: 10.0 if len(clock.sizes) == 1 else 0.01)
    monkeypatch.setattr("search.batching.perf_counter", lambda: clock.now)
    assert best_limit(clock.call, range, 64) == 64
