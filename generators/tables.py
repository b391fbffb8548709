"""A law over all strings of a small alphabet as a table: every conditional is a sum, so a masked model has no error."""

from functools import cached_property

import numpy as np

from generators.unmasking import MASK
from search.ports import Floats, Ints

LARGEST = 5_000_000
"""Partly masked strings of a table, at most."""


class Table:
    """What masked diffusion needs of a law p over V^L strings, exactly.

    p: chances, float64 [V] * L, sum 1. Raises ValueError for chances that are none, or too many of them.
    """

    def __init__(self, p: Floats) -> None:
        if p.min() < 0 or not np.isclose(p.sum(), 1):
            raise ValueError(f"chances must be positive and sum to 1, not {p.min()} at least and {p.sum()} in sum")
        if len(set(p.shape)) != 1 or (p.shape[0] + 1) ** p.ndim > LARGEST:
            raise ValueError(f"a table has one side for all places and at most {LARGEST} states, not {p.shape}")
        self.p = p

    @cached_property
    def _sums(self) -> Floats:
        """The chance of every partly masked string, [(V + 1)^L]: symbol V of a place is its mask."""
        sums = self.p
        for axis in range(sums.ndim):
            sums = np.concatenate([sums, sums.sum(axis, keepdims=True)], axis)
        return sums.ravel()

    def __call__(self, tokens: Ints) -> Floats:
        """Log-chances of the symbols of every masked place given the others, [n, L, V]; 0 where nothing is masked.

        tokens: [n, L], MASK where masked.
        """
        symbols, length = self.p.shape[0], self.p.ndim
        weight = (symbols + 1) ** np.arange(length - 1, -1, -1)
        masked = tokens == MASK
        state = (np.where(masked, symbols, tokens) * weight).sum(1)
        with_symbol = state[:, None, None] + (np.arange(symbols) - symbols) * weight[:, None]
        with np.errstate(divide="ignore"):
            log = np.log(self._sums[np.where(masked[..., None], with_symbol, 0)])
            log -= np.log(self._sums[state])[:, None, None]
        return np.where(masked[..., None], log, 0.0)
