"""Verifiers that hold the interpreter (parsing, catastrophic patterns) run in processes of their own.

A factory is called inside the process from its name and configuration: what it makes need not travel. The limit that
such a verifier puts on itself is a signal, which only a process's main thread receives.
"""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from typing import Any

from search.ports import Answer, Score, Verifier
from search.scoring import scored
from verifiers.builtin import VERIFIERS

PROCESSES = 2


def _follow_parent() -> None:
    """In a pool process: end with the worker, even if it is killed; its pipes alone do not say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()


@cache
def pool() -> ProcessPoolExecutor:
    """The processes of this worker."""
    return ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"), _follow_parent)


@cache
def _made(name: str, config: str) -> Any:
    plugin = VERIFIERS.find(name)
    return plugin.factory(plugin.config.model_validate_json(config))


def _scored(name: str, config: str, answers: Sequence[Answer]) -> list[Score]:
    return scored(_made(name, config), answers)


@dataclass(frozen=True)
class Elsewhere:
    """A verifier in another process, as an async one."""

    name: str
    config: str

    async def __call__(self, answers: Sequence[Answer]) -> Sequence[Score]:
        """Scores; a process that dies takes its answers' verdicts with it, not the worker."""
        try:
            return await asyncio.get_running_loop().run_in_executor(pool(), _scored, self.name, self.config, answers)
        except BrokenProcessPool:
            pool.cache_clear()
            raise RuntimeError(f"the process of verifier {self.name!r} died") from None


def elsewhere(name: str, config: str) -> Verifier:
    """The verifier of that name and configuration, in another process."""
    return Elsewhere(name, config)
