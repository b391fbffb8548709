"""A program in its sandbox: loaded, and called; and what becomes of a fault."""

import re
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from search.ports import Score, unscored
from search.scoring import clean
from verifiers.programs import wire
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.pool import Pool

_FENCED = re.compile(r"^```[^\n`]*\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


class Raised(NamedTuple):
    """An exception in the program. known: the nearest of Python's own types, by name."""

    kind: str
    known: str
    said: str
    line: int

    @property
    def fault(self) -> Fault:
        """As the end of the program."""
        where = f" at line {self.line}" if self.line else ""
        return Fault("memory" if self.known == "MemoryError" else "error", f"{self.kind}{where}: {self.said}")


class Candidate:
    """A program, loaded in a sandbox of its own. Clocks start when it does, not while it waits for the sandbox."""

    def __init__(self, pool: Pool, limits: Limits, source: str) -> None:
        """Load it. Raises Fault."""
        self.limits, self.sandbox = limits, pool.take()
        try:
            self.sandbox.limit(limits)
            self.sandbox.pipes.close("input")
            self.end = time.monotonic() + limits.total_seconds
            found = _result(self.sandbox.ask("define", source, deadline=self.end))
            if isinstance(found, Raised):
                raise found.fault
        except BaseException:
            self.sandbox.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.sandbox.close()

    def call(self, entry: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What a function returns, or Raised. Raises Fault where there is no result, and ends the program."""
        deadline = min(self.end, time.monotonic() + self.limits.call_seconds)
        return _result(self.sandbox.ask("call", entry, tuple(args), dict(kwargs), deadline=deadline))


def _result(reply: Sequence[Any]) -> Any:
    """The value of a reply, or Raised. Raises Fault."""
    match reply:
        case ["value", coded]:
            try:
                return wire.value(coded)
            except wire.Garbled as error:
                raise Fault("protocol_error", str(error)) from error
        case ["raised", str(kind), str(known), str(said), int(line)]:
            return Raised(kind, known, said, line)
        case ["unplain", str(what)]:
            raise Fault("wrong_answer", f"the result is {what}")
        case _:
            raise Fault("protocol_error", "a reply of no known kind")


def failed(fault: Fault, tier: str, value: float = 0.0) -> Score:
    """The verdict on a program that failed: wrong, or unscored where the sandbox did and not the program."""
    said = clean(_ADDRESS.sub("0x...", f"{fault}"[:800])) + f" [{tier}]"
    return unscored(said) if fault.reason == "sandbox_error" else Score(value, False, said)


def program(answer: str, prefix: str = "", entry: str = "def ") -> str:
    """The source in an answer, behind the prefix: the last fenced block with `entry`, else the last one, else all."""
    blocks = _FENCED.findall(answer)
    named = [block for block in blocks if entry in block]
    return prefix + (named or blocks or [answer])[-1]
