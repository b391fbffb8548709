"""The exam of a generator.

from generators.conformance import examine
examine(my_generator, [Item(prompt="...")], offers={"preview"})
"""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import isawaitable
from typing import Any, cast

import numpy as np

from generators import weighing
from generators.comparing import Failed, alike, arrays, close, counts, is_image, is_json, is_picture, same
from search import keys, ports
from search.checkpoint import pack, unpack
from search.ports import Generator, Item, Rows
from search.tools import Neighbouring, Renoising


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
    with asyncio.Runner() as runner:  # one loop for all: a client lives in the loop that it was made in
        exam = _Exam(generator, [items[i % len(items)] for i in range(count)], tolerance, runner)
        _sit(exam, offers, company, evaluations)


def _sit(exam: "_Exam", offers: Collection[str], company: Generator | None, evaluations: int | None) -> None:
    exam.starts()
    exam.ends()
    exam.costs(evaluations)
    exam.is_named_by_keys()
    exam.keeps_rows_apart()
    exam.survives_storage()
    exam.answers()
    if "draws_images" in offers:
        exam.draws()
    if "preview" in offers:
        exam.previews()
    if "stochastic_step" in offers:
        exam.forks()
    if "renoise" in offers:
        exam.goes_back()
    if "neighbours" in offers:
        exam.has_neighbours()
    if "log_weights" in offers:
        target = replace(exam, generator=weighing.aimed(exam.generator, evaluations))
        for each in (exam, target):
            weighing.weighs(each.generator, each.start())
        target.keeps_rows_apart()
    if company is not None:
        exam.joins(company)


@dataclass(frozen=True)
class _Exam:
    generator: Generator
    items: Sequence[Item]
    tolerance: float
    runner: asyncio.Runner

    def start(self, seed: int = 0) -> Rows:
        names = keys.rows(keys.problem(seed, "conformance"), 0, len(self.items))
        return self.generator.start(self.items, names)

    def step(self, rows: Rows) -> Rows:
        """One step, on condition that it leaves its argument alone and moves every row by one."""
        before = arrays(rows)
        moved = self.advanced(rows)
        if not same(before, arrays(rows), 0.0):
            raise Failed("advance changed the rows that it was given; it should return new ones")
        if len(moved) != len(rows) or not np.array_equal(moved.step, rows.step + 1):
            raise Failed("advance should return the same rows, in order, each with `step` one higher")
        if not np.array_equal(moved.keys, rows.keys):
            raise Failed("advance changed the rows' keys; only a fork gives a row another key")
        if set(moved.columns) != set(rows.columns):
            raise Failed(f"advance turned columns {sorted(rows.columns)} into {sorted(moved.columns)}")
        counts(rows, moved, getattr(self.generator, "tokens", 0))
        return moved

    def advanced(self, rows: Rows) -> Rows:
        """The rows one step later, from a network here or elsewhere."""
        moved = cast(Rows | Awaitable[Rows], self.generator.advance(rows))
        return self.runner.run(_waited(moved)) if isawaitable(moved) else moved

    def run(self, rows: Rows, steps: int | None = None) -> Rows:
        """All rows to their end, or `steps` steps on."""
        for _ in range(self.generator.steps if steps is None else steps):
            live = np.flatnonzero(~rows.done)
            if len(live):
                rows = rows.updated(live, self.step(rows[live]))
        return rows

    @cached_property
    def ended(self) -> Rows:
        """The rows of seed 0 at their end: made once, for a network takes its time."""
        return self.run(self.start())

    def starts(self) -> None:
        rows, n = self.start(), len(self.items)
        for name, array in arrays(rows).items():
            if len(array) != n:
                raise Failed(f"start was asked for {n} rows, but {name} has {len(array)}")
            if array.dtype.hasobject and not all(map(is_json, array.tolist())):
                raise Failed(f"{name} holds Python objects; rows are numbers, or JSON values (dtype object)")
        if rows.step.any() or rows.done.any():
            raise Failed("start should return rows at step 0, none of them done")

    def ends(self) -> None:
        if self.generator.steps < 1 or self.generator.price < 0:
            raise Failed("steps should be at least 1 and price at least 0")
        left = int((~self.ended.done).sum())
        if left:
            raise Failed(f"{left} rows are not done after {self.generator.steps} steps, the most that `steps` promises")

    def costs(self, evaluations: int | None) -> None:
        cost = self.generator.steps * self.generator.price
        if evaluations not in (None, cost):
            raise Failed(f"its configuration announces {evaluations} evaluations, but steps * price is {cost}")

    def is_named_by_keys(self) -> None:
        one, (again, other) = self.ended, (self.run(self.start(seed)) for seed in (0, 1))
        if not same(arrays(one), arrays(again), self.tolerance):
            raise Failed("the same keys gave other rows the second time; noise should come from a row's key and step")
        if same(one.columns, other.columns, self.tolerance):
            raise Failed("other keys gave the same rows; noise should come from a row's key")

    def keeps_rows_apart(self) -> None:
        rows, n = self.start(), len(self.items)
        together = self.ended
        mixed = rows.updated(np.arange(n // 2), self.run(rows[: n // 2], 1))
        for how, got in {
            "in two halves": Rows.join([self.run(rows[: n // 2]), self.run(rows[n // 2 :])]),
            "one by one": Rows.join([self.run(rows[i : i + 1]) for i in range(n)]),
            "in reverse order": self.run(rows[::-1])[::-1],
            "beside rows at another step": self.run(mixed),
        }.items():
            if not same(arrays(together), arrays(got), self.tolerance):
                raise Failed(f"rows advanced {how} differ from the same rows advanced at once")

    def survives_storage(self) -> None:
        rows = self.run(self.start(), self.generator.steps // 2)
        again = self.run(replace(rows, columns=unpack(pack(dict(rows.columns)))))
        if not same(arrays(self.ended), arrays(again), self.tolerance):
            raise Failed("rows that were stored half way and read back ended elsewhere")

    def answers(self) -> None:
        rows = self.ended
        before, values = arrays(rows), self.generator.finish(rows)
        if not same(before, arrays(rows), 0.0):
            raise Failed("finish changed the rows that it was given")
        self.check("finish", values)

    def draws(self) -> None:
        strange = [type(value).__name__ for value in self.generator.finish(self.ended) if not is_picture(value)]
        if strange:
            raise Failed(f"offers draws_images, but an answer is no image, uint8 [h, w] or [h, w, 3]: {strange[0]}")

    def previews(self) -> None:
        rows = self.start()
        while True:
            before, values = arrays(rows), self.generator.preview(rows)
            if not same(before, arrays(rows), 0.0):
                raise Failed("preview changed the rows that it was given")
            self.check("preview", values)
            if rows.done.all():
                break
            rows = self.run(rows, 1)
        if not all(close(*pair, self.tolerance) for pair in zip(values, self.generator.finish(rows), strict=True)):
            raise Failed("the preview of a done row should be its answer")

    def forks(self) -> None:
        for at in range(self.generator.steps):
            parents = self.run(self.start(), at)
            parent = np.flatnonzero(~parents.done)[:1]
            children = self.run(parents.fork(np.repeat(parent, len(self.items))))
            first = children[np.zeros(len(children), np.int64)]
            if not same(children.columns, first.columns, self.tolerance):
                return
        raise Failed("children of one row all had the same future, so no step is stochastic")

    def goes_back(self) -> None:
        generator, n = cast(Renoising, self.generator), len(self.items)
        for at in {1, self.generator.steps // 2 + 1, self.generator.steps}:
            rows = self.ended if at == self.generator.steps else self.run(self.start(), at)
            rows = rows[rows.step == at]
            if not len(rows):
                return
            children, step = rows.fork(np.arange(len(rows))), (at - 1) // 2
            before, back = arrays(children), generator.renoise(children, step)
            if not same(before, arrays(children), 0.0):
                raise Failed("renoise changed the rows that it was given")
            expected = before | {"step": np.full(len(rows), step), "done": np.zeros(len(rows), bool)}
            if not alike(expected, got := arrays(back)) or any(
                not np.array_equal(expected[name], got[name]) for name in ("keys", "step", "done", "spent")
            ):
                raise Failed(f"renoise should return the same rows, keys and spent, all at step {step} and not done")
            apart = Rows.join([generator.renoise(children[i : i + 1], step) for i in range(len(rows))])
            if not same(got, arrays(apart), self.tolerance):
                raise Failed("rows renoised one by one differ from the same rows renoised at once")
            if not self.run(back, self.generator.steps - step).done.all():
                raise Failed(f"rows renoised to step {step} are not done {self.generator.steps - step} steps later")
        self.is_pure(generator.renoise(self.ended.fork(np.arange(n * 64) % n), 0))

    def is_pure(self, back: Rows) -> None:
        """Rows renoised to step 0 have mean and variance of a start: 6 standard errors, and 1 % for what is left."""
        many = replace(self, items=[self.items[0]] * 512)
        for name in self.noise():
            x, y = (np.ravel(rows.columns[name]).astype(float) for rows in (many.start(), back))
            for what, ours, theirs in (("mean", x, y), ("variance", (x - x.mean()) ** 2, (y - y.mean()) ** 2)):
                error = np.hypot(ours.std() / np.sqrt(len(ours)), theirs.std() / np.sqrt(len(theirs)))
                if abs(ours.mean() - theirs.mean()) > 6 * error + 0.01 * x.var():
                    numbers = f"{theirs.mean():.3g}, not {ours.mean():.3g}"
                    raise Failed(f"rows renoised to step 0 should be noise like a start: {what} of {name!r} {numbers}")

    def has_neighbours(self) -> None:
        generator, pivots, cosine = cast(Neighbouring, self.generator), self.start(), 0.8
        named = keys.fork(pivots.keys, np.arange(len(pivots)))
        before, near = arrays(pivots), generator.neighbours(pivots, named, cosine)
        if not same(before, arrays(pivots), 0.0):
            raise Failed("neighbours changed the pivots that it was given")
        if not alike(before, arrays(near)) or near.step.any() or near.done.any() or near.spent.any():
            raise Failed("neighbours should return rows like those of start: at step 0, not done, nothing spent")
        if not np.array_equal(near.keys, named):
            raise Failed("neighbours should return one row for each key that it was given, with that key")
        for name in self.noise():
            p, q = (rows.columns[name].reshape(len(named), -1).astype(float) for rows in (pivots, near))
            lengths = np.linalg.norm(p, axis=1), np.linalg.norm(q, axis=1)
            found = (p * q).sum(1) / (lengths[0] * lengths[1])
            if p.shape[1] > 1 and not (np.allclose(*lengths, rtol=1e-4) and np.allclose(found, cosine, atol=1e-4)):
                raise Failed(f"neighbours at cosine {cosine} should be as long as their pivots; cosines are {found}")
        again = generator.neighbours(pivots, keys.fork(named, np.arange(len(named))), cosine)
        if same(near.columns, again.columns, self.tolerance):
            raise Failed("other keys gave the same neighbours")
        self.check("finish", self.generator.finish(self.run(near)))

    def noise(self) -> list[str]:
        """The columns of a start that are noise: floats that another key changes."""
        one, other = self.start(0).columns, self.start(1).columns
        return [name for name in one if one[name].dtype.kind == "f" and not np.array_equal(one[name], other[name])]

    def joins(self, company: Generator) -> None:
        if company.batch_key != self.generator.batch_key:
            raise Failed(f"batch keys {self.generator.batch_key!r} and {company.batch_key!r} differ; nothing to share")
        ours, other = self.start(), _Exam(company, self.items, self.tolerance, self.runner)
        theirs, n = other.run(other.start(1), min(1, company.steps - 1)), len(self.items)
        for exam in (self, other):
            both = exam.step(Rows.join([ours, theirs]))
            for alone, among in ((self.step(ours), both[:n]), (other.step(theirs), both[n:])):
                if not same(arrays(alone), arrays(among), self.tolerance):
                    raise Failed("rows of two generators with one batch key differ when they share a call")

    def check(self, verb: str, values: Sequence[Any]) -> None:
        if len(values) != len(self.items):
            raise Failed(f"{verb} returned {len(values)} values for {len(self.items)} rows")
        for value in values:
            if isinstance(value, ports.Failed) and isinstance(cast(Any, value.reason), str):
                continue
            if not (is_image(value) if isinstance(value, np.ndarray) else is_json(value)):
                raise Failed(f"{verb} returned {value!r:.100}; expected a JSON value, or an image as uint8 [h, w(, 3)]")


async def _waited(moved: Awaitable[Rows]) -> Rows:
    return await moved
