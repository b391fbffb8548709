"""A network aimed at powers and products of its laws, on a network that knows two normal laws exactly; and digits."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from generators.builtin import GENERATORS
from generators.conformance import examine
from generators.denoising import Model, Preserving, always
from generators.diffusion import Diffusion
from generators.digits import squared_cosine
from generators.targets import Target, placed, quietest
from search import keys
from search.configs import ModelConfig
from search.population import Population, log_mean_exp, normalised
from search.ports import Item, Rows

NULL, CLASS = 1, 0
MEANS = np.array([[0.5, -1.0], [0.0, 0.25]])  # of the class, of everything
VARIANCES = np.array([[0.64, 0.4], [1.0, 0.8]])
SIGNAL = squared_cosine()


def network(x: Any, level: Any, label: Any) -> Any:
    """x0hat = E[x0 | x] of N(m, diag V): m + a V (x - a m) / (a^2 V + s^2)."""
    import torch

    a2, m, v = (torch.tensor(c)[i].float() for c, i in ((SIGNAL, level), (MEANS, label), (VARIANCES, label)))
    a2 = a2[:, None]
    return m + a2.sqrt() * v * (x - a2.sqrt() * m) / (a2 * v + 1 - a2)


def toy(steps: int, **settings: Any) -> Diffusion:
    model = Model("plane", network, "sample", (2,), Preserving(SIGNAL), always(NULL), decode=lambda x: list(x.tolist()))
    return replace(Diffusion(model, lambda item: CLASS, steps, 1.0), **settings)


def aimed(steps: int, *exponents: float, **settings: Any) -> Target:
    made = toy(steps, **settings).toward(exponents)
    assert isinstance(made, Target)
    return made


def begun(generator: Any, n: int, seed: int = 0) -> Rows:
    return generator.start([Item()] * n, keys.rows(keys.problem(seed, "plane"), 0, n))


@dataclass(frozen=True)
class Normal:
    """prod N(m_i, V_i)^b_i: precision sum b/V, mean, variance and log of its integral."""

    mean: Any
    variance: Any
    log_z: float

    @classmethod
    def of(cls, *exponents: float) -> "Normal":
        b = np.array(exponents)[:, None]
        m, v = (x[[CLASS] if len(b) == 1 else [NULL, CLASS]] for x in (MEANS, VARIANCES))
        precision = (b / v).sum(0)
        mean = (b * m / v).sum(0) / precision
        constant = -0.5 * (b * (np.log(2 * np.pi * v) + m**2 / v)).sum(0)
        log_z = constant + 0.5 * precision * mean**2 + 0.5 * np.log(2 * np.pi / precision)
        return cls(mean, 1 / precision, float(log_z.sum()))


def weighted(generator: Target, n: int, fraction: float) -> Population:
    """All rows to their end, resampled at ESS < fraction n."""
    rows = begun(generator, n)
    population = Population.of(rows).weighted(generator.log_weights(rows))
    while not population.rows.done.all():
        if population.ess < fraction * n:
            u = keys.choices(0, "plane", 0, population.step, n)
            population = population.resampled(u)
        population = population.moved(generator.advance(population.rows))
        population = population.weighted(generator.log_weights(population.rows))
    return population


CASES = {"guidance": (-1.0, 2.0), "product": (1.0, 1.0), "sharper": (1.5,), "flatter": (0.6,)}


@pytest.mark.parametrize("name", CASES)
def test_weighted_rows_follow_the_target(name: str) -> None:
    """Means in the target's standard deviations, variances relative to its own; 400 steps.

    Standard errors are .01 to .02 (10,000 rows with an ESS of 4000 and more; resampling adds to it, so there are twice
    as many), the steps' bias some .03 of a variance. Six resamplings leave log Z a standard deviation of .08 (three
    seeds: -.14, -.09, -.03).
    """
    exact, resampled = Normal.of(*CASES[name]), 0.0 if name in ("guidance", "flatter") else 0.5
    rows = 20_000 if resampled else 10_000
    got = weighted(aimed(400, *CASES[name]), rows, resampled)
    x, w = got.rows.columns["x0"].astype(float), got.weights[:, None]
    mean = (w * x).sum(0)
    np.testing.assert_allclose((mean - exact.mean) / np.sqrt(exact.variance), 0, atol=0.06)
    np.testing.assert_allclose((w * (x - mean) ** 2).sum(0) / exact.variance, 1, atol=0.08)
    assert abs(got.log_z + log_mean_exp(got.log_weights) - exact.log_z) < (0.2 if resampled else 0.06)
    assert got.ess > 0.3 * rows


@pytest.mark.parametrize(
    ("name", "mean", "variance"),
    [("guidance", 0.3, 0.0), ("product", 0.0, 0.15), ("sharper", 0.0, 0.15), ("flatter", 0.0, 0.8)],
)
def test_without_weights_they_do_not(name: str, mean: float, variance: float) -> None:
    """The errors of the same steps, in the same units, are at least these: several times the tolerances above."""
    exact = Normal.of(*CASES[name])
    x = weighted(aimed(400, *CASES[name]), 5000, 0.0).rows.columns["x0"].astype(float)
    assert np.abs((x.mean(0) - exact.mean) / np.sqrt(exact.variance)).max() >= mean
    assert np.abs(x.var(0) / exact.variance - 1).min() > variance


def test_the_guidance_of_a_model_is_a_target_too() -> None:
    """Power 1 of a model guided with strength w is q_1^(1-w) q_2^w; power b multiplies both exponents."""
    assert aimed(20, 1.0, guidance=2.0).exponents == aimed(20, -1.0, 2.0).exponents == (-1.0, 2.0)
    assert aimed(20, 1.2, guidance=1.5).exponents == pytest.approx((-0.6, 1.8))


def test_guidance_without_weights_is_classifier_free_guidance() -> None:
    """With B = 1 a step is the ancestral step along null + w (class - null): here one evaluation beside Diffusion's."""
    plain, target = toy(9, guidance=1.5), aimed(9, -0.5, 1.5)
    ours, theirs = (g.advance(begun(g, 6)) for g in (target, plain))
    np.testing.assert_array_equal(ours.columns["x"], theirs.columns["x"])
    np.testing.assert_allclose(ours.columns["x0"], theirs.columns["x0"], atol=1e-5)


def test_power_one_adds_no_weight_and_its_start_weighs_one() -> None:
    generator = aimed(30, 1.0)
    rows = begun(generator, 5)
    for _ in range(30):
        assert not generator.log_weights(rows).any()
        rows = generator.advance(rows)
    assert not generator.log_weights(rows).any()


def test_weight_of_a_move_comes_with_the_move() -> None:
    """The first evaluation moves nothing; T evaluations are T - 1 moves, and the last leaves nothing ahead."""
    generator = aimed(20, -1.0, 2.0)
    rows = begun(generator, 5)
    assert np.unique(generator.log_weights(rows)).tolist() == [0.0]  # (d/2) [(1 - B) log 2 pi - log B], B = 1
    rows = generator.advance(rows)
    assert not generator.log_weights(rows).any()
    for _ in range(19):
        pending = rows.columns["ahead"]
        assert pending.any()
        rows = generator.advance(rows)
        np.testing.assert_array_equal(generator.log_weights(rows), pending)
    assert rows.done.all()
    assert not rows.columns["ahead"].any()


def test_start_is_the_normal_of_the_exponents_with_its_log_integral() -> None:
    """N(0, I)^b_1 N(0, I)^b_2 = N(0, I / B) times its integral; 8000 numbers, 5 standard errors."""
    generator = aimed(20, 1.0, 1.0)
    rows = begun(generator, 4000)
    x = rows.columns["x"]
    assert abs(x.var() * 2 - 1) < 5 * np.sqrt(2 / x.size)
    np.testing.assert_allclose(generator.log_weights(rows), -np.log(2 * np.pi) - np.log(2))


def test_levels_are_the_noisiest_and_then_fall_from_quiet_to_clean() -> None:
    model = toy(5).model
    for count in (1, 2, 7, 50, quietest(model) + 2):
        levels = placed(model, np.full(count + 1, count), np.arange(count + 1))
        assert (levels.trained[0], levels.trained[-1]) == (999, -1)
        assert (np.diff(levels.trained) < 0).all()
        if count > 1:
            assert 0.0099 < levels.a[1] ** 2 <= 0.01 or count == 2


@pytest.mark.parametrize("exponents", [(1.1,), (-0.5, 1.5), (1.0, 1.0)])
def test_targets_pass_the_exam(exponents: tuple[float, ...]) -> None:
    generator = aimed(30, *exponents)
    company = aimed(25, *(0.9 * b for b in exponents))
    examine(
        generator,
        [Item()],
        offers={"preview", "stochastic_step"},
        company=company,
        evaluations=30 * len(exponents),
        tolerance=1e-4,
    )


def test_rows_of_other_exponents_share_a_call_but_not_with_other_numbers_of_factors() -> None:
    keyed = [aimed(20, 1.1), aimed(20, 0.5), aimed(20, -0.5, 1.5), aimed(20, 1.0, 1.0)]
    assert keyed[0].batch_key == keyed[1].batch_key
    assert keyed[2].batch_key == keyed[3].batch_key
    assert len({toy(20).batch_key, keyed[0].batch_key, keyed[2].batch_key}) == 3
    assert [generator.price for generator in keyed] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("settings", "exponents", "sentence"),
    [
        ({}, (), "positive sum"),
        ({}, (1.0, 1.0, 1.0), "must be one .* or two"),
        ({}, (float("nan"),), "finite numbers"),
        ({"eta": 0.5}, (2.0,), "take solver ddim at eta 1, not ddim at 0.5"),
        ({"solver": "pc"}, (2.0,), "take solver ddim at eta 1, not pc at 1"),
        ({"guidance": 2.0}, (-1.0, 2.0), "set guidance to 1, not 2"),
        ({"conditional": False}, (1.0, 1.0), "need a class"),
        ({}, (5.0,), "too steep for 20 steps: their sum must be"),
        ({"levels": 1000}, (1.1,), "take at most 937 steps, not 1000"),
    ],
)
def test_refuses(settings: dict[str, Any], exponents: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        toy(20, **settings).toward(exponents)


def build(name: str, **settings: Any) -> tuple[Any, Any]:
    found = GENERATORS.find(name)
    config = found.config(**settings)
    assert isinstance(config, ModelConfig)
    config = config.suited({"log_weights"})
    return config, found.factory(config)


@pytest.mark.parametrize("name", ["digits", "digits-early"])
def test_two_factors_cost_no_more_than_the_configuration_says(name: str) -> None:
    config, generator = build(name, steps=8)
    targets = [generator.toward((-0.5, 1.5)), generator.toward((1.1,))]
    assert [target.steps * target.price for target in targets] == [16, 8]
    assert config.evaluations == 16
    assert config.suited({"preview"}).evaluations == 8
    guided, generator = build(name, steps=8, guidance=1.5)
    assert guided.evaluations == generator.toward((1.0,)).price * 8 == 16


def test_the_unconditional_digits_are_annealed_only() -> None:
    config, generator = build("digits-unconditional", steps=8)
    assert config.evaluations == generator.toward((1.1,)).price * 8 == 8
    with pytest.raises(ValueError, match="need a class, and this model is told none"):
        generator.toward((1.0, 1.0))


@pytest.mark.parametrize("settings", [{"eta": 0.5}, {"solver": "pc"}, {"solver": "unipc"}])
def test_digits_without_ancestral_steps_say_that_they_lack_weights(settings: dict[str, Any]) -> None:
    config, generator = build("digits", **settings)
    assert config.lacks["log_weights"] == "leave solver out and set eta to 1"
    with pytest.raises(ValueError, match="take solver ddim at eta 1"):
        generator.toward((1.1,))


def test_digits_toward_guidance_are_images_with_weights() -> None:
    _, generator = build("digits", steps=8)
    target = generator.toward((-0.5, 1.5))
    items = [Item(prompt=c) for c in "0123"]
    rows = target.start(items, keys.rows(keys.problem(0, "digits"), 0, 4))
    total = target.log_weights(rows)
    while not rows.done.all():
        rows = target.advance(rows)
        total = total + target.log_weights(rows)
    assert np.isfinite(normalised(total)).all()
    for image in target.finish(rows):
        assert image.shape == (28, 28)
        assert 5 < image.mean() < 100
