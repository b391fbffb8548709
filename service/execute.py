"""One shard, from its spans to rows for the store: many searches at once on a shared engine."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from search.engine import Engine, Shared
from search.metering import Budget, Metered, Spent
from search.population import Population, log_mean_exp
from search.ports import Generator, Score, Task, Verdicts
from search.run import Outcome, run
from search.scoring import Judge
from search.tools import Weighted
from service import catalog
from service.artifacts import Artifacts, Encoded, encode
from service.catalog import Prepared
from service.checkpoints import Checkpoints, State
from service.placing import placed
from service.spec import Span
from service.store.shards import Claim, Results

log = logging.getLogger("winnow.worker")
MOST_PARENTS = 200_000
"""Parents in a population's stored genealogy, at most; beyond, only its steps and ESS are kept."""


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


def tools_of(bench: Bench, engine: Engine, task: Task, span: Span, deadline: float) -> Metered:
    """What the search of one span may do."""
    budget = Budget(
        evaluations=span.evaluations,
        previews=span.previews,
        verifier_calls=span.verifier_calls,
        verifier_seconds=span.verifier_seconds,
        seconds=None,  # the deadline holds for the whole job
    )
    generator, verifiers = bench.generator, bench.verifiers
    verdicts = bench.prepared.plan.verdicts(generator.steps)
    shared = Shared(engine, task, generator, verifiers)
    return Metered(shared, generator, len(verifiers), budget, verdicts, deadline)


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
    tools = tools_of(bench, engine, task, span, deadline)
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
    population = outcome.population.found()
    reason = stop_reason(outcome, population, span, bench.prepared.plan.rule)
    found = replace(outcome, population=population, stop_reason=reason)
    grades = Verdicts()
    if bench.graders:
        grades = await Shared(engine, task, bench.generator, bench.graders).judged(population.verdicts.answers)
    return Finding(span, found, grades, error, whole=outcome.stop_reason is None)


def stop_reason(outcome: Outcome, found: Population, span: Span, rule: str) -> str | None:
    """Why the search drew what it drew; None when it drew all that was asked for."""
    if rule == "first_pass":
        return "target_reached" if found.verdicts.passed.any() else outcome.stop_reason
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
    if checkpoints is None:
        return await asyncio.gather(*(search(bench, engine, span, deadline, stopped) for span in claim.spans))
    before = (
        await asyncio.to_thread(lambda: [checkpoints.load(span) for span in claim.spans]) if checkpoints.stored else []
    )

    def one(index: int, span: Span) -> Awaitable[Finding]:
        state = before[index] if before else None
        return search(bench, engine, span, deadline, stopped, state, partial(checkpoints.see, index))

    return await asyncio.gather(*(one(index, span) for index, span in enumerate(claim.spans)))


def written(claim: Claim, prepared: Prepared, found: Sequence[Finding], artifacts: Artifacts) -> Results:
    """Rows of the tables; large bytes go to the artifacts first."""
    results = Results()
    for finding in found:
        try:
            encoded = _encoded(prepared, finding)
            points = placed(prepared.plan.variety, finding.answers)
        except (TypeError, ValueError) as error:  # an answer that cannot be kept fails its item, not its shard
            outcome = Outcome(None, "error", finding.outcome.spent)
            finding, encoded = Finding(finding.span, outcome, Verdicts(), catalog.reason(error)), []
            points = None
        _count(results, finding)
        if encoded:
            _rows(results, claim.job, finding, encoded, "weights" in prepared.method.plugin.facts.offers)
        if points is not None:
            results.features.append((claim.job, finding.span.item, finding.span.first, len(encoded), points))
        for stored in encoded:
            if stored.sha256 and stored.small:
                results.blobs[stored.sha256] = (stored.sha256, stored.suffix, stored.data)
            else:
                artifacts.put(stored)
    return results


def _encoded(prepared: Prepared, finding: Finding) -> list[Encoded]:
    """Every answer as it will be stored; those that the job does not keep, empty."""
    if finding.outcome.population is None:
        return []
    verdicts = finding.outcome.population.verdicts
    kept = _kept(prepared, verdicts)
    return [encode(value) if kept is None or i in kept else Encoded(None) for i, value in enumerate(verdicts.answers)]


def _rows(results: Results, job: int, finding: Finding, encoded: Sequence[Encoded], weighted: bool) -> None:
    """Candidates and their scores. weighted: the method keeps weights."""
    population, first, item = finding.outcome.population, finding.span.first, finding.span.item
    assert population is not None
    spent, weights = population.rows.spent.tolist(), weights_of(results, job, finding, weighted)
    for i, (name, stored) in enumerate(zip(population.names(), encoded, strict=True)):
        results.candidates.append((job, item, first + i, name, stored.text, stored.sha256, spent[i], weights[i]))
    for judged in (population.verdicts, finding.grades):
        for label, scores in judged.scores.items():
            _scores(results, label, item, first, scores, 1e3 * judged.seconds[label] / len(scores))


def weights_of(results: Results, job: int, finding: Finding, weighted: bool) -> list[float | None]:
    """Log-weights of a span's answers, which compare across the item's populations; None for none.

    Each population's estimate of Z is unbiased, so exp(log Z of the resamplings + log-weight) weighs its particles
    among those of all others. A search that was cut short has no weights: they would aim at another target.
    """
    population = finding.outcome.population
    assert population is not None
    n = len(population)
    if not weighted or not finding.whole:
        return [None] * n
    total = population.log_z + population.log_weights
    log_z = log_mean_exp(total)
    dead = bool(np.isneginf(log_z))
    splits = [[split.step, split.ess, split.parents.tolist()] for split in population.splits]
    if sum(len(split.parents) for split in population.splits) > MOST_PARENTS:
        splits = [[step, size, []] for step, size, _ in splits]
    results.populations.append(
        (
            *(job, finding.span.item, finding.span.first, n),
            *(None if dead else log_z, 0.0 if dead else population.ess),
            len(np.unique(population.ancestors[np.isfinite(total)])),
            json.dumps(splits),
        )
    )
    return [weight if np.isfinite(weight) else None for weight in total.tolist()]


def _kept(prepared: Prepared, verdicts: Verdicts) -> set[int] | None:
    """Which answers to store: None for all; else the best few by the job's rule."""
    spec = prepared.spec
    if spec.keep == "all":
        return None
    if prepared.plan.rule == "first_pass":
        return set(np.flatnonzero(verdicts.passed)[: spec.top_k].tolist())
    values = [score.value for score in verdicts.scores[prepared.of("verifier")[0].label]]
    order = sorted(range(len(values)), key=lambda i: (values[i] is None, -(values[i] or 0.0), i))
    return set(order[: spec.top_k])


def _count(results: Results, finding: Finding) -> None:
    population, spent = finding.outcome.population, finding.outcome.spent
    results.items.append(
        {
            "n": finding.span.item,
            "drawn_": 0 if population is None else len(population.verdicts),
            "evaluations_": spent.evaluations,
            "reason_": finding.outcome.stop_reason,
            "error_": finding.error,
        }
    )
    results.evaluations += spent.evaluations
    results.previews += spent.previews
    results.verifier_calls += spent.verifier_calls
    results.verifier_seconds += spent.verifier_seconds


def _scores(results: Results, label: str, item: int, first: int, scores: Sequence[Score], ms: float) -> None:
    """Score rows, and the running counts that curves read."""
    results.scores.setdefault(label, []).extend((item, first + i, *score, ms) for i, score in enumerate(scores))
    unscored = sum(score.value is None for score in scores)
    passes = [first + i for i, score in enumerate(scores) if score.passed]
    results.unscored += unscored
    results.tallies.setdefault(label, []).append(
        {
            "item": item,
            "scored": len(scores) - unscored,
            "unscored": unscored,
            "passed": len(passes),
            "first_pass": min(passes, default=None),
        }
    )
