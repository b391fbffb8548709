"""Those who follow a job cost one look for all, whatever they claim to know already."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

from helping import prepared

from service.api.following import PAUSE, Following
from service.store import Store, creating, jobs


class Counted:
    """A store's reads, counted."""

    def __init__(self, store: Store) -> None:
        self.store, self.reads = store, 0

    async def aread(self, *arguments: Any) -> Any:
        self.reads += 1
        return await self.store.aread(*arguments)


def test_one_look_for_all(store: Store) -> None:
    """One of them names an event that is far ahead: it hears of none, and the others are not hurried by it."""
    row = store.write(creating.create, prepared())
    counted = Counted(store)
    following = Following(counted)  # type: ignore[arg-type]
    heard: dict[int, list[str]] = {}

    async def follow(number: int, after: int) -> None:
        async with aclosing(following.events(row.id, after)) as looks:
            async for seen in looks:
                heard.setdefault(number, []).extend(row.type for row in seen.rows)
                if seen.ended:
                    return

    async def main() -> None:
        began = time.monotonic()
        everybody = [asyncio.create_task(follow(i, 10**17 if i == 0 else 0)) for i in range(20)]
        await asyncio.sleep(4 * PAUSE)
        looks = (time.monotonic() - began) / PAUSE + 2
        assert counted.reads <= 20 + looks  # each at its beginning, and a look for all now and then
        await store.awrite(jobs.cancel, row.name)
        await asyncio.wait_for(asyncio.gather(*everybody), 60)

    asyncio.run(main())
    assert heard.pop(0) == []
    assert len(heard) == 19
    assert all(events[0] == "created" and events[-1] == "cancelled" for events in heard.values())
    assert following.followed == {}
