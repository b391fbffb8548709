"""Drives batches, a round at a time: makes jobs of their lines, a window at a time, and writes their files.

Everything it does may be done again by another process: jobs are made under keys that follow from the batch's name, and
every step of a batch says from which state it comes.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, BinaryIO

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.api.doors.images import Gallery
from service.api.doors.lines import Group, checked, groups
from service.api.doors.outcome import Written
from service.artifacts import Artifacts
from service.store import Store, batches, creating, files, jobs
from service.store.access import acting
from service.store.quotas import Exhausted
from service.store.schema import TERMINAL

log = logging.getLogger("winnow.batches")
OPEN_JOBS, OPEN_ITEMS = 256, 20_000
"""Jobs and items of one batch that are unfinished at a time, at most: the rest waits in its file."""
BREATH = 0.002
"""Seconds after each job, in which others find SQLite's write lock free."""
ENDS = {"cancelling": "cancelled", "in_progress": "completed"}


@dataclass
class Opened:
    """A batch of which lines are being made into jobs. made: groups so far. rejected: lines that cannot be honoured."""

    file: BinaryIO
    groups: Iterator[Group]
    made: int = 0
    rejected: int = 0
    whole: bool = False  # no group is left


@dataclass
class Batching:
    """All batches that are open. stopping: whether to leave the rest of a round to another process."""

    store: Store
    artifacts: Artifacts
    stopping: Callable[[], bool] = lambda: False
    opened: dict[int, Opened] = field(default_factory=dict[int, Opened])
    fresh: bool = False

    def round(self) -> bool:
        """One step of every batch; whether there are new jobs."""
        self.fresh = False
        found = self.store.read(batches.opened)
        self._close([batch.id for batch in found])
        for batch in found:
            self._step(batch)
        return self.fresh

    def _step(self, batch: sa.Row[Any]) -> None:
        try:
            with acting(batch.owner, batch.key):
                {"validating": self._validate, "finalizing": self._finalize}.get(batch.state, self._drive)(batch)
        except (redis.RedisError, SQLAlchemyError, OSError):
            raise
        except Exception as error:
            log.exception("batch %s", batch.name)
            why = [{"code": "internal_error", "message": f"{type(error).__name__}: {error}"[:500], "line": None}]
            self.store.write(batches.step, batch, "failed", faults=json.dumps(why))

    def _close(self, but: Sequence[int]) -> None:
        for number in [number for number in self.opened if number not in but]:
            self.opened.pop(number).file.close()

    def _input(self, batch: sa.Row[Any]) -> BinaryIO:
        return self.artifacts.opened(self.store.read(files.find, batch.input).sha256, "jsonl")

    def _validate(self, batch: sa.Row[Any]) -> None:
        """All lines must be lines before the first is begun."""
        with self._input(batch) as file:
            total, faults = checked(file, batch.endpoint)
        if faults:
            said = json.dumps([fault.model_dump() for fault in faults])
            self.store.write(batches.step, batch, "failed", faults=said)
        else:
            self.store.write(batches.step, batch, "in_progress", total=total)

    def _open(self, batch: sa.Row[Any]) -> Opened:
        if batch.id not in self.opened:
            file = self._input(batch)
            self.opened[batch.id] = Opened(file, groups(file, batch.endpoint, batch.name))
        return self.opened[batch.id]

    def _drive(self, batch: sa.Row[Any]) -> None:
        """Make jobs while there is room; when all have ended, the files can be written."""
        made = self.store.read(batches.jobs_of, batch.id)
        late = time.time() >= batch.expires
        if late or batch.state == "cancelling":
            for job in made:
                if job.state not in TERMINAL and job.state != "cancelling":
                    self.store.write(jobs.cancel, job.name)
            if all(job.state in TERMINAL for job in self.store.read(batches.jobs_of, batch.id)):
                ending = "cancelled" if batch.state == "cancelling" else "expired"
                self.store.write(batches.step, batch, "finalizing", ending=ending)
            return
        opened = self._open(batch)
        live = [job.items - job.items_done for job in made if job.state not in TERMINAL]
        self._expand(batch, opened, len(live), sum(live))
        done, failed = sum(job.items_done for job in made), sum(job.items_failed for job in made)
        if batch.endpoint != "/v1/jobs":
            self.store.write(batches.count, batch.id, done - failed, failed + opened.rejected)
        if opened.whole and not live and not self._unfinished(batch):
            self.store.write(batches.step, batch, "finalizing", ending="completed")

    def _unfinished(self, batch: sa.Row[Any]) -> bool:
        return any(job.state not in TERMINAL for job in self.store.read(batches.jobs_of, batch.id))

    def _expand(self, batch: sa.Row[Any], opened: Opened, live: int, items: int) -> None:
        """The next groups become jobs; those that were made before a restart are found again."""
        while live < OPEN_JOBS and items < OPEN_ITEMS and not self.stopping():
            group = next(opened.groups, None)
            if group is None:
                opened.whole = True
                break
            if group.prepared is not None:
                name = batches.key(batch.name, group.number)
                try:
                    row = self.store.write(creating.create, group.prepared, name, batch.id)
                except Exhausted:  # jobs that end let go of what they held, and days renew: it waits, until it expires
                    opened.groups = chain([group], opened.groups)
                    break
                live += row.state not in TERMINAL
                items += row.items - row.items_done
                self.fresh = True
                time.sleep(BREATH)
            opened.rejected += len(group.refused)

    def _finalize(self, batch: sa.Row[Any]) -> None:
        """Write the output and the errors, each in the order of the lines' groups; then the batch is at its end."""
        if not batch.total:  # it was stopped before its lines were read
            self.store.write(batches.step, batch, batch.ending)
            return
        made = {job.idempotency_key: job.name for job in self.store.read(batches.jobs_of, batch.id)}
        with self._input(batch) as file, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            written = Written(self.store, Gallery(self.store, self.artifacts), batch.ending, output, errors)
            for group in groups(file, batch.endpoint, batch.name):
                written.group(group, made.get(jobs.own(batches.key(batch.name, group.number))))
                if self.stopping():
                    return
            stored: dict[str, tuple[str, int]] = {}
            for name, out in (("output", output), ("error", errors)):
                if out.tell():
                    out.seek(0)
                    stored[name] = self.artifacts.put_file(out, "jsonl")
        self.store.write(_ended, batch, stored, written.completed, written.failed)


def _ended(
    connection: sa.Connection, batch: sa.Row[Any], stored: dict[str, tuple[str, int]], completed: int, failed: int
) -> None:
    """Files and end in one transaction; nothing when somebody else was faster."""
    values: dict[str, Any] = {"completed": completed, "failed": failed}
    with connection.begin_nested() as inner:
        for name, (sha256, size) in stored.items():
            filename = f"{batch.name}_{name}.jsonl"
            values[name] = files.create(connection, filename, "batch_output", size, sha256).name
        if not batches.step(connection, batch, batch.ending, **values):
            inner.rollback()
