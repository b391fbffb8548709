"""Drives tunes: a thread beside the feeder makes jobs of their trials and reads off what these are worth.

Everything it does may be done again by another process: what comes next follows from the trials in SQL alone, jobs are
made under keys that follow from the tune's name, and every step of a tune says from which state it comes.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service import catalog, tuning
from service.catalog import Invalid, Prepared
from service.feeder import Feeder
from service.objective import worth
from service.store import Store, creating, jobs, tunes
from service.store.access import acting
from service.store.quotas import Exhausted
from service.store.schema import TERMINAL
from service.threads import Background
from service.tune_spec import Trial, TuneSpec

log = logging.getLogger("winnow.tunes")
PAUSE = 0.25
Row = sa.Row[Any]


@dataclass
class Tuner(Background):
    """The thread. Of several API processes, the one whose feeder leads drives the tunes."""

    called = "tunes"
    store: Store
    feeder: Feeder

    def _run(self) -> None:
        while not self.stopping.wait(PAUSE):
            if time.monotonic() >= self.feeder.leads:
                continue
            try:
                for tune in self.store.read(tunes.opened):
                    self.step(tune)
            except (redis.RedisError, SQLAlchemyError, OSError) as error:
                log.warning("cannot drive tunes: %s; trying again", error)

    def step(self, tune: Row) -> None:
        """Bring a tune as far as it goes now."""
        try:
            with acting(tune.owner, tune.key):
                {"in_progress": self._drive, "cancelling": self._cancel}[tune.state](tune)
        except (redis.RedisError, SQLAlchemyError, OSError):
            raise
        except Exception as error:
            log.exception("tune %s", tune.name)
            self._fail(tune, f"{type(error).__name__}: {error}"[:500])

    def _drive(self, tune: Row) -> None:
        """Make jobs of the trials, value those that have ended, and begin the next ones when all have."""
        spec, rows = TuneSpec.model_validate_json(tune.spec), self.store.read(tunes.trials_of, tune.id)
        if any(row.evaluations is None for row in rows):
            self._make(tune, spec, [row for row in rows if row.job is None and row.evaluations is None])
            self._settle(tune, spec)
            return
        trials = [trial_of(row) for row in rows]
        if why := tuning.failure(trials):
            self._fail(tune, why)
        elif wave := tuning.following(spec, trials):
            self.store.write(tunes.begun, tune, len(rows), [row_of(trial) for trial in wave])
        else:
            self._finish(tune, spec, trials)

    def _make(self, tune: Row, spec: TuneSpec, waiting: Sequence[Row]) -> None:
        for row in waiting:
            labels = {"tune": tune.name, "trial": str(row.number)}
            try:
                prepared = catalog.prepare(tuning.job_of(spec, trial_of(row), labels))
                self.store.write(_made, tune, row.number, prepared)
            except Exhausted:  # jobs that end let go of what they held, and days renew: it waits
                return
            except Invalid as invalid:  # a plug-in is no longer what it was
                self.store.write(tunes.settled, tune.id, row.number, 0, None, str(invalid)[:500])
            self.feeder.wake.set()

    def _settle(self, tune: Row, spec: TuneSpec) -> None:
        """What trials are worth whose jobs have ended; a reference comes before those that are measured by it."""
        with self.store.reading() as connection:
            rows = tunes.trials_of(connection, tune.id)
            made = {row.number: jobs.find(connection, row.job) for row in rows if row.job is not None}
        ends = {number for number, job in made.items() if job.state in TERMINAL}
        references = {trial_of(row).final: row.number for row in rows if row.stage.endswith("reference")}
        for row in rows:
            reference = references.get(trial_of(row).final)
            if row.evaluations is not None or row.number not in ends or not {reference} <= {None, *ends}:
                continue
            by = None if reference in (None, row.number) else made.get(reference)
            found = self.store.read(worth, spec, trial_of(row), made[row.number], by)
            self.store.write(tunes.settled, tune.id, row.number, made[row.number].evaluations, *found)

    def _finish(self, tune: Row, spec: TuneSpec, trials: Sequence[Trial]) -> None:
        best = tuning.winner(spec, trials)
        assert best is not None  # else `failure` has said why
        model = tuning.model_of(spec, best)
        self.store.write(tunes.finished, tune, model.name, model.config)

    def _fail(self, tune: Row, why: str) -> None:
        """It ends as its jobs do: like one that is cancelled, but for the reason."""
        self.store.write(tunes.step, tune, "cancelling", error=why)

    def _cancel(self, tune: Row) -> None:
        """Stop what runs; when all has ended, so has the tune."""
        rows = [row for row in self.store.read(tunes.trials_of, tune.id) if row.evaluations is None]
        waits = False
        for row in rows:
            job = None if row.job is None else self.store.write(jobs.cancel, row.job)
            if job is not None and job.state not in TERMINAL:
                waits = True
                continue
            evaluations = 0 if job is None else job.evaluations
            self.store.write(tunes.settled, tune.id, row.number, evaluations, None, "the tune was stopped")
        if not waits:
            self.store.write(tunes.step, tune, "failed" if tune.error else "cancelled")


def trial_of(row: Row) -> Trial:
    """A trial as the search sees it."""
    return Trial(row.stage, tunes.genes(row), row.generation, row.evaluations, row.value, row.reason)


def row_of(trial: Trial) -> Mapping[str, Any]:
    """A new trial as it is written."""
    return {"stage": trial.stage, "genes": json.dumps(dict(trial.genes)), "generation": trial.generation}


def _made(connection: sa.Connection, tune: Row, number: int, prepared: Prepared) -> None:
    """The job of a trial: made once, and not of a tune that was stopped meanwhile."""
    if tunes.held(connection, tune.id) == tune.state:
        job = creating.create(connection, prepared, tunes.key(tune.name, number))
        tunes.given(connection, tune.id, number, job.name)
