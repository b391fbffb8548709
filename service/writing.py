"""What a shard's searches found, as rows for the store."""

import json
from collections.abc import Sequence

import numpy as np

from search.population import log_mean_exp
from search.ports import Failed, Rows, Score
from search.run import Outcome
from search.scoring import clean
from search.verdicts import Verdicts
from service import catalog
from service.artifacts import Artifacts, Encoded, encode
from service.catalog import Prepared
from service.execute import Finding
from service.logs import hidden
from service.placing import placed
from service.spec import Span
from service.store.commits import Results
from service.store.pools import packed
from service.store.shards import Claim

MOST_PARENTS = 200_000
"""Parents in a population's stored genealogy, at most; beyond, only its steps and ESS are kept."""


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
                if stored.sha256:
                    results.large[stored.sha256] = stored
    return results


def _encoded(prepared: Prepared, finding: Finding) -> list[Encoded]:
    """Every answer as it will be stored; those that the job does not keep, empty."""
    if finding.outcome.population is None:
        return []
    verdicts = finding.outcome.population.verdicts
    kept = _kept(prepared, verdicts)
    return [
        Encoded(None) if isinstance(value, Failed) or not (kept is None or i in kept) else encode(value)
        for i, value in enumerate(verdicts.answers)
    ]


def _rows(results: Results, job: int, finding: Finding, encoded: Sequence[Encoded], weighted: bool) -> None:
    """Candidates and their scores. weighted: the method keeps weights."""
    population, first, item = finding.outcome.population, finding.span.first, finding.span.item
    assert population is not None
    spent, weights = population.rows.spent.tolist(), weights_of(results, job, finding, weighted)
    tokens = tokens_of(population.rows)
    for i, (name, stored) in enumerate(zip(population.names(), encoded, strict=True)):
        kept = (stored.text, stored.sha256, spent[i], weights[i], tokens[i])
        results.candidates.append((job, item, first + i, name, *kept))
    had = [i for i, answer in enumerate(finding.answers) if not isinstance(answer, Failed)]
    for judged in (population.verdicts, finding.grades):
        for label, scores in judged.scores.items():
            ms = 1e3 * judged.seconds[label] / max(1, len(had))
            results.scores.setdefault(label, []).extend(
                (item, first + i, *shown(score), ms) for i, score in enumerate(scores)
            )
            counted(results, label, finding.span, scores if len(had) == len(scores) else [scores[i] for i in had], had)


def tokens_of(rows: Rows) -> list[int | None]:
    """Tokens that each row has generated; None where they are not known."""
    column = rows.columns.get("tokens")
    return [None] * len(rows) if column is None else [None if n < 0 else n for n in column.tolist()]


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
    spent = finding.outcome.spent
    lost = [answer.reason for answer in finding.answers if isinstance(answer, Failed)]
    tokens = {"tokens": spent.tokens, "prompt_tokens": spent.prompt_tokens, "unreported": spent.unreported}
    results.items.append(
        {
            "n": finding.span.item,
            "drawn_": len(finding.answers) - len(lost),
            "evaluations_": spent.evaluations,
            **{f"{name}_": n for name, n in tokens.items()},
            "lost_": len(lost),
            "loss_": clean(lost[0]) if lost else None,
            "reason_": finding.outcome.stop_reason,
            "error_": finding.error,
        }
    )
    for name, n in tokens.items():
        setattr(results, name, getattr(results, name) + n)
    results.lost += len(lost)
    results.evaluations += spent.evaluations
    results.previews += spent.previews
    results.verifier_calls += spent.verifier_calls
    results.verifier_seconds += spent.verifier_seconds


def shown(score: Score) -> Score:
    """The score; the reason of one that is unscored may be an exception, which may hold anything."""
    return score._replace(reason=hidden(score.reason)) if score.value is None and score.reason else score


def counted(results: Results, label: str, span: Span, scores: Sequence[Score], had: Sequence[int]) -> None:
    """What curves read: packed verdicts and running counts of the answers that could be had, and which those are."""
    if not scores:
        return
    item, first = span.item, span.first
    results.pools.setdefault(label, []).append((item, first, len(scores), packed(scores)))
    unscored = sum(score.value is None for score in scores)
    passes = [first + i for i, score in zip(had, scores, strict=True) if score.passed]
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
