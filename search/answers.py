"""Answers of many rows at once: those that are plain numbers cost a whole population no more than an array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, overload

import numpy as np

from search.ports import Answer, Failed, Floats, Item, Rows


@dataclass(frozen=True, eq=False)
class Numbers(Sequence[float]):
    """Answers that are numbers and nothing else, float64 [n]; read one by one, they are Python's own floats."""

    array: Floats

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> "Numbers": ...
    def __getitem__(self, index: int | slice) -> "float | Numbers":
        return Numbers(self.array[index]) if isinstance(index, slice) else float(self.array[index])

    def __iter__(self) -> Iterator[float]:
        return iter(self.array.tolist())


@dataclass(frozen=True, eq=False)
class Answers(Sequence[Answer]):
    """Answers to one item, as verifiers see them; each is made when it is looked at. variances: of trajectories."""

    values: Sequence[Any]
    item: Item
    variances: Sequence[float] | None = None

    @classmethod
    def of(cls, values: Sequence[Any], item: Item, rows: Rows | None) -> "Answers":
        """Those of the rows' answers that could be had."""
        column = None if rows is None else rows.columns.get("trajectory_variance")
        variances = None if column is None else column.tolist()
        if variances is not None:
            pairs = zip(variances, values, strict=True)
            variances = [variance for variance, value in pairs if not isinstance(value, Failed)]
        return cls(had(values), item, variances)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> "Answers": ...
    def __getitem__(self, index: int | slice) -> "Answer | Answers":
        known = self.variances
        if isinstance(index, slice):
            return Answers(self.values[index], self.item, None if known is None else known[index])
        return Answer(self.values[index], self.item, None if known is None else known[index])

    def __iter__(self) -> Iterator[Answer]:
        return map(Answer, self.values, repeat(self.item), self.variances or repeat(None))


def numbers(answers: Sequence[Answer]) -> Floats | None:
    """The values as an array, float64 [n], where all are plain floats; else None."""
    if isinstance(answers, Answers) and isinstance(answers.values, Numbers):
        return answers.values.array
    if all(type(answer[0]) is float for answer in answers):
        return np.array([answer[0] for answer in answers], np.float64)
    return None


def joined(blocks: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """The answers of one or several blocks of rows in one sequence, in order."""
    if len(blocks) == 1:
        return blocks[0]
    arrays = [block.array for block in blocks if isinstance(block, Numbers)]
    return Numbers(np.concatenate(arrays)) if len(arrays) == len(blocks) else list(chain.from_iterable(blocks))


def had(values: Sequence[Any]) -> Sequence[Any]:
    """The answers that could be had, without those that Failed."""
    return values if isinstance(values, Numbers) else [value for value in values if not isinstance(value, Failed)]
