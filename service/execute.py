"""One shard, from its spans to what their searches found: many at once on a shared engine."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from search.configs import MethodConfig
from search.engine import Engine, Shared
from search.metering import Budget, BudgetSpent, Metered, Spent
from search.population import Population
from search.ports import Generator, Task
from search.run import Outcome, run
from search.scoring import Judge
from search.tools import Weighted
from search.verdicts import Verdicts
from service import catalog, tracing
from service.catalog import Prepared
from service.checkpoints import Checkpoints, State
from service.spec import Span
from service.store.shards import Claim

log = logging.getLogger("winnow.worker")


@dataclass(frozen=True)
class Bench:
    """What every search of a job needs: its model and judges, ready to run."""

    prepared: Prepared
    generator: Generator
    verifiers: Sequence[Judge]
    graders: Sequence[Judge]

    @classmethod
    def of(cls, prepared: Prepared) -> "Bench":
        """Load (once a process) what a job names; heavy."""
        made = {judge.label: catalog.judge(judge) for judge in prepared.judges}

        def role(name: str) -> list[Judge]:
            return [made[judge.label] for judge in prepared.of(name)]

        generator = catalog.generator(prepared.model)
        if (exponents := prepared.plan.exponents) is not None:
            generator = cast(Weighted, generator).toward(exponents)
        return cls(prepared, generator, role("verifier"), role("grader"))


@dataclass(frozen=True)
class Finding:
    """One span's outcome with its grades. whole: the method came to its end, so that its weights aim at its target."""

    span: Span
    outcome: Outcome
    grades: Verdicts
    error: str | None = None
    whole: bool = False

    @property
    def answers(self) -> Sequence[Any]:
        """What was found."""
        return () if self.outcome.population is None else self.outcome.population.verdicts.answers


def tools_of(
    bench: Bench, engine: Engine, task: Task, span: Span, deadline: float, stopped: Callable[[], str | None]
) -> Metered:
    """What the search of one span may do."""
    budget = Budget(
        evaluations=span.evaluations,
        tokens=span.tokens,
        previews=span.previews,
        verifier_calls=span.verifier_calls,
        verifier_seconds=span.verifier_seconds,
        seconds=None,  # the deadline holds for the whole job
    )
    generator, verifiers = bench.generator, bench.verifiers
    verdicts = bench.prepared.plan.verdicts(generator.steps)
    shared = Shared(engine, task, generator, verifiers, stopped)
    return Metered(tracing.traced(shared), generator, len(verifiers), budget, verdicts, deadline)


async def search(
    bench: Bench,
    engine: Engine,
    span: Span,
    deadline: float,
    stopped: Callable[[], str | None],
    before: State | None = None,
    seen: Callable[[Population, Spent], None] = lambda state, spent: None,
) -> Finding:
    """Run the job's method on one span, from the state `before`, then the graders on what it found."""
    spec, method = bench.prepared.spec, bench.prepared.method
    task = Task(spec.items[span.item], spec.seed, span.first, span.count)
    tools = tools_of(bench, engine, task, span, deadline, stopped)
    resume: dict[str, Population] = {}
    if before is not None:
        resume["resume"], tools.spent = before
    states = method.plugin.factory(task, tools, method.config, **resume)
    outcome = await run(states, tools, stopped, lambda state: seen(state, tools.spent))
    if outcome.error:
        log.error("item %d failed", span.item, exc_info=outcome.error)
    error = catalog.reason(outcome.error) if outcome.error else None
    if outcome.population is None:
        return Finding(span, outcome, Verdicts(), error)
    population = (await judged(outcome.population, tools)).found()
    reason = stop_reason(outcome, population, span, bench.prepared.plan)
    found = replace(outcome, population=population, stop_reason=reason)
    grades = Verdicts()
    if bench.graders:
        with tracing.span("grade"):
            grader = Shared(engine, task, bench.generator, bench.graders)
            grades = await grader.judged(population.verdicts.answers, population.rows)
    return Finding(span, found, grades, error, whole=outcome.stop_reason is None)


async def judged(population: Population, tools: Metered) -> Population:
    """With verdicts on the answers that were finished when the search was stopped: they are paid for."""
    late = population.unjudged
    if len(late):
        with suppress(BudgetSpent):
            return population.judged(late, await tools.judge(population.rows[late]))
    return population


def stop_reason(outcome: Outcome, found: Population, span: Span, plan: MethodConfig) -> str | None:
    """Why the search drew what it drew; None when it drew all that was asked for."""
    if plan.rule == "first_pass":
        return plan.stops if found.verdicts.passed.any() else outcome.stop_reason
    if plan.stops and len(found) < span.count:
        return outcome.stop_reason or plan.stops
    # A method that came to its end with fewer answers was let start fewer.
    return outcome.stop_reason or ("budget" if len(found) < span.count else None)


async def execute(
    claim: Claim,
    bench: Bench,
    engine: Engine,
    deadline: float = float("inf"),
    stopped: Callable[[], str | None] = lambda: None,
    checkpoints: Checkpoints | None = None,
) -> list[Finding]:
    """All searches of a shard, at once, each from its checkpoint if it has one."""
    before: Sequence[State | None] = []
    if checkpoints is not None and checkpoints.stored:
        before = await asyncio.to_thread(lambda: [checkpoints.load(span) for span in claim.spans])

    async def one(index: int, span: Span) -> Finding:
        state = before[index] if before else None
        told = {} if checkpoints is None else {"seen": partial(checkpoints.see, index)}
        method = bench.prepared.method.plugin.name
        with tracing.span("search", item=span.item, first=span.first, samples=span.count, method=method):
            return await search(bench, engine, span, deadline, stopped, state, **told)

    return await asyncio.gather(*(one(index, span) for index, span in enumerate(claim.spans)))
