"""Shards of one worker that end while another one is written are written together, in the next transaction."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from service.artifacts import Encoded
from service.store import Store, commits
from service.store.commits import Results
from service.store.shards import Claim

MOST = 5000
"""Answers in one transaction, beside those of its first shard: others wait for its end."""


class Waiting(NamedTuple):
    """A shard to be written, and who waits for it."""

    claim: Claim
    results: Results
    written: "asyncio.Future[bool]"


@dataclass(eq=False)
class Committer:
    """One transaction at a time. A shard that comes alone does not wait for others."""

    store: Store
    put: Callable[[Encoded], None] = lambda _: None  # stores large bytes that are not there
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    writer: "asyncio.Task[None] | None" = None

    async def commit(self, claim: Claim, results: Results) -> bool:
        """Write a shard's results; False, and nothing written, when the claim is no longer good.

        Raises what the store raises. Cancelled, it is written all the same.
        """
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(claim, results, written))
        if self.writer is None or self.writer.done():
            self.writer = asyncio.create_task(self._write())
        return await written

    async def _write(self) -> None:
        while self.waiting:
            count, answers = 1, 0
            while count < len(self.waiting) and answers < MOST:
                answers += len(self.waiting[count].results.candidates)
                count += 1
            together, self.waiting = self.waiting[:count], self.waiting[count:]
            if not await self._together(together):
                for one in together:  # whose fault it was shows when each stands alone
                    await self._together([one])

    async def _together(self, some: list[Waiting]) -> bool:
        """One transaction; False when it failed, and it is not known for whose sake."""
        try:
            good = await self.store.awrite(commits.commit_all, [(one.claim, one.results) for one in some], self.put)
        except Exception as error:
            if len(some) > 1:
                return False
            _tell(some[0], error)
            return True
        for one in some:
            _tell(one, one.claim in good)
        return True


def _tell(one: Waiting, what: bool | Exception) -> None:
    """Whoever waits may have been cancelled."""
    if one.written.done():
        return
    if isinstance(what, Exception):
        one.written.set_exception(what)
    else:
        one.written.set_result(what)
