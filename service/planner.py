"""JobSpec -> items -> shards. Pure: the same spec always gives the same shards, whoever runs them."""

from collections.abc import Iterator
from typing import Any

from search.metering import Budget
from service.catalog import Invalid, Prepared
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


def spans(prepared: Prepared, largest: int) -> Iterator[Span]:
    """Every item's samples in pieces of at most `largest`, with their share of the job's budget.

    Items share a budget evenly; within an item the first samples are paid first, each in full.
    """
    budget: Budget = prepared.spec.budget
    items, n = len(prepared.spec.items), prepared.plan.samples
    size = min(n, largest) if prepared.plan.divisible else n
    price, judges = prepared.price, len(prepared.of("verifier"))

    def cut(mine: int | None, each: int, first: int, count: int) -> int | None:
        if mine is None or not prepared.plan.divisible:
            return mine
        return max(0, min(mine - first * each, count * each))

    for item in range(items):
        evaluations, calls = share(budget.evaluations, item, items), share(budget.verifier_calls, item, items)
        for first in range(0, n, size):
            count = min(size, n - first)
            yield Span(
                item=item,
                first=first,
                count=count,
                evaluations=cut(evaluations, price, first, count),
                verifier_calls=cut(calls, judges, first, count),
                verifier_seconds=budget.verifier_seconds and budget.verifier_seconds * count / (n * items),
            )


def shards(prepared: Prepared) -> list[list[Span]]:
    """Spans packed into shards. Raises Invalid for a job of too many."""
    largest = max(1, min(SHARD_SAMPLES, SHARD_EVALUATIONS // max(1, prepared.price)))
    items, n = len(prepared.spec.items), prepared.plan.samples
    pieces = items * (-(-n // largest) if prepared.plan.divisible else 1)
    if pieces > MOST_SPANS:
        message = f"{items} items of {n} samples make {pieces} pieces of work; a job has at most {MOST_SPANS}"
        raise Invalid([{"loc": ["search"], "msg": f"{message}. Ask for fewer samples, or submit several jobs"}])
    packed: list[list[Span]] = []
    room = 0
    for span in spans(prepared, largest):
        if room < span.count:
            packed.append([])
            room = largest
        packed[-1].append(span)
        room -= span.count
    return packed


def stop_reason(reasons: dict[str | None, int]) -> str | None:
    """A job's reason from how many of its items ended for which: the one that says most about what is missing."""
    for reason in ("cancelled", "deadline", "budget", "error"):
        if reasons.get(reason):
            return reason
    total: Any = sum(reasons.values())
    return "target_reached" if reasons.get("target_reached") == total else None
