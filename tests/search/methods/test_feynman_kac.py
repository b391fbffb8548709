"""Feynman-Kac steering against closed forms."""

import asyncio
import math
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from exact import log_z, model, outcome, populations, unbiased, verifier
from pydantic import ValidationError

from search.engine import Engine
from search.metering import Budget
from search.methods.feynman_kac import FeynmanKac
from search.population import NoWeight
from search.ports import Answer, Rows, Score
from search.scoring import Judge
from search.stepping import NotANumber

G2_MEAN, G2_LOG_Z = 1.437763, 0.530930
TELESCOPING = ("difference", "max", "mean")


def g2() -> Any:
    return model("toy/gaussian_mixture")


@pytest.mark.parametrize("ess", [0.5, 1.0])
@pytest.mark.parametrize("potential", TELESCOPING)
def test_tilted_mixture(potential: str, ess: float) -> None:
    """Mean of 32 runs at K = 1024; one run's standard deviation is .04, so the mean's is .007."""
    config = {"particles": 1024, "potential": potential, "every": 4, "begin": 4, "ess": ess}
    found = populations(g2(), verifier("toy/linear"), "feynman_kac", config, range(32))
    means = [float(p.weights @ p.rows.columns["x"]) for p in found]
    assert np.mean(means) == pytest.approx(G2_MEAN, abs=0.02)
    right = [float(p.weights @ (p.rows.columns["x"] > 0)) for p in found]
    assert np.mean(right) == pytest.approx(0.896359, abs=0.01)
    assert unbiased([log_z(p) for p in found], G2_LOG_Z)
    assert np.mean([p.ess for p in found]) > (400 if ess < 1 else 700)


def test_the_papers_literal_products_are_right_in_the_limit_and_poor() -> None:
    found = dict[str, Any]()
    for potential, runs, most in (("paper_max", 64, 300), ("paper_sum", 16, 60)):
        config = {"particles": 1024, "potential": potential, "every": 4, "begin": 4}
        found[potential] = populations(g2(), verifier("toy/linear"), "feynman_kac", config, range(runs))
        assert np.mean([p.ess for p in found[potential]]) < most
    means = [float(p.weights @ p.rows.columns["x"]) for p in found["paper_max"]]
    assert np.mean(means) == pytest.approx(G2_MEAN, abs=0.04)


@pytest.mark.parametrize("scheme", ["systematic", "ssp", "stratified", "residual", "multinomial"])
def test_every_resampling_scheme_has_the_same_limit(scheme: str) -> None:
    config = {"particles": 512, "every": 4, "ess": 1.0, "resampling": scheme}
    found = populations(g2(), verifier("toy/linear"), "feynman_kac", config, range(32))
    means = [float(p.weights @ p.rows.columns["x"]) for p in found]
    assert np.mean(means) == pytest.approx(G2_MEAN, abs=4.5 * np.std(means) / math.sqrt(32) + 2e-3)
    assert unbiased([log_z(p) for p in found], G2_LOG_Z)


@pytest.mark.parametrize("schedule", ["constant", "linear", "adaptive"])
@pytest.mark.parametrize("potential", TELESCOPING)
def test_tempering_does_not_move_the_target(potential: str, schedule: str) -> None:
    """G1: N(0.3, 1.44), r = 0.8 x, tilt 1.5 is N(2.028, 1.44) with log Z 1.3968. An adaptive tilt is chosen from the
    particles themselves, so exp(log Z-hat) is only consistent there: a bias of order 1/K."""
    gauss = model("toy/gaussian_mixture", weights=[1.0], means=[0.3], variances=[1.44], steps=10)
    config = {"particles": 512, "tilt": 1.5, "potential": potential, "schedule": schedule, "every": 2, "ess": 0.7}
    found = populations(gauss, verifier("toy/linear", slope=0.8), "feynman_kac", config, range(48))
    means = [float(p.weights @ p.rows.columns["x"]) for p in found]
    assert np.mean(means) == pytest.approx(2.028, abs=0.05)
    assert np.mean([log_z(p) for p in found]) == pytest.approx(1.3968, abs=0.05)
    if schedule != "adaptive":
        assert unbiased([log_z(p) for p in found], 1.3968)


@pytest.mark.parametrize(("particles", "potential"), [(4, "difference"), (64, "difference"), (4, "max"), (4, "mean")])
def test_exp_log_z_is_unbiased_for_any_number_of_particles(particles: int, potential: str) -> None:
    """G9: three bits q = .3, r = number of ones, tilt 1.5.

    The ratio's standard deviation is .78 at K = 4 and .18 at 64, so its mean is known to 1.2 % (4,000 runs), 2.5 %
    (1,000) and .8 % (500). Without the factors of earlier resamplings it would be .50 (.80 for `mean`).
    """
    config = {"particles": particles, "tilt": 1.5, "potential": potential, "ess": 0.9}
    runs = 500 if particles == 64 else 4_000 if potential == "difference" else 1_000
    found = populations(model("toy/bits"), verifier("toy/ones"), "feynman_kac", config, range(runs))
    assert unbiased([log_z(p) for p in found], 2.145470)
    assert max(len(p.splits) for p in found) > 0  # or nothing was tested


def test_masked_diffusion_and_text_are_exact() -> None:
    """Every probability of G9 (8 strings) and T1 (729 strings) by enumeration: weighted frequencies of 60 runs."""
    config = {"particles": 512, "tilt": 1.5, "ess": 0.8}
    found = populations(model("toy/bits"), verifier("toy/ones"), "feynman_kac", config, range(60))
    ones = [float(p.weights @ p.rows.columns["text"].mean(1)) for p in found]
    assert np.mean(ones) == pytest.approx(0.657619, abs=4 * np.std(ones) / math.sqrt(60))

    chain = model("toy/markov")
    initial, transition = chain.config.initial, chain.config.transition
    exact: dict[tuple[int, ...], float] = {}
    for text in product(range(3), repeat=6):
        p = initial[text[0]] * math.prod(transition[a][b] for a, b in pairwise(text))
        exact[text] = p * math.exp(0.7 * text.count(2))
    z = sum(exact.values())
    config = {"particles": 512, "tilt": 0.7, "ess": 0.8}
    found = populations(chain, verifier("toy/count", symbol=2), "feynman_kac", config, range(60))
    assert unbiased([log_z(p) for p in found], math.log(z))
    for symbol in range(3):  # the law of the last symbol, and of the whole string's count
        wanted = sum(p for text, p in exact.items() if text[-1] == symbol) / z
        got = [float(p.weights @ (p.rows.columns["text"][:, -1] == symbol)) for p in found]
        assert np.mean(got) == pytest.approx(wanted, abs=4 * np.std(got) / math.sqrt(60))
    top = max(exact, key=lambda text: exact[text])
    got = [float(p.weights @ (p.rows.columns["text"] == top).all(1)) for p in found]
    assert np.mean(got) == pytest.approx(exact[top] / z, abs=4 * np.std(got) / math.sqrt(60))


def test_the_error_falls_like_one_over_the_square_root_of_the_particles() -> None:
    def error(particles: int) -> float:
        config = {"particles": particles, "every": 4}
        found = populations(g2(), verifier("toy/linear"), "feynman_kac", config, range(150))
        means = [float(p.weights @ p.rows.columns["x"]) for p in found]
        return float(np.sqrt(np.mean((np.array(means) - G2_MEAN) ** 2)))

    slope = math.log(error(512) / error(32)) / math.log(16)
    assert slope == pytest.approx(-0.5, abs=0.12)  # each error is known to 6 %


def test_genealogy_leads_to_the_ancestors() -> None:
    config = {"particles": 64, "tilt": 3.0, "ess": 0.9}
    found = populations(g2(), verifier("toy/linear"), "feynman_kac", config, [1])[0]
    line = np.arange(64)
    for split in found.splits:
        line = line[split.parents]
    assert found.splits
    assert line.tolist() == found.ancestors.tolist()
    assert len(set(found.names())) == 64


def one(judge: Judge, generator: Any = None, budget: Budget | None = None, **config: Any) -> Any:
    return asyncio.run(
        outcome(Engine(), generator or g2(), judge, "feynman_kac", {"particles": 8, **config}, 0, budget)
    )


def says(answer: Score | None) -> Judge:
    """A verifier that has one verdict for all unfinished answers below step 3 of its own calls."""
    return Judge("v", object(), lambda answers: [answer or Score(float(a.value)) for a in answers])


def test_previews_that_nobody_can_score_end_the_search_with_the_step() -> None:
    found = one(says(Score(None, None, "too noisy")), every=5, begin=5)
    assert isinstance(found.error, NoWeight)
    assert "step 5" in str(found.error)
    assert "too noisy" in str(found.error)


def test_nan_from_a_verifier_is_unscored_and_named() -> None:
    found = one(says(Score(float("nan"))), every=5, begin=5)
    assert "step 5" in str(found.error)
    assert "nan is not a finite number" in str(found.error)


def test_one_unscored_preview_keeps_its_weight() -> None:
    def verify(answers: Any) -> list[Score]:
        return [Score(None, None, "no") if i == 0 and len(answers) > 1 else Score(1.0) for i, _ in enumerate(answers)]

    found = one(Judge("v", object(), verify), every=30, begin=30)  # only the answers are scored
    assert np.isneginf(found.population.log_weights[0])
    assert np.allclose(found.population.log_weights[1:], 1.0)
    assert found.population.idle


def test_nan_from_a_network_names_step_and_remedy() -> None:
    class Broken(type(g2())):  # type: ignore[misc]
        def advance(self, rows: Rows) -> Rows:
            moved = super().advance(rows)
            return replace(moved, columns={"x": np.where(moved.step == 4, np.nan, moved.columns["x"])})

    found = one(verifier("toy/linear"), Broken(g2().config))
    assert isinstance(found.error, NotANumber)
    assert "step 4" in str(found.error)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"particles": 1}, "particles"),
        ({"tilt": -1.0}, "tilt"),
        ({"ess": 0.0}, "ess"),
        ({"resampling": "x"}, "systematic"),
    ],
)
def test_bad_configurations(config: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        FeynmanKac(**config)


def test_a_budget_gives_fewer_particles_and_is_never_passed() -> None:
    for limit in (Budget(evaluations=100), Budget(verifier_calls=30), Budget(previews=20)):
        found = one(verifier("toy/linear"), budget=limit, every=5)
        spent = found.spent
        assert 1 <= len(found.population) < 8
        assert found.population.idle
        assert spent.evaluations <= (limit.evaluations or 1e9)
        assert spent.verifier_calls <= (limit.verifier_calls or 1e9)
        assert spent.previews <= (limit.previews or 1e9)


def test_previews_cost_no_evaluation_and_finished_rows_are_judged_once() -> None:
    found = one(verifier("toy/linear"), every=4)
    steps = FeynmanKac(particles=8, every=4).verdicts(20)
    assert found.spent.evaluations == 8 * 20
    assert found.spent.verifier_calls == 8 * steps
    assert found.spent.previews == 8 * (steps - 1)


def test_an_identical_answer_is_scored_once() -> None:
    asked: list[Any] = []

    def verify(answers: list[Answer]) -> list[Score]:
        asked.extend(tuple(answer.value) for answer in answers)
        return [Score(float(sum(answer.value))) for answer in answers]

    found = one(Judge("v", object(), verify), model("toy/bits", length=3), particles=500)
    assert len(asked) == len(set(asked)) <= 8
    assert found.spent.verifier_calls == 500 * 3  # the budget does not depend on what others have asked
