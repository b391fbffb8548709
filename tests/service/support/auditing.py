"""The audit in which every row of the chaos suite ends."""

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from helping import SLOW, TERMINAL, alive, found, job, offspring, until

from service.client import Client
from service.embedded import Stack
from service.store import Store
from service.store.schema import candidates, items, jobs, shards
from service.views import JobView

LEASE = 3.0
"""Seconds: four renewals, which a busy machine may not keep from a worker; waited for where a worker is frozen."""
N = 200
WORK = job(3, N, model={**SLOW, "seconds": 0.0004}, seed=5)
"""Six shards, 5 s for one worker."""
Calm = Sequence[Any]
"""What a job finds when nothing happens."""


@dataclass
class Bed:
    """A service with keys: its owner's client, a stranger's, its database, and jobs that were accepted."""

    stack: Stack
    client: Client
    stranger: Client
    store: Store
    accepted: list[str] = field(default_factory=list)

    def submit(self, spec: Any, **more: Any) -> JobView:
        view = self.client.submit(spec, **more)
        self.accepted.append(view.id)
        return view

    def shards_done(self, name: str) -> int:
        return self.client.job(name).counts.shards_done

    def deaths(self, name: str) -> int:
        """Claims of the job's shards that ended without a word."""
        blame = sa.select(sa.func.sum(shards.c.deaths)).join(jobs, jobs.c.id == shards.c.job).where(jobs.c.name == name)
        return self.store.read(lambda connection: connection.execute(blame).scalar_one())

    def progress(self, name: str) -> float:
        """Seconds until the job's next commit, or its end."""
        seen, start = self.shards_done(name), time.monotonic()
        until(lambda: self.shards_done(name) > seen or self.client.job(name).finished)
        return time.monotonic() - start

    def audit(self, same: Iterable[tuple[str, Calm]] = ()) -> None:
        """same: jobs with what an undisturbed run of the same seed finds."""
        until(lambda: all(self.client.job(name).finished for name in self.accepted))
        self.store.read(self._ledger)
        for name in self.accepted:
            assert self.stranger.http.get(f"/v1/jobs/{name}").status_code == 404
        assert self.stranger.http.get("/v1/jobs").json()["data"] == []
        for name, calm in same:
            assert found(self.client, name) == calm
        until(lambda: not self.orphans())

    def _ledger(self, connection: sa.Connection) -> None:
        """Jobs are terminal; what they paid is what their answers cost, each once, and within their budgets."""
        for one in connection.execute(sa.select(jobs)).all():
            assert one.state in TERMINAL | {"expired"}, one
            paid = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(candidates.c.evaluations), 0))
            count, evaluations = connection.execute(paid.where(candidates.c.job == one.id)).one()
            spent = sa.select(sa.func.coalesce(sa.func.sum(items.c.evaluations), 0)).where(items.c.job == one.id)
            assert one.candidates == count, (one, count)
            # A search that was stopped has also paid for answers that it did not finish.
            assert one.evaluations == evaluations or (one.state == "cancelled" and one.evaluations > evaluations), one
            assert one.evaluations == connection.execute(spent).scalar_one()
            states = connection.execute(sa.select(shards.c.state).where(shards.c.job == one.id)).scalars().all()
            closed = sum(state in ("done", "failed") for state in states)
            assert closed == one.shards_done or (one.state != "completed" and closed < one.shards_done), (one, states)
            assert one.state == "cancelled" or not {"running", "queued", "pending"} & set(states), (one, states)
            for currency, limit in (json.loads(one.spec).get("budget") or {}).items():
                if limit is not None and currency in one._fields:
                    assert getattr(one, currency) <= limit

    def orphans(self) -> list[int]:
        """Processes that work for this service and descend from nobody here."""
        mark = f"WINNOW_DATABASE_URL={self.stack.settings.database}".encode()
        family = {os.getpid(), *offspring(os.getpid())}
        return [pid for pid in pids_with(mark) if pid not in family and alive(pid)]


def pids_with(mark: bytes) -> list[int]:
    """Processes whose environment holds this."""
    out: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                out.append(int(folder.name))
        except OSError:
            continue
    return out
