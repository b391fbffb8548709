"""Feature spaces: where answers lie, so that one can say how much two of them differ.

A plug-in is a factory `def name(config: Plain) -> Space`; its card says what is near what.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.plugins import Registry, plugin
from search.ports import Config
from verifiers.each import Unreadable, number, symbols
from verifiers.images.reading import picture

FEATURES = Registry(
    "feature space",
    "winnow.features",
    {
        "pixels": "verifiers.features:pixels",
        "number": "verifiers.features:scalar",
        "ngrams": "verifiers.features:ngrams",
        "digit_embedding": "verifiers.features:digit_embedding",
    },
)
"""Every built-in space; those of other distributions join by the entry-point group `winnow.features`."""

GRID = 8
NGRAMS = 256
LARGEST = float(np.finfo(np.float16).max)
"""Features are stored in half precision."""


class Placed(NamedTuple):
    """points: float32 [n, d], a row of nan where the answer has no place. faults: why, by the row."""

    points: NDArray[np.float32]
    faults: Mapping[int, str]


Space = Callable[[Sequence[Any]], Placed]
"""Answers in, as many points out. An answer's point depends on that answer alone, up to 1e-3 of its size."""


class Plain(Config):
    """No settings."""


def space(d: int, read: Callable[[Any], NDArray[Any]], embed: Callable[[Any], NDArray[Any]] = np.asarray) -> Space:
    """A space of d dimensions. read: one answer, or Unreadable. embed: all that were read, [n, ...] -> [n, d]."""

    def place(values: Sequence[Any]) -> Placed:
        points = np.full((len(values), d), np.nan, np.float32)
        readable: dict[int, NDArray[Any]] = {}
        faults: dict[int, str] = {}
        for i, value in enumerate(values):
            try:
                readable[i] = read(value)
            except Unreadable as error:
                faults[i] = str(error)
        if readable:
            points[list(readable)] = embed(np.stack(list(readable.values())))
        return Placed(points, faults)

    return place


@plugin(version="1")
def pixels(config: Plain) -> Space:
    """Mean colour, 0 to 1, of the cells of an 8 x 8 grid over an image."""
    return space(GRID * GRID * 3, cells)


@plugin(version="1")
def scalar(config: Plain) -> Space:
    """A number itself."""

    def read(value: Any) -> NDArray[Any]:
        if abs(x := number(value)) > LARGEST:
            raise Unreadable(f"expected a number of at most {LARGEST:g} in size, found {x:.6g}")
        return np.array([x])

    return space(1, read)


@plugin(version="1")
def ngrams(config: Plain) -> Space:
    """Three symbols in a row, hashed into 256 dimensions with signs (Weinberger et al. 2009), of length 1."""
    return space(NGRAMS, hashed)


@plugin(version="1", place="device")
def digit_embedding(config: Plain) -> Space:
    """What the network `digit_classifier` knows of an image before it names a digit: 64 units of its last layer."""
    from verifiers import digits

    net = digits.shipped("digit_classifier")

    def read(value: Any) -> NDArray[Any]:
        if why := digits.unlike(value):
            raise Unreadable(why)
        return value

    return space(digits.OURS[-1], read, lambda images: digits.embedding(net, images))


def cells(value: Any) -> NDArray[np.float64]:
    """Mean colour of each cell, float64 [GRID * GRID * 3] in 0 to 1, of an image uint8 [h, w] or [h, w, 3]."""
    from PIL import Image

    # Pillow's box filter takes the mean over an area, whether or not the grid divides the sides.
    small = picture(value).resize((GRID, GRID), Image.Resampling.BOX)
    return np.asarray(small, np.float64).ravel() / 255


def hashed(value: Any) -> NDArray[np.float64]:
    """Counts of three symbols in a row, with one blank before and one behind, float64 [NGRAMS] of length 1 or 0."""
    listed = symbols(value)
    codes = np.array([0, *map(code, listed), 0], np.uint64)
    if len(codes) < 3:  # the empty text lies in the middle of all
        return np.zeros(NGRAMS)
    mixed = codes[:-2] * np.uint64(0x9E3779B97F4A7C15) + codes[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = scrambled(mixed + codes[2:] * np.uint64(0x165667B19E3779F9))
    signs = np.where(mixed >> np.uint64(63), -1.0, 1.0)
    counts = np.bincount((mixed % np.uint64(NGRAMS)).astype(np.int64), signs, NGRAMS)
    return counts / (math.hypot(*counts) or 1.0)


def code(symbol: str) -> int:
    """A number of 64 bits for a symbol: its character's, or for a longer one a fold of its characters'."""
    folded = 0
    for character in symbol:
        folded = (folded * 0x100000001B3 + ord(character) + 1) % 2**64  # as FNV does
    return folded


def scrambled(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the word (the finaliser of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
