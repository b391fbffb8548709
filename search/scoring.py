"""Verdicts of plug-ins made safe: whatever a verifier raises or returns amiss is a reason, never a score."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import isfinite
from typing import NamedTuple

import numpy as np

from search.plugins import Place
from search.ports import Answer, Score, Values, Verifier, unscored

Plain = Callable[[Sequence[Answer]], Sequence[Score]]
Awaited = Callable[[Sequence[Answer]], Awaitable[Sequence[Score]]]
Ask = Callable[[int, Sequence[Answer]], Awaitable[Sequence[Score]]]
"""Has the i-th part of a composite verifier score some answers."""
Combine = Callable[[Sequence[Answer], Ask], Awaitable[Sequence[Score]]]


@dataclass(frozen=True)
class Judge:
    """A verifier as the engine holds it. key: verifiers with equal keys share calls. place: where a plain one runs.

    threshold: when given, an answer passes if its value is at least this, whatever the verifier says.
    together: the scores depend on the other answers, so nothing is remembered. combine: in place of the verifier, what
    makes scores out of those of the `parts`, each of which runs in its own place.
    """

    label: str
    key: Hashable
    verifier: Verifier
    place: Place = "thread"
    threshold: float | None = None
    together: bool = False
    parts: Sequence["Judge"] = ()
    combine: Combine | None = None

    def ruled(self, scores: Sequence[Score]) -> Sequence[Score]:
        """Scores under the judge's own threshold."""
        if (least := self.threshold) is None:
            return scores
        return [s if s.value is None else s._replace(passed=s.value >= least) for s in scores]


class Scored(NamedTuple):
    """One question's scores and its share of the call's seconds."""

    scores: Sequence[Score]
    seconds: float


def scored(verifier: Plain, answers: Sequence[Answer]) -> Sequence[Score]:
    """Scores of a plain verifier; whatever it raises or returns amiss is a reason on the answers concerned alone."""
    try:
        return complete(verifier(answers), answers)
    except (Exception, SystemExit) as error:
        if len(answers) != 1:
            return [scored(verifier, [answer])[0] for answer in answers]
        return [failed(error)]


def complete(given: Sequence[Score], answers: Sequence[Answer]) -> Sequence[Score]:
    """Plain scores. Raises ValueError unless there is one for each answer."""
    if isinstance(given, Values) and len(given) == len(answers) and np.isfinite(given.array).all():
        return given
    scores = [plain(score) for score in given]
    if len(scores) != len(answers):
        raise ValueError(f"the verifier returned {len(scores)} scores for {len(answers)} answers")
    return scores


def clean(text: str) -> str:
    """Text that any database keeps: without NUL and lone surrogates."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def reason_of(error: BaseException, longest: int = 500) -> str:
    """An exception as a record that any database keeps."""
    return clean(f"{type(error).__name__}: {error}"[:longest])


def failed(error: BaseException) -> Score:
    """Unscored, because of an exception."""
    return unscored(reason_of(error))


def plain(score: Score) -> Score:
    """The score in Python's own types, or unscored where it is no score or its value is not a finite number."""
    try:
        value, passed, reason, canonical = score
        if value is None:
            return unscored(clean(str(reason or "the verifier gave no value and no reason")))
        if not isfinite(value):
            return unscored(f"the verifier's value {value} is not a finite number")
        words = (None if text is None else clean(str(text)) for text in (reason, canonical))
        return Score(float(value), None if passed is None else bool(passed), *words)
    except Exception as error:
        return failed(error)


async def awaited(verifier: Awaited, answers: Sequence[Answer]) -> Scored:
    """`scored` of an async verifier; answers that must be asked again one by one are asked side by side."""
    started = time.perf_counter()
    try:
        scores = complete(await verifier(answers), answers)
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
            raise  # the search is cancelled, not the verifier
        if len(answers) == 1:
            scores = [failed(error)]
        else:
            alone = await asyncio.gather(*(awaited(verifier, [answer]) for answer in answers))
            scores = [one.scores[0] for one in alone]
    return Scored(scores, time.perf_counter() - started)


def shared(verifier: Plain, questions: Sequence[Sequence[Answer]]) -> list[Scored]:
    """Several searches' answers in one call; each pays its share of the time."""
    started = time.perf_counter()
    scores = scored(verifier, questions[0] if len(questions) == 1 else list(chain.from_iterable(questions)))
    edges = np.cumsum([0, *map(len, questions)]).tolist()
    each = (time.perf_counter() - started) / max(1, edges[-1])
    return [Scored(scores[a:b], each * (b - a)) for a, b in pairwise(edges)]
