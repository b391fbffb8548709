"""Verifiers that hold the interpreter (parsing, catastrophic patterns) run in processes of their own.

A factory is called inside the process from its name and configuration: what it makes need not travel. The limit that
such a verifier puts on itself is a signal, which only a process's main thread receives.
"""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

from search.ports import Answer, Score, Verifier, unscored
from search.scoring import scored
from verifiers.builtin import VERIFIERS

PROCESSES = 2
PIECE = 16
"""Answers of one question that a process is asked for, at least: a question of more is divided among all processes."""


def _follow_parent() -> None:
    """In a pool process: end with the worker, even if it is killed; its pipes alone do not say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()


class Pool:
    """Processes, made when they are first needed, and anew when one of them has died: that breaks all of them."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._live: ProcessPoolExecutor | None = None

    def get(self) -> ProcessPoolExecutor:
        """The living ones."""
        with self._lock:
            if self._live is None:
                self._live = ProcessPoolExecutor(self._size, multiprocessing.get_context("spawn"), _follow_parent)
            return self._live

    def drop(self, broken: ProcessPoolExecutor) -> None:
        """Have others in place of the broken ones, unless somebody already had."""
        with self._lock:
            if self._live is broken:
                self._live = None


POOL = Pool(PROCESSES)
ALONE = Pool(1)
RETRIES = ThreadPoolExecutor(1, "retries")
"""Asks for one answer at a time in ALONE: only one that kills its own process is unscored."""
DEATHS = 8
"""Answers of one question that may kill a process; the rest of them are unscored unasked."""


@lru_cache(maxsize=256)
def _made(name: str, config: str) -> Any:
    plugin = VERIFIERS.find(name)
    return plugin.factory(plugin.config.model_validate_json(config))


def _scored(name: str, config: str, answers: Sequence[Answer]) -> list[Score]:
    return list(scored(_made(name, config), answers))  # crosses a pipe


@dataclass(frozen=True)
class Elsewhere:
    """A verifier in another process, as an async one."""

    name: str
    config: str

    async def __call__(self, answers: Sequence[Answer]) -> Sequence[Score]:
        """Scores; an answer whose process dies takes its own verdict with it, no other's and not the worker."""
        whole = VERIFIERS.find(self.name).facts.together
        pieces = [answers] if whole else divided(answers, PROCESSES, PIECE)
        return list(chain.from_iterable(await asyncio.gather(*map(self._asked, pieces))))

    async def _asked(self, answers: Sequence[Answer]) -> Sequence[Score]:
        """Scores of one piece."""
        loop, pool = asyncio.get_running_loop(), POOL.get()
        try:
            return await loop.run_in_executor(pool, _scored, self.name, self.config, answers)
        except BrokenProcessPool:
            POOL.drop(pool)
        return await loop.run_in_executor(RETRIES, self._one_by_one, answers)

    def _one_by_one(self, answers: Sequence[Answer]) -> list[Score]:
        scores: list[Score] = []
        deaths = 0
        for answer in answers:
            if deaths == DEATHS:
                scores.append(unscored(f"not asked: the process of verifier {self.name!r} died {deaths} times"))
                continue
            pool = ALONE.get()
            try:
                scores += pool.submit(_scored, self.name, self.config, [answer]).result()
            except BrokenProcessPool:
                ALONE.drop(pool)
                deaths += 1
                scores.append(unscored(f"the process of verifier {self.name!r} died"))
        return scores


def divided(answers: Sequence[Answer], most: int, least: int) -> list[Sequence[Answer]]:
    """At most `most` pieces of nearly equal size, in order, each of `least` answers or more; one when there are few."""
    count = max(1, min(most, len(answers) // least))
    edges = [len(answers) * i // count for i in range(count + 1)]
    return [answers[a:b] for a, b in pairwise(edges)]


def elsewhere(name: str, config: str) -> Verifier:
    """The verifier of that name and configuration, in another process; processes start now, not at its first answer."""
    _begun(name, config)
    return Elsewhere(name, config)


@lru_cache(maxsize=256)
def _begun(name: str, config: str) -> None:
    """Have it made, with all its imports, while the worker loads a model. What fails here fails again when asked."""
    pool = POOL.get()
    with suppress(BrokenProcessPool):
        for _ in range(PROCESSES):
            pool.submit(_ready, name, config)


def _ready(name: str, config: str) -> None:
    _made(name, config)  # what it makes does not travel
