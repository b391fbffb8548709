"""Waiting for jobs to end: one query a tenth of a second for all who wait, not one for each."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from service.store import Store, jobs

PAUSE = 0.1


@dataclass
class Endings:
    """Wakes whoever waits for a job when the store says that it has ended."""

    store: Store
    waiting: dict[int, list[asyncio.Event]] = field(default_factory=dict[int, list[asyncio.Event]])
    watcher: asyncio.Task[None] | None = None

    async def wait(self, job: int, seconds: float) -> bool:
        """True when the job ends within `seconds`."""
        ended = asyncio.Event()
        self.waiting.setdefault(job, []).append(ended)
        if self.watcher is None or self.watcher.done():
            self.watcher = asyncio.create_task(self._watch())
        try:
            await asyncio.wait_for(ended.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            left = [event for event in self.waiting.pop(job, []) if event is not ended]
            if left:
                self.waiting[job] = left
        return True

    async def _watch(self) -> None:
        while self.waiting:
            with contextlib.suppress(SQLAlchemyError):  # it may answer again before the waiting is over
                for job in await self.store.aread(jobs.ended, list(self.waiting)):
                    for event in self.waiting.get(job, []):
                        event.set()
            await asyncio.sleep(PAUSE)
