"""DNA of eight letters: all 65,536 strings have a known chance, so whatever a search finds can be enumerated."""

from functools import cache
from typing import Any

import numpy as np
from pydantic import Field

from generators.masked import OFFERS, Law, Masked
from generators.sampling import Sampling
from generators.tables import Table
from generators.unmasking import MASK
from search.plugins import plugin
from search.ports import Floats, Generator, Ints, Item

LETTERS = "ACGT"
LENGTH = 8
FREE = "_"
STACKING = {
    "AA": -1.00, "AT": -0.88, "TA": -0.58, "CA": -1.45, "GT": -1.44,
    "CT": -1.28, "GA": -1.30, "CG": -2.17, "GC": -2.24, "GG": -1.84,
}  # fmt: skip
"""Free energy of neighbours, kcal/mol at 37 degrees (SantaLucia 1998, table 2); a pair and its complement are one."""


class Dna8(Sampling):
    """An 8-mer; the prompt may give letters and leave others free, as in `AC__GT__`."""

    stacking: float = Field(
        0.0, ge=-5, le=5, description="The law is prop. to exp(-stacking * free energy): 0 is uniform, 1 prefers GC."
    )
    guide: float | None = Field(None, ge=-5, le=5, description="`stacking` of a second law, for products and guidance.")

    @property
    def size(self) -> int:
        """Letters."""
        return LENGTH

    @property
    def evaluations(self) -> int:
        """One a step, and one of the guide."""
        return super().evaluations * (1 if self.guide is None else 2)

    def check(self, item: Item) -> None:
        """Raise ValueError unless the prompt is empty, or eight of A, C, G, T and _, one of them free."""
        template(item.prompt, LETTERS, LENGTH)


@plugin(version="1", offers=OFFERS)
def dna8(config: Dna8) -> Generator:
    """Masked diffusion over 8-mers with exact conditionals; answers are text such as "ACGTTGCA"."""
    return Masked(law(config.stacking), config, None if config.guide is None else law(config.guide))


@cache
def law(stacking: float) -> Law:
    """All 8-mers, prop. to exp(-stacking * energy)."""
    return Law(
        f"dna8 {stacking}", 4, LENGTH, Table(chances(stacking)), lambda i: template(i.prompt, LETTERS, LENGTH), written
    )


def chances(stacking: float) -> Floats:
    """Of every 8-mer, float64 [4] * 8; letters in the order of LETTERS."""
    energies = np.array([[energy(x + y) for y in LETTERS] for x in LETTERS])
    total = np.zeros((4,) * LENGTH)
    for place in range(LENGTH - 1):
        shape = [1] * LENGTH
        shape[place] = shape[place + 1] = 4
        total = total + energies.reshape(shape)
    p = np.exp(-stacking * (total - total.mean()))
    return p / p.sum()


def energy(pair: str) -> float:
    """Stacking energy of two neighbours, kcal/mol."""
    other = pair[::-1].translate(str.maketrans(LETTERS, LETTERS[::-1]))
    return STACKING.get(pair, STACKING.get(other, 0.0))


def template(prompt: str, letters: str, length: int) -> Ints:
    """Given letters as their numbers, MASK where free, int64 [length]; an empty prompt leaves all free."""
    if not prompt:
        return np.full(length, MASK)
    if len(prompt) != length or not set(prompt) <= {*letters, FREE}:
        expected = f"{length} of {', '.join(letters)} and {FREE} (free)"
        raise ValueError(f"the prompt must be empty or {expected}, not {prompt[:50]!r}")
    if FREE not in prompt:
        raise ValueError(f"the prompt {prompt!r} leaves nothing free: write {FREE} for a letter to be found")
    return np.array([MASK if letter == FREE else letters.index(letter) for letter in prompt])


def written(tokens: Any) -> str:
    """Tokens as text; a masked one as _."""
    return "".join((*LETTERS, FREE)[token] for token in tokens)
