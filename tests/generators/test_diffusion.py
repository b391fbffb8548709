"""The one stochastic step against closed forms and against diffusers."""

from typing import Any

import numpy as np
import pytest

from generators.diffusion import Diffusion, Kind, Model, predictions, step
from generators.digits import squared_cosine
from search import keys
from search.ports import Item, Rows

KEYS = keys.rows(keys.problem(0, "diffusion"), 0, 6)
ITEMS = [Item()] * len(KEYS)


@pytest.mark.parametrize("kind", ["epsilon", "v", "sample", "flow"])
def test_every_kind_returns_the_sample_and_noise_that_made_x(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    x0, eps = rng.normal(size=(2, 8, 3))
    s = rng.uniform(0.05, 0.95, (8, 1))
    a = 1 - s if kind == "flow" else np.sqrt(1 - s**2)
    output = {"epsilon": eps, "v": a * eps - s * x0, "sample": x0, "flow": eps - x0}[kind]
    x0hat, epshat = predictions(kind, a * x0 + s * eps, output, a, s)
    np.testing.assert_allclose(x0hat, x0, atol=1e-12)
    np.testing.assert_allclose(epshat, eps, atol=1e-12)


@pytest.mark.parametrize(("eta", "variance"), [(0.0, 0.50), (1.0, 0.4644)])
def test_flow_step_has_the_exact_variance(eta: float, variance: float) -> None:
    """G8: N(0, 1) data, t 0.5 -> 0.4. x0hat and epshat are linear in x, so the step's coefficients are its variance."""
    a, s, a_next, s_next = 0.5, 0.5, 0.6, 0.4
    x = 1.0  # standard deviations of x are sqrt(a^2 + s^2) = sqrt(.5)
    x0hat, epshat = a * x / (a**2 + s**2), s * x / (a**2 + s**2)
    from_x = step(x0hat, epshat, a, s, a_next, s_next, eta, 0.0)
    from_xi = step(0.0, 0.0, a, s, a_next, s_next, eta, 1.0)
    assert from_x**2 * 0.5 + from_xi**2 == pytest.approx(variance, abs=5e-5)


def test_ancestral_step_is_the_posterior_given_x0() -> None:
    """eta 1, variance preserving: x' has the mean and variance of q(x_s | x_t, x0), eq. 7 of Ho et al. 2020."""
    a, s, a_next, s_next = 0.6, 0.8, 0.8, 0.6
    x, x0 = 0.7, -0.4
    kept = a / a_next
    fresh = s**2 - kept**2 * s_next**2
    mean = step(x0, (x - a * x0) / s, a, s, a_next, s_next, 1.0, 0.0)
    assert mean == pytest.approx((kept * s_next**2 * x + a_next * fresh * x0) / s**2)
    assert step(0.0, 0.0, a, s, a_next, s_next, 1.0, 1.0) ** 2 == pytest.approx(fresh * s_next**2 / s**2)


def test_schedule_is_that_of_diffusers() -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.numpy()
    np.testing.assert_allclose(squared_cosine(), theirs, rtol=1e-4)  # theirs is a float32 product of 1000 numbers


def network(x: Any, level: Any, label: Any) -> Any:
    """Depends on everything it is given, and on each row alone."""
    t, c = level.reshape(-1, 1, 1), label.reshape(-1, 1, 1)
    return (x * 0.3 + 0.1 * c).sin() + 0.2 * (t / 100).cos() * x


def toy(**settings: Any) -> Diffusion:
    model = Model("toy", network, "v", (2, 3), squared_cosine(), null=9, decode=lambda x: list(x.tolist()))
    return Diffusion(model, lambda item: 4, **{"steps": 5, **settings})


def run(generator: Diffusion, rows: Rows) -> Rows:
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


@pytest.mark.parametrize("steps", [1, 4, 10, 20, 1000])
def test_deterministic_trajectory_is_that_of_diffusers(steps: int) -> None:
    import torch
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
    )
    scheduler.set_timesteps(steps)
    generator = toy(steps=steps)
    rows = generator.start(ITEMS, KEYS)
    x = torch.tensor(rows.columns["x"])
    for t in scheduler.timesteps:
        output = network(x, t.repeat(len(x)), torch.full((len(x),), 4))
        x = scheduler.step(output, t, x, eta=0.0).prev_sample
    np.testing.assert_allclose(run(generator, rows).columns["x"], x.numpy(), atol=2e-3 if steps == 1000 else 2e-4)


@pytest.mark.parametrize("steps", [1, 3, 7, 33, 999, 1000])
def test_levels_fall_from_the_noisiest_to_clean(steps: int) -> None:
    levels = toy().model.levels(np.full(steps, steps), np.arange(steps))
    assert levels.trained[0] == 999
    assert (np.diff(levels.trained) < 0).all()
    np.testing.assert_array_equal(levels.a[1:], levels.a_next[:-1])
    assert (levels.a_next[-1], levels.s_next[-1]) == (1.0, 0.0)


def test_rows_of_jobs_with_other_settings_share_a_call() -> None:
    jobs = [toy(steps=3), toy(steps=5, eta=1.0), toy(steps=2, eta=0.5)]
    assert len({job.batch_key for job in jobs}) == 1
    blocks = [job.start(ITEMS, KEYS) for job in jobs]
    together = run(jobs[0], Rows.join(blocks))
    apart = Rows.join([run(job, block) for job, block in zip(jobs, blocks, strict=True)])
    np.testing.assert_allclose(together.columns["x"], apart.columns["x"], atol=1e-6)


def test_guidance_extrapolates_from_null_and_costs_two() -> None:
    import torch

    guided = toy(guidance=3.0)
    assert (guided.price, toy().price) == (2, 1)
    assert guided.batch_key != toy().batch_key
    rows = guided.start(ITEMS, KEYS)
    x, level = torch.tensor(rows.columns["x"]), torch.full((len(rows),), 999)
    conditioned, null = (network(x, level, torch.full((len(rows),), c)) for c in (4, 9))
    levels = guided.model.levels(rows.columns["steps"], rows.step)
    a, s = (torch.tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (levels.a, levels.s))
    x0hat, _ = predictions("v", x, null + 3.0 * (conditioned - null), a, s)
    np.testing.assert_allclose(guided.advance(rows).columns["x0"], x0hat.numpy(), atol=1e-6)


def test_noise_comes_from_the_key_and_step_alone_and_eta_zero_draws_none() -> None:
    rows = toy(eta=1.0).start(ITEMS, KEYS)
    still, moving = toy(eta=0.0), toy(eta=1.0)
    forked = rows.fork(np.zeros(4, np.int64))
    assert len(np.unique(run(moving, forked).columns["x"][:, 0, 0])) == 4
    alike = still.start(ITEMS[:1], KEYS[:1]).fork(np.zeros(4, np.int64))
    assert len(np.unique(run(still, alike).columns["x"][:, 0, 0])) == 1
    np.testing.assert_array_equal(run(moving, rows).columns["x"], run(moving, rows).columns["x"])


def test_preview_is_the_last_evaluation_and_ends_as_the_answer() -> None:
    generator = toy(eta=1.0)
    rows = generator.start(ITEMS, KEYS)
    assert np.count_nonzero(generator.preview(rows)) == 0  # nothing was evaluated yet
    rows = run(generator, rows)
    assert generator.preview(rows) == generator.finish(rows)
