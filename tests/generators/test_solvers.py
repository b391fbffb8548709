"""Each solver against diffusers alone, on a network that is exact for Gaussian data, and rows in any company."""

from typing import Any, get_args

import numpy as np
import pytest

from generators.denoising import Flow, Model, Preserving, always
from generators.diffusion import Diffusion
from generators.digits import squared_cosine
from generators.solvers import REMEMBERING, Solver, evaluations, langevin
from search import keys
from search.ports import Item, Rows

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # how diffusers hands tensors to numpy

N = 6
KEYS = keys.rows(keys.problem(0, "solvers"), 0, N)
MEAN, SD = 0.5, 0.3
SOLVERS: tuple[Solver, ...] = get_args(Solver)
SIGNAL = squared_cosine()


def exact(x: Any, level: Any, label: Any) -> Any:
    """v for data N(MEAN, SD^2): x0hat = MEAN + a SD^2 (x - a MEAN) / (a^2 SD^2 + s^2), v = (a x - x0hat) / s."""
    import torch

    signal = torch.tensor(SIGNAL)[level].reshape(-1, *[1] * (x.ndim - 1))
    a, s = signal.sqrt(), (1 - signal).sqrt()
    x = x.double()
    x0hat = MEAN + a * SD**2 * (x - a * MEAN) / (signal * SD**2 + s**2)
    return ((a * x - x0hat) / s).float()


def gaussian(solver: Solver, levels: int = 10, eta: float = 0.0, shape: tuple[int, ...] = (2, 3)) -> Diffusion:
    model = Model("gaussian", exact, "v", shape, Preserving(SIGNAL), always(0), decode=lambda x: list(x.tolist()))
    return Diffusion(model, lambda item: 0, levels, eta, solver=solver)


def start(generator: Diffusion, names: Any = KEYS) -> Rows:
    return generator.start([Item()] * len(names), names)


def run(generator: Diffusion, rows: Rows, steps: int = 10_000) -> Rows:
    for _ in range(steps):
        live = np.flatnonzero(~rows.done)
        if not len(live):
            break
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


def alike(one: Rows, other: Rows) -> None:
    """The same but for rounding in another order: columns are float32 numbers of size 1 to 10."""
    np.testing.assert_array_equal(one.step, other.step)
    for name, column in one.columns.items():
        np.testing.assert_allclose(column, other.columns[name], atol=2e-5, err_msg=name)


THEIRS = {
    "dpm++": "DPMSolverMultistepScheduler",
    "deis": "DEISMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
}


def scheduler(solver: Solver, levels: int) -> Any:
    import diffusers

    made = getattr(diffusers, THEIRS[solver])(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing"
    )
    made.set_timesteps(levels)
    made.sigmas = made.sigmas.double()  # of its own values; in float32 deis differs from itself by .01 at two levels
    return made


@pytest.mark.parametrize("levels", [1, 2, 3, 10, 20])
@pytest.mark.parametrize(("solver", "atol"), [("dpm++", 3e-4), ("deis", 3e-4), ("unipc", 3e-4), ("euler", 5e-3)])
def test_every_evaluation_is_where_diffusers_alone_would_make_it(solver: Solver, levels: int, atol: float) -> None:
    """Theirs runs in float64 where it can; its sigmas come from a float32 product of 1000 numbers, 1e-4 off at the
    noisiest. Euler's x / a is made float32, and is 7e4 there: two units in its last place are 5e-3 up to 16 of them."""
    import torch

    generator, theirs = gaussian(solver, levels), scheduler(solver, levels)
    rows = start(generator)
    x = torch.tensor(rows.columns["x"]).double()
    euler = solver == "euler"
    if euler:
        x = x * (theirs.sigmas[0] ** 2 + 1) ** 0.5
    for t in theirs.timesteps:
        rows = generator.advance(rows)
        seen = theirs.scale_model_input(x, t) if euler else x
        np.testing.assert_allclose(rows.columns["x"], seen.numpy(), atol=atol)
        x = theirs.step(exact(seen, t.long().repeat(N), None).double(), t, x, return_dict=False)[0]
    assert rows.done.all()
    if solver != "deis":  # whose scheduler ends at the least trained noise, and not in clean data
        np.testing.assert_allclose(rows.columns["x0"], x.numpy(), atol=atol)


@pytest.mark.parametrize("levels", [3, 10, 20])
def test_heun_is_that_of_diffusers_from_the_second_level_on(levels: int) -> None:
    import torch

    generator, theirs = gaussian("heun", levels), scheduler("heun", levels)
    rows = generator.advance(generator.advance(start(generator)))
    np.testing.assert_allclose(
        rows.columns["x"], run(gaussian("ddim", levels), start(gaussian("ddim", levels)), 2).columns["x"], atol=1e-6
    )
    theirs.set_begin_index(2)
    x = torch.tensor(rows.columns["x"]).double() * (theirs.sigmas[2] ** 2 + 1) ** 0.5
    for i in range(2, 2 * levels - 1):
        t = theirs.timesteps[i]
        seen = x / (theirs.sigmas[i] ** 2 + 1) ** 0.5
        np.testing.assert_allclose(rows.columns["x"], seen.numpy(), atol=3e-4)
        x = theirs.step(exact(seen, t.long().repeat(N), None).double(), t, x, return_dict=False)[0]
        rows = generator.advance(rows) if not rows.done.all() else rows
    np.testing.assert_allclose(rows.columns["x0"], x.numpy(), atol=3e-4)
    assert rows.step[0] == evaluations("heun", levels) == 2 * levels - 2


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm++", 2), ("deis", 2), ("unipc", 2), ("heun", 2)])
def test_the_error_falls_with_the_order(solver: Solver, order: int) -> None:
    """The flow of a Gaussian is x0 = MEAN + SD (x_T - a MEAN) / sqrt(a^2 SD^2 + s^2). From 25 to 100 levels an error of
    order p falls by 4^p; the steps at the ends are of lower order, so half of that rate is asked."""

    def error(levels: int) -> float:
        rows = start(gaussian(solver, levels))
        a, s = np.sqrt(SIGNAL[-1]), np.sqrt(1 - SIGNAL[-1])
        flow = MEAN + SD * (rows.columns["x"] - a * MEAN) / np.sqrt(a**2 * SD**2 + s**2)
        return float(np.abs(run(gaussian(solver, levels), rows).columns["x0"] - flow).max())

    coarse, fine = error(25), error(100)
    assert fine < coarse / 4 ** (order / 2)
    assert fine < (0.02 if order == 1 else 0.006)


def flowing(x: Any, level: Any, label: Any) -> Any:
    """u = eps - x0 for data N(MEAN, SD^2) and a linear flow whose network is told 1000 s."""
    s = (level / 1000).double().reshape(-1, *[1] * (x.ndim - 1))
    a, x = 1 - s, x.double()
    x0hat = MEAN + a * SD**2 * (x - a * MEAN) / (a**2 * SD**2 + s**2)
    return ((x - x0hat) / s).float()


def flow(solver: Solver, levels: int = 10, eta: float = 0.0, shift: float = 3.0) -> Diffusion:
    model = Model("flow", flowing, "flow", (2, 3), Flow(shift), always(0), decode=lambda x: list(x.tolist()))
    return Diffusion(model, lambda item: 0, levels, eta, solver=solver)


@pytest.mark.parametrize("levels", [1, 2, 10])
def test_a_flow_goes_as_in_diffusers(levels: int) -> None:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler

    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / levels, levels).tolist())
    rows = start(flow("euler", levels))
    x = torch.tensor(rows.columns["x"])
    for t in theirs.timesteps:
        x = theirs.step(flowing(x, t.repeat(N), None), t, x, return_dict=False)[0]
    np.testing.assert_allclose(run(flow("euler", levels), rows).columns["x0"], x.numpy(), atol=1e-5)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm++", 2), ("deis", 2), ("unipc", 2)])
def test_the_error_of_a_flow_falls_with_the_order(solver: Solver, order: int) -> None:
    """As above; of pure noise, s = 1, the flow is x0 = MEAN + SD x."""

    def error(levels: int) -> float:
        rows = start(flow(solver, levels))
        return float(np.abs(run(flow(solver, levels), rows).columns["x0"] - MEAN - SD * rows.columns["x"]).max())

    coarse, fine = error(25), error(100)
    assert fine < coarse / 4 ** (order / 2)
    assert fine < (0.03 if order == 1 else 0.006)


def test_ancestral_steps_of_a_flow_keep_the_law() -> None:
    """eta 1 and 200 levels: mean and spread of 600 answers are those of the data, to 4 standard errors and 0.01."""
    generator = flow("ddim", 200, eta=1.0)
    many = keys.rows(keys.problem(0, "flow"), 0, 100)
    x0 = run(generator, start(generator, many)).columns["x0"]
    assert abs(x0.mean() - MEAN) < 4 * SD / x0.size**0.5 + 0.01
    assert abs(x0.std() - SD) < 4 * SD / (2 * x0.size) ** 0.5 + 0.01


def test_rows_of_a_flow_can_be_renoised_from_pure_noise() -> None:
    """The first evaluation is at a = 0, where nothing is kept or added."""
    generator = flow("ddim", 4, eta=1.0)
    rows = run(generator, start(generator), 1)
    np.testing.assert_array_equal(generator.renoise(rows, 0).columns["x"], rows.columns["x"])
    assert np.isfinite(run(generator, generator.renoise(run(generator, rows, 2), 0)).columns["x0"]).all()


def test_a_flow_has_no_corrector() -> None:
    generator = flow("pc", 4, eta=1.0)
    with pytest.raises(ValueError, match="flow is a flow, without the variance-preserving levels"):
        run(generator, start(generator))


def test_rows_of_all_solvers_and_steps_share_calls() -> None:
    for among in ([s for s in SOLVERS if s in REMEMBERING], [s for s in SOLVERS if s not in REMEMBERING]):
        jobs = [gaussian(s, levels, eta=1.0 if s in ("ddim", "pc") else 0.0) for s in among for levels in (3, 8)]
        assert len({job.batch_key for job in jobs}) == 1
        begun = [run(job, start(job), i % 3) for i, job in enumerate(jobs)]
        alone = Rows.join([run(job, rows) for job, rows in zip(jobs, begun, strict=True)])
        alike(run(jobs[0], Rows.join(begun)), alone)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_the_past_follows_its_row(solver: Solver, at: int) -> None:
    generator = gaussian(solver, 6, eta=0.5 if solver in ("ddim", "pc") else 0.0)
    straight = run(generator, start(generator))
    half = run(generator, start(generator), at)
    order = np.array([4, 0, 2])
    alike(run(generator, half[order]), straight[order])
    late, early = half[:3], run(generator, start(generator)[3:], at - 1)
    alike(run(generator, Rows.join([early, late])), straight[np.array([3, 4, 5, 0, 1, 2])])


@pytest.mark.parametrize("solver", SOLVERS)
def test_renoised_rows_forget_and_end_in_the_data(solver: Solver) -> None:
    """From any step back to any other, the answers still have the data's law: mean .5, sd .3; 3000 numbers, and 6 % of
    sd for the solvers' error, which is 20 % at 12 levels for those of first order. 24 dimensions, because the
    corrector's step is as large as 1 / |g|^2, whose mean is far above that of its inverse in few."""
    levels, eta = 12 if solver in REMEMBERING else 100, 1.0 if solver in ("ddim", "pc") else 0.0
    generator = gaussian(solver, levels, eta, (24,))
    names = keys.rows(keys.problem(2, "renoise"), 0, 125)
    for at, step in ((generator.steps, 3), (generator.steps, 4), (8, 5)):
        rows = run(generator, start(generator, names), at)
        rows = run(generator, generator.renoise(rows.fork(np.arange(125)), step))
        x = rows.columns["x0"]
        assert (rows.step == generator.steps).all()
        assert abs(x.mean() - MEAN) < 5 * SD / np.sqrt(3000) + 0.06 * SD
        assert abs(x.std() / SD - 1) < 5 / np.sqrt(6000) + 0.06


def test_the_corrector_is_langevin_with_the_papers_step() -> None:
    import torch

    x, x0hat, z = (torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(i)).double() for i in range(3))
    a, s, alpha = 0.6, 0.8, 0.97
    moved = langevin(x, x0hat, a, s, alpha, z)
    for i in range(3):
        g = -(x[i] - a * x0hat[i]) / s / s  # -epshat / s
        e = 2 * alpha * (0.16 * z[i].norm() / g.norm()) ** 2
        torch.testing.assert_close(moved[i], x[i] + e * g + (2 * e).sqrt() * z[i])


def test_predictor_corrector_draws_the_data() -> None:
    """Answers of 40 levels are N(.5, .3^2) but for the last noise, which x0hat leaves out, and the error of the
    predictor and of the corrector's step: 24 000 numbers have standard errors of .002; .02 is left for the rest."""
    generator = gaussian("pc", 40, eta=1.0, shape=(24,))
    assert generator.steps == 79
    x = run(generator, start(generator, keys.rows(keys.problem(3, "pc"), 0, 1000))).columns["x0"]
    assert abs(x.mean() - MEAN) < 0.02
    assert abs(x.std() - SD) < 0.02


@pytest.mark.parametrize(
    ("solver", "levels", "cost"),
    [("ddim", 7, 7), ("unipc", 7, 7), ("heun", 7, 12), ("heun", 1, 1), ("heun", 2, 2), ("pc", 7, 13), ("pc", 1, 1)],
)
def test_evaluations_are_counted_before_they_are_made(solver: Solver, levels: int, cost: int) -> None:
    assert evaluations(solver, levels) == gaussian(solver, levels).steps == cost
