"""Levers of a diffusion sampler: at rest they change no bit, in use they do what their papers say."""

import asyncio
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from generators.builtin import GENERATORS
from generators.denoising import Model, Preserving, always
from generators.diffusion import Diffusion
from generators.digits import evaluated, loaded, scaled, squared_cosine
from generators.levers import Levers, interpolated, nearest
from generators.solvers import Solver
from search import keys
from search.engine import Engine, Shared
from search.ports import Item, Rows, Task

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # how diffusers hands tensors to numpy

N = 5
KEYS = keys.rows(keys.problem(0, "levers"), 0, N)
SIGNAL = squared_cosine()
SOLVERS: tuple[Solver, ...] = get_args(Solver)


def network(x: Any, level: Any, label: Any) -> Any:
    """v of an x0hat that bends softly in x, so that no two solvers agree."""
    import torch

    signal = torch.tensor(SIGNAL)[level].reshape(-1, *[1] * (x.ndim - 1))
    a, s = signal.sqrt(), (1 - signal).sqrt()
    x0hat = (0.7 * a * x.double() / (0.3 * signal + s**2)).tanh() + 0.02 * label.reshape(-1, 1, 1)
    return ((a * x.double() - x0hat) / s).float()


def toy(levels: int = 7, solver: Solver = "ddim", guidance: float = 1.0, eta: float = 0.0, **set_: Any) -> Diffusion:
    model = Model("soft", network, "v", (2, 3), Preserving(SIGNAL), always(0), decode=lambda x: list(x.tolist()))
    eta = 1.0 if solver == "pc" else eta
    return Diffusion(model, lambda item: int(item.prompt or 0), levels, eta, guidance, solver, levers=Levers(**set_))


def run(generator: Diffusion, rows: Rows | None = None) -> Rows:
    rows = generator.start([Item(prompt="4")] * N, KEYS) if rows is None else rows
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


def even(levels: int) -> tuple[int, ...]:
    return tuple(toy().model.levels(np.full(levels, levels), np.arange(levels)).trained.tolist())


@pytest.mark.parametrize("levels", [1, 4, 7])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_default_levels_as_a_list_give_the_same_bits(solver: Solver, levels: int) -> None:
    plain = run(toy(levels, solver))
    listed = run(toy(levels, solver, timesteps=even(levels)))
    np.testing.assert_array_equal(listed.columns["x0"], plain.columns["x0"])


@pytest.mark.parametrize("solver", ["dpm++", "unipc", "heun"])
def test_listed_levels_are_where_the_network_is_asked(solver: Solver) -> None:
    chosen, asked = (999, 640, 410, 90, 12), list[int]()

    def watching(x: Any, level: Any, label: Any) -> Any:
        asked.extend(set(level.tolist()))
        return network(x, level, label)

    generator = toy(5, solver, timesteps=chosen)
    run(replace(generator, model=replace(generator.model, network=watching)))
    assert asked == [999, 640, 410, 410, 90, 90, 12, 12] if solver == "heun" else list(chosen)


def test_a_solver_on_listed_levels_is_that_of_diffusers() -> None:
    import torch
    from diffusers import DPMSolverMultistepScheduler

    chosen = [999, 700, 480, 333, 120]
    theirs = DPMSolverMultistepScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    theirs.set_timesteps(timesteps=chosen)
    theirs.sigmas = theirs.sigmas.double()
    x = torch.tensor(toy().start([Item(prompt="4")] * N, KEYS).columns["x"]).double()
    for t in theirs.timesteps:
        output = network(x.float(), t.repeat(N), torch.full((N,), 4))
        x = theirs.step(output.double(), t, x).prev_sample
    np.testing.assert_allclose(run(toy(5, "dpm++", timesteps=tuple(chosen))).columns["x0"], x.numpy(), atol=2e-3)


def test_rows_with_other_levers_share_a_call() -> None:
    made = [
        toy(4),
        toy(3, timesteps=(999, 500, 20)),
        toy(5, eta=0.7, shift=80, above=100),
        toy(6, start=3),
        toy(2, timesteps=(800, 3), shift=40),
    ]
    assert len({generator.batch_key for generator in made}) == 1
    blocks = [generator.start([Item(prompt="4")] * N, KEYS) for generator in made]
    together = run(made[0], Rows.join(blocks))
    apart = Rows.join([run(generator, block) for generator, block in zip(made, blocks, strict=True)])
    np.testing.assert_allclose(together.columns["x0"], apart.columns["x0"], atol=1e-6)


def test_rows_with_other_ratios_share_a_call() -> None:
    made = [toy(6, "unipc"), toy(6, "unipc", ratios=(0.8, 1.1, 1.3)), toy(4, "dpm++"), toy(5, "unipc", ratios=(1, 0.5))]
    assert len({generator.batch_key for generator in made}) == 1
    blocks = [generator.start([Item(prompt="4")] * N, KEYS) for generator in made]
    together = run(made[0], Rows.join(blocks))
    apart = Rows.join([run(generator, block) for generator, block in zip(made, blocks, strict=True)])
    np.testing.assert_allclose(together.columns["x0"], apart.columns["x0"], atol=1e-6)


# Skip-Tuning


def test_skip_scales_of_one_are_the_network_itself() -> None:
    import torch

    torch.manual_seed(0)
    net, n = loaded("digits"), 3
    x, level, label = torch.randn(n, 4, 14, 14), torch.tensor([999, 400, 0]), torch.arange(n)
    with torch.inference_mode():
        plain = net(x, level, class_labels=label).sample
        torch.testing.assert_close(scaled(net, x, level, label, torch.ones(n, 2)), plain, rtol=0, atol=0)
        fine, coarse = torch.tensor([[0.8, 1.0]] * n), torch.tensor([[1.0, 0.8]] * n)
        moved = [(scaled(net, x, level, label, skip) - plain).abs().max() for skip in (fine, coarse)]
        traced = evaluated("digits", "float32", True)(x, level, label, fine)
        torch.testing.assert_close(traced, scaled(net, x, level, label, fine), rtol=0, atol=1e-5)
    assert min(moved) > 1e-3


def test_skip_scales_multiply_the_skips_of_their_resolution_alone() -> None:
    """With a scale of 0 the blocks of that resolution see zeros where the skips were, and only there."""
    import torch

    torch.manual_seed(0)
    net, seen = loaded("digits"), dict[int, list[float]]()
    hooks = [
        block.register_forward_pre_hook(
            lambda _, given: seen.update({given[0].shape[-1]: [float(kept.abs().max()) for kept in given[1]]})
        )
        for block in net.up_blocks
    ]
    try:
        with torch.inference_mode():
            given = torch.randn(1, 4, 14, 14), torch.tensor([300]), torch.tensor([4])
            scaled(net, *given, torch.tensor([[0.0, 1.0]]))
    finally:
        for hook in hooks:
            hook.remove()
    assert seen[14] == [0.0, 0.0]
    assert min(seen[7]) > 0


# Time-Shift


def test_the_shifted_level_is_the_one_of_a_brute_search() -> None:
    rng = np.random.default_rng(0)
    at, reach = rng.integers(0, 1000, 400), rng.integers(0, 120, 400)
    variance = rng.uniform(-0.1, 1.4, 400)
    found = nearest(toy().model, at, reach, variance)
    for t, w, v, got in zip(at, reach, variance, found, strict=True):
        window = np.arange(max(0, t - w), min(999, t + w) + 1)
        assert got == window[np.abs(v - (1 - SIGNAL[window])).argmin()]


def test_a_shifted_row_is_asked_where_its_variance_points_and_steps_from_there() -> None:
    import torch

    generator = toy(5, shift=100, above=250)
    before = generator.advance(generator.start([Item(prompt="4")] * N, KEYS))
    assert (before.columns["at"] == 999).all()  # the first evaluation stays
    after = generator.advance(before)
    x = after.columns["x"]
    window = np.arange(799 - 50, 799 + 51)
    want = window[np.abs(x.reshape(N, -1).var(1, ddof=1)[:, None] - (1 - SIGNAL[window])).argmin(1)]
    np.testing.assert_array_equal(after.columns["at"], want)
    assert len(set(want)) > 1
    level, label = torch.tensor(want), torch.full((N,), 4)
    a, s = (np.sqrt(v)[:, None, None] for v in (SIGNAL[want], 1 - SIGNAL[want]))
    x0hat = a * x - s * network(torch.tensor(x), level, label).numpy()
    np.testing.assert_allclose(after.columns["x0"], x0hat, atol=1e-5)
    a_next, s_next = np.sqrt(SIGNAL[599]), np.sqrt(1 - SIGNAL[599])
    np.testing.assert_allclose(
        generator.advance(after).columns["x"], a_next * x0hat + s_next * (x - a * x0hat) / s, atol=1e-5
    )
    assert (run(generator).columns["at"] == 199).all()  # the last level lies below the cutoff


# DC-Solver


def test_ratios_of_one_give_the_same_bits() -> None:
    plain, one = run(toy(7, "unipc")), run(toy(7, "unipc", ratios=(1.0,) * 4))
    np.testing.assert_array_equal(one.columns["x0"], plain.columns["x0"])
    # beside a row with another ratio the longer way is taken, which must come to the same
    moved = toy(7, "unipc", ratios=(1.2,) * 4)
    both = Rows.join([one_row(toy(7, "unipc")), one_row(moved)])
    together = run(moved, both)
    np.testing.assert_allclose(together.columns["x0"][0], plain.columns["x0"][0], atol=1e-6)
    assert np.abs(together.columns["x0"][1] - plain.columns["x0"][0]).max() > 1e-3


def one_row(generator: Diffusion) -> Rows:
    return generator.start([Item(prompt="4")], KEYS[:1])


def test_a_ratio_moves_along_the_parabola_through_three_outputs() -> None:
    """rho 1 is the last output and rho 0 the one before, exactly; what is quadratic in t is met at any rho."""
    t = (333, 555, 777)
    outputs = [np.array(2.0 - 0.01 * u + 3e-5 * u * u) for u in t]
    assert interpolated(outputs, t, 1.0) == outputs[0]
    assert interpolated(outputs, t, 0.0) == outputs[1]
    there = 1.3 * 333 - 0.3 * 555
    assert interpolated(outputs, t, 1.3) == pytest.approx(2.0 - 0.01 * there + 3e-5 * there**2)


def test_a_good_ratio_brings_unipc_nearer_to_the_long_way() -> None:
    """What DC-Solver is for: of a few ratios the best is not 1 (Zhao et al. 2024, section 3)."""
    limit = run(toy(200)).columns["x0"]

    def off(ratio: float) -> float:
        return float(np.square(run(toy(5, "unipc", ratios=(ratio, ratio))).columns["x0"] - limit).mean())

    found = {ratio: off(ratio) for ratio in (0.6, 0.8, 1.0, 1.2, 1.4)}
    assert min(found, key=lambda ratio: found[ratio]) != 1.0


# guidance interval, shared start


def test_guidance_is_paid_for_inside_its_interval_alone() -> None:
    whole, part, none = toy(5, guidance=3.0), toy(5, guidance=3.0, guided=(400, 999)), toy(5)
    assert whole.batch_key == part.batch_key
    rows = run(part)
    assert rows.columns["evaluations"].tolist() == [5 + 3] * N  # 999, 799 and 599 lie inside
    assert run(whole).columns["evaluations"].tolist() == [10] * N
    outside = run(toy(5, guidance=3.0, guided=(0, 1)))
    np.testing.assert_allclose(outside.columns["x0"], run(none).columns["x0"], atol=1e-6)
    assert np.abs(rows.columns["x0"] - run(whole).columns["x0"]).max() > 1e-4
    blocks = [generator.start([Item(prompt="4")] * N, KEYS) for generator in (whole, part)]
    together = run(whole, Rows.join(blocks))
    np.testing.assert_allclose(together.columns["x0"][N:], rows.columns["x0"], atol=1e-6)


def test_a_shared_start_is_one_noise_for_all_items_and_seeds() -> None:
    generator = toy(start=2)
    items = [Item(prompt=str(i)) for i in range(N)]
    x = generator.start(items, KEYS).columns["x"]
    np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))
    other = generator.start(items, keys.rows(keys.problem(9, "elsewhere"), 0, N)).columns["x"]
    np.testing.assert_array_equal(x, other)
    assert np.abs(toy(start=3).start(items, KEYS).columns["x"] - x).max() > 0.1
    drawn = run(toy(start=2, eta=1.0)).columns["x0"]  # later noise is each row's own
    assert len(np.unique(drawn[:, 0, 0])) == N


# configuration


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"timesteps": [999, 500, 500]}, r"timesteps must fall, each below the one before, not \[999, 500, 500\]"),
        ({"timesteps": [999, 10], "steps": 3}, "steps must be 2, the number of timesteps, or left out, not 3"),
        ({"timesteps": [1000, 10]}, "less than 1000"),
        ({"timesteps": []}, "at least 1"),
        ({"skip_scales": [0.9]}, "at least 2"),
        ({"time_shift": 60, "solver": "unipc"}, "time_shift takes solver ddim or euler, not 'unipc'"),
        ({"time_shift_above": 60}, "time_shift_above needs a time_shift above 0"),
        ({"dc_ratios": [0.9], "solver": "dpm++", "steps": 4}, r"dc_ratios take solver unipc, not 'dpm\+\+'"),
        ({"dc_ratios": [0.9], "solver": "unipc", "steps": 5}, "dc_ratios must be 2, steps - 3, not 1 with 5 steps"),
        ({"dc_ratios": [], "solver": "unipc", "steps": 3}, "with 4 steps or more, not 0 with 3 steps"),
        ({"guidance_interval": [500, 400], "guidance": 2.0}, "guidance_interval must rise within 0..999"),
        ({"guidance_interval": [400, 500]}, "guidance_interval needs a guidance other than 1"),
    ],
)
def test_levers_that_cannot_be_are_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        GENERATORS.find("digits").config.model_validate(settings)


def test_a_list_of_levels_sets_the_steps_and_survives_storage() -> None:
    config = GENERATORS.find("digits").config
    made = config.model_validate({"timesteps": [999, 600, 200], "solver": "heun"})
    assert (made.steps, made.evaluations) == (3, 4)
    assert config.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "used", [{"timesteps": [999, 9]}, {"start": 0}, {"skip_scales": [1.0, 0.9]}, {"time_shift": 20}]
)
def test_a_process_with_weights_has_no_levers(used: dict[str, Any]) -> None:
    config = GENERATORS.find("digits").config.model_validate({"eta": 1.0, **used})
    assert config.lacks["log_weights"] == f"leave {next(iter(used))} out"


def test_what_was_not_evaluated_is_not_paid_for() -> None:
    async def spent() -> Any:
        tools = Shared(Engine(), Task(Item(prompt="4"), 0, 0, 2), toy(5, guidance=3.0, guided=(400, 999)), [])
        rows = await tools.start(0, 2)
        while not rows.done.all():
            rows = await tools.advance(rows)
        return rows.spent

    assert asyncio.run(spent()).tolist() == [8, 8]
