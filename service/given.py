"""Answers that are judged again: read from where they are, held for the searches of a shard, and their ends told."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from generators.given import Given, Held, Kept, picture
from search import keys
from search.ports import Failed
from service.artifacts import MEDIA, Artifacts
from service.catalog import Prepared
from service.checks import reason
from service.execute import Bench, Finding
from service.spec import Span
from service.store import Store, stored
from service.store.shards import Claim

Searched = Callable[[Bench], Awaitable[list[Finding]]]
EARLY = ("target_reached", "converged")


class Gone(ValueError):
    """The job whose answers were to be judged again was deleted."""


class Source(NamedTuple):
    """Answers of one span, from its first sample on. why there are no more; error: why there are none at all."""

    answers: list[Kept]
    why: str = "budget"
    error: str | None = None


async def searched(bench: Bench, claim: Claim, store: Store, artifacts: Artifacts, search: Searched) -> list[Finding]:
    """What the searches of a shard find; those that judge given answers are given them first. Raises Gone."""
    prepared, config = bench.prepared, bench.prepared.model.config
    if not isinstance(config, Given):
        return await search(bench)
    sources = await asyncio.to_thread(_sources, prepared, config, claim.spans, store, artifacts)
    held: dict[str, Kept] = {}
    for span, source in zip(claim.spans, sources, strict=True):
        item = keys.problem(prepared.spec.seed, prepared.spec.items[span.item].id)
        names = keys.name(keys.rows(item, span.first, len(source.answers)))
        held |= zip(names, source.answers, strict=True)
    found = await search(replace(bench, generator=Held(held)))
    stops = prepared.plan.stops is not None
    return [_told(finding, source, stops) for finding, source in zip(found, sources, strict=True)]


def _told(finding: Finding, source: Source, stops: bool) -> Finding:
    """Why there are no more answers, where the search has come to the end of those that there are.

    stops: it has reasons of its own to end early, with which those of the other job could be confused.
    """
    outcome, short = finding.outcome, len(source.answers) < finding.span.count
    if not short or len(finding.answers) < len(source.answers) or outcome.stop_reason != "budget":
        return finding
    if source.error is not None and not source.answers:
        return replace(finding, outcome=replace(outcome, stop_reason="error"), error=source.error)
    return finding if stops else replace(finding, outcome=replace(outcome, stop_reason=source.why))


def _sources(
    prepared: Prepared, config: Given, spans: Sequence[Span], store: Store, artifacts: Artifacts
) -> list[Source]:
    if config.job is None:
        return [_here(prepared, config, span) for span in spans]
    read = store.read(stored.read, config.job, [(span.item, span.first, span.count) for span in spans])
    if read is None:
        raise Gone(f"job {config.job}, whose answers were to be judged again, was deleted")
    return [_there(config.job, span, piece, read, artifacts) for span, piece in zip(spans, read.pieces, strict=True)]


def _here(prepared: Prepared, config: Given, span: Span) -> Source:
    """Answers that came with the request."""
    values = config.answers[span.first : span.first + span.count]
    named = keys.rows(keys.problem(prepared.spec.seed, prepared.spec.items[span.item].id), span.first, len(values))
    read = (picture(str(value), "answers") if config.pictures else value for value in values)
    return Source([Kept(named[i : i + 1], value) for i, value in enumerate(read)])


def _there(job: str, span: Span, piece: stored.Piece, read: stored.Read, artifacts: Artifacts) -> Source:
    """Answers of a stored job; one that is not there is a record of why."""
    by_sample = {row.sample: row for row in piece.rows}
    answers: list[Kept] = []
    for sample in range(span.first, max(by_sample, default=span.first - 1) + 1):
        row = by_sample.get(sample)
        if row is None:
            answers.append(Kept(np.zeros((1, 2), np.uint32), Failed(f"job {job} did not draw this sample")))
            continue
        value = _value(job, row, piece, read, artifacts)
        answers.append(Kept(keys.parse(row.key), value))
    why = piece.stop_reason if piece.stop_reason in EARLY else "budget"
    error = None if piece.error is None or span.first else f"job {job} has no answer to this item: {piece.error}"
    return Source(answers, why, error)


def _value(job: str, row: Any, piece: stored.Piece, read: stored.Read, artifacts: Artifacts) -> Any:
    if row.answer is not None:
        return json.loads(row.answer)
    if row.artifact is None:
        if not read.whole:
            return Failed(f"not kept: job {job} stored its best answers only")
        return Failed(f"lost in job {job}: {piece.reasons.get(row.sample, 'nobody has told why')}")
    small = read.blobs.get(row.artifact)
    try:
        if small is not None:
            return decoded(MEDIA[small[0]], small[1])
        bytes_ = artifacts.get(row.artifact)
        if bytes_ is None:
            return Failed(f"artifact {row.artifact} of job {job} is no longer there")
        return decoded(bytes_.media, bytes_.data)
    except ValueError as error:
        return Failed(f"artifact {row.artifact} of job {job} cannot be read: {reason(error)}")


def decoded(media: str, data: bytes) -> Any:
    """An answer as it was before `artifacts.encode`. Raises ValueError."""
    if media != MEDIA["png"]:
        return json.loads(data)
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            return np.asarray(opened).copy()
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f"it is no PNG: {error}") from error
