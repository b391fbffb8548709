"""Verifiers of programs: by values, by assertions, by output. The machinery is in `verifiers.programs`."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal

from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Item, Score, Verifier
from verifiers.each import judged, text
from verifiers.programs import asserts as by_asserts
from verifiers.programs import stdio as by_output
from verifiers.programs import tiers
from verifiers.programs import values as by_values
from verifiers.programs.candidate import failed, program
from verifiers.programs.comparing import Rule
from verifiers.programs.limits import Fault
from verifiers.programs.pool import Pool
from verifiers.programs.runtimes import PERL
from verifiers.programs.targets import AssertsTarget, Programs, StdioTarget, ValuesTarget


class ProgramValues(Programs):
    """A function, by what it returns."""

    compare: Rule = Field(
        "equal",
        description="equal: as JSON has it (tuples are lists, 1 is 1.0); exact: types count; close: numbers within "
        "`tolerance`; unordered: the outermost list in any order.",
    )
    tolerance: float = Field(1e-6, ge=0, description="Of `close`: relative or absolute.")
    partial: bool = Field(False, description="The value is the share of right calls; it passes at 1 all the same.")

    def target(self, item: Item) -> ValuesTarget:
        return self.read(ValuesTarget, item)


class ProgramAsserts(Programs):
    """A function, by a suite of assertions."""

    least_calls: int = Field(1, ge=1, description="Calls that a suite must make; one that makes fewer proves nothing.")

    def target(self, item: Item) -> AssertsTarget:
        return self.read(AssertsTarget, item)


class ProgramStdio(Programs):
    """A whole program, by what it writes."""

    compare: Literal["tokens", "lines"] = Field("tokens", description="Words, or lines without white space at the end.")
    tolerance: float | None = Field(None, ge=0, description="Of `tokens`: words that are numbers may differ by it.")
    partial: bool = Field(False, description="The value is the share of right runs; it passes at 1 all the same.")
    language: Literal["python", "perl"] = Field("python", description="Of the program.")

    def target(self, item: Item) -> StdioTarget:
        return self.read(StdioTarget, item)


@cache
def threads() -> ThreadPoolExecutor:
    """They wait for sandboxes: one for each core."""
    return ThreadPoolExecutor(tiers.cores(), "programs")


def several(judge: Callable[[Pool, Answer], Score]) -> Verifier:
    """A verifier that judges side by side; where programs are refused nothing is scored."""

    def one(answer: Answer) -> Score:
        try:
            return judge(tiers.pool(), answer)
        except Fault as fault:
            return failed(fault, tiers.standing().tier)

    def verify(answers: Sequence[Answer]) -> list[Score]:
        return list(threads().map(lambda answer: judged(one, answer), answers))

    return verify


def here() -> str:
    """What this machine gives to programs."""
    return tiers.standing().words


@plugin(version="1", place="process", here=here)
def values(config: ProgramValues) -> Verifier:
    """Whether a function of the program returns the expected values."""

    def judge(pool: Pool, answer: Answer) -> Score:
        target = config.target(answer.item)
        source = program(text(answer.value), target.prefix, target.entry)
        return by_values.judged(pool, target, source, config.limits, config.compare, config.tolerance, config.partial)

    return several(judge)


@plugin(version="1", place="process", here=here)
def asserts(config: ProgramAsserts) -> Verifier:
    """Whether a function of the program holds the suite's assertions."""

    def judge(pool: Pool, answer: Answer) -> Score:
        target = config.target(answer.item)
        source = program(text(answer.value), target.prefix, target.entry)
        return by_asserts.judged(pool, target, source, config.limits, config.least_calls)

    return several(judge)


@plugin(version="1", place="process", here=here)
def stdio(config: ProgramStdio) -> Verifier:
    """Whether the whole program writes the expected output."""

    def judge(pool: Pool, answer: Answer) -> Score:
        target, limits = config.target(answer.item), config.limits
        source = program(text(answer.value), target.prefix)
        if config.language == "perl":
            run = by_output.written(PERL, tiers.standing().tier, source, limits)
        else:
            run = by_output.python(pool, source, limits)
        return by_output.judged(pool, run, target, limits, config.compare, config.tolerance, config.partial)

    return several(judge)
