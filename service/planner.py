"""JobSpec -> items -> shards. Pure: the same spec always gives the same shards, whoever runs them."""

from collections.abc import Iterable, Iterator
from typing import Any

from search.configs import MethodConfig
from search.metering import Budget
from search.methods.best_of_n import BLOCK
from service.catalog import Invalid, Prepared
from service.checks import is_together
from service.spec import Span

SHARD_EVALUATIONS = 2_000
"""Evaluations in one shard, about: seconds of work, so that a lost worker costs little."""
SHARD_SAMPLES = 2_000
"""Samples in one shard, at most; the same for generators that cost nothing."""
MOST_SPANS = 100_000
"""Pieces of one job, at most: more would hold up everybody else's."""


def share(total: int | None, part: int, parts: int) -> int | None:
    """The `part`-th of `parts` whole shares that add up to `total`."""
    return None if total is None else total * (part + 1) // parts - total * part // parts


def span_size(plan: MethodConfig, largest: int) -> int:
    """Samples of one span: a piece, or as many as cost at most `largest` trajectories."""
    return plan.piece or max(1, min(plan.samples, int(largest * plan.samples / plan.trajectories)))


def is_plain(plan: MethodConfig) -> bool:
    """Whether it is known what a sample costs: one trajectory and one verdict of each verifier."""
    return plan.trajectories == plan.samples and plan.verdicts(2) == 1


def prices_of(prepared: Prepared) -> dict[str, int]:
    """What one sample of a plain method costs, at most, in each currency that is counted."""
    return {
        "evaluations": prepared.price,
        "tokens": prepared.tokens,
        "previews": 0,
        "verifier_calls": len(prepared.of("verifier")),
    }


def spans(prepared: Prepared, largest: int) -> Iterator[Span]:
    """Every item's samples in pieces of at most `largest`, with their share of the job's budget.

    Items share a budget evenly. Within an item the first samples of repeated sampling are paid first, each in full;
    what a sample of another method costs depends on the model's steps, so there all samples share evenly.
    """
    budget: Budget = prepared.spec.budget
    items, n = len(prepared.spec.items), prepared.plan.samples
    piece = prepared.plan.piece
    size = span_size(prepared.plan, largest)
    plain, prices = is_plain(prepared.plan), prices_of(prepared)

    def cut(currency: str, item: int, first: int, count: int) -> int | None:
        mine = share(getattr(budget, currency), item, items)
        if mine is None:
            return None
        if not plain or piece is not None:
            return mine * (first + count) // n - mine * first // n
        return max(0, min(mine - first * prices[currency], count * prices[currency]))

    for item in range(items):
        for first in range(0, n, size):
            count = min(size, n - first)
            yield Span(
                item=item,
                first=first,
                count=count,
                **{currency: cut(currency, item, first, count) for currency in prices},
                verifier_seconds=budget.verifier_seconds and budget.verifier_seconds * count / (n * items),
            )


def shards(prepared: Prepared) -> list[list[Span]]:
    """Spans packed into shards. Raises Invalid for a job of too many."""
    largest = fitting(prepared)
    if broken := divided(prepared, span_size(prepared.plan, largest)):
        raise Invalid(broken)
    return packed(prepared, spans(prepared, largest), largest)


def fitting(prepared: Prepared) -> int:
    """Trajectories of one shard, at most. Raises Invalid for a job of too many spans."""
    largest = max(1, min(prepared.shard or SHARD_SAMPLES, SHARD_EVALUATIONS // max(1, prepared.price)))
    items, n = len(prepared.spec.items), prepared.plan.samples
    pieces = items * -(-n // span_size(prepared.plan, largest))
    if pieces > MOST_SPANS:
        message = f"{items} items of {n} samples make {pieces} pieces of work; a job has at most {MOST_SPANS}"
        raise Invalid([{"loc": ["search"], "msg": f"{message}. Ask for fewer samples, or submit several jobs"}])
    return largest


def packed(prepared: Prepared, some: Iterable[Span], largest: int) -> list[list[Span]]:
    """Spans in shards of at most `largest` trajectories."""
    each = prepared.plan.trajectories / prepared.plan.samples  # of one sample
    found: list[list[Span]] = []
    room = 0.0
    for span in some:
        if room < span.count * each:
            found.append([])
            room = largest
        found[-1].append(span)
        room -= span.count * each
    return found


def divided(prepared: Prepared, size: int) -> list[dict[str, Any]]:
    """Verifiers that compare an item's answers with each other in a search that never judges all of them at once."""
    plan = prepared.plan
    most = min(size, BLOCK)
    steered = plan.piece is None and plan.rule != "first_pass"  # a grader sees all that was found, whatever the search

    def whole(role: str) -> bool:
        return plan.samples <= most and (role == "grader" or steered)

    return [
        {
            "loc": [f"{judge.role}s"],
            "msg": f"{judge.label!r} compares an item's answers with each other and must see all of them at once; "
            f"valid here: at most {most} samples of an item, and for a verifier best_of_n that does not stop early",
        }
        for judge in prepared.judges
        if is_together(judge.choice) and not whole(judge.role)
    ]


def stop_reason(reasons: dict[str | None, int]) -> str | None:
    """A job's reason from how many of its items ended for which: the one that says most about what is missing."""
    for reason in ("cancelled", "deadline", "budget", "error"):
        if reasons.get(reason):
            return reason
    total: Any = sum(reasons.values())
    return next((reason for reason in ("target_reached", "converged") if reasons.get(reason) == total), None)
