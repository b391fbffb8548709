"""The one stochastic step against closed forms and against diffusers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generators.denoising import Kind, Model, Preserving, always, denoised, step
from generators.diffusion import Diffusion
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
    x = a * x0 + s * eps
    x0hat = denoised(kind, x, output, a, s)
    np.testing.assert_allclose(x0hat, x0, atol=1e-12)
    np.testing.assert_allclose((x - a * x0hat) / s, eps, atol=1e-12)


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
    model = Model(
        "toy", network, "v", (2, 3), Preserving(squared_cosine()), always(9), decode=lambda x: list(x.tolist())
    )
    return Diffusion(model, lambda item: 4, **{"levels": 5, **settings})


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
    generator = toy(levels=steps)
    rows = generator.start(ITEMS, KEYS)
    x = torch.tensor(rows.columns["x"])
    for t in scheduler.timesteps:
        output = network(x, t.repeat(len(x)), torch.full((len(x),), 4))
        x = scheduler.step(output, t, x, eta=0.0).prev_sample
    np.testing.assert_allclose(run(generator, rows).columns["x0"], x.numpy(), atol=2e-3 if steps == 1000 else 2e-4)


@pytest.mark.parametrize("steps", [1, 3, 7, 33, 999, 1000])
def test_levels_fall_from_the_noisiest_to_clean(steps: int) -> None:
    levels = toy().model.levels(np.full(steps + 1, steps), np.arange(steps + 1))
    assert levels.trained[0] == 999
    assert (np.diff(levels.trained) < 0).all()
    np.testing.assert_allclose(levels.a**2 + levels.s**2, 1, rtol=1e-12)
    assert (levels.trained[-1], levels.a[-1], levels.s[-1]) == (-1, 1.0, 0.0)  # clean data


def test_rows_of_jobs_with_other_settings_share_a_call() -> None:
    jobs = [toy(levels=3), toy(levels=5, eta=1.0), toy(levels=2, eta=0.5)]
    assert len({job.batch_key for job in jobs}) == 1
    blocks = [job.start(ITEMS, KEYS) for job in jobs]
    together = run(jobs[0], Rows.join(blocks))
    apart = Rows.join([run(job, block) for job, block in zip(jobs, blocks, strict=True)])
    for name in ("x", "x0"):
        np.testing.assert_allclose(together.columns[name], apart.columns[name], atol=1e-6)


def test_guidance_extrapolates_from_null_and_costs_two() -> None:
    import torch

    guided = toy(guidance=3.0)
    assert (guided.price, toy().price) == (2, 1)
    assert guided.batch_key != toy().batch_key
    rows = guided.start(ITEMS, KEYS)
    x, level = torch.tensor(rows.columns["x"]), torch.full((len(rows),), 999)
    conditioned, null = (network(x, level, torch.full((len(rows),), c)) for c in (4, 9))
    levels = guided.model.levels(rows.columns["levels"], rows.step)
    a, s = (torch.tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (levels.a, levels.s))
    x0hat = denoised("v", x, null + 3.0 * (conditioned - null), a, s)
    np.testing.assert_allclose(guided.advance(rows).columns["x0"], x0hat.numpy(), atol=1e-6)


def test_noise_comes_from_the_key_and_step_alone_and_eta_zero_draws_none() -> None:
    rows = toy(eta=1.0).start(ITEMS, KEYS)
    still, moving = toy(eta=0.0), toy(eta=1.0)
    forked = rows.fork(np.zeros(4, np.int64))
    assert len(np.unique(run(moving, forked).columns["x0"][:, 0, 0])) == 4
    alike = still.start(ITEMS[:1], KEYS[:1]).fork(np.zeros(4, np.int64))
    assert len(np.unique(run(still, alike).columns["x0"][:, 0, 0])) == 1
    np.testing.assert_array_equal(run(moving, rows).columns["x0"], run(moving, rows).columns["x0"])


@pytest.mark.parametrize(("steps", "eta"), [(1, 1.0), (4, 0.0), (6, 0.5), (10, 1.0)])
def test_answers_are_those_of_the_plain_loop(steps: int, eta: float) -> None:
    """Evaluate, step to the next level, and again: the lazy rows do the same in another order."""
    import torch

    generator = toy(levels=steps, eta=eta)
    model, n = generator.model, len(ITEMS)
    rows = generator.start(ITEMS, KEYS)
    x = torch.tensor(rows.columns["x"])
    for k in range(steps):
        (at, _), (a, after_a), (s, after_s) = model.levels(np.full(2, steps), np.arange(k, k + 2))
        output = network(x, torch.full((n,), int(at)), torch.full((n,), 4))
        x0hat = denoised("v", x, output, a, s)
        xi = torch.tensor(keys.normals(KEYS, k, 6).reshape(n, 2, 3))
        x = step(x0hat, (x - a * x0hat) / s, a, s, after_a, after_s, eta, xi).float()
    np.testing.assert_allclose(run(generator, rows).columns["x0"], x.numpy(), atol=1e-5)


def test_every_row_pays_one_call_a_step_and_children_differ_from_their_next_one_on() -> None:
    generator = toy(eta=1.0)
    rows = generator.start(ITEMS[:1], KEYS[:1])
    for _ in range(generator.steps - 1):
        rows = generator.advance(rows)
        children = generator.advance(rows.fork(np.zeros(3, np.int64)))
        assert len(np.unique(children.columns["x0"][:, 0, 0])) == 3


def test_preview_belongs_to_x() -> None:
    import torch

    generator = toy(eta=1.0)
    rows = generator.advance(generator.advance(generator.start(ITEMS, KEYS)))
    at, a, s = generator.model.levels(np.array([5]), np.array([1]))
    x, full = torch.tensor(rows.columns["x"]), torch.full((len(rows),), int(at[0]))
    x0hat = denoised("v", x, network(x, full, torch.full_like(full, 4)), float(a[0]), float(s[0]))
    np.testing.assert_allclose(generator.preview(rows), x0hat.numpy(), atol=1e-6)


def test_renoise_follows_the_forward_process() -> None:
    """From x at one level, x' at a noisier one is N((a'/a) x, s'^2 - (a'/a)^2 s^2): 6000 numbers, 5 standard errors."""
    generator = toy(levels=8)
    row = generator.start(ITEMS[:1], KEYS[:1])
    for _ in range(6):
        row = generator.advance(row)
    many = row.fork(np.zeros(6000, np.int64))
    back = generator.renoise(many, 3)
    _, a, s = generator.model.levels(np.full(2, 8), np.array([5, 3]))  # six evaluations: the last was at level 5
    kept = a[1] / a[0]
    variance = s[1] ** 2 - (kept * s[0]) ** 2
    z = (back.columns["x"] - kept * many.columns["x"]) / np.sqrt(variance)
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(6000)
    assert np.abs((z**2).mean(0) - 1).max() < 5 * np.sqrt(2 / 6000)
    assert (back.step == 3).all()
    again = generator.advance(back)
    np.testing.assert_array_equal(again.columns["x"], back.columns["x"])  # evaluated, not moved
    assert (again.step == 4).all()


def test_renoised_standard_normals_stay_standard_normals() -> None:
    """If x0 is N(0, 1), x is N(0, 1) at every level, and renoising keeps that: the exact marginal."""
    generator = toy(levels=8)
    rows = generator.start([Item()] * 4000, keys.rows(keys.problem(1, "normal"), 0, 4000))
    there = replace(rows, step=np.full(4000, 6), columns={**rows.columns, "fresh": np.zeros(4000, bool)})
    x = generator.renoise(there.fork(np.arange(4000)), 2).columns["x"]
    assert abs(x.mean()) < 5 / np.sqrt(x.size)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)


@pytest.mark.parametrize("step", [-1, 2, 3])
def test_renoise_refuses_a_step_that_is_not_earlier(step: int) -> None:
    generator = toy()
    rows = generator.advance(generator.advance(generator.start(ITEMS, KEYS)))
    with pytest.raises(ValueError, match=f"step {step} is not earlier than step 2"):
        generator.renoise(rows, step)
    same = generator.renoise(rows, 1)  # where the last evaluation was
    np.testing.assert_allclose(same.columns["x"], rows.columns["x"], rtol=1e-6)


@pytest.mark.parametrize("cosine", [-1.0, 0.0, 0.95, 1.0])
def test_neighbours_have_the_length_and_cosine(cosine: float) -> None:
    generator = toy()
    pivots = generator.start(ITEMS, KEYS)
    named = keys.rows(keys.problem(5, "near"), 0, len(KEYS))
    near = generator.neighbours(pivots, named, cosine)
    p, q = (rows.columns["x"].reshape(len(KEYS), -1).astype(float) for rows in (pivots, near))
    np.testing.assert_allclose(np.linalg.norm(q, axis=1), np.linalg.norm(p, axis=1), rtol=1e-6)
    np.testing.assert_allclose((p * q).sum(1) / (p**2).sum(1), cosine, atol=1e-6)
    np.testing.assert_array_equal(near.keys, named)
    assert not near.step.any()
    assert near.columns["fresh"].all()


def test_neighbours_lie_in_all_directions() -> None:
    """w is uniform on the sphere orthogonal to p: mean 0, covariance (I - u u') / (d - 1), d = 6; 5 standard errors."""
    generator, n = toy(), 6000
    pivot = generator.start(ITEMS[:1], KEYS[:1])[np.zeros(n, np.int64)]
    near = generator.neighbours(pivot, keys.rows(keys.problem(6, "near"), 0, n), 0.6)
    p, q = (rows.columns["x"].reshape(n, -1).astype(float) for rows in (pivot, near))
    u = p[0] / np.linalg.norm(p[0])
    w = (q / np.linalg.norm(p[0]) - 0.6 * u) / 0.8
    np.testing.assert_allclose(w.mean(0), 0, atol=5 / np.sqrt(5 * n))
    np.testing.assert_allclose(w.T @ w / n, (np.eye(6) - np.outer(u, u)) / 5, atol=5 * 0.25 / np.sqrt(n))


def test_neighbours_refuse_what_is_no_pivot() -> None:
    generator = toy()
    rows = generator.start(ITEMS, KEYS)
    with pytest.raises(ValueError, match=r"pivots must be at step 0 \(not 1\)"):
        generator.neighbours(generator.advance(rows), KEYS, 0.9)
    with pytest.raises(ValueError, match=r"cosine 1\.5 in -1\.\.1"):
        generator.neighbours(rows, KEYS, 1.5)


def test_preview_is_the_last_evaluation_and_ends_as_the_answer() -> None:
    generator = toy(eta=1.0)
    rows = generator.start(ITEMS, KEYS)
    assert np.count_nonzero(generator.preview(rows)) == 0  # nothing was evaluated yet
    rows = run(generator, rows)
    assert generator.preview(rows) == generator.finish(rows)
