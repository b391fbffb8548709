"""Searches over masked models have their exact laws: DNA by all its 65,536 strings with measured rewards.

Populations are compared with the law as in `test_strings`: each one's weighted shares, times Z-hat / Z, are unbiased,
so the sum over the bins of what their mean is off is on average no more than the sum of its standard errors.
"""

import math
from typing import Any

import numpy as np
import pytest
from exact import log_z, model, unbiased, verifier
from searches import Search, killed_anywhere, many, rewards, same_in_company

from generators.dna import LETTERS, chances
from search.population import log_mean_exp
from search.ports import Floats
from verifiers.sequences import scores

BINDS = verifier("dna/binding", factor="CRX")
PATHS: dict[str, Any] = {"algorithm": "paths", "n": 1}
REWARD = scores("CRX")


def bins(law: Floats) -> Floats:
    """The chance of each of 20 bands of the reward, of equally many strings, with each first and last letter: 320."""
    return np.bincount(BAND.ravel(), law.ravel(), 320)


BAND = (REWARD.ravel().argsort().argsort() * 20 // REWARD.size).reshape(REWARD.shape) * 16
BAND = BAND + np.indices(REWARD.shape)[0] * 4 + np.indices(REWARD.shape)[7]


def places(texts: list[str]) -> Any:
    return tuple(np.array([[LETTERS.index(letter) for letter in text] for text in texts]).T)


def follow(searches: list[Search], law: Floats, exact_z: float, other: Floats) -> None:
    """The populations follow the law with its Z; not the other law."""
    found = many(searches)
    assert unbiased([log_z(population) for population in found], exact_z)
    shares = np.zeros((len(found), 320))
    for row, population in zip(shares, found, strict=True):
        answers = [population.verdicts.answers[i] for i in population.verdict]
        np.add.at(row, BAND[places(answers)], population.weights * math.exp(log_z(population) - exact_z))
    error = (shares.std(0, ddof=1) / math.sqrt(len(found))).sum()
    assert np.abs(shares.mean(0) - bins(law)).sum() < error
    assert np.abs(bins(other) - bins(law)).sum() > error


@pytest.mark.parametrize(
    ("config", "search"),
    [
        ({"stacking": 0.4}, {}),
        ({"stacking": 0.4, "order": "confidence", "fills": 1}, {"potential": "max"}),
        ({"stacking": 0.4, "block": 4}, {"schedule": "adaptive"}),
        ({"sampler": "ancestral", "steps": 6}, {}),  # uniform letters are independent: no error of its own
    ],
)
def test_particles_follow_the_tilted_law(config: dict[str, Any], search: dict[str, Any]) -> None:
    p = chances(config.get("stacking", 0.0))
    tilted = p * np.exp(6 * REWARD)
    z = tilted.sum()
    plan = {"particles": 256, "tilt": 6.0, "ess": 0.7, **search}
    searches = [Search(model("dna8", **config), BINDS, "feynman_kac", plan, seed) for seed in range(30)]
    follow(searches, tilted / z, math.log(z), p)


@pytest.mark.parametrize(
    ("target", "tilt", "powers"),
    [
        ({"kind": "product"}, 0.0, (1.0, 1.0)),
        ({"kind": "annealing", "power": 2.0}, 0.0, (2.0, 0.0)),
        ({"kind": "annealing", "power": 0.5}, 4.0, (0.5, 0.0)),
        ({"kind": "guidance", "strength": 1.3}, 0.0, (-0.3, 1.3)),
    ],
)
def test_the_discrete_corrector_samples_powers_and_products(
    target: dict[str, Any], tilt: float, powers: tuple[float, float]
) -> None:
    p, guide = chances(0.6), chances(-0.4)
    aimed = p ** powers[0] * guide ** powers[1] * np.exp(tilt * REWARD)
    z = aimed.sum()
    dna = model("dna8", stacking=0.6, guide=-0.4)
    plan = {"particles": 256, "tilt": tilt, "target": target, "ess": 0.7}
    dna = dna.toward(tuple(b for b in powers if b))
    assert (dna.steps, dna.price) == (8, np.count_nonzero(powers))
    searches = [Search(dna, BINDS, "feynman_kac", plan, seed) for seed in range(30)]
    follow(searches, aimed / z, math.log(z), p)


@pytest.mark.parametrize("particles", [4, 64])
def test_the_normalising_constant_is_unbiased(particles: int) -> None:
    """Of bits in the order of any sampler, and of powers of their law: log Z = 3 log(q^b + (1 - q)^b e^(tilt r))."""
    plan: dict[str, Any] = {"particles": particles, "tilt": 1.5, "ess": 0.9}
    runs = 800 if particles == 4 else 80
    for config, power in (({}, 1.0), ({"sampler": "ancestral", "steps": 5}, 1.0), ({}, 2.0)):
        bits = model("toy/bits", **config)
        aimed = bits.toward((power,)) if power != 1 else bits
        exact = 3 * math.log(0.7**power + 0.3**power * math.exp(1.5))
        found = many([Search(aimed, verifier("toy/ones"), "feynman_kac", plan, seed) for seed in range(runs)])
        assert unbiased([log_z(population) for population in found], exact)
        if particles == 4:
            assert not unbiased([log_mean_exp(p.log_weights) for p in found], exact)  # resamplings forgotten


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("best_of_n", {"n": 16}),
        ("soft_value", {"n": 1, "children": 16, "every": 8}),
        ("beam", {"n": 1, "start": 4, "end": 4, "children": 4, "every": 8}),
        ("noise_search", {**PATHS, "ways": 16, "start": 0.125, "forward": 0.9, "backward": 1.0}),
    ],
)
def test_coverage_is_known_by_enumeration(name: str, config: dict[str, Any]) -> None:
    """The share of searches of 16 that reach the best percent of all chances: 1 - .99^16, whatever the law.

    Every method where it has 16 whole strings to choose from: children, a beam and paths that are ranked at the end.
    """
    p = chances(0.4)
    order = np.argsort(-REWARD, axis=None)
    top = order[np.cumsum(p.ravel()[order]) <= 0.01]
    chance, least = p.ravel()[top].sum(), REWARD.ravel()[top[-1]]
    dna = model("dna8", stacking=0.4)
    found = many([Search(dna, BINDS, name, config, seed) for seed in range(400)])
    share = np.mean([rewards(population).max() >= least for population in found])
    wanted = 1 - (1 - chance) ** 16
    assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 400)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("feynman_kac", {"particles": 6, "tilt": 20.0, "ess": 0.9}),
        ("soft_value", {"n": 2, "children": 3}),
        ("beam", {"n": 2, "start": 2, "end": 2}),
        ("rollover", {"n": 2, "width": 3}),
        ("noise_search", {"algorithm": "paths", "n": 2, "ways": 3, "start": 0.5, "forward": 0.3, "backward": 0.5}),
    ],
)
def test_methods_find_more_are_killed_anywhere_and_in_company(name: str, config: dict[str, Any]) -> None:
    dna = model("dna8", stacking=0.4)
    search = Search(dna, BINDS, name, config)
    assert killed_anywhere(search) > 2
    same_in_company(search)
    found = many([Search(dna, BINDS, name, config, seed) for seed in range(60)])
    gains = np.array([rewards(population).mean() for population in found]) - (chances(0.4) * REWARD).sum()
    assert gains.mean() > 4 * gains.std(ddof=1) / math.sqrt(60)
