"""A verifier from a judgement of one answer, and the readings that such judgements share."""

import math
import reprlib
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from search.answers import numbers as plain
from search.ports import Answer, Floats, Score, Values, Verifier, unscored

LIMIT = 100_000  # characters or symbols of an answer that are judged
BITS = 1200  # of the longest integer that is judged: 361 digits


class Unreadable(ValueError):
    """Raised in a judgement when the answer cannot be judged: it is unscored, with the message as the reason."""


def each(judge: Callable[[Answer], Score]) -> Verifier:
    """A verifier that judges every answer by itself; one that is Unreadable is unscored."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [judged(judge, answer) for answer in answers]

    return verify


def judged(judge: Callable[[Answer], Score], answer: Answer) -> Score:
    """The judgement, or unscored where the answer is Unreadable."""
    try:
        return judge(answer)
    except Unreadable as error:
        return unscored(str(error))


def numbers(reward: Callable[[Floats], Floats], one: Callable[[Answer], Score]) -> Verifier:
    """A verifier of numbers: `reward` judges many at once (float64 [n]), `one` whatever is no plain finite number."""

    def verify(answers: Sequence[Answer]) -> Sequence[Score]:
        if (given := plain(answers)) is not None:
            with np.errstate(all="ignore"):
                values = reward(given)
            if np.isfinite(values).all():
                return Values(values)
        return [judged(one, answer) for answer in answers]

    return verify


def right(canonical: str | None) -> Score:
    """Judged, and passed."""
    return Score(1.0, True, None, canonical)


def wrong(reason: str, canonical: str | None = None) -> Score:
    """Judged, and failed."""
    return Score(0.0, False, reason, canonical)


def shown(value: object) -> str:
    """A value as it stands in an error message: a few words, whatever its size."""
    return reprlib.repr(value)


def finite(value: float) -> float:
    """The same value. Raises Unreadable when it is not finite."""
    if not math.isfinite(value):
        raise Unreadable(f"the value is {value}, not a finite number")
    return value


def number(value: object) -> float:
    """An answer as a finite number. Raises Unreadable for anything else: a bool, or a string that holds a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise Unreadable(f"expected a number, found {type(value).__name__}")
    try:
        return finite(float(cast("float", value)))
    except OverflowError:
        raise Unreadable("expected a number, found an integer beyond the range of float64") from None


def text(value: object) -> str:
    """An answer as text: a string, an object's "text", or a number as it is usually written (7.0 as "7").

    Raises Unreadable for anything else, for more than LIMIT characters, and for text that is not valid Unicode.
    """
    if isinstance(value, dict):
        value = cast("dict[str, object]", value).get("text", value)
    if isinstance(value, str):
        if len(value) > LIMIT:
            raise Unreadable(f"the answer has {len(value)} characters; at most {LIMIT} are judged")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise Unreadable("the answer is not valid Unicode: it holds a lone surrogate")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"expected text or a number, found {type(value).__name__}")
    if isinstance(value, int) and value.bit_length() > BITS:
        raise Unreadable(f"the answer is an integer of {value.bit_length()} bits; at most {BITS} are judged")
    return repr(finite(value)).removesuffix(".0")


def symbols(value: object) -> list[str]:
    """The symbols of a string, or of a flat list of integers and strings, each as text. Raises Unreadable."""
    if isinstance(value, str):
        return list(text(value))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise Unreadable(f"expected a string or a list of symbols, found {type(value).__name__}")
    listed = cast("Sequence[object]", value)
    if len(listed) > LIMIT:
        raise Unreadable(f"the answer has {len(listed)} symbols; at most {LIMIT} are judged")
    if strange := {type(x).__name__ for x in listed if isinstance(x, bool) or not isinstance(x, int | str)}:
        raise Unreadable(f"expected integers or strings in the list, found {', '.join(sorted(strange))}")
    return [text(x) for x in listed]
