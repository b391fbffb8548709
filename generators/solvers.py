"""Ways from one noise level to the next, beside the DDIM step of `generators.denoising`.

The deterministic solvers are those of diffusers. A scheduler of diffusers keeps its past inside itself; here the past
lies in the rows: it is put into a copy of the scheduler for one step of the rows at the same place and read back.
Euler's step of x / a in s / a is the DDIM step at eta 0 (Song et al. 2021, eq. 14), and is taken as such.
"""

import copy
import warnings
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from generators.denoising import Flow, Preserving
from generators.levers import interpolated
from search.ports import Floats, Ints

Solver = Literal["ddim", "dpm++", "deis", "unipc", "euler", "heun", "pc"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)
STOCHASTIC = frozenset[Solver]({"ddim", "pc"})
"""Those that take an eta."""
REMEMBERING = frozenset[Solver]({"dpm++", "deis", "unipc", "heun"})
"""Those whose next step depends on earlier ones; their rows carry `MEMORY` latents."""
REMEMBERS = np.array([solver in REMEMBERING for solver in SOLVERS])
PC, HEUN = SOLVERS.index("pc"), SOLVERS.index("heun")
"""The same by the solvers' places in `SOLVERS`, as rows carry them."""
MEMORY = 3
SNR = 0.16
"""r of the corrector: the signal-to-noise ratio of Song et al. 2021."""

_CLASSES = {
    "dpm++": "DPMSolverMultistepScheduler",
    "deis": "DEISMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "heun": "HeunDiscreteScheduler",
}


def evaluations(solver: Solver, levels: int) -> int:
    """Evaluations of the network, without guidance, on a way through `levels` noise levels."""
    return {"pc": 2 * levels - 1, "heun": max(1, 2 * levels - 2)}.get(solver, levels)


def level(of: Ints, evaluation: Ints) -> Ints:
    """Number of the noise level, from 0, at which rows evaluate the network for the `evaluation`-th time, from 0.

    pc: twice at each but the first, to correct and to go on. heun: at the end of each step but the first, and again.
    """
    twice = np.where(of == PC, (evaluation + 1) // 2, evaluation)
    return np.where((of == HEUN) & (evaluation > 0), evaluation // 2 + 1, twice)


def langevin(x: Any, x0hat: Any, a: Any, s: Any, alpha: Any, z: Any) -> Any:
    """One corrector step at the level (a, s): x + e g + sqrt(2 e) z, e = 2 alpha (r |z| / |g|)^2, g the score.

    Song et al. 2021, algorithm 5. alpha: 1 - beta of the trained level. z: standard normals like x. Norms are those of
    each row, where the paper's code takes their mean over the batch, so that company changes nothing.
    """
    g = (a * x0hat - x) / s**2
    dims = tuple(range(1, x.ndim))

    def squared(v: Any) -> Any:
        return (v * v).sum(dims, keepdim=True)

    e = 2 * alpha * SNR**2 * squared(z) / squared(g).clamp_min(1e-20)
    return x + e * g + (2 * e) ** 0.5 * z


class Past(NamedTuple):
    """What rows at one place remember. known: steps since their start or renoising; heun: 1 half way through a step.

    latents [n, MEMORY, *shape]. dpm++, deis: the previous output. unipc: the last two outputs and the sample before
    the last step. heun: x and x0hat at the beginning of the step.
    """

    known: int
    latents: Any


class Way(NamedTuple):
    """What rows at one place have in common. over: see `over`. timesteps: listed ones, or ()."""

    solver: Solver
    over: Flow | bytes
    levels: int
    timesteps: tuple[int, ...] = ()


def over(schedule: Preserving | Flow) -> Flow | bytes:
    """Levels by their value: a flow, or the cumulative alphas as bytes."""
    return schedule if isinstance(schedule, Flow) else schedule.signal.tobytes()


def stepped(way: Way, at: int, x: Any, x0hat: Any, past: Past, ratio: Any = None) -> tuple[Any, Past]:
    """One step of diffusers, from x and x0hat of the `at`-th evaluation (all rows), to the next x and past.

    In float64: at the noisiest level a is 5e-5, and the difference of numbers of size 1 / a is left. ratio: DC-Solver's
    of each row, [n, 1, ...], where they are not all 1.
    """
    scheduler = copy.copy(_scheduler(way))
    if way.solver == "heun":
        return _heun(scheduler, at, x, x0hat, past)
    scheduler.set_begin_index(at)
    _recall(scheduler, way.solver, past)
    output, x, t = x0hat.double(), x.double(), scheduler.timesteps[at]
    if ratio is not None and way.solver == "unipc" and past.known >= 2:
        x, output = _compensated(scheduler, at, x, output, ratio.double())
    moved = scheduler.step(output, t, x, return_dict=False)[0]
    return moved.float(), _past(scheduler, past)


def _compensated(scheduler: Any, at: int, x: Any, output: Any, ratio: Any) -> tuple[Any, Any]:
    """The corrected x, and the output that the predictor and all that comes later see in place of the network's own.

    The corrector itself is given what the network said (Zhao et al. 2024, algorithm 1).
    """
    t = scheduler.timesteps
    scheduler._init_step_index(t[at])
    how = {"last_sample": scheduler.last_sample, "this_sample": x, "order": scheduler.this_order}
    x = scheduler.multistep_uni_c_bh_update(this_model_output=output, **how)
    scheduler.last_sample = None  # corrected already
    before, last = scheduler.model_outputs
    return x, interpolated([output, last, before], (int(t[at]), int(t[at - 1]), int(t[at - 2])), ratio)


def _heun(scheduler: Any, at: int, x: Any, x0hat: Any, past: Past) -> tuple[Any, Past]:
    """Heun's steps of x / a in sigma = s / a; the first is Euler's.

    At almost no signal (sigma 2e4 for the digits) it has the slopes' average times 2e4 for its step, and the slope at
    its end is off by the change of x0hat over a sigma of 6: diffusers alone gives answers of size 200 in ten steps.
    """
    if at and at % 2 == 0 and not past.known:
        return x, past  # renoised to the middle of a step that has no beginning: it begins here
    index = at + 1 if at else 0  # of the scheduler, whose first step has two halves
    sigma = scheduler.sigmas
    a = (sigma**2 + 1) ** -0.5
    scheduler.set_begin_index(index)
    if past.known:
        first, then = past.latents.double().unbind(1)[:2]
        scheduler.sample, scheduler.dt = first / a[index - 1], sigma[index] - sigma[index - 1]
        scheduler.prev_derivative = (scheduler.sample - then) / sigma[index - 1]
    moved = scheduler.step(x0hat.double(), scheduler.timesteps[index], x / a[index], return_dict=False)[0]
    halfway = at > 0 and not past.known
    return (a[index + 1] * moved).float(), _kept(past, 1, x, x0hat) if halfway else _kept(past, 0)


def _recall(scheduler: Any, solver: Solver, past: Past) -> None:
    """Put the past of a multistep solver (order 2) into its scheduler."""
    known, before = past.known, past.latents.double().unbind(1)
    scheduler.lower_order_nums = min(known, 2)
    if solver != "unipc":
        scheduler.model_outputs = [None, before[0]]
        return
    scheduler.model_outputs, scheduler.timestep_list = [before[0], before[1]], [None, None]
    if known:
        scheduler.last_sample, scheduler.this_order = before[2], min(known, 2)


def _past(scheduler: Any, past: Past) -> Past:
    """What the rows of a multistep solver remember after the scheduler's step."""
    if hasattr(scheduler, "last_sample"):
        return _kept(past, past.known + 1, *scheduler.model_outputs, scheduler.last_sample)
    return _kept(past, past.known + 1, scheduler.model_outputs[-1])


def _kept(past: Past, known: int, *latents: Any) -> Past:
    import torch

    new = [latent.float() for latent in latents]
    return Past(known, torch.stack([*new, *past.latents.unbind(1)[len(new) :]], 1))


@lru_cache(256)
def _scheduler(way: Way) -> Any:
    """A scheduler of diffusers at its beginning, over our levels; it takes x0hat as the network's output."""
    import diffusers

    found = getattr(diffusers, _CLASSES[way.solver])
    with warnings.catch_warnings():  # diffusers hands tensors to numpy in a way that numpy will drop
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
        if isinstance(way.over, Flow):
            return _flowing(found, way.over, way.levels)
        trained = np.frombuffer(way.over)
        scheduler = found(num_train_timesteps=len(trained), prediction_type="sample", timestep_spacing="trailing")
        scheduler.alphas_cumprod = trained  # in place of the float32 product that it made of its own betas
        scheduler.set_timesteps(way.levels)
    if way.timesteps:
        _list(scheduler, trained, way.timesteps)
    scheduler.sigmas = scheduler.sigmas.double()
    return scheduler


def _list(scheduler: Any, trained: Floats, timesteps: tuple[int, ...]) -> None:
    """Put listed levels in place of evenly spaced ones, as the scheduler would have: heun's but the first twice."""
    import torch

    at, places = np.array(timesteps), np.arange(len(timesteps))
    if len(scheduler.timesteps) > len(timesteps):
        places = np.concatenate([places[:1], places[1:].repeat(2)])
    sigmas = (((1 - trained) / trained) ** 0.5)[at].astype(np.float32)
    scheduler.timesteps = torch.as_tensor(at[places]).to(scheduler.timesteps)
    scheduler.sigmas = torch.cat([torch.as_tensor(sigmas[places]), scheduler.sigmas[-1:]])


def _flowing(found: Any, flow: Flow, levels: int) -> Any:
    """The scheduler over a flow's levels. They work in log(a / s): of pure noise they see signal of one part in 1e4."""
    import torch

    scheduler = found(prediction_type="sample", use_flow_sigmas=True, flow_shift=flow.shift)
    scheduler.set_timesteps(levels)
    s = flow.levels(np.full(levels + 1, levels), np.arange(levels + 1)).s
    scheduler.sigmas = torch.tensor(np.minimum(s, 1 - 1e-4))
    return scheduler
