"""Whatever is waiting when the device falls free is the next batch: no timer, no minimum size."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence, Sized
from concurrent.futures import Executor
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

Q = TypeVar("Q", bound=Sized)
R = TypeVar("R")
T = TypeVar("T")
FEW = 8
PATIENCE = 100
"""Calls, at least half full, that must fit the memory before a limit that was lowered is doubled."""
AROUND = 0.001
"""Seconds that a call costs around the network: its rows are joined, divided, and handed to their searches."""


class OutOfMemory(RuntimeError):
    """One question alone does not fit the device."""


def out_of_memory(error: Exception) -> bool:
    """Whether a smaller call may succeed where this one failed; torch's own error is known by its name."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def contained(call: Callable[..., T], *arguments: Any) -> T:
    """What the call returns; a RuntimeError for what no future can carry, or what would end the event loop."""
    try:
        return call(*arguments)
    except (StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
        raise RuntimeError(f"{call} raised {error!r}") from error


class _Waiting(NamedTuple, Generic[Q, R]):
    question: Q
    future: asyncio.Future[R]

    @property
    def rows(self) -> int:
        return max(1, len(self.question))


@dataclass
class Filled:
    """Running counts of a batcher: network calls, rows in them, and the most rows that a call may hold."""

    calls: int = 0
    rows: int = 0
    limit: int = 1

    @property
    def mean(self) -> float:
        """Rows in a call, on average."""
        return self.rows / max(1, self.calls)


class Batcher(Generic[Q, R]):
    """Awaiting `batcher(question)` runs `call` on it together with all the questions that wait beside it.

    call: plain function, many questions in, as many results out; runs in `executor` (one thread for a device).
    limit: most rows (`len` of a question, at least 1) in one call. Questions are taken in order of arrival.
    lanes: calls that may run at once, as on the cores of a CPU; they share what there is.
    An exception among the results fails its own question. After a call that raises its questions are tried one by one,
    so that it fails only those at fault. After one that did not fit the memory, the limit is half of its rows and
    several questions are tried in halves; one alone is OutOfMemory. What took the memory may go: a lowered limit is
    doubled after PATIENCE calls that fitted and were at least half full, up to the limit that was given.
    """

    def __init__(
        self, call: Callable[[Sequence[Q]], Sequence[R]], limit: int, executor: Executor | None = None, lanes: int = 1
    ):
        self._call, self._executor, self._lanes = call, executor, lanes
        self._waiting: deque[_Waiting[Q, R]] = deque()
        self.filled = Filled()
        self._runners: set[asyncio.Task[None]] = set()
        self._running = 0  # rows
        self._fitted = 0  # calls that count towards PATIENCE
        self.allow(limit)

    def __call__(self, question: Q) -> Awaitable[R]:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(question, future))
        self._runners = {task for task in self._runners if not task.done()}  # also those that died with their loop
        if len(self._runners) < self._lanes:
            self._runners.add(asyncio.create_task(self._drain()))
        return future

    def allow(self, limit: int) -> None:
        """Let a call hold so many rows: the most to which a lowered limit grows back."""
        self._most = self.filled.limit = limit

    def share(self, rows: int) -> int:
        """Rows of one question that should go into one call, so that every lane has some; few are not worth a cut."""
        return min(self.filled.limit, max(FEW, -(-rows // self._lanes)))

    async def _drain(self) -> None:
        await asyncio.sleep(0)  # whoever is ready in this turn of the loop joins the first batch too
        while batch := self._next():
            rows = sum(one.rows for one in batch)
            self._running += rows
            try:
                await self._answer(batch)
            finally:
                self._running -= rows
            await asyncio.sleep(0)  # the searches just answered ask their next question before the next batch is cut
        self._runners = {task for task in self._runners if task is not asyncio.current_task()}  # in this same turn

    def _next(self) -> list[_Waiting[Q, R]]:
        """What one lane takes: about its share of all that waits or runs, so that all lanes' calls have equal sizes."""
        batch: list[_Waiting[Q, R]] = []
        rows, waiting = 0, sum(one.rows for one in self._waiting)
        share = (waiting + self._running) / self._lanes
        while self._waiting and rows < share:
            size = self._waiting[0].rows
            if batch and rows + size > self.filled.limit:
                break
            one = self._waiting.popleft()
            if not one.future.cancelled():
                batch.append(one)
                rows += size
        return batch

    async def _answer(self, batch: list[_Waiting[Q, R]]) -> None:
        questions = [one.question for one in batch]
        self.filled.calls += 1
        self.filled.rows += sum(map(len, questions))
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._executor, contained, self._call, questions)
            if len(results) != len(questions):
                raise ValueError(f"{self._call} answered {len(results)} of {len(questions)} questions")
        except Exception as error:
            await self._failed(batch, error)
            return
        self._fits(questions)
        for one, result in zip(batch, results, strict=True):
            if one.future.done():
                continue
            if isinstance(result, Exception):
                one.future.set_exception(result)
            else:
                one.future.set_result(result)

    def _fits(self, questions: Sequence[Q]) -> None:
        """A lowered limit grows back."""
        if self.filled.limit < self._most and 2 * sum(map(len, questions)) >= self.filled.limit:
            self._fitted += 1
            if self._fitted == PATIENCE:
                self.filled.limit, self._fitted = min(self._most, 2 * self.filled.limit), 0

    async def _failed(self, batch: list[_Waiting[Q, R]], error: Exception) -> None:
        memory = out_of_memory(error)
        if memory:
            self._fitted = 0
            self.filled.limit = max(1, min(self.filled.limit, sum(len(one.question) for one in batch) // 2))
        if len(batch) > 1:
            half = len(batch) // 2 if memory else 1
            for i in range(0, len(batch), half):
                if wanted := [one for one in batch[i : i + half] if not one.future.done()]:
                    await self._answer(wanted)
        elif not batch[0].future.done():
            batch[0].future.set_exception(OutOfMemory(str(error)) if memory else error)


def _in_turns(call: Callable[[Any], Any], question: Any, other: Any, around: float) -> tuple[float, float]:
    """Seconds of a call at best, and its whole cost over that of the other, in the median of four turns."""
    ratios: list[float] = []
    best = float("inf")
    for _ in range(4):
        started = perf_counter()
        call(question)
        between = perf_counter()
        call(other)
        best = min(best, between - started)
        ratios.append((between - started + around) / (perf_counter() - between + around))
    return best, median(ratios)


def best_limit(
    call: Callable[[Any], Any], rows: Callable[[int], Any], most: int, longest: float = 0.5, around: float = AROUND
) -> int:
    """Best batch size of `call`, measured: double until time per row stops falling by 5 %, twice in a row.

    rows(n): a question of n rows. longest: seconds after which a single call is long enough. around: seconds that each
    call costs beside its own: small batches of a fast network are dearer than the network knows. The answer is the
    smallest size within 3 % of the best time per row, so that batches stay short where larger ones gain nothing. A
    size that does not fit the memory ends the search for larger ones. Each size is measured in turns with its half, and
    only their ratio counts: a machine that others use may be twice as slow a moment later.
    """
    each: dict[int, float] = {}  # time per row, over that of single rows
    size, half = 1, rows(1)
    while size <= most:
        question = rows(size)
        try:
            seconds, ratio = _in_turns(call, question, half, around)
        except Exception as error:
            if each and out_of_memory(error):
                break
            raise
        each[size] = each[size // 2] * ratio / 2 if each else 1.0
        before = [each[s] for s in each if s <= size // 4]
        flat = before and min(each[size], each[size // 2]) > 0.95 * min(before)
        if flat or seconds > longest:
            break
        size, half = 2 * size, question
    return min(s for s in each if each[s] <= 1.03 * min(each.values()))
