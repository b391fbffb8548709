"""The exam of a generator.

from generators.conformance import examine
examine(my_generator, [Item(prompt="...")], offers={"preview"})
"""

import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from search import keys
from search.ports import Generator, Item, Rows


class Failed(AssertionError):
    """What the generator does, and what it should do."""


def examine(
    generator: Generator,
    items: Sequence[Item],
    *,
    offers: Collection[str] = (),
    company: Generator | None = None,
    evaluations: int | None = None,
    tolerance: float = 0.0,
    count: int = 8,
) -> None:
    """Raise Failed at the first thing that a generator gets wrong.

    items: that its configuration accepts. offers: the capabilities that its plug-in claims. company: a generator of
    another configuration with the same batch key. evaluations: what its configuration says that a sample costs.
    tolerance: by how much numbers may differ between a row alone and the row among others; 0 where rounding does not
    depend on the batch. count: rows in the exam, at least 4.
    """
    exam = _Exam(generator, [items[i % len(items)] for i in range(count)], tolerance)
    exam.starts()
    exam.ends()
    exam.costs(evaluations)
    exam.is_named_by_keys()
    exam.keeps_rows_apart()
    exam.survives_storage()
    exam.answers()
    if "preview" in offers:
        exam.previews()
    if "stochastic_step" in offers:
        exam.forks()
    if company is not None:
        exam.joins(company)


@dataclass(frozen=True)
class _Exam:
    generator: Generator
    items: Sequence[Item]
    tolerance: float

    def start(self, seed: int = 0) -> Rows:
        names = keys.rows(keys.problem(seed, "conformance"), 0, len(self.items))
        return self.generator.start(self.items, names)

    def step(self, rows: Rows) -> Rows:
        """One step, on condition that it leaves its argument alone and moves every row by one."""
        before = _arrays(rows)
        moved = self.generator.advance(rows)
        if not _same(before, _arrays(rows), 0.0):
            raise Failed("advance changed the rows that it was given; it should return new ones")
        if len(moved) != len(rows) or not np.array_equal(moved.step, rows.step + 1):
            raise Failed("advance should return the same rows, in order, each with `step` one higher")
        if not np.array_equal(moved.keys, rows.keys):
            raise Failed("advance changed the rows' keys; only a fork gives a row another key")
        if set(moved.columns) != set(rows.columns):
            raise Failed(f"advance turned columns {sorted(rows.columns)} into {sorted(moved.columns)}")
        return moved

    def run(self, rows: Rows, steps: int | None = None) -> Rows:
        """All rows to their end, or `steps` steps on."""
        for _ in range(self.generator.steps if steps is None else steps):
            live = np.flatnonzero(~rows.done)
            if len(live):
                rows = rows.updated(live, self.step(rows[live]))
        return rows

    def starts(self) -> None:
        rows, n = self.start(), len(self.items)
        for name, array in _arrays(rows).items():
            if len(array) != n:
                raise Failed(f"start was asked for {n} rows, but {name} has {len(array)}")
            if array.dtype.hasobject:
                raise Failed(f"{name} holds Python objects; rows are plain numbers")
        if rows.step.any() or rows.done.any():
            raise Failed("start should return rows at step 0, none of them done")

    def ends(self) -> None:
        if self.generator.steps < 1 or self.generator.price < 0:
            raise Failed("steps should be at least 1 and price at least 0")
        left = int((~self.run(self.start()).done).sum())
        if left:
            raise Failed(f"{left} rows are not done after {self.generator.steps} steps, the most that `steps` promises")

    def costs(self, evaluations: int | None) -> None:
        cost = self.generator.steps * self.generator.price
        if evaluations not in (None, cost):
            raise Failed(f"its configuration announces {evaluations} evaluations, but steps * price is {cost}")

    def is_named_by_keys(self) -> None:
        one, again, other = (self.run(self.start(seed)) for seed in (0, 0, 1))
        if not _same(_arrays(one), _arrays(again), self.tolerance):
            raise Failed("the same keys gave other rows the second time; noise should come from a row's key and step")
        if _same(one.columns, other.columns, self.tolerance):
            raise Failed("other keys gave the same rows; noise should come from a row's key")

    def keeps_rows_apart(self) -> None:
        rows, n = self.start(), len(self.items)
        together = self.run(rows)
        mixed = rows.updated(np.arange(n // 2), self.run(rows[: n // 2], 1))
        for how, got in {
            "in two halves": Rows.join([self.run(rows[: n // 2]), self.run(rows[n // 2 :])]),
            "one by one": Rows.join([self.run(rows[i : i + 1]) for i in range(n)]),
            "in reverse order": self.run(rows[::-1])[::-1],
            "beside rows at another step": self.run(mixed),
        }.items():
            if not _same(_arrays(together), _arrays(got), self.tolerance):
                raise Failed(f"rows advanced {how} differ from the same rows advanced at once")

    def survives_storage(self) -> None:
        rows = self.run(self.start(), self.generator.steps // 2)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{name: np.asarray(column) for name, column in rows.columns.items()})
        file.seek(0)
        with np.load(file) as stored:
            again = self.run(replace(rows, columns=dict(stored)))
        if not _same(_arrays(self.run(rows)), _arrays(again), self.tolerance):
            raise Failed("rows that were stored half way and read back ended elsewhere")

    def answers(self) -> None:
        rows = self.run(self.start())
        before, values = _arrays(rows), self.generator.finish(rows)
        if not _same(before, _arrays(rows), 0.0):
            raise Failed("finish changed the rows that it was given")
        self.check("finish", values)

    def previews(self) -> None:
        rows = self.start()
        while True:
            before, values = _arrays(rows), self.generator.preview(rows)
            if not _same(before, _arrays(rows), 0.0):
                raise Failed("preview changed the rows that it was given")
            self.check("preview", values)
            if rows.done.all():
                break
            rows = self.run(rows, 1)
        if not all(map(self.close, values, self.generator.finish(rows))):
            raise Failed("the preview of a done row should be its answer")

    def forks(self) -> None:
        for at in range(self.generator.steps):
            parents = self.run(self.start(), at)
            parent = np.flatnonzero(~parents.done)[:1]
            children = self.run(parents.fork(np.repeat(parent, len(self.items))))
            first = children[np.zeros(len(children), np.int64)]
            if not _same(children.columns, first.columns, self.tolerance):
                return
        raise Failed("children of one row all had the same future, so no step is stochastic")

    def joins(self, company: Generator) -> None:
        if company.batch_key != self.generator.batch_key:
            raise Failed(f"batch keys {self.generator.batch_key!r} and {company.batch_key!r} differ; nothing to share")
        ours, other = self.start(), _Exam(company, self.items, self.tolerance)
        theirs, n = other.run(other.start(1), min(1, company.steps - 1)), len(self.items)
        for exam in (self, other):
            both = exam.step(Rows.join([ours, theirs]))
            for alone, among in ((self.step(ours), both[:n]), (other.step(theirs), both[n:])):
                if not _same(_arrays(alone), _arrays(among), self.tolerance):
                    raise Failed("rows of two generators with one batch key differ when they share a call")

    def check(self, verb: str, values: list[Any]) -> None:
        if len(values) != len(self.items):
            raise Failed(f"{verb} returned {len(values)} values for {len(self.items)} rows")
        for value in values:
            if not (_is_image(value) if isinstance(value, np.ndarray) else _is_json(value)):
                raise Failed(f"{verb} returned {value!r:.100}; expected a JSON value, or an image as uint8 [h, w(, 3)]")

    def close(self, one: Any, other: Any) -> bool:
        """Equal answers: numbers but for rounding (a preview may take another formula), pixels but for one level."""
        if isinstance(one, np.ndarray):
            mine = cast(NDArray[Any], one)
            return mine.shape == other.shape and bool((np.abs(mine.astype(int) - other) <= 1).all())
        if isinstance(one, float):
            return math.isclose(one, other, rel_tol=1e-9, abs_tol=max(1e-9, self.tolerance))
        return one == other


def _arrays(rows: Rows) -> dict[str, Any]:
    """Copies of all arrays of a block, by name."""
    own = {f.name: np.array(getattr(rows, f.name)) for f in fields(rows) if f.name != "columns"}
    return own | {f"column {name!r}": np.array(column) for name, column in rows.columns.items()}


def _same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two mappings of arrays agree: bit for bit at tolerance 0."""
    if set(one) != set(other):
        return False
    for name, a in one.items():
        b = other[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if not (np.array_equal(a, b) or (tolerance and np.allclose(a, b, rtol=tolerance, atol=tolerance))):
            return False
    return True


def _is_json(value: Any) -> bool:
    if type(value) is list:
        return all(map(_is_json, cast(list[Any], value)))
    if type(value) is dict:
        return all(type(key) is str and _is_json(inner) for key, inner in cast(dict[Any, Any], value).items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _is_image(value: Any) -> bool:
    return value.dtype == np.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 3))
