"""The number in a text: what `numeric` reads, in exact arithmetic, and how it is written down again."""

import re
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction
from typing import Literal

from verifiers.each import BITS

DIGITS = 400  # of the longest literal that is read
EXPONENT = 400  # the largest power of ten, either sign
Percent = Literal["drop", "divide"]

# Quantifiers are possessive or bounded, so that no text makes the search slower than linear.
_PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])(?:\.[0-9]++)?|[0-9]++(?:\.[0-9]++)?|(?<!\.)\.[0-9]++)"
NUMBER = re.compile(
    rf"""
    (?: (?<![A-Za-z0-9_.)\]}}]) (?P<sign>[-+]) | (?<![A-Za-z0-9_]) (?<![0-9]\.) )   # "5-7" holds 5 and 7, "H2" nothing
    (?:
        (?:(?P<whole>[0-9]++)[ ])? (?P<top>{_PLAIN}) [ ]?/[ ]? (?P<bottom>{_PLAIN})         # 3/4, 1 1/2
      | (?P<plain>{_PLAIN})
        (?: [eE](?P<e>[-+]?[0-9]++)
          | [ ]?(?:\\times|\\cdot|[\u00d7\u00b7*x])[ ]?10(?:\^|\*\*)\{{?(?P<power>[-+]?[0-9]++)\}}? )?
    )
    (?P<percent>[ ]?\\?%)?
    """,
    re.VERBOSE,
)
_FRACTION = re.compile(r"\\[dt]?frac(?:\{([^{}]{1,400})\}\{([^{}]{1,400})\}|([0-9])([0-9]))")
_CURRENCY = re.compile(r"([-+]?)\\?[$€£¥]")
# Minus and fraction signs of typesetting; spaces that group thousands; LaTeX's ways to write a comma or a space.
_ALIKE = {"\u2212": "-", "\u2013": "-", "\u2044": "/", "{,}": ",", "\\,": ",", "\\!": "", "\\left": "", "\\right": ""}
_GROUPS = re.compile(r"(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")


def plainly(text: str) -> str:
    """The same text with the numbers of LaTeX and of typesetting written in ASCII."""
    for written, meant in _ALIKE.items():
        text = text.replace(written, meant)
    text = _GROUPS.sub(",", text)
    text = _CURRENCY.sub(r" \1", text)
    text = re.sub(r"(?<=[0-9])\\(?=[dt]?frac)", r" \\", text)  # 2\frac{1}{3} is a mixed number
    return _FRACTION.sub(lambda m: f"{m[1] or m[3]}/{m[2] or m[4]}", text)


def boxed(text: str) -> str | None:
    r"""What stands in the last \boxed{...}, braces balanced; None without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end]
    return text[start:]


def last_number(text: str, percent: Percent) -> Fraction | None:
    r"""The last number in a text, or in its last \boxed{}: None when there is none, or none of bearable size."""
    inside = boxed(text)
    found = None
    for found in NUMBER.finditer(plainly(text if inside is None else inside)):  # noqa: B007
        pass
    return None if found is None else value(found, percent)


def whole_number(text: str, percent: Percent) -> Fraction | None:
    """The number that makes up all of a text, spaces around it aside; else None."""
    found = NUMBER.fullmatch(plainly(text).strip())
    return None if found is None else value(found, percent)


def value(found: re.Match[str], percent: Percent) -> Fraction | None:
    """The number of a match of NUMBER, exactly. None for a division by zero and for what is too long to hold."""
    exponent = found["e"] or found["power"] or "0"
    if len(found[0]) > DIGITS or len(exponent) > 4 or abs(int(exponent)) > EXPONENT:
        return None

    def plain(literal: str) -> Fraction:
        return Fraction(literal.replace(",", ""))

    if found["plain"]:
        x = plain(found["plain"]) * Fraction(10) ** int(exponent)
    elif bottom := plain(found["bottom"]):
        x = plain(found["whole"] or "0") + plain(found["top"]) / bottom
    else:
        return None
    if found["percent"] and percent == "divide":
        x /= 100
    return -x if found["sign"] == "-" else x


def written(x: Fraction) -> str:
    """One spelling per number: decimal where it ends (7, 0.5), else the reduced fraction (1/3)."""
    with localcontext(Context(prec=4 * BITS, traps=[Inexact])):
        try:
            exact = Decimal(x.numerator) / Decimal(x.denominator)
        except Inexact:
            return f"{x.numerator}/{x.denominator}"
        text = format(exact, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
