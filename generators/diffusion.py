"""Diffusion networks as generators: every row carries its own levels, solver, eta, guidance and label.

Rows at different levels, of jobs with different settings, share one network call.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators import correctors, inpainting, levers, moves, noise, solvers, watching
from generators.denoising import Levels, Model, denoised, labels
from generators.inpainting import Given
from generators.levers import AT_REST, Levers
from generators.solvers import SOLVERS, Solver
from generators.targets import Target
from search.keys import START, Words, normals
from search.ports import Floats, Generator, Item, Rows


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Generator over a trained model.

    label: an item's class (the model's null for none), or its condition as a JSON object. levels: noise levels of one
    row, at most the trained ones.
    eta: noise of each step, 0 to 1; with 0 a row's start decides its answer, so that copies never separate.
    guidance: strength of classifier-free guidance (Ho & Salimans 2022); 1 is none, anything else costs two evaluations.
    solver: the way between levels; eta belongs to ddim and pc alone. conditional: items have classes. watch: share of
    the last evaluations over which rows keep the variance of x0hat; 0 for none. levers: where the network is asked, and
    how its parts are scaled. given: what is known of an item's answer, for rows that begin `skipped` levels later, as
    that with noise.

    A row is lazy: `advance` moves x to its next level and then evaluates the network there, so that x0, the clean
    sample that its preview shows, always belongs to its x. `fresh` rows (new or renoised) are evaluated where they are.
    The step behind the last level is x = x0.
    """

    model: Model
    label: Callable[[Item], Any]
    levels: int
    eta: float = 0.0
    guidance: float = 1.0
    solver: Solver = "ddim"
    conditional: bool = True
    watch: float = 0.0
    levers: Levers = AT_REST
    given: Callable[[Item], Given] | None = None
    skipped: int = 0

    @property
    def batch_key(self) -> Hashable:
        """The model, and what rows have columns for: guidance, a memory, watching, a start; all else is per row."""
        kept = (self.solver in solvers.REMEMBERING, self.watch > 0, self.given is not None)
        return ("diffusion", self.model.name, self.guidance != 1, *kept)

    @property
    def steps(self) -> int:
        """Calls of the network for one row."""
        return solvers.evaluations(self.solver, self.levels - self.skipped)

    @property
    def price(self) -> int:
        """Evaluations of one step: 2 when guided."""
        return 1 if self.guidance == 1 else 2

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Pure noise, drawn in numpy so that a key names the same start on every device."""
        n, shape = len(keys), self.model.shape
        x = normals(self.levers.started(keys), START, self.model.size).astype(np.float32).reshape(n, *shape)
        columns = {
            "x": x,
            "x0": np.zeros_like(x),
            "fresh": np.ones(n, bool),
            "label": labels([self.label(item) for item in items]),
            "levels": np.full(n, self.levels, np.int64),
            "steps": np.full(n, self.steps, np.int64),
            "solver": np.full(n, SOLVERS.index(self.solver), np.int64),
            "eta": np.full(n, self.eta, np.float32),
            "guidance": np.full(n, self.guidance, np.float32),
            **self.levers.columns(n, self.model),
        }
        if self.guidance != 1:
            columns |= self.levers.limited(n, self.model.schedule.trained)
        if self.solver in solvers.REMEMBERING:
            columns["known"] = np.zeros(n, np.int64)
            columns["memory"] = np.zeros((n, solvers.MEMORY, *shape), np.float32)
            columns |= self.levers.compensated(n)
        if self.watch:
            columns |= watching.begun(n, shape, self.steps, self.watch)
        rows = Rows.fresh(keys, columns)
        return rows if self.given is None else inpainting.begun(self.model, rows, items, self.given, self.skipped)

    def advance(self, rows: Rows) -> Rows:
        """Every row moves to its next level, unless it is fresh, and is evaluated there: one call of the network."""
        import torch

        columns = rows.columns
        with torch.inference_mode():
            x, memory = moves.moved(self.model, rows)
            at = levers.shifted(self.model, rows, x, moves.levels(self.model, rows))
            output, cost = self._evaluate(rows, x, at)
            x0hat = denoised(self.model.kind, x, output, *self.model.per_row(at.a, at.s))
            x0hat = inpainting.kept(self.model, rows, x0hat)
            x, x0 = noise.fetched(x, x0hat)  # the only time that the device is waited for
            new = {"x": x, "x0": x0, "fresh": np.zeros(len(rows), bool), "at": at.trained, **memory, **cost}
            if "watched" in columns:
                new |= watching.seen(rows, x0)
            return rows.moved(rows.step + 1 >= columns["steps"], new)

    def preview(self, rows: Rows) -> list[Any]:
        """The last evaluation's x0hat, decoded: no evaluation of its own. Before the first step, the zero latent.

        By the model's sketch, if it has one, where it is not yet the answer.
        """
        decode, sketch, x0 = self.model.decode, self.model.sketch, rows.columns["x0"]
        if sketch is None or rows.done.all():
            return decode(x0)
        seen = iter(decode(x0[rows.done]) if rows.done.any() else ()), iter(sketch(x0[~rows.done]))
        return [next(seen[0] if done else seen[1]) for done in rows.done.tolist()]

    def finish(self, rows: Rows) -> list[Any]:
        """The decoded x0hat of the last level, whose step to clean data is x = x0hat."""
        return self.model.decode(rows.columns["x0"])

    def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows back at an earlier step: x' = (a'/a) x + sqrt(s'^2 - (a'/a)^2 s^2) xi, xi from each row's key.

        x is the state of the last evaluation, after k advances that of step k - 1: at step k - 1 nothing is added.
        Raises ValueError for a step that is not below every row's own.
        """
        if not 0 <= step < rows.step.min(initial=np.iinfo(np.int64).max):
            raise ValueError(f"step {step} is not earlier than step {rows.step.min()}, from 0 on")
        shape, columns = (-1, *self.model.shape), rows.columns
        back = replace(rows, step=np.full(len(rows), step, np.int64), done=np.zeros(len(rows), bool))
        old, new = moves.levels(self.model, rows, rows.step - ~columns["fresh"]), moves.levels(self.model, back)
        kept = np.divide(new.a, old.a, out=np.ones(len(rows)), where=old.a > 0)  # a flow starts without signal
        added = np.sqrt(np.maximum(new.s**2 - (kept * old.s) ** 2, 0))
        xi = added[:, None] * normals(rows.keys, START, self.model.size)
        x = kept[:, None] * columns["x"].reshape(len(rows), -1) + xi
        changed = {"x": x.astype(np.float32).reshape(shape), "fresh": np.ones(len(rows), bool)}
        if "known" in columns:
            changed["known"] = np.zeros(len(rows), np.int64)
        if "watched" in columns:
            changed |= watching.forgotten(len(rows))
        return replace(back, columns={**columns, **changed})

    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        """New rows at step 0 whose noise is as long as that of their pivot and at this cosine to it.

        |p| (c u + sqrt(1 - c^2) w), u = p / |p|, w = unit(g - (g.u) u), g ~ N(0, I) from the key (Ma et al. 2025).
        Raises ValueError unless every pivot is at step 0 and the cosine between -1 and 1.
        """
        if pivots.step.any() or not -1 <= cosine <= 1:
            raise ValueError(f"pivots must be at step 0 (not {pivots.step.max(initial=0)}), cosine {cosine} in -1..1")
        middle = inpainting.middle(self.model, pivots)
        p = (pivots.columns["x"] - middle).reshape(len(keys), -1).astype(np.float64)
        length = np.linalg.norm(p, axis=1, keepdims=True)
        u, g = p / length, normals(keys, START, self.model.size)
        w = g - (g * u).sum(1, keepdims=True) * u
        w /= np.linalg.norm(w, axis=1, keepdims=True)
        x = length * (cosine * u + np.sqrt(1 - cosine**2) * w)
        x = middle + x.astype(np.float32).reshape(-1, *self.model.shape)
        return Rows.fresh(keys, {**pivots.columns, "x": x, "x0": np.zeros_like(x)})

    def toward(self, exponents: tuple[float, ...]) -> Generator:
        """A process with weights for q_1^b_1 q_2^b_2: q_1 is the law without a class, its guide q_2 that of the class.

        (b,) is the power b of the model as configured: of q_2, or when guided (strength w) of q_1^(1-w) q_2^w. So
        (1 - w, w) is what guidance w means, with weights. Raises ValueError for what cannot be sampled.
        """
        given, w = correctors.checked(exponents), self.guidance
        if self.given is not None:
            raise ValueError(f"exponents {list(given)} take rows that begin as noise, not as a picture")
        if self.solver != "ddim" or self.eta != 1:
            raise ValueError(f"exponents {list(given)} take solver ddim at eta 1, not {self.solver} at {self.eta:g}")
        if len(given) == 2 and not self.conditional:
            raise ValueError(f"exponents {list(given)} need a class, and this model is told none; valid: one exponent")
        if len(given) == 2 and w != 1:
            raise ValueError(f"exponents {list(given)} guide already: set guidance to 1, not {w:g}")
        if len(given) == 1 and w != 1:
            given = (given[0] * (1 - w), given[0] * w)
        return Target(self.model, self.label, self.levels, given)

    def log_weights(self, rows: Rows) -> Floats:
        """0: the model itself is sampled without weights."""
        return np.zeros(len(rows))

    def _evaluate(self, rows: Rows, x: Any, at: Levels) -> tuple[Any, dict[str, Any]]:
        """The network's output, guided where these rows are: null + w (conditioned - null); and what was counted."""
        model, columns, label = self.model, rows.columns, rows.columns["label"]
        given = [x, model.tensor(at.trained)]
        if model.skips and (columns["skip"] != 1).any():
            given.append(model.tensor(columns["skip"]))
        if self.guidance == 1:
            return _asked(model, given, label), {}
        import torch

        inside = levers.inside(rows, at)
        cost, (strength,) = {"evaluations": columns["evaluations"] + 1 + inside}, model.per_row(columns["guidance"])
        some = slice(None) if inside.all() else model.tensor(np.flatnonzero(inside))
        twice = [torch.cat([part, part[some]]) for part in given]
        both = _asked(model, twice, np.concatenate([label, model.null(label[inside])]))
        output, free = both[: len(x)], both[len(x) :]
        guided = free + strength[some] * (output[some] - free)
        if inside.all():
            return guided, cost
        output = output.clone()
        output[some] = guided
        return output, cost


def _asked(model: Model, given: Sequence[Any], label: NDArray[Any]) -> Any:
    """The network's output. given: x, levels, and the coefficients of the skips, if any is not at rest."""
    x, level, *skip = given
    return model.network(x, level, model.told(label), *skip)
