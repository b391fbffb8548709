"""One sandbox: a process that is used for one program and then killed. The worker's end of its pipes and its clock."""

import os
import re
import select
import signal
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from verifiers.programs import wire
from verifiers.programs.limits import KEPT, MOST_OUTPUT, Fault, Limits

_CHILD = re.compile(rb'"child-pid": (\d+)')
PATIENCE = 20.0
"""Seconds for a sandbox to be ready."""
GONE = 5.0
"""Seconds in which a process that has closed its pipes is gone, on a busy machine too."""


class Pipes:
    """The worker's ends, never blocking. A closed one is -1."""

    def __init__(self, commands: int, replies: int, input: int, output: int, errors: int, info: int) -> None:
        self.commands, self.replies, self.input = commands, replies, input
        self.output, self.errors, self.info = output, errors, info
        for end in vars(self).values():
            os.set_blocking(end, False)

    def close(self, name: str) -> None:
        """Close one, if it is open."""
        if (end := getattr(self, name)) >= 0:
            os.close(end)
            setattr(self, name, -1)


class Sandbox:
    """A process behind walls. tier: which. Every wait has an end, after which it is of no more use: close it."""

    def __init__(self, process: "Popen[bytes]", pipes: Pipes, tier: str) -> None:
        self.process, self.pipes, self.tier = process, pipes, tier
        self.handles = [os.pidfd_open(process.pid)]
        self.unsent = {"commands": b"", "input": b""}
        self.heard = bytearray()
        self.output = {"output": bytearray(), "errors": bytearray()}
        self.said = 0  # bytes of output, kept or not
        self.kept = KEPT
        self.limits: dict[str, int] = {}
        self.closed: Callable[[], object] = bool
        """Called when it is closed."""
        self.began, self.seconds = time.monotonic(), 0.0  # limit of processor time, and since when

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ready(self) -> None:
        """Wait until it can be used. Raises Fault sandbox_error, with what it said of itself."""
        try:
            if self._frame(time.monotonic() + PATIENCE) != ["ready"]:
                raise Fault("protocol_error")
        except Fault as fault:
            said = bytes(self.output["errors"]).decode("utf-8", "replace").strip()[:300]
            raise Fault("sandbox_error", said or f"it does not start ({fault.reason})") from fault
        self._follow()

    def _follow(self) -> None:
        """Hold the process inside, too, once bubblewrap says which it is.

        Killed before it has said so, it leaves a child that waits for it for ever: bubblewrap's own, without a program.
        """
        if self.tier != "strict" or len(self.handles) != 1:
            return
        poll = select.poll()
        poll.register(self.pipes.info, select.POLLIN)
        poll.poll(1000)
        with suppress(OSError):
            if not (said := _CHILD.search(os.read(self.pipes.info, 4096))):  # the rest may come later
                return
            inside = int(said[1])
            handle = os.pidfd_open(inside)
            stat = Path(f"/proc/{inside}/stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == self.process.pid:
                self.handles.insert(0, handle)
            else:
                os.close(handle)

    def limit(self, limits: Limits) -> None:
        """Put the kernel's limits on it with its next command."""
        self.limits = limits.kernel
        if self.tier == "lite" and os.geteuid() != 0:  # the user is the service's own: its threads count too
            self.limits["RLIMIT_NPROC"] += tasks(os.geteuid())
        self.began, self.seconds = time.monotonic(), float(self.limits["RLIMIT_CPU"])

    def ask(self, kind: str, *parts: Any, deadline: float) -> list[JsonValue]:
        """Send a command, and wait for the reply to this very one; without its id. Raises Fault."""
        name = uuid.uuid4().hex
        limits, self.limits = self.limits, {}
        return self.tell(kind, name, limits, *parts, deadline=deadline, answer=name)

    def tell(self, *parts: Any, deadline: float, answer: str) -> list[JsonValue]:
        """Send what is asked for, and wait for a reply of that id; without the id. Raises Fault."""
        self.unsent["commands"] += wire.frame(*parts)
        reply = self._frame(deadline)
        if len(reply) < 2 or reply[0] != answer:
            raise Fault("protocol_error", "a reply to no question")
        if reply[1] == "unlimited":
            raise Fault("sandbox_error", f"its limits cannot be set: {reply!s:.200}")
        return reply[1:]

    def _frame(self, deadline: float) -> list[JsonValue]:
        """The next reply. Raises Fault."""

        def whole() -> bool:
            if len(self.heard) < 4:
                return False
            if (length := int.from_bytes(self.heard[:4], "big")) > wire.LARGEST:
                raise Fault("output_limit", f"a result of more than {wire.LARGEST} bytes")
            return len(self.heard) >= 4 + length

        self.pump(whole, deadline, "replies")
        end = 4 + int.from_bytes(self.heard[:4], "big")
        body = bytes(self.heard[4:end])
        del self.heard[:end]
        try:
            return wire.parsed(body)
        except wire.Garbled as error:
            raise Fault("protocol_error", str(error)) from error

    def pump(self, done: Callable[[], bool], deadline: float, *needed: str) -> None:
        """Write and read until `done`. Raises Fault at the deadline, at too much output, where a needed pipe ends."""
        while not done():
            if any(getattr(self.pipes, name) < 0 for name in needed):
                raise self.ended()
            poll, names = select.poll(), dict[int, str]()
            for name, end in vars(self.pipes).items():
                if end >= 0 and (self.unsent.get(name) if name in self.unsent else name != "info"):
                    poll.register(end, select.POLLOUT if name in self.unsent else select.POLLIN)
                    names[end] = name
            if (left := deadline - time.monotonic()) <= 0:
                raise Fault("timeout", "no result in time")
            for end, _ in poll.poll(1000 * left + 1):
                self._moved(names[end], end)

    def _moved(self, name: str, end: int) -> None:
        """Write to one pipe, or read from it, what it takes or has."""
        try:
            if name in self.unsent:
                self.unsent[name] = self.unsent[name][os.write(end, self.unsent[name][:65536]) :]
                return
            some = os.read(end, 65536)
        except BlockingIOError:
            return
        except BrokenPipeError:
            some = b""
        if not some:
            self.pipes.close(name)
            if name in self.unsent:
                self.unsent[name] = b""
        elif name == "replies":
            self.heard += some
        else:
            self.said += len(some)
            kept = self.output[name]
            kept += some[: self.kept - len(kept)]
            if self.said > MOST_OUTPUT:
                raise Fault("output_limit", f"more than {MOST_OUTPUT} bytes of output")

    def whole(self, source: str | None, given: bytes, deadline: float) -> tuple[bytes, bytes]:
        """Run a whole program on its input; what it wrote. source: None when it has started. Raises Fault."""
        self.kept = MOST_OUTPUT
        self.unsent["input"] = given
        if source is not None:
            self.ask("main", source, deadline=deadline)
        if not given:
            self.pipes.close("input")

        def ended() -> bool:
            if not self.unsent["input"]:
                self.pipes.close("input")
            return self.pipes.output < 0 and self.pipes.errors < 0

        self.pump(ended, deadline)
        if (status := self.status()) is None:
            raise Fault("timeout", "closed its output and went on")
        if status < 0:
            raise self.ended()
        return bytes(self.output["output"]), bytes(self.output["errors"])

    def status(self) -> int | None:
        """The exit status, negative for a signal; None when it is still there after some seconds."""
        try:
            status = self.process.wait(GONE)
        except TimeoutExpired:
            return None
        return 128 - status if status > 128 else status  # bubblewrap adds 128 to a signal

    def ended(self) -> Fault:
        """Why a process is gone that had not finished."""
        status = self.status()
        if status in (-signal.SIGKILL, -signal.SIGXCPU):
            late = (time.monotonic() - self.began) * (os.cpu_count() or 1) >= self.seconds
            return Fault("timeout" if late else "memory", "killed by the kernel")
        if status is not None and status < 0:
            return Fault("error", f"ended by signal {-status}")
        return Fault("error", "ended by itself" if status is not None else "closed its end of the protocol")

    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def close(self) -> None:
        """Kill it, and let go of what it holds. A thread of its own waits until all of it is gone.

        The process inside is killed; bubblewrap buries it and ends, while init may never do so.
        """
        self._follow()
        if self.handles:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self.handles[0], signal.SIGKILL)
            for handle in self.handles[:-1]:
                os.close(handle)
            last = self.handles.pop()
            self.handles.clear()
            try:
                _reaper().submit(self._buried, last)
            except RuntimeError:  # the interpreter is ending
                self._buried(last)
            self.closed()
        for name in vars(self.pipes):
            self.pipes.close(name)

    def _buried(self, handle: int) -> None:
        poll = select.poll()  # the handle is ready when the process is gone: Popen.wait(5) would look again and again
        poll.register(handle, select.POLLIN)
        if not poll.poll(5000):
            self.process.kill()
        self.process.wait()
        os.close(handle)


def tasks(user: int) -> int:
    """Threads of a user."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == user:
                found += len(os.listdir(folder / "task"))
    return found


@cache
def _reaper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "reaper")
