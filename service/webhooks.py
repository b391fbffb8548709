"""Tells others what the outbox holds: signed, again and again while that can help, to public addresses only."""

import asyncio
import base64
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.addresses import Forbidden, Guarded, networks
from service.settings import Settings
from service.store import Store, outbox
from service.threads import Background
from verifiers.asking import certificates, spread
from verifiers.hook import signed

log = logging.getLogger("winnow.webhooks")
POLL = 0.25
AT_ONCE, OF_ONE = 64, 16
"""Deliveries in flight, at most: of all keys, and of one, whose receivers may all be slow."""
LONGEST = 6 * 3600.0
"""Seconds between two attempts, at most."""
MARGIN = 5.0
"""Seconds beside an attempt's own, after which another process may make the next."""


@dataclass(frozen=True)
class Said:
    """How an attempt ended. status: of the reply. error: why it was none. final: no other attempt would do better."""

    status: int | None
    error: str | None
    final: bool = False


def judged(status: int) -> Said:
    """What a status means: 2xx is delivered, 410 asks for no more, and a redirect is not followed."""
    if 200 <= status < 300:
        return Said(status, None, final=True)
    if 300 <= status < 400:
        return Said(status, "redirects are not followed")
    return Said(status, f"status {status}", final=status == 410)


def pause(first: float, delivery: str, attempts: int) -> float:
    """Seconds after the `attempts`-th attempt: four times as long each time, and not for all at once."""
    return min(LONGEST, first * 4 ** (attempts - 1)) * (0.5 + spread(delivery.encode(), attempts))


@dataclass
class Deliverer(Background):
    """A thread beside the API. Several may run: each attempt is counted before it is made."""

    called = "webhooks"
    store: Store
    settings: Settings
    flying: dict[asyncio.Task[None], str] = field(default_factory=dict[asyncio.Task[None], str])

    def _run(self) -> None:
        """Attempts that are under way when it is asked to end are given up, and made again later."""
        asyncio.run(self._loop())

    async def _loop(self) -> None:
        guard = Guarded(networks(self.settings.webhook_networks))
        async with httpcore.AsyncConnectionPool(
            certificates(), max_connections=AT_ONCE, max_keepalive_connections=0, network_backend=guard
        ) as pool:
            while not self.stopping.is_set():
                try:
                    await self._begin(pool)
                except SQLAlchemyError as error:
                    log.warning("cannot read the outbox: %s; trying again", error)
                await asyncio.sleep(POLL)
            for task in list(self.flying):
                task.cancel()
            await asyncio.gather(*self.flying, return_exceptions=True)

    async def _begin(self, pool: httpcore.AsyncConnectionPool) -> None:
        """Start on what is due, as far as there is room."""
        busy = Counter(self.flying.values())
        if busy.total() >= AT_ONCE:
            return
        for row in await self.store.aread(outbox.due, OF_ONE):
            if busy.total() >= AT_ONCE or busy[row.key] >= OF_ONE:
                continue
            if not await self.store.awrite(outbox.begin, row, self.settings.webhook_seconds + MARGIN):
                continue
            busy[row.key] += 1
            task = asyncio.create_task(self._deliver(pool, row))
            self.flying[task] = row.key
            task.add_done_callback(self.flying.pop)

    async def _deliver(self, pool: httpcore.AsyncConnectionPool, row: sa.Row[Any]) -> None:
        """One attempt, and what it came to."""
        try:
            secrets = await self.store.aread(outbox.secrets_of, row.key)
            said = await post(pool, row, secrets, self.settings.webhook_seconds)
            attempts = row.attempts + 1
            ended = said.final or attempts >= self.settings.webhook_tries
            state = ("failed" if said.error else "delivered") if ended else "pending"
            later = time.time() + pause(self.settings.webhook_pause, row.name, attempts)
            values = {"state": state, "status": said.status, "error": said.error, "due": later}
            await self.store.awrite(outbox.end, row, **values)
        except SQLAlchemyError as error:  # it is made again
            log.warning("delivery %s: %s", row.name, error)


async def post(pool: httpcore.AsyncConnectionPool, row: sa.Row[Any], secrets: Sequence[str], seconds: float) -> Said:
    """Send a delivery once, signed with each secret. Of the reply only the status is read."""
    if not secrets:
        return Said(None, "the key has no secret any more", final=True)
    body = row.body.encode()
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    said = {"Content-Type": "application/json", "User-Agent": "winnow", **signed(keys, row.name, body)}
    headers = list(said.items())
    try:
        async with asyncio.timeout(seconds), pool.stream("POST", row.url, headers=headers, content=body) as response:
            return judged(response.status)
    except Forbidden as error:
        return Said(None, f"{error}", final=True)
    except TimeoutError:
        return Said(None, f"no reply within {seconds:g} s")
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError) as error:
        return Said(None, f"{type(error).__name__}: {error}"[:300])
