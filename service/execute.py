"""One shard, from its spans to rows for the store: many searches at once on a shared engine."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search import keys
from search.batching import OutOfMemory
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.ports import Generator, Score, Task, Verdicts
from search.run import Outcome, run
from search.scoring import Judge
from service import catalog
from service.artifacts import Artifacts, Encoded, encode
from service.catalog import Prepared
from service.spec import Span
from service.store.shards import Claim, Results

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

        return cls(prepared, catalog.generator(prepared.model), role("verifier"), role("grader"))


@dataclass(frozen=True)
class Finding:
    """One span's outcome with its grades."""

    span: Span
    outcome: Outcome
    grades: Verdicts
    error: str | None = None


async def search(
    bench: Bench, engine: Engine, span: Span, deadline: float, stopped: Callable[[], str | None]
) -> Finding:
    """Run the job's method on one span, then the graders on what it found."""
    spec = bench.prepared.spec
    task = Task(spec.items[span.item], spec.seed, span.first, span.count)
    budget = Budget(
        evaluations=span.evaluations,
        verifier_calls=span.verifier_calls,
        verifier_seconds=span.verifier_seconds,
        seconds=None,  # the deadline holds for the whole job
    )
    tools = Metered(
        Shared(engine, task, bench.generator, bench.verifiers),
        bench.generator,
        len(bench.verifiers),
        budget,
        deadline,
    )
    method = bench.prepared.method
    try:
        outcome = await run(method.plugin.factory(task, tools, method.config), tools, stopped)
    except (OSError, OutOfMemory):
        raise  # of the machine, not of the item: another try, elsewhere, may succeed
    except Exception as error:  # the same seeds would raise again; the other items of the shard go on
        log.exception("item %d failed", span.item)
        return Finding(span, Outcome(None, "error", tools.spent), Verdicts(), catalog.reason(error))
    population = outcome.population
    if population is None:
        return Finding(span, outcome, Verdicts())
    if getattr(method.config, "select", None) == "first_pass" and population.verdicts.passed.any():
        outcome = replace(outcome, stop_reason="target_reached")
    if not bench.graders:
        return Finding(span, outcome, Verdicts())
    grading = Shared(engine, task, bench.generator, bench.graders)
    return Finding(span, outcome, await grading.judged(population.verdicts.answers))


async def execute(
    claim: Claim,
    bench: Bench,
    engine: Engine,
    deadline: float = float("inf"),
    stopped: Callable[[], str | None] = lambda: None,
) -> list[Finding]:
    """All searches of a shard, at once."""
    return await asyncio.gather(*(search(bench, engine, span, deadline, stopped) for span in claim.spans))


def written(claim: Claim, prepared: Prepared, found: Sequence[Finding], artifacts: Artifacts) -> Results:
    """Rows of the tables; bytes go to the artifacts first."""
    results = Results()
    for finding in found:
        try:
            encoded = _encoded(prepared, finding)
        except (TypeError, ValueError) as error:  # an answer that cannot be kept fails its item, not its shard
            outcome = Outcome(None, "error", finding.outcome.spent)
            finding, encoded = Finding(finding.span, outcome, Verdicts(), catalog.reason(error)), []
        _count(results, finding)
        if encoded:
            _rows(results, claim.job, finding, encoded)
        for stored in encoded:
            artifacts.put(stored)
    return results


def _encoded(prepared: Prepared, finding: Finding) -> list[Encoded]:
    """Every answer as it will be stored; those that the job does not keep, empty."""
    if finding.outcome.population is None:
        return []
    verdicts = finding.outcome.population.verdicts
    kept = _kept(prepared, verdicts)
    return [encode(value) if kept is None or i in kept else Encoded(None) for i, value in enumerate(verdicts.answers)]


def _rows(results: Results, job: int, finding: Finding, encoded: Sequence[Encoded]) -> None:
    """Candidates and their scores."""
    population, first, item = finding.outcome.population, finding.span.first, finding.span.item
    assert population is not None
    spent = population.rows.spent.tolist()
    for i, (name, stored) in enumerate(zip(keys.name(population.rows.keys[: len(encoded)]), encoded, strict=True)):
        results.candidates.append((job, item, first + i, name, stored.text, stored.sha256, spent[i]))
    for judged in (population.verdicts, finding.grades):
        for label, scores in judged.scores.items():
            _scores(results, label, item, first, scores, 1e3 * judged.seconds[label] / len(scores))


def _kept(prepared: Prepared, verdicts: Verdicts) -> set[int] | None:
    """Which answers to store: None for all; else the best few by the job's rule."""
    spec = prepared.spec
    if spec.keep == "all":
        return None
    if getattr(prepared.plan, "select", None) == "first_pass":
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
