"""Sandboxes that wait for a program, so that none waits for a sandbox. Each is used once."""

import itertools
import os
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from verifiers.programs import lite, strict
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.runtimes import RUNNER, Runtime, python
from verifiers.programs.sandbox import PATIENCE, Sandbox
from verifiers.programs.seccomp import compiled
from verifiers.programs.starting import made

Start = Callable[[], Sandbox]
_TURN = itertools.count()
TRIES = 3
LOADER = "import marshal,posix,sys\nexec(marshal.loads(posix.read(int(sys.argv[1]),{size})))"
"""Reads the runner, compiled once: to compile it takes longer than to start the interpreter."""


def stranger() -> int | None:
    """A user of its own for one sandbox, where the worker may choose: when it is root."""
    if os.geteuid() != 0:
        return None
    return 0x40000000 + (os.getpid() % 2**16) * 2**10 + next(_TURN) % 2**10


def starter(tier: str, runtime: Runtime) -> Start:
    """What starts a sandbox with the runner in it, at a tier. Raises Unsupported or FileNotFoundError."""
    runner = runtime.compiled(RUNNER.read_text("utf-8"))
    before = f"{lite.entrance(runtime)}\n" if tier == "lite" else ""
    seen = {"seccomp": compiled()} if tier == "strict" else {}
    walls = strict.walls(runtime) if tier == "strict" else []
    line = [*runtime.argv, "-c", before + LOADER.format(size=len(runner))]

    def command(ends: Mapping[str, int]) -> list[str]:
        last = strict.ended(ends) if tier == "strict" else []
        return [*walls, *last, *line, str(ends["commands"]), str(ends["replies"])]

    return lambda: made(command, tier, stranger(), seen, runner)


def other(runtime: Runtime, program: str, limits: Limits) -> Start:
    """What starts a whole program of another language; at tier `strict` alone."""

    def command(ends: Mapping[str, int]) -> list[str]:
        kept = [f"--{name.removeprefix('RLIMIT_').lower()}={limit}" for name, limit in limits.kernel.items()]
        line = [part.format(file=strict.PROGRAM) for part in runtime.argv]
        walls = [*strict.walls(runtime, ends["program"]), *strict.ended(ends)]
        return [*walls, "/usr/bin/prlimit", *kept, "--", *line]

    return lambda: made(command, "strict", stranger(), {"seccomp": compiled(), "program": program.encode()})


class Pool:
    """Started sandboxes, `size` of them ahead of need; with 0 each is started when it is asked for.

    A thread of its own starts them, because a sandbox dies with the thread that started it.
    """

    def __init__(self, start: Start, size: int, tier: str) -> None:
        self.tier = tier
        self._wanted = threading.Semaphore(size)
        self._made: queue.SimpleQueue[Sandbox | BaseException] = queue.SimpleQueue()
        self._start = start
        self._closed = False
        threading.Thread(target=self._run, name="sandboxes", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            if self._closed:
                return self._drain()
            try:
                self._made.put(self._start())
            except Exception as error:
                self._made.put(error)

    def start(self) -> Sandbox:
        """A sandbox that was started. Raises Fault sandbox_error.

        Where one waited, another is started in its place when it is closed, and not beside it; else one is started now.
        """
        try:
            found, waited = self._made.get_nowait(), True
        except queue.Empty:
            self._wanted.release()
            found, waited = self._next(), False
        if isinstance(found, BaseException):
            if waited:
                self._wanted.release()
            raise Fault("sandbox_error", f"{type(found).__name__}: {found}"[:300]) from found
        if waited:
            found.closed = self._wanted.release
        return found

    def _next(self) -> Sandbox | BaseException:
        try:
            return self._made.get(timeout=PATIENCE)
        except queue.Empty:
            return TimeoutError("none was started in time")

    def take(self) -> Sandbox:
        """One that is ready to serve calls. Raises Fault sandbox_error."""
        fault = Fault("sandbox_error")
        for _ in range(TRIES):
            found = self.start()
            try:
                found.ready()
            except Fault as error:
                found.close()
                fault = error
                continue
            return found
        raise fault

    def close(self) -> None:
        """End those that wait, and the thread."""
        self._closed = True
        self._wanted.release()

    def _drain(self) -> None:
        with suppress(queue.Empty):
            while True:
                if isinstance(found := self._made.get_nowait(), Sandbox):
                    found.close()


def pooled(tier: str, size: int = 0) -> Pool:
    """Python sandboxes at a tier. Raises LookupError, Unsupported or FileNotFoundError where there can be none."""
    return Pool(starter(tier, python()), size, tier)
