"""A clock that wakes all who look now and then in the same turn of the event loop."""

import asyncio
from dataclasses import dataclass


@dataclass(eq=False)
class Ticks:
    """One tick `every` so many seconds, while somebody waits for it.

    Of several that stop at one tick, none goes on for a moment with what another one has let go.
    """

    every: float = 0.5
    coming: asyncio.Future[None] | None = None

    def next(self) -> asyncio.Future[None]:
        """The tick to come, at most `every` seconds away; the same for all who ask before it."""
        if self.coming is None or self.coming.done() or self.coming.get_loop() is not asyncio.get_running_loop():
            self.coming = coming = asyncio.get_running_loop().create_future()
            coming.get_loop().call_later(self.every, lambda: None if coming.done() else coming.set_result(None))
        return self.coming
