"""Verdicts from output: whole programs read an input and write; each run has a process of its own."""

import time
from collections.abc import Callable
from typing import Literal

from search.ports import Score
from verifiers.programs.candidate import Candidate, failed
from verifiers.programs.comparing import lines, tokens
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.pool import Pool, other
from verifiers.programs.runtimes import Runtime
from verifiers.programs.targets import Run, StdioTarget

How = Literal["tokens", "lines"]
Ran = Callable[[Run], str]
"""Runs the program on one input; its output. Raises Fault."""


def python(pool: Pool, source: str, limits: Limits) -> Ran:
    """Runs of a Python program."""

    def run(case: Run) -> str:
        with pool.take() as sandbox:
            sandbox.limit(limits)
            deadline = time.monotonic() + limits.call_seconds
            output, errors = sandbox.whole(source, case.stdin.encode(), deadline)
            return ended(sandbox.status(), output, errors)

    return run


def written(runtime: Runtime, tier: str, source: str, limits: Limits) -> Ran:
    """Runs of a program in another language, which need tier `strict`."""
    if tier != "strict":
        raise Fault("sandbox_error", f"{runtime.name} needs tier 'strict'; here is {tier!r}")
    start = other(runtime, source, limits)

    def run(case: Run) -> str:
        pool = Pool(start, 0, tier)
        try:
            with pool.start() as sandbox:
                deadline = time.monotonic() + limits.call_seconds
                output, errors = sandbox.whole(None, case.stdin.encode(), deadline)
                return ended(sandbox.status(), output, errors)
        finally:
            pool.close()

    return run


def ended(status: int | None, output: bytes, errors: bytes) -> str:
    """The output of a program that ended well. Raises Fault for one that did not."""
    if status:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        raise Fault("memory" if last.startswith("MemoryError") else "error", f"exit status {status}: {last}")
    return output.decode("utf-8", "replace")


def checked(pool: Pool, checker: str, limits: Limits, case: Run, output: str) -> bool:
    """What the item's own checker says of an output; it runs in a sandbox too. Raises Fault sandbox_error."""
    try:
        with Candidate(pool, limits, checker) as check:
            found = check.call("check", (case.stdin, case.stdout, output), {})
    except Fault as fault:
        raise Fault("sandbox_error", f"the checker: {fault}") from fault
    if type(found) is not bool:
        raise Fault("sandbox_error", f"the checker returns {found!r:.200}; expected True or False")
    return found


def judged(
    pool: Pool, run: Ran, target: StdioTarget, limits: Limits, how: How, near: float | None, partial: bool
) -> Score:
    """The verdict on one program: 1 or 0, or with `partial` the share of right outputs."""
    faults: list[Fault] = []
    end = time.monotonic() + limits.total_seconds
    for number, case in enumerate(target.cases):
        try:
            if time.monotonic() > end:
                raise Fault("timeout", "no time is left")
            output = run(case)
            if target.checker is not None:
                right = checked(pool, target.checker, limits, case, output)
            else:
                right = tokens(output, case.stdout, near) if how == "tokens" else lines(output, case.stdout)
            if not right:
                raise Fault("wrong_answer", "another output is right")
        except Fault as fault:
            faults.append(Fault(fault.reason, f"case {number + 1} of {len(target.cases)}: {fault.detail}"))
            if fault.reason == "sandbox_error":
                return failed(faults[-1], pool.tier)
            if not partial:
                break
    if faults:
        return failed(faults[0], pool.tier, 1 - len(faults) / len(target.cases) if partial else 0.0)
    return Score(1.0, True, f"pass: {len(target.cases)} runs [{pool.tier}]")
