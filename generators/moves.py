"""From the level of the last evaluation to that of the next: each row by its own solver, all rows in one block."""

from typing import Any

import numpy as np

from generators import levers, noise, solvers
from generators.denoising import Levels, Model, step
from generators.solvers import SOLVERS
from search.ports import Bools, Ints, Rows


def levels(model: Model, rows: Rows, at: Ints | None = None) -> Levels:
    """The levels at which rows are evaluated by the advance from the steps `at` (their own when left out)."""
    number = solvers.level(rows.columns["solver"], rows.step if at is None else at) + skipped(rows)
    return levers.placed(model, rows, number)


def skipped(rows: Rows) -> Any:
    """Levels before that of the rows' start; 0 for rows that began as pure noise."""
    return rows.columns.get("skipped", 0)


def moved(model: Model, rows: Rows) -> tuple[Any, dict[str, Any]]:
    """x at the level of the next evaluation, on the device, and the columns of memory that changed."""
    of, moving = rows.columns["solver"], ~rows.columns["fresh"]
    correct = (of == solvers.PC) & (rows.step % 2 == 0)  # from an odd evaluation
    solve = solvers.REMEMBERS[of]
    moves = ((_stepped, ~(correct | solve)), (_corrected, correct), (_solved, solve))
    x, memory = None, dict[str, Any]()
    for move, who in moves:
        if (who & moving).all():
            return move(model, rows)
        if (who & moving).any():
            x = model.tensor(rows.columns["x"]) if x is None else x
            some = np.flatnonzero(who & moving)
            x[model.tensor(some)], changed = move(model, rows[some])
            for name, column in changed.items():
                memory[name] = rows.columns[name].copy()
                memory[name][some] = column
    return model.tensor(rows.columns["x"]) if x is None else x, memory


def _stepped(model: Model, rows: Rows) -> tuple[Any, dict[str, Any]]:
    """The step of DDIM's family, from where the last evaluation was."""
    before, after, eta = model.placed(rows.columns["at"]), levels(model, rows), rows.columns["eta"]
    x, x0hat = (model.tensor(rows.columns[name]) for name in ("x", "x0"))
    xi = _noise(model, rows, eta > 0)
    a, s, a_next, s_next, eta = model.per_row(before.a, before.s, after.a, after.s, eta)
    return step(x0hat, (x - a * x0hat) / s, a, s, a_next, s_next, eta, xi), {}


def _corrected(model: Model, rows: Rows) -> tuple[Any, dict[str, Any]]:
    """The corrector of Song et al. 2021 at the level where the rows are."""
    at, a, s = levels(model, rows)
    alpha = model.signal[at] / np.append(model.signal, 1.0)[at - 1]
    x, x0hat = (model.tensor(rows.columns[name]) for name in ("x", "x0"))
    z = _noise(model, rows, np.ones(len(rows), bool))
    a, s, alpha = model.per_row(a, s, alpha)
    return solvers.langevin(x, x0hat, a, s, alpha, z), {}


def _solved(model: Model, rows: Rows) -> tuple[Any, dict[str, Any]]:
    """The steps of diffusers, one for the rows at each place of each solver."""
    columns = rows.columns
    x, x0hat, memory = (model.tensor(columns[name]) for name in ("x", "x0", "memory"))
    known = columns["known"].copy()
    places = np.stack([rows.step - 1 + skipped(rows), known, columns["solver"], columns["levels"]], 1)
    places = np.concatenate([places, columns["timesteps"]], 1)
    which, group = np.unique(places, axis=0, return_inverse=True)
    for i, (at, count, of, among, *listed) in enumerate(which.tolist()):
        here = np.flatnonzero(group.reshape(-1) == i)
        some, ratio = model.tensor(here), columns["ratios"][here, min(at, levers.MOST - 1)]
        way = solvers.Way(SOLVERS[of], solvers.over(model.schedule), among, tuple(t for t in listed if t >= 0))
        past = solvers.Past(count, memory[some])
        rho = None if (ratio == 1).all() else model.per_row(ratio)[0]
        x[some], past = solvers.stepped(way, at, x[some], x0hat[some], past, rho)
        known[here], memory[some] = past
    return x, {"known": known, "memory": memory.cpu().numpy()}


def _noise(model: Model, rows: Rows, stochastic: Bools) -> Any:
    """The normals, named by the last step, of the rows marked, 0 elsewhere: [n, *shape], or the number 0."""
    if not stochastic.any():
        return 0.0
    drawn = noise.normals(rows.keys[stochastic], rows.step[stochastic] - 1, model.size, model.device())
    if not stochastic.all():
        some, drawn = drawn, drawn.new_zeros(len(rows), model.size)
        drawn[model.tensor(np.flatnonzero(stochastic))] = some
    return drawn.reshape(len(rows), *model.shape)
