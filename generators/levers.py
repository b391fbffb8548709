"""Levers of a diffusion sampler that change no weights: where its network is asked, and how its parts are scaled.

Each is kept per row, at rest where it is not used, so that jobs with different levers still share network calls.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.denoising import Levels, Model
from search import keys
from search.keys import Words
from search.ports import Bools, Floats, Ints, Rows

MOST = 64
"""Levels of an explicit list, at most; clean data stands behind them in the rows' tables."""
UNTUNED = 3
"""Steps of unipc whose outputs are not compensated: two have too few before them, and the last is the answer."""


@dataclass(frozen=True)
class Levers:
    """Settings of one generator.

    timesteps: the network's levels, falling, one for each of the model's `levels`; () is diffusers' `trailing` spacing.
    skip: coefficient of the skip connections at each resolution of the network, the finest first (Skip-Tuning, Ma et
    al. 2024, arXiv 2402.15170); () is 1. shift: width w of the window of Time-Shift (Li et al. 2024, arXiv 2305.15583);
    0 is none. above: it ends at this level, the paper's cutoff. ratios: rho of DC-Solver (Zhao et al. 2024, arXiv
    2409.03755) for every output of unipc from the third on but the last; () is 1. guided: levels with guidance, from
    the cleanest to the noisiest (Kynkäänniemi et al. 2024, arXiv 2404.07724); None is all. start: number of one noise
    from which every row starts, of all items, whatever its key (Optimal Boundary Conditions, arXiv 2305.15357).
    """

    timesteps: tuple[int, ...] = ()
    skip: tuple[float, ...] = ()
    shift: int = 0
    above: int = 0
    ratios: tuple[float, ...] = ()
    guided: tuple[int, int] | None = None
    start: int | None = None

    def columns(self, n: int, model: Model) -> dict[str, NDArray[Any]]:
        """What rows carry of them. `at`: trained level of the last evaluation, -1 before the first."""
        listed = [*self.timesteps, *[-1] * (MOST + 1 - len(self.timesteps))]
        columns: dict[str, NDArray[Any]] = {
            "timesteps": np.tile(np.array(listed, np.int16), (n, 1)),
            "shift": np.tile(np.array([self.shift, self.above], np.int64), (n, 1)),
            "at": np.full(n, -1, model.schedule.index),
        }
        if model.skips:
            scales = self.skip or (1.0,) * model.skips
            columns["skip"] = np.tile(np.array(scales, np.float32), (n, 1))
        return columns

    def compensated(self, n: int) -> dict[str, NDArray[Any]]:
        """DC-Solver's ratios, by the number of the output: [n, MOST]."""
        ratios = np.ones(MOST, np.float32)
        ratios[2 : 2 + len(self.ratios)] = self.ratios
        return {"ratios": np.tile(ratios, (n, 1))}

    def limited(self, n: int, trained: int) -> dict[str, NDArray[Any]]:
        """The levels with guidance, and what guided rows have cost."""
        low, high = self.guided or (0, trained)
        return {"guided": np.tile(np.array([low, high], np.int64), (n, 1)), "evaluations": np.zeros(n, np.int64)}

    def started(self, named: Words) -> Words:
        """The keys of the rows' starts: their own, or all of them that of the one noise."""
        if self.start is None:
            return named
        return np.broadcast_to(keys.rows(keys.problem(0, "start"), self.start, 1), named.shape)


AT_REST = Levers()


def placed(model: Model, rows: Rows, number: Ints) -> Levels:
    """Levels `number` of the rows: those they list, else of even spacing. The one behind the last is clean data."""
    table = rows.columns["timesteps"]
    listed = table[:, 0] >= 0
    even = model.levels(rows.columns["levels"], number)
    if not listed.any():
        return even
    at = table[np.arange(len(rows)), np.minimum(number, MOST)].astype(np.int64)
    return model.placed(np.where(listed, at, even.trained))


def shifted(model: Model, rows: Rows, x: Any, at: Levels) -> Levels:
    """Where Time-Shift evaluates rows that come from a step, x [n, ...] on the device: the level t' that is nearest.

    argmin over t' in t - w/2 .. t + w/2 of |var(x) - s_t'^2|, var over the numbers of the row; of equals the cleanest.
    Rows at level `above` or below and fresh ones stay at t. The step goes to the level after t, from t' (algorithm 3).
    """
    window, above = rows.columns["shift"].T
    moves = (window > 0) & ~rows.columns["fresh"] & (at.trained > above)
    if not moves.any():
        return at
    x = x.reshape(len(rows), -1).double()
    return model.placed(np.where(moves, nearest(model, at.trained, window // 2, x.var(1).cpu().numpy()), at.trained))


def nearest(model: Model, at: Ints, reach: Ints, variance: Floats) -> Ints:
    """The level within `reach` of `at` whose s^2 is nearest to a variance. All [n]."""
    last = len(model.signal) - 1
    noise = 1 - model.signal  # s^2, rising
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach, last)
    over = np.clip(np.searchsorted(noise, variance), low, high)  # the first that is no less, within the window
    under = np.maximum(over - 1, low)
    return np.where(variance - noise[under] <= noise[over] - variance, under, over)


def inside(rows: Rows, at: Levels) -> Bools:
    """Which rows are guided at these levels."""
    low, high = rows.columns["guided"].T
    return (low <= at.trained) & (at.trained <= high)


def interpolated(outputs: list[Any], timesteps: tuple[int, int, int], ratio: Any) -> Any:
    """DC-Solver's compensated output: Lagrange's polynomial through three outputs at t' = rho t + (1 - rho) t_1.

    outputs, timesteps: at t (the last), t_1 and t_2 before it. ratio: rho, [n, 1, ...] or a number; 1 is the output at
    t itself, exactly.
    """
    t, before, _ = timesteps
    there = t * ratio + before * (1 - ratio)
    total: Any = 0.0
    for i, output in enumerate(outputs):
        weight: Any = 1.0
        for j, other in enumerate(timesteps):
            if j != i:
                weight = weight * ((there - other) / (timesteps[i] - other))
        total = total + weight * output
    return total
