"""Verifiers of text with a right answer: equal text, equal number, a pattern.

Each gives 1 or 0 and `passed`. What cannot be judged (not text, too long, out of time) is unscored.
"""

import re
import unicodedata
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field

from search.plugins import plugin
from search.ports import Answer, Config, Item, Score, Verifier
from verifiers.each import Unreadable, each, right, shown, text, wrong
from verifiers.patience import patience
from verifiers.reading import Percent, last_number, whole_number, written


def compilable(pattern: str) -> str:
    """The pattern. Raises ValueError, with the reason, when `re` does not take it."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression of Python's re: {error}") from error
    return pattern


Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(compilable)]


class Exact(Config):
    """Text that must equal the item's target, a text or a number."""

    strip: bool = Field(default=True, description="Ignore white space around the text.")
    casefold: bool = Field(default=False, description="Ignore the difference of capitals and small letters.")

    def canonical(self, value: object) -> str:
        """The text that is compared, and that votes. Raises Unreadable."""
        plain = unicodedata.normalize("NFC", text(value))
        plain = plain.strip() if self.strip else plain
        return plain.casefold() if self.casefold else plain

    def target(self, item: Item) -> str:
        """The text that is right. Raises Unreadable, a ValueError, when the item has none."""
        try:
            if right_text := self.canonical(item.target):
                return right_text
        except Unreadable:
            pass
        expected = "expected a text that is not empty, or a number"
        raise Unreadable(f"target {shown(item.target)} of item {item.id!r}: {expected}")

    def check(self, item: Item) -> None:
        self.target(item)


class Numeric(Config):
    """A number in a text that must equal the item's target, a number or a string that holds just a number."""

    pattern: Pattern | None = Field(
        default=None, description="Read only the first group (or else all) of its last match. None: all of the text."
    )
    absolute: float = Field(default=0.0, ge=0, description="Largest difference to the target that passes.")
    relative: float = Field(
        default=0.0, ge=0, description="The same as a share of the target; the larger of the two counts."
    )
    percent: Percent = Field(default="drop", description="Read 20% as 20 (drop) or 0.2 (divide), in target and answer.")

    def number(self, said: str) -> Fraction | None:
        """The last number in the text (in its last boxed expression, if there is one)."""
        if self.pattern is None:
            return last_number(said, self.percent)
        found = None
        for found in re.finditer(self.pattern, said):  # noqa: B007  (a list of all groups could be gigabytes)
            pass
        return last_number(first_group(found), self.percent) if found else None

    def close(self, x: Fraction, target: Fraction) -> bool:
        """Within the tolerances, in exact decimal arithmetic: 7.3 is within 0.3 of 7."""
        return abs(x - target) <= max(Fraction(str(self.absolute)), Fraction(str(self.relative)) * abs(target))

    def target(self, item: Item) -> Fraction:
        """The number that is right. Raises Unreadable, a ValueError, when the target is not just a number."""
        try:
            if (found := whole_number(text(item.target), self.percent)) is not None:
                return found
        except Unreadable:
            pass
        expected = "expected a number, such as 7, '1/3' or '1,024.5'"
        raise Unreadable(f"target {shown(item.target)} of item {item.id!r}: {expected}")

    def check(self, item: Item) -> None:
        self.target(item)


class Regex(Config):
    """A pattern that the text must match."""

    pattern: Pattern = Field(description="Regular expression of Python's re; write flags into it, as in (?i).")
    full: bool = Field(default=False, description="All of the text must match, not just some part.")


def first_group(match: re.Match[str]) -> str:
    """What the first group matched, or the whole pattern when there is no group, or it took no part."""
    return (match[1] if match.re.groups else None) or match[0]


@plugin(version="1")
def exact(config: Exact) -> Verifier:
    """The text equals the target."""

    def judge(answer: Answer) -> Score:
        said, target = config.canonical(answer.value), config.target(answer.item)
        return right(said) if said == target else wrong("differs from the target", said or None)

    return each(judge)


@plugin(version="1", place="process")
def numeric(config: Numeric) -> Verifier:
    """The number in the text equals the target. An answer without a number is wrong, and never votes."""

    def judge(answer: Answer) -> Score:
        target = config.target(answer.item)
        with patience():
            x = config.number(text(answer.value))
        if x is None:
            return wrong("no number found")
        return right(written(x)) if config.close(x, target) else wrong("differs from the target", written(x))

    return each(judge)


@plugin(version="1", place="process")
def regex(config: Regex) -> Verifier:
    """The text matches the pattern. Votes as the first group, or else the match."""
    pattern = re.compile(config.pattern)
    match = pattern.fullmatch if config.full else pattern.search

    def judge(answer: Answer) -> Score:
        with patience():
            found = match(text(answer.value))
        return right(first_group(found) or None) if found else wrong("the pattern does not match")

    return each(judge)
