"""A fake endpoint, and models behind it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from generators import asking
from generators.misbehaving import Faults, Misbehaving
from generators.openai import OpenAI, endpoint
from search import keys
from search.ports import Failed, Item, Rows

T = TypeVar("T")
ITEM = Item(id="x", prompt="How goes it? A:")


def listed(folder: Path, patch: pytest.MonkeyPatch, text: str) -> None:
    """The operator's file; one of its own for each text, because a process reads a file once."""
    path = folder / f"endpoints-{len(list(folder.iterdir()))}.toml"
    path.write_text(text)
    patch.setenv("WINNOW_ENDPOINTS", str(path))


def table(url: str, **more: Any) -> str:
    """One endpoint `fake` as TOML."""
    settings = {"name": "fake", "url": url, "model": "m", "timeout": 60.0} | more

    def written(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else repr(value)

    return "[[endpoint]]\n" + "".join(f"{name} = {written(value)}\n" for name, value in settings.items())


class Bed:
    """Where tests put a fake and a model behind it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch

    def model(self, url: str, job: dict[str, Any] | None = None, **server: Any) -> Any:
        """The generator of a job's settings, behind an endpoint of the operator's."""
        listed(self.folder, self.patch, table(url, **server))
        return endpoint(OpenAI.model_validate({"endpoint": "fake", **(job or {})}))

    @asynccontextmanager
    async def fake(self, faults: Faults) -> AsyncGenerator[Misbehaving]:
        """A server on the running loop; the connections to it end with it."""
        async with Misbehaving(faults) as server:
            try:
                yield server
            finally:
                await asking.hang_up()

    def advanced(
        self, faults: Faults, count: int, job: dict[str, Any] | None = None, /, **server: Any
    ) -> tuple[Rows, list[Any], Misbehaving]:
        """Rows taken to their end, their answers, and the server with what it counted."""

        async def main() -> tuple[Rows, list[Any], Misbehaving]:
            async with self.fake(faults) as fake:
                model = self.model(fake.url, job, **server)
                rows = fresh(model, count)
                while not rows.done.all():
                    live = np.flatnonzero(~rows.done)
                    rows = rows.updated(live, await model.advance(rows[live]))
                return rows, model.finish(rows), fake

        return asyncio.run(main())


def fresh(model: Any, n: int, item: Item = ITEM, seed: int = 0) -> Rows:
    """n rows at step 0."""
    return model.start([item] * n, keys.rows(keys.problem(seed, item.id), 0, n))


async def seen(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def lost(answers: Sequence[Any]) -> list[str]:
    """Why answers could not be had."""
    return [answer.reason for answer in answers if isinstance(answer, Failed)]


class Synchronous:
    """A remote generator for the exam, which does not await: its requests run on a loop of their own."""

    def __init__(self, make: Callable[[str], Any], faults: Faults) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = Misbehaving(faults)
        self.wait(self.server.__aenter__())
        self.model = make(self.server.url)
        self.steps, self.price, self.tokens = self.model.steps, self.model.price, self.model.tokens

    def wait(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(main(), self.loop).result(120)

    @property
    def batch_key(self) -> Hashable:
        return self.model.batch_key

    def start(self, items: Sequence[Item], names: keys.Words) -> Rows:
        return self.model.start(items, names)

    def advance(self, rows: Rows) -> Rows:
        return self.wait(self.model.advance(rows))

    def preview(self, rows: Rows) -> list[Any]:
        return self.model.preview(rows)

    def finish(self, rows: Rows) -> list[Any]:
        return self.model.finish(rows)

    def close(self) -> None:
        self.wait(asking.hang_up())
        self.wait(self.server.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
