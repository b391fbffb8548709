"""One shard, from its spans to rows for the store: many searches at once on a shared engine."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from search import keys
from search.metering import Budget, Metered
from search.ports import Generator, Score, Task, Verdicts
from search.run import Engine, Judge, Outcome, Shared, run
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
    except OSError:
        raise  # of the machine, not of the item: another try may succeed
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
    artifacts: Artifacts,
    deadline: float = float("inf"),
    stopped: Callable[[], str | None] = lambda: None,
) -> Results:
    """All searches of a shard, as rows to commit. Artifacts are stored before this returns."""
    found = await asyncio.gather(*(search(bench, engine, span, deadline, stopped) for span in claim.spans))
    return await asyncio.to_thread(written, claim, bench.prepared, found, artifacts)


def written(claim: Claim, prepared: Prepared, found: Sequence[Finding], artifacts: Artifacts) -> Results:
    """Rows of the tables; bytes go to the artifacts first."""
    results = Results()
    for finding in found:
        _count(results, finding)
        population = finding.outcome.population
        if population is None or not len(population.verdicts):
            continue
        verdicts, first, item = population.verdicts, finding.span.first, finding.span.item
        kept = _kept(prepared, verdicts)
        spent = population.rows.spent.tolist()
        for i, name in enumerate(keys.name(population.rows.keys[: len(verdicts)])):
            stored = _stored(verdicts.answers[i], artifacts) if kept is None or i in kept else Encoded(None)
            results.candidates.append(
                {
                    "job": claim.job,
                    "item": item,
                    "sample": first + i,
                    "key": name,
                    "answer": stored.text,
                    "artifact": stored.sha256,
                    "evaluations": spent[i],
                }
            )
        for judged in (verdicts, finding.grades):
            for label, scores in judged.scores.items():
                _scores(results, label, item, first, scores, 1e3 * judged.seconds[label] / len(scores))
    return results


def _stored(value: Any, artifacts: Artifacts) -> Encoded:
    encoded = encode(value)
    artifacts.put(encoded)
    return encoded


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
    results.scores.setdefault(label, []).extend(
        {
            "item": item,
            "sample": first + i,
            "value": score.value,
            "passed": score.passed,
            "canonical": score.canonical,
            "reason": score.reason,
            "ms": ms,
        }
        for i, score in enumerate(scores)
    )
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
