"""Verdicts from assertions: the suite runs in one sandbox, the program in another; only values go between them."""

import uuid
from typing import Any

from pydantic import JsonValue

from search.ports import Score
from verifiers.programs import wire
from verifiers.programs.candidate import Candidate, Raised, failed
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.pool import Pool
from verifiers.programs.sandbox import Sandbox
from verifiers.programs.targets import AssertsTarget


def judged(pool: Pool, target: AssertsTarget, source: str, limits: Limits, least: int) -> Score:
    """The verdict on one program: 1 when the suite came to its end and called it `least` times, else 0."""
    try:
        with Candidate(pool, limits, source) as candidate, pool.take() as suite:
            calls = relayed(suite, candidate, target, limits)
    except Fault as fault:
        return failed(fault, pool.tier)
    if calls < least:
        return failed(
            Fault("sandbox_error", f"the suite called the program {calls} times; {least} are needed"), pool.tier
        )
    return Score(1.0, True, f"pass: {calls} calls [{pool.tier}]")


def relayed(suite: Sandbox, candidate: Candidate, target: AssertsTarget, limits: Limits) -> int:
    """Carry calls and results to and fro until the suite has come to its end; the calls. Raises Fault."""
    name, calls, raised = uuid.uuid4().hex, 0, False
    command: tuple[Any, ...] = ("suite", name, limits.kernel, target.entry, target.prefix, target.tests)
    while True:
        try:
            reply = suite.tell(*command, deadline=candidate.end, answer=name)
        except Fault as fault:
            if fault.reason == "timeout":
                raise
            raise Fault("sandbox_error", f"the suite's own process: {fault}") from fault
        match reply:
            case ["ask", args, kwargs]:
                calls += 1
                found = candidate.call(target.entry, *arguments(args, kwargs))
                raised = isinstance(found, Raised)
                command = ("raise", found.known, found.said) if isinstance(found, Raised) else ("value", found)
            case ["value", None]:
                return calls
            case ["raised", str(kind), _, str(said), line]:
                if not calls:
                    raise Fault("sandbox_error", f"the suite ends before it calls the program: {kind}: {said}")
                if raised and kind != "AssertionError":
                    raise Fault("error", f"call {calls}: {kind}: {said}")
                raise Fault("wrong_answer", f"call {calls}: {kind} in the suite at line {line}: {said}".rstrip(": "))
            case _:
                raise Fault("sandbox_error", "the suite's process replies to no question")


def arguments(args: JsonValue, kwargs: JsonValue) -> tuple[Any, Any]:
    """Of one call, as the suite gives them. Raises Fault sandbox_error."""
    try:
        return wire.value(args), wire.value(kwargs)
    except wire.Garbled as error:
        raise Fault("sandbox_error", f"the suite calls the program with {error}") from error
