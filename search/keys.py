"""Randomness has a name: every random number is a pure function of (job seed, item, row, step).

Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), the generator of JAX.
It needs only 32-bit add, rotate and xor, so the same lines give the same integers in numpy (uint32) and torch (int32).
"""

import hashlib
import string
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_TURNS = tuple(tuple((left, 32 - left, (1 << left) - 1) for left in turn) for turn in _ROTATIONS)
_WORDS = tuple(tuple(tuple(np.array(n, np.uint32) for n in way) for way in turn) for turn in _TURNS)
"""The same for numpy, which would make an array of a Python integer at every use: twice the time for a few rows."""
_PARITY = 0x1BD11BDA
# First counter word: what the numbers are for. Steps count from 0; the rest lies above any step count.
START = 0x7FFFFFFF
FORK = 0x7FFFFFFE
CHOICE = 0x7FFFFFFD
FILL = 0x7FFFFFFC


def threefry(k0: Any, k1: Any, c0: Any, c1: Any) -> tuple[Any, Any]:
    """Encrypt the counters (c0, c1) under the keys (k0, k1): arrays of 32-bit integers that broadcast together.

    Works on numpy uint32 and torch int32 alike; arithmetic wraps at 32 bits. Returns two arrays of random bits.
    """
    keys = (k0, k1, k0 ^ k1 ^ _PARITY)
    x, y = c0 + k0, c1 + k1
    turns: Any = _WORDS if isinstance(y, np.ndarray) else _TURNS
    for block in range(5):
        for left, right, kept in turns[block % 2]:
            x = x + y
            y = ((y << left) | ((y >> right) & kept)) ^ x
        x = x + keys[(block + 1) % 3]
        y = y + (keys[(block + 2) % 3] + (block + 1))
    return x, y


def problem(seed: int, item: str) -> Words:
    """Key of one item of a job: uint32 [2]. The item's id decides, not its place in the list."""
    digest = hashlib.blake2b(item.encode(), digest_size=8, key=seed.to_bytes(8, "little", signed=True)).digest()
    return np.frombuffer(digest, dtype="<u4").astype(np.uint32)


def rows(problem_key: Words, first: int, count: int) -> Words:
    """Keys of the rows `first` to `first + count - 1` of a problem: uint32 [count, 2]."""
    index = np.arange(first, first + count, dtype=np.uint32)
    return fold(np.broadcast_to(problem_key, (count, 2)), np.uint32(START), index)


def fold(keys: Words, purpose: Any, index: Any) -> Words:
    """New keys (uint32 [n, 2]) from old ones and two words."""
    return np.stack(threefry(keys[:, 0], keys[:, 1], np.asarray(purpose, np.uint32), index), axis=1)


def fork(keys: Words, ancestors: NDArray[Any]) -> Words:
    """Keys of children: the i-th child of a parent has the same key wherever the parent's row lies."""
    order = np.argsort(ancestors, kind="stable")
    ranked = ancestors[order]
    first = np.searchsorted(ranked, ranked, side="left")
    child = np.empty(len(ancestors), np.uint32)
    child[order] = np.arange(len(ancestors)) - first
    return fold(keys[ancestors], FORK, child)


def choices(seed: int, item: str, first: int, step: int, size: int) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), float64 [size], for a choice among the rows of the search that starts at `first`."""
    return uniforms(fold(rows(problem(seed, item), first, 1), np.uint32(CHOICE), 0), step, size)[0]


def bits(keys: Words, step: Any, size: int) -> tuple[Words, Words]:
    """Two uint32 arrays [n, size] for each row's `step` (int, or int [n])."""
    counter = np.broadcast_to(np.asarray(step, np.uint32), (len(keys),))[:, None]
    return threefry(keys[:, 0, None], keys[:, 1, None], counter, np.arange(size, dtype=np.uint32)[None])


def uniforms(keys: Words, step: Any, size: int) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), float64 [n, size], 52 random bits each."""
    high, low = bits(keys, step, size)
    whole = (high >> np.uint32(6)) * 2.0**26 + (low >> np.uint32(6))
    return np.asarray((whole + 0.5) * 2.0**-52, np.float64)


def normals(keys: Words, step: Any, size: int) -> NDArray[np.float64]:
    """Standard normals, float64 [n, size]: Box-Muller over pairs of words."""
    x, y = bits(keys, step, (size + 1) // 2)
    radius = np.sqrt(-2 * np.log((x + 0.5) * 2.0**-32))
    angle = (2 * np.pi * 2.0**-32) * y
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(len(keys), 2 * x.shape[1])[:, :size]


def name(keys: Words) -> list[str]:
    """Row keys as 16 hexadecimal digits, as they stand in results."""
    return [f"{(int(a) << 32) | int(b):016x}" for a, b in keys.tolist()]


def parse(text: str) -> Words:
    """The key (uint32 [1, 2]) that `name` wrote. Raises ValueError for anything but 16 hexadecimal digits."""
    if len(text) != 16 or not set(text) <= set(string.hexdigits):  # int() alone would take "0x", "_", spaces and signs
        raise ValueError(f"a key has 16 hexadecimal digits, not {text!r}")
    word = int(text, 16)
    return np.array([[word >> 32, word & 0xFFFFFFFF]], np.uint32)
