"""A job that goes on: what it asks for then, and which samples are missing for that. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field, JsonValue

from generators.given import GIVEN
from search.configs import MethodConfig
from search.metering import Budget
from search.methods import METHODS
from search.ports import Frozen
from service.catalog import Invalid, Prepared, plan_of
from service.checks import is_together, listed
from service.planner import fitting, is_plain, packed, prices_of, share, span_size, spans
from service.spec import JobSpec, Search, Span

COUNTED = ("evaluations", "tokens", "previews", "verifier_calls")
Run = tuple[int, int]
"""Samples of an item that are stored without a gap: the first, and the one behind the last."""


class Extension(Frozen):
    """What a job asks for beyond what it has. Without anything: what it asked for and does not have."""

    search: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="The field that counts the method's independent answers or searches (`n`, or `repeats`), raised.",
    )
    budget: Budget = Field(
        default_factory=lambda: Budget.model_validate({}),
        description="Limits to raise, for all that the job spends, before and after; null lifts one; others stay.",
    )

    @property
    def digest(self) -> str:
        """SHA-256, equal for requests that ask for the same."""
        asked = {"search": self.search, "budget": self.budget.model_dump(exclude_unset=True)}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Stored(NamedTuple):
    """What an item has. parts: by the number of a span of the new plan, what its stored samples cost."""

    runs: Sequence[Run]
    spent: Mapping[str, int]
    parts: Mapping[int, Mapping[str, int]]


def enlarged(spec: JobSpec, asked: Extension) -> JobSpec:
    """The spec that the job has from now on; whether its method takes it is for the catalog to say. Raises Invalid."""
    plan = plan_of(spec.search)
    if plan is None or plan.extends is None:
        message = f"{spec.search.method!r} as it is configured here cannot go on where it ended"
        raise Invalid([{"loc": ["search"], "msg": f"{message}; methods that can: {listed(extendable())}"}])
    errors = [
        {"loc": ["search", name], "msg": f"a job cannot be extended in this; valid here: {plan.extends}"}
        for name in asked.search
        if name != plan.extends
    ]
    errors += _lower(spec.budget, asked.budget)
    if errors:
        raise Invalid(errors)
    search = spec.search.model_copy(update=asked.search)
    limits = {name: getattr(asked.budget, name) for name in asked.budget.model_fields_set}
    return spec.model_copy(update={"search": search, "budget": spec.budget.model_copy(update=limits)})


def grows(model: str, search: Search) -> str | None:
    """The field of a stored job's search by which it can go on; None where there is none."""
    plan = None if model == GIVEN else plan_of(search)
    return plan.extends if plan else None


def extendable() -> list[str]:
    """Built-in methods that can go on, and by what."""
    found: list[str] = []
    for name in METHODS.builtins:
        config = METHODS.find(name).config()
        if isinstance(config, MethodConfig) and config.extends:
            found.append(f"{name} ({config.extends})")
    return found


def _lower(old: Budget, new: Budget) -> Iterator[dict[str, Any]]:
    for name in sorted(new.model_fields_set):
        was, now = getattr(old, name), getattr(new, name)
        if was is None and now is not None:
            yield {"loc": ["budget", name], "msg": "the job has no such limit, and gets none by going on; leave it out"}
        elif now is not None and now < was:
            yield {"loc": ["budget", name], "msg": f"the limit is {was}; it can be raised, not lowered to {now}"}


def checked(old: MethodConfig, grown: Prepared) -> None:
    """Raise Invalid where less is asked for than before, or where later answers would be judged in other company."""
    assert old.extends is not None
    was, now = getattr(old, old.extends), getattr(grown.plan, old.extends)
    why = "compares an item's answers with each other and must see all of them at once; submit a job of them all"
    errors = [
        {"loc": [f"{judge.role}s"], "msg": f"{judge.label!r} {why}"}
        for judge in grown.judges
        if is_together(judge.choice)
    ]
    if now < was:
        errors.append({"loc": ["search", old.extends], "msg": f"it is {was}, and can grow, not fall to {now}"})
    if errors:
        raise Invalid(errors)


def rest(grown: Prepared, stored: Mapping[int, Stored], spent: Mapping[str, float]) -> list[list[Span]]:
    """Shards of the samples that the job as it is now asks for and does not have.

    stored: by number, items that may go on. spent: what the whole job has used, `seconds` too. Raises Invalid where
    nothing is missing, or the budget affords none of it.
    """
    largest = fitting(grown)
    missing = [
        (span, gap)
        for span in spans(grown, largest)
        if span.item in stored
        for gap in gaps(span.first, span.first + span.count, stored[span.item].runs)
    ]
    if not missing:
        field = str(grown.plan.extends)
        message = f"of {field} {getattr(grown.plan, field)} nothing is missing that could be drawn; ask for more"
        raise Invalid([{"loc": ["search", field], "msg": message}])
    counted = is_plain(grown.plan) and (grown.plan.piece is None or grown.plan.stops)
    found = list(_paid(grown, missing, stored, largest) if counted else _shared(grown, missing, spent))
    found = list(_timed(grown, found, spent))
    _affordable(grown, found, spent)
    return packed(grown, found, largest)


def gaps(first: int, behind: int, runs: Sequence[Run]) -> Iterator[Run]:
    """What of [first, behind) lies in no run. runs: in order."""
    for begin, end in runs:
        if first < min(begin, behind):
            yield first, min(begin, behind)
        first = max(first, end)
    if first < behind:
        yield first, behind


Missing = Sequence[tuple[Span, Run]]
"""Samples that are not stored, each with the span of a new job in which they would be drawn."""


def _paid(grown: Prepared, missing: Missing, stored: Mapping[int, Stored], largest: int) -> Iterator[Span]:
    """Each span has what it would have in a new job, less what its stored samples have cost.

    So a search goes on as that of a new job would after the same samples.
    """
    prices, size, items = prices_of(grown), span_size(grown.plan, largest), len(grown.spec.items)
    of_item: dict[tuple[str, int], int] = {}
    of_span: dict[tuple[str, int, int], int] = {}
    for span, (first, behind) in missing:
        have, limits = stored[span.item], dict[str, int]()
        for name in COUNTED:
            if (cut := getattr(span, name)) is None:
                continue
            mine, here = (name, span.item), (name, span.item, span.first)
            whole = share(getattr(grown.spec.budget, name), span.item, items) or 0
            of_item.setdefault(mine, whole - have.spent.get(name, 0))
            of_span.setdefault(here, cut - have.parts.get(span.first // size, {}).get(name, 0))
            limits[name] = max(0, min(of_item[mine], of_span[here], (behind - first) * prices[name]))
            of_item[mine] -= limits[name]
            of_span[here] -= limits[name]
        yield Span(item=span.item, first=first, count=behind - first, **limits)


def _shared(grown: Prepared, missing: Missing, spent: Mapping[str, float]) -> Iterator[Span]:
    """All that the job has left, shared evenly by the samples that are missing."""
    limits = {name: limit for name in COUNTED if (limit := getattr(grown.spec.budget, name)) is not None}
    left = {name: max(0, limit - int(spent[name])) for name, limit in limits.items()}
    total, before = sum(behind - first for _, (first, behind) in missing), 0
    for span, (first, behind) in missing:
        after = before + behind - first
        mine = {name: have * after // total - have * before // total for name, have in left.items()}
        yield Span(item=span.item, first=first, count=behind - first, **mine)
        before = after


def _timed(grown: Prepared, found: Sequence[Span], spent: Mapping[str, float]) -> Iterator[Span]:
    """With the verifier seconds that are left, evenly by samples."""
    limit, total = grown.spec.budget.verifier_seconds, sum(span.count for span in found)
    left = None if limit is None else max(0.0, limit - spent["verifier_seconds"])
    for span in found:
        yield span.model_copy(update={"verifier_seconds": left and left * span.count / total})


def _affordable(grown: Prepared, found: Sequence[Span], spent: Mapping[str, float]) -> None:
    """Raise Invalid where not a single sample can be paid for."""
    limits, prices = grown.spec.budget, prices_of(grown)

    def none(name: str) -> bool:
        limit = getattr(limits, name)
        if limit is None:
            return False
        if name == "seconds":
            return limit <= spent[name]
        if name == "verifier_seconds":
            return not any(span.verifier_seconds for span in found)
        return not any(getattr(span, name) >= prices[name] for span in found)

    if spare := [name for name in Budget.model_fields if none(name)]:
        why = "what is left affords none of the samples that are missing; raise it"
        messages = {name: f"of {getattr(limits, name)} the job has spent {round(spent[name], 3)}" for name in spare}
        raise Invalid([{"loc": ["budget", name], "msg": f"{said}, and {why}"} for name, said in messages.items()])
