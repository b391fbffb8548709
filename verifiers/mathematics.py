r"""Verifiers of mathematical answers: equal to the target up to mathematics, so that 1/2, 0.5 and \frac{1}{2} agree."""

import logging
import re
from functools import cache

from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Item, Score, Verifier
from verifiers.answers import Pattern, first_group
from verifiers.each import Unreadable, each, right, shown, text, wrong
from verifiers.expressions import Read, Unparsable, equal, read, seen
from verifiers.patience import patience
from verifiers.reading import boxed as in_box

_INLINE = re.compile(
    r"\$\$?([^$]{1,1000})\$\$?|\\\(((?:(?!\\\)).){1,1000})\\\)|\\\[((?:(?!\\\]).){1,1000})\\\]", re.DOTALL
)
_SAYS = re.compile(r"(?i)\banswer(?:\s+is)?\s*[:=]?\s*([^\n]{1,1000})")
_TAIL = re.compile(r"[^\s]{1,200}\s*$")


class Boxed(Config):
    r"""A mathematical answer in \boxed{}."""

    def said(self, answer: str) -> str:
        r"""What the last \boxed{} holds. Raises Unparsable without one."""
        if (inside := in_box(answer)) is None:
            raise Unparsable("nothing is boxed")
        return inside

    def target(self, item: Item) -> Read:
        """The right answer. Raises Unreadable, a ValueError, when the item has none that can be compared."""
        try:
            said = text(item.target)
            inside = in_box(said)
            return read(said if inside is None else inside)
        except ValueError as error:
            expected = r"expected an expression, such as 7, '\frac{1}{3}', 'x^2+1' or '{1, 2}'"
            raise Unreadable(f"target {shown(item.target)} of item {item.id!r}: {error!s:.200}; {expected}") from error

    def check(self, item: Item) -> None:
        try:
            if text(item.target).strip():
                return
        except Unreadable:
            pass
        raise ValueError(f"target {shown(item.target)} of item {item.id!r}: expected an expression that is not empty")


class Math(Boxed):
    """A mathematical answer somewhere in a text."""

    pattern: Pattern | None = Field(
        default=None, description="Where the answer stands: the first group (or all) of its last match."
    )

    def said(self, answer: str) -> str:
        r"""The last \boxed{}; else the pattern; else all of a text that is one expression; else what it says last."""
        if self.pattern is not None:
            found = None
            for found in re.finditer(self.pattern, answer):  # noqa: B007
                pass
            if found is None:
                raise Unparsable("the pattern does not match")
            return first_group(found)
        inside = in_box(answer)
        return last_said(answer) if inside is None else inside


def last_said(answer: str) -> str:
    """The expression that a text ends with: after its last "answer is", in its last $...$, or its last word.

    "The answer is not 12. 12" says 12, "Thus $x$ is $3$." says 3, "The answer is Paris." says Paris; words alone say
    nothing, so that they do not vote. Raises Unparsable.
    """
    plain = answer.strip()
    if len(plain) <= 200 and _whole(plain):
        return plain
    last = _TAIL.search(plain)
    spans = [(m.end(), next(g for g in m.groups() if g)) for m in _INLINE.finditer(plain)]
    end = len(plain.rstrip(".! "))
    if spans and spans[-1][0] >= end:
        return spans[-1][1]
    said = None
    for said in _SAYS.finditer(plain):  # noqa: B007
        pass
    if said and said.end() >= end and _whole(said[1]):
        return said[1]
    if last and _whole(last[0]):
        return last[0]
    if said and said.end() >= end:
        return said[1]
    raise Unparsable("it does not end with an expression")


def _whole(said: str) -> bool:
    """Whether all of a text is one expression."""
    try:
        return not read(said).canonical.startswith("text:")
    except ValueError:
        return False


@cache
def loaded() -> None:
    """Load math-verify, which takes seconds, and quieten it. Raises ImportError, with the remedy, without it.

    One comparison makes its parser and all that it loads late: else the first answer's time would pay for them, which
    is not enough on a slow machine.
    """
    try:
        import math_verify  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ImportError("math-verify is not installed; pip install winnow-service[text]") from error
    for name in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they log what cannot be parsed, with a trace
    equal(read(r"\frac{x^2-1}{x+1}"), read("x-1"))


def judged(config: Boxed) -> Verifier:
    """The verifier of a configuration. An answer that is no mathematics is wrong, and never votes."""
    loaded()

    def judge(answer: Answer) -> Score:
        said = text(answer.value)
        with patience(2.0):
            target = config.target(answer.item)
            try:
                found = read(config.said(seen(said)))
            except Unparsable as error:
                return wrong(f"no answer that is understood: {error}")
            same = equal(target, found)
        return right(target.canonical) if same else wrong("differs from the target", found.canonical)

    return each(judge)


@plugin(version="1", place="process")
def boxed(config: Boxed) -> Verifier:
    r"""What the last \boxed{} holds equals the target, up to mathematics."""
    return judged(config)


@plugin(version="1", place="process")
def math(config: Math) -> Verifier:
    """The answer that the text ends with equals the target, up to mathematics."""
    return judged(config)
