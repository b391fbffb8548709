"""What pydantic finds wrong, in the words of JSON: a caller knows lists and objects, and no tuples of Python's."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

WORDS = (
    (re.compile(r"Value error, "), ""),
    (re.compile(r"^(Tuple|List|Set) should have (.*?) after validation"), r"List should have \2"),
    (re.compile(r"^Dictionary should have (.*?)item(s?) after validation"), r"Object should have \1field\2"),
    (re.compile(r"^Input should be a valid (tuple|list|set)$"), "Input should be a list"),
    (re.compile(r"^Input should be a valid dictionary( or .*)?$"), "Input should be an object"),
)
"""Patterns of messages, and what stands in their place."""


def worded(errors: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """Each of pydantic's faults with its message.

    A list is called too short, too, when one of its members is wrong: that is left out, for nobody can mend it.
    """
    places = [tuple(fault["loc"]) for fault in errors]
    for fault, place in zip(errors, places, strict=True):
        within = any(other[: len(place)] == place and len(other) > len(place) for other in places)
        if fault["type"] == "too_short" and within:
            continue
        message = fault["msg"]
        for pattern, words in WORDS:
            message = pattern.sub(words, message)
        yield fault, message
