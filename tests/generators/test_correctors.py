"""Correctors sample prod q_i^b_i: G5 (annealing), G6 (product) and G7 (guidance) have closed forms.

Two views of one process: its law carried forward by quadrature, free of sampling error, for the limit of small steps;
and particles with seeds, compared in units of the spread over independent populations.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from generators import correctors
from generators.conformance import examine
from generators.gaussian_mixture import GaussianMixture, Mixture, Target
from generators.mixtures import posterior
from search import keys
from search.population import Population, log_mean_exp, normalised
from search.ports import Item, Rows


def normal(mean: float, variance: float) -> dict[str, Any]:
    return {"weights": [1.0], "means": [mean], "variances": [variance]}


@dataclass(frozen=True)
class Problem:
    """exact: mean, variance, P(x > 0) of the target. plain: the wrong mean and variance of the process without weights.

    Those of G5 and G6 depend a little on the noise level of the start, from which no weight corrects them.
    """

    config: dict[str, Any]
    exponents: tuple[float, ...]
    exact: tuple[float, float, float]
    log_z: float
    plain: tuple[float, float]
    runs: int = 16

    def target(self, steps: int) -> Target:
        made = Mixture(GaussianMixture(**self.config, steps=steps)).toward(self.exponents)
        assert isinstance(made, Target)
        return made


# Of normals with precisions p_i: log Z = sum b_i log N(mode; m_i, 1/p_i) - log N(mode; mode, 1/sum b_i p_i).
PROBLEMS = {
    "G5": Problem(
        {"weights": [0.7, 0.3], "means": [-1.5, 1.5], "variances": [0.25, 0.64]},
        (2.0,),
        (-1.189123, 0.974544, 0.102419),
        -1.173379,
        (-1.118, 0.99),
        runs=32,
    ),
    "G6": Problem(
        {**normal(0, 1), "guide": normal(1, 0.25)}, (1.0, 1.0), (0.8, 0.2, 0.963181), -1.430510, (0.717, 0.148)
    ),
    "G7": Problem(
        {**normal(0, 1), "guide": normal(1, 0.64)},
        (-1.0, 2.0),
        (1.470588, 0.470588, 0.983973),
        0.804695,
        (1.637, 0.441),
    ),
}


def carried(problem: Problem, steps: int) -> Any:
    """log Z, mean, variance and P(x > 0) when `steps` steps and their weights act on the density itself."""
    target, x = problem.target(steps), np.linspace(-7, 7, 701)
    a, s, h = target._levels
    rows = Rows.fresh(np.zeros((len(x), 2), np.uint32), {"x": x})

    def factors(step: int) -> Any:
        levels = np.full(len(x), a[step]), np.full(len(x), s[step])
        return [posterior(law, rows.columns["x"], *levels) for law in target._laws]

    density = np.exp(sum(b * q.log_density for b, q in zip(problem.exponents, factors(0), strict=True)))
    for step in range(steps):
        scores, time = [q.score for q in factors(step)], np.full(len(x), h[step])
        mean = correctors.euler(x, correctors.combined(scores, problem.exponents), time, np.zeros(len(x)))
        kernel = np.exp(-((x[:, None] - mean) ** 2) / (2 * time)) / np.sqrt(2 * np.pi * time)
        density = kernel @ (density * np.exp(correctors.increments(scores, problem.exponents, time))) * (x[1] - x[0])
    z = np.trapezoid(density, x)
    mean = np.trapezoid(density * x, x) / z
    positive = np.trapezoid(np.where(x > 0, density, np.where(x == 0, density / 2, 0)), x) / z
    return np.array([np.log(z), mean, np.trapezoid(density * (x - mean) ** 2, x) / z, positive])


@pytest.mark.parametrize("name", PROBLEMS)
def test_weighted_law_is_exact_in_the_limit_of_small_steps(name: str) -> None:
    """Euler's error is c h + O(h^2): twice the law at 100 steps less that at 50 leaves the second order."""
    problem = PROBLEMS[name]
    exact = np.array([problem.log_z, *problem.exact])
    coarse, fine = carried(problem, 50), carried(problem, 100)
    np.testing.assert_allclose(2 * fine - coarse, exact, atol=2e-3)
    assert np.abs(fine - exact).max() < 0.7 * np.abs(coarse - exact).max()


@dataclass(frozen=True)
class Estimates:
    """One value for each independent population."""

    mean: Any
    variance: Any
    positive: Any
    log_z: Any


def steered(problem: Problem, runs: int, steps: int, weighted: bool = True, count: int = 1024) -> Estimates:
    """Sequential importance resampling below half the effective size; or the same process with no weights."""
    target = problem.target(steps)
    names = [keys.rows(keys.problem(run, "correctors"), 0, count) for run in range(runs)]
    rows = target.start([Item()] * (runs * count), np.concatenate(names))
    populations = [Population.of(rows[i * count : (i + 1) * count]) for i in range(runs)]
    gained = target.log_weights(rows).reshape(runs, count)
    for step in range(steps + 1):
        for run in range(runs):
            one = replace(populations[run], log_weights=populations[run].log_weights + weighted * gained[run])
            if step < steps and one.ess < count / 2:
                one = one.resampled(keys.uniforms(keys.problem(run, "choices")[None], step, 1)[0])
            populations[run] = one
        if step < steps:
            rows = target.advance(Rows.join([one.rows for one in populations]))
            gained = target.log_weights(rows).reshape(runs, count)
            populations = [one.moved(rows[i * count : (i + 1) * count]) for i, one in enumerate(populations)]
    x = np.array(target.finish(rows)).reshape(runs, count)
    w = np.stack([normalised(one.log_weights) for one in populations])
    mean = (w * x).sum(1)
    log_z = np.array([one.log_z + log_mean_exp(one.log_weights) for one in populations])
    return Estimates(mean, (w * (x - mean[:, None]) ** 2).sum(1), (w * (x > 0)).sum(1), log_z)


@pytest.mark.parametrize("name", PROBLEMS)
def test_particles_find_the_target_and_its_normalising_constant(name: str) -> None:
    """K = 1024, 400 steps. The steps' own error, by quadrature, is below 0.003, and below 0.6 % of Z."""
    problem = PROBLEMS[name]
    got, plain = steered(problem, problem.runs, 400), steered(problem, 8, 400, weighted=False)
    values = (got.mean, got.variance, got.positive, np.exp(got.log_z - problem.log_z))
    for value, exact, bias in zip(values, (*problem.exact, 1.0), (0.001, 0.003, 0.001, 0.006), strict=True):
        assert abs(value.mean() - exact) < bias + 4 * value.std(ddof=1) / np.sqrt(problem.runs)
    assert abs(got.mean.mean() - problem.exact[0]) < 0.03
    assert abs(plain.mean.mean() - problem.plain[0]) < 0.03  # 8192 draws: a standard error of 0.011 at most
    assert abs(plain.variance.mean() - problem.plain[1]) < 0.06
    assert abs(plain.mean.mean() - problem.exact[0]) > 0.03


def test_annealing_with_exponent_one_needs_no_weights() -> None:
    """Its steps add exactly 0; at the start the weights make a normal into the mixture."""
    target = Problem({}, (1.0,), (0, 0, 0), 0.0, (0, 0)).target(50)
    rows = begin(target, 2000)
    assert np.abs(target.log_weights(rows)).max() > 0
    assert not target.log_weights(target.advance(rows)).any()


@pytest.mark.parametrize("name", PROBLEMS)
def test_weight_of_the_start_is_exact(name: str) -> None:
    """Its mean is the integral of prod q_i,T^b_i. Factors that are normal have a normal product: no spread at all."""
    problem = PROBLEMS[name]
    target = problem.target(800)
    weights = np.exp(target.log_weights(begin(target, 20_000)))
    x = np.linspace(-9, 9, 2001)
    levels = np.full(len(x), target._levels[0][0]), np.full(len(x), target._levels[1][0])
    factors = [posterior(law, x, *levels).log_density for law in target._laws]
    z = np.trapezoid(np.exp(sum(b * q for b, q in zip(problem.exponents, factors, strict=True))), x)
    assert abs(weights.mean() - z) < 4 * weights.std() / np.sqrt(len(weights)) + 1e-9
    assert weights.std() < 0.1 * z
    assert name == "G5" or weights.std() < 1e-9


def test_levels_end_in_clean_data() -> None:
    """The times of the steps add up to 2 log(1 / a_0); a^2 + s^2 = 1."""
    for problem in PROBLEMS.values():
        a, s, h = problem.target(100)._levels
        np.testing.assert_allclose(a**2 + s**2, 1, rtol=1e-12)
        np.testing.assert_allclose(h, 2 * np.log(a[1:] / a[:-1]), rtol=1e-9)
        assert (a[-1], s[-1]) == (1, 0)
        assert a[0] ** 2 <= 0.3


def begin(target: Target, n: int) -> Rows:
    return target.start([Item()] * n, keys.rows(keys.problem(0, "correctors"), 0, n))


@pytest.mark.parametrize("name", PROBLEMS)
def test_targets_pass_the_exam(name: str) -> None:
    problem = PROBLEMS[name]
    examine(
        problem.target(30),
        [Item()],
        offers={"preview", "stochastic_step"},
        company=problem.target(30),
        evaluations=30 * len(problem.exponents),
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_preview_is_the_weighted_mean_of_the_factors_posterior_means(name: str) -> None:
    """sum b_i E_i[x0 | x_t] / sum b_i; at the end the answer."""
    problem = PROBLEMS[name]
    target = problem.target(40)
    rows = target.advance(begin(target, 5))
    factors = [posterior(law, rows.columns["x"], target._levels[0][1], target._levels[1][1]) for law in target._laws]
    means = [b * (q.p * q.means).sum(0) for b, q in zip(problem.exponents, factors, strict=True)]
    np.testing.assert_allclose(target.preview(rows), sum(means) / sum(problem.exponents), rtol=1e-12)
    while not rows.done.all():
        rows = target.advance(rows)
    np.testing.assert_allclose(target.preview(rows), target.finish(rows), rtol=1e-12)


def test_rows_of_other_exponents_never_share_a_call() -> None:
    mixture = Mixture(GaussianMixture(**PROBLEMS["G6"].config, steps=100))
    made = [mixture, *(mixture.toward(b) for b in ((2.0,), (3.0,), (1.0, 1.0), (-1.0, 2.0)))]
    assert len({generator.batch_key for generator in made}) == len(made)
    assert mixture.toward((2,)).batch_key == mixture.toward((2.0,)).batch_key
    assert mixture.toward((1.0, 1.0)).price == 2


def test_exact_draws_weigh_the_same() -> None:
    mixture = Mixture(GaussianMixture())
    rows = mixture.start([Item()] * 3, keys.rows(keys.problem(0, "correctors"), 0, 3))
    assert mixture.log_weights(mixture.advance(rows)).tolist() == [0, 0, 0]


WIDE_GUIDE = {**normal(0, 0.25), "guide": normal(0, 1)}


@pytest.mark.parametrize(
    ("config", "exponents", "sentence"),
    [
        ({}, (), "positive sum"),
        ({}, (0.0,), "positive sum, 1e-6 or more, not 0"),
        ({}, (-1.0,), "positive sum, 1e-6 or more, not -1"),
        ({}, (float("nan"),), "finite numbers"),
        ({}, (float("inf"), 1.0), "finite numbers"),
        ({}, (1.0, 1.0), "need a second mixture: set the model's `guide`"),
        (WIDE_GUIDE, (1.0, 1.0, 1.0), "must be one .* or two"),
        (WIDE_GUIDE, (-1.0, 1.0), "positive sum"),
        (WIDE_GUIDE, (-1.0, 2.0), r"name no distribution: the tails go like exp\(1 x\^2\)"),  # -1/.25 + 2/1 = -2
        ({"steps": 2}, (2.0,), "need at least 7 steps, not 2"),
    ],
)
def test_refuses_exponents(config: dict[str, Any], exponents: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Mixture(GaussianMixture(**config)).toward(exponents)


@pytest.mark.parametrize("variance", [1e-12, 1.0, 1e12])
def test_extreme_variances_stay_finite(variance: float) -> None:
    target = Problem({**normal(1e6, variance), "guide": normal(-1e6, variance)}, (1.0, 1.0), (0, 0, 0), 0, (0, 0))
    made = target.target(2000)
    rows = begin(made, 20)
    while not rows.done.all():
        rows = made.advance(rows)
        assert np.isfinite(rows.columns["log_weight"]).all()
    np.testing.assert_allclose(made.finish(rows), 0, atol=6 * np.sqrt(variance / 2) + 1e-3)
