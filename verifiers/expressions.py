r"""A mathematical answer as it is compared and as it votes: a number exactly, LaTeX through math-verify, else words.

math-verify's LaTeX grammar is used and never its reader of plain expressions: that one is Python's `eval` at heart.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from verifiers.each import Unreadable
from verifiers.reading import whole_number, written

LONGEST = 1000  # characters of an expression
NODES = 400  # of its tree
POWER = 1000  # the largest exponent or factorial that is worked out
DIGITS = 12  # significant, of a number without an end in which it votes

_HIDDEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_ALIKE = {
    "\u2212": "-",
    "\u2013": "-",
    "\u00d7": r"\times ",
    "\u00f7": r"\div ",
    "\u03c0": r"\pi ",
    "\u00b0": r"^\circ ",
}
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|mathbf)\s*\{([^{}]*)\}")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")  # a b c is a product, "abc" is not
_BESIDE = re.compile(r"[0-9]\s+[0-9]")
_CHOICES = re.compile(r"!|binom|choose|[PC]_|\\Pi|prod|sum")
_LARGE = re.compile(r"[0-9]{4}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}")


class Unparsable(ValueError):
    """No mathematics that is understood: the answer is wrong, and does not vote."""


@dataclass(frozen=True)
class Read:
    """An answer. canonical: equal for equal mathematics as far as that can be decided by a normal form.

    number: where it is one. expression: of sympy, where it is more than a number and no words.
    """

    canonical: str
    number: Fraction | None = None
    expression: Any = None


def seen(text: str) -> str:
    """A text as a reader sees it: without hidden characters, full-width forms in ASCII.

    Raises Unparsable for characters that turn the direction of writing: such text reads otherwise than it is stored.
    """
    if _BIDI.search(text):
        raise Unparsable("it holds characters that change the direction of writing")
    return text.translate(_HIDDEN).translate(_FULL_WIDTH)


@lru_cache(maxsize=4096)
def read(said: str) -> Read:
    r"""An expression, as short as in a \boxed{}. Raises Unparsable, or Unreadable for what is too large to compare."""
    plain = seen(said).strip().strip("$*`").strip().removesuffix(".")
    if not plain:
        raise Unparsable("it is empty")
    if len(plain) > LONGEST:
        raise Unreadable(f"the expression has {len(plain)} characters; at most {LONGEST} are compared")
    if (number := whole_number(plain, "divide")) is not None:
        return Read(written(number), number)
    if words := _words(plain):
        return Read(words)
    return _parsed(plain)


def _words(plain: str) -> str | None:
    """The text in one spelling where it is words: "Paris" is no product of variables. None where it is mathematics."""
    shown = _TEXT.sub(r" \1 ", plain)
    if "\\" in _TEXT.sub("", plain) or not _WORD.search(_ENVIRONMENT.sub("", shown)):
        return None
    if whole_number(_TEXT.sub("", plain), "divide") is not None:
        return None  # a number with its unit
    return "text:" + " ".join(shown.casefold().split())


def _parsed(plain: str) -> Read:
    from math_verify import LatexExtractionConfig
    from math_verify import parse as typed

    parse: Any = typed  # its annotation forgets that no timeout is a choice

    for mark, meant in _ALIKE.items():
        plain = plain.replace(mark, meant)
    if _WORD.search(_ENVIRONMENT.sub("", _TEXT.sub("", plain))):
        raise Unparsable("it mixes words and mathematics")
    if _BESIDE.search(plain):
        raise Unparsable("two numbers stand side by side")  # the grammar would add them, as in 1 1/2
    if _CHOICES.search(plain) and _LARGE.search(plain):
        raise Unreadable(f"a factorial or binomial of more than {POWER}")  # the grammar works some out as it reads
    try:
        found = parse(f"${plain}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    except Unreadable:
        raise
    except Exception as error:  # of a grammar of many thousand lines
        raise Unparsable(f"it cannot be parsed: {type(error).__name__}") from error
    if len(found) != 1 or isinstance(found[0], str):
        raise Unparsable("it is no mathematics")
    expression: Any = found[0]
    bounded(expression)
    number = _fraction(expression)
    if number is not None and max(number.numerator.bit_length(), number.denominator.bit_length()) > 4 * POWER:
        raise Unreadable("the number has more than a thousand digits")
    return Read(_normal(expression) if number is None else written(number), number, expression)


def bounded(expression: Any) -> None:
    """Raise Unreadable for what could not be worked out in time: nothing interrupts arithmetic of huge integers."""
    import sympy

    node: Any
    for count, node in enumerate(sympy.preorder_traversal(expression)):
        if count > NODES:
            raise Unreadable(f"the expression has more than {NODES} parts")
        if isinstance(node, sympy.Pow):
            exponent: Any = node.exp
            if exponent.has(sympy.Pow) and exponent.is_number and not exponent.is_Rational:
                exponent = exponent.evalf(5)
            if exponent.is_number and not bool(abs(exponent.evalf(5)) <= POWER):
                raise Unreadable(f"a power is larger than {POWER}")
        if isinstance(node, sympy.factorial | sympy.binomial) and any(
            not part.is_Integer or abs(int(part)) > POWER for part in cast("tuple[Any, ...]", node.args)
        ):
            raise Unreadable(f"a factorial or binomial of more than {POWER}, or of no integer")


def _fraction(expression: Any) -> Fraction | None:
    """The rational number that an expression is; decimals as they are written."""
    import sympy

    if isinstance(expression, sympy.Float):
        return Fraction(Decimal(str(expression)))
    if not isinstance(expression, sympy.Expr) or expression.free_symbols or not expression.is_number:
        return None
    value: Any = expression.replace(lambda part: isinstance(part, sympy.Float), _exact).doit()
    return Fraction(int(value.p), int(value.q)) if isinstance(value, sympy.Rational) else None


def _exact(decimal: Any) -> Any:
    import sympy

    return sympy.Rational(str(decimal))


def _normal(expression: Any) -> str:
    """A normal form: of numbers their first digits, of polynomials their expansion, of lists that of their parts."""
    import sympy

    if isinstance(expression, sympy.MatrixBase):
        matrix = cast(Any, expression)
        return f"Matrix{matrix.shape}[" + ", ".join(_normal(part) for part in matrix) + "]"
    if isinstance(expression, sympy.FiniteSet):
        return "{" + ", ".join(sorted(_normal(part) for part in expression.args)) + "}"
    if not isinstance(expression, sympy.Expr):
        if isinstance(expression, sympy.Basic) and expression.args:
            return type(expression).__name__ + "(" + ", ".join(_normal(part) for part in expression.args) + ")"
        return str(expression)
    if (number := _fraction(expression)) is not None:
        return written(number)
    if expression.is_number:
        return str(expression.evalf(DIGITS))
    return str(sympy.expand(sympy.together(expression)))


def equal(one: Read, other: Read) -> bool:
    """Equal up to mathematics, by math-verify where both are expressions. Decimals may be rounded to 6 places."""
    if one.canonical == other.canonical:
        return True
    if one.canonical.startswith("text:") or other.canonical.startswith("text:"):
        return False
    if one.number is not None and other.number is not None:
        return _rounded(one.number, other.number)
    from math_verify import verify

    return bool(verify(_expression(one), _expression(other), timeout_seconds=None))


def _rounded(one: Fraction, other: Fraction) -> bool:
    """Whether one is the other, written with at least 6 decimals."""
    places = [written(x) for x in (one, other)]
    ends = [text for text in places if "/" not in text and len(text.partition(".")[2]) >= 6]
    return bool(ends) and abs(one - other) <= Fraction(1, 2 * 10**6)


def _expression(read: Read) -> Any:
    import sympy

    if read.expression is not None:
        return read.expression
    assert read.number is not None
    return sympy.Rational(read.number.numerator, read.number.denominator)
