"""The part of the exam about weights: what `log_weights` and `toward` must keep to."""

from typing import cast

import numpy as np

from generators.comparing import Failed, arrays, same
from search.ports import Generator, Rows
from search.tools import Weighted


def aimed(generator: Generator, evaluations: int | None) -> Generator:
    """The generator toward its own law, power 1. Raises Failed when it costs more or has the model's batch key."""
    target = cast(Weighted, generator).toward((1.0,))
    cost = target.steps * target.price
    if evaluations is not None and cost > evaluations:
        raise Failed(f"its configuration announces {evaluations} evaluations, but toward((1.0,)) takes {cost}")
    if target.batch_key == generator.batch_key:
        raise Failed(f"toward((1.0,)) has the model's batch key {generator.batch_key!r}; it needs one of its own")
    return target


def weighs(generator: Generator, rows: Rows) -> None:
    """Raises Failed unless log-weights are a finite number a row, of that row alone, from the start to the end."""
    weigh = cast(Weighted, generator).log_weights
    for step in range(generator.steps + 1):
        before, weights = arrays(rows), weigh(rows)
        if not same(before, arrays(rows), 0.0):
            raise Failed("log_weights changed the rows that it was given")
        if weights.dtype != np.float64 or weights.shape != (len(rows),) or not np.isfinite(weights).all():
            raise Failed(f"log_weights at step {step} should be a finite float64 for each row, not {weights!r:.100}")
        if not np.array_equal(weigh(rows[::-1])[::-1], weights):
            raise Failed("log_weights of a row depend on its company")
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live])) if len(live) else rows
    if not rows.done.all():
        raise Failed(f"rows with weights are not done after {generator.steps} steps, the most that `steps` promises")
