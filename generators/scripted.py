"""Texts whose law is known, for a fake endpoint: a symbol "0", "1" or "2" a line, of the Markov chain of `toy/markov`.

A symbol is a token and a line's end is one.
"""

from hashlib import blake2b
from typing import Any

INITIAL = (0.5, 0.3, 0.2)
TRANSITION = ((0.6, 0.3, 0.1), (0.2, 0.5, 0.3), (0.3, 0.3, 0.4))


class Chance:
    """Uniform numbers in [0, 1) that follow from some values."""

    def __init__(self, *named: Any) -> None:
        self.named, self.drawn, self.left = repr(named).encode(), 0, b""

    def __call__(self) -> float:
        """The next one."""
        if not self.left:
            self.left = blake2b(self.named + self.drawn.to_bytes(4, "little")).digest()
            self.drawn += 1
        head, self.left = self.left[:8], self.left[8:]
        return int.from_bytes(head, "little") / 2**64


def symbol(before: str, u: float) -> str:
    """The next symbol of the chain by inversion; before: "" for the first."""
    total = 0.0
    for i, p in enumerate(TRANSITION[int(before)] if before else INITIAL):
        total += p
        if u < total:
            return str(i)
    return "2"


def written(prefix: str, chance: Chance, most: int, stop: list[str], length: int) -> tuple[list[str], str, str | None]:
    """Tokens that go on from `prefix`, why they end, and the stop string that ended them."""
    said, tokens = [mark for mark in prefix if mark in "012"], list[str]()
    line_open = bool(prefix) and not prefix.endswith("\n")
    while len(tokens) < most:
        if not line_open and len(said) == length:
            return tokens, "stop", None
        token = "\n" if line_open else symbol(said[-1] if said else "", chance())
        if not line_open:
            said.append(token)
        line_open = not line_open
        tokens.append(token)
        text = "".join(tokens)
        for end in stop:
            if end in text:
                return list(text[: text.index(end)]), "stop", end
    return tokens, "length", None
