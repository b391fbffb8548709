"""Batches are driven in a process of their own: reading 50,000 lines holds the interpreter, and requests would wait.

It is told on its standard input where things are, and then, a line a round, that it may take one; it answers each with
whether there are new jobs. When its input ends, so does it.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Literal

import redis
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from service import logs
from service.api.doors.batching import Batching
from service.artifacts import Artifacts
from service.feeder import Feeder
from service.settings import Settings
from service.store import Store, batches
from service.threads import Background

log = logging.getLogger("winnow.batches")
PAUSE = 0.5
GONE = 5.0
"""Seconds that the process has to end by itself."""


class Where(BaseModel):
    """What the process is told at first."""

    database: str
    artifacts: str
    log: Literal["text", "json"]


@dataclass
class Aside(Background):
    """The thread that keeps the process, once there is a batch. Of several API's, the one whose feeder leads drives."""

    called = "batches"
    store: Store
    artifacts: Artifacts
    feeder: Feeder
    settings: Settings
    child: "subprocess.Popen[bytes] | None" = None

    def _run(self) -> None:
        while not self.stopping.wait(PAUSE):
            try:
                leads = time.monotonic() < self.feeder.leads
                if leads and (self.child is not None or self.store.read(batches.opened)):
                    self._round(self._living())
            except (redis.RedisError, SQLAlchemyError, OSError) as error:
                log.warning("cannot drive batches: %s; trying again", error)
        self._end()

    def _living(self) -> "subprocess.Popen[bytes]":
        """The process; another one when it has died."""
        if self.child is not None and self.child.poll() is not None:
            log.warning("the process that drives batches ended (%s); another one goes on", self.child.returncode)
            self._end()
        if self.child is None:
            command = [sys.executable, "-c", "from service.api.doors.aside import main; main()"]
            pipe = subprocess.PIPE
            self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe)  # noqa: S603 - our own command line
            database = self.store.engine.url.render_as_string(hide_password=False)
            where = Where(database=database, artifacts=self.artifacts.url, log=self.settings.log)
            self._tell(self.child, where.model_dump_json())
        return self.child

    def _round(self, child: "subprocess.Popen[bytes]") -> None:
        """One round of the process; its new jobs are fed."""
        assert child.stdout
        self._tell(child, "go on")
        while not _readable(child.stdout, PAUSE):
            if self.stopping.is_set():
                return
        if child.stdout.readline() == b"more\n":
            self.feeder.wake.set()

    def _tell(self, child: "subprocess.Popen[bytes]", line: str) -> None:
        assert child.stdin
        child.stdin.write(f"{line}\n".encode())
        child.stdin.flush()

    def _end(self) -> None:
        """Without its input it ends after the step that it is in."""
        if self.child is None:
            return
        assert self.child.stdin
        assert self.child.stdout
        with suppress(OSError):
            self.child.stdin.close()
        try:
            self.child.wait(GONE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
        self.child = None


def _readable(pipe: IO[bytes], seconds: float = 0) -> bool:
    """Whether there is something to read, or its end."""
    return bool(select.select([pipe], [], [], seconds)[0])


def main() -> None:
    """A round for every line of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the API, whose end it follows
    os.nice(10)  # whoever waits for an answer comes first
    heard = os.fdopen(0, "rb", buffering=0)  # unbuffered: `select` sees what is there
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints does not answer
    where = Where.model_validate_json(heard.readline())
    logs.start(where.log)
    batching = Batching(Store(where.database), Artifacts(where.artifacts), lambda: _readable(heard))
    while heard.readline():
        try:
            fresh = batching.round()
        except (redis.RedisError, SQLAlchemyError, OSError) as error:
            log.warning("cannot drive batches: %s; trying again", error)
            fresh = False
        with suppress(BrokenPipeError):
            answers.write(b"more\n" if fresh else b"done\n")
