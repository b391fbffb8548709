"""Verdicts from values: the function is called in its sandbox, its results are compared here."""

import time
from contextlib import ExitStack
from typing import Any

from search.ports import Score
from verifiers.programs.candidate import Candidate, Raised, failed
from verifiers.programs.comparing import Rule, same
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.pool import Pool
from verifiers.programs.targets import Case, ValuesTarget


class Calls:
    """The calls of one program: in one process, or (with `again`) in another after each that ends it."""

    def __init__(self, pool: Pool, limits: Limits, source: str) -> None:
        self._open = ExitStack()
        self._given = pool, limits, source
        self._loaded: Candidate | None = None

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def result(self, entry: str, case: Case) -> Any:
        """What the function returns. Raises Fault; the next call is then in a new process."""
        if self._loaded is None:
            self._loaded = self._open.enter_context(Candidate(*self._given))
        try:
            found = self._loaded.call(entry, case.args, case.kwargs)
        except Fault as fault:
            if fault.reason != "wrong_answer":  # the process is of no more use
                self._open.close()
                self._loaded = None
            raise
        if isinstance(found, Raised):
            raise found.fault
        return found


def judged(
    pool: Pool, target: ValuesTarget, source: str, limits: Limits, rule: Rule, near: float, partial: bool
) -> Score:
    """The verdict on one program: 1 or 0, or with `partial` the share of right calls."""
    faults: list[Fault] = []
    lost, end = 0, time.monotonic() + limits.total_seconds
    with Calls(pool, limits, source) as calls:
        for number, case in enumerate(target.cases):
            try:
                if not same(calls.result(target.entry, case), case.expected, rule, near):
                    raise Fault("wrong_answer", "another value is right")
            except Fault as fault:
                found = Fault(fault.reason, f"case {number + 1} of {len(target.cases)}: {fault.detail}")
                if fault.reason == "sandbox_error":
                    return failed(found, pool.tier)
                faults.append(found)
                lost += fault.reason == "timeout"
                if not partial:
                    break
                if lost > 3 or time.monotonic() > end:  # those that are left are not worth the time
                    faults += [found] * (len(target.cases) - number - 1)
                    break
    if faults:
        return failed(faults[0], pool.tier, 1 - len(faults) / len(target.cases) if partial else 0.0)
    return Score(1.0, True, f"pass: {len(target.cases)} calls [{pool.tier}]")
