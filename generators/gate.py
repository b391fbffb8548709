"""How many requests may be in flight: additive increase, multiplicative decrease (Chiu and Jain 1989)."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LONGEST = 60.0
"""Seconds for which one reply may stop all others, at most."""


@dataclass(eq=False)
class Gate:
    """First come, first served; a request that is tried again goes before those that were not tried yet."""

    most: int
    limit: float = 0.0
    flying: int = 0
    closed_until: float = 0.0
    halved: float = 0.0  # when
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])

    def __post_init__(self) -> None:
        self.limit = self.limit or float(self.most)

    @asynccontextmanager
    async def place(self, again: bool = False) -> AsyncGenerator[None]:
        """A place in flight, as soon as there is one."""
        loop = asyncio.get_running_loop()
        if self.waiting or not self._open(loop.time()):
            turn: asyncio.Future[None] = loop.create_future()
            (self.waiting.appendleft if again else self.waiting.append)(turn)
            self._admit()
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # it had its turn in the same moment
                    self._left()
                elif turn in self.waiting:
                    self.waiting.remove(turn)
                raise
        else:
            self.flying += 1
        try:
            yield
        finally:
            self._left()

    def served(self) -> None:
        """A reply came: one more in flight after as many replies as are in flight."""
        self.limit = min(self.most, self.limit + 1 / self.limit)

    def limited(self, sent: float, wait: float) -> None:
        """The server wants less (429). sent: when it was asked, on the loop's clock. wait: seconds that it wants."""
        now = asyncio.get_running_loop().time()
        if sent >= self.halved:  # requests that were in flight at the last time have said the same thing
            self.limit, self.halved = max(1.0, self.limit / 2), now
        if wait > 0:
            self.closed_until = max(self.closed_until, now + min(wait, LONGEST))

    def _open(self, now: float) -> bool:
        return self.flying < int(self.limit) and now >= self.closed_until

    def _left(self) -> None:
        self.flying -= 1
        self._admit()

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting and self._open(loop.time()):
            turn = self.waiting.popleft()
            if not turn.done():
                self.flying += 1
                turn.set_result(None)
        if self.waiting and not self.flying:  # nobody else will open it
            loop.call_at(self.closed_until, self._admit)
