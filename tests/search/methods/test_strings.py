"""Step-wise methods on text have their exact laws, string by string: T1 by enumeration, with and without a stop symbol.

The reward is a process reward: it reads every prefix, and a prefix says neither what the whole will earn nor the
contrary. Total variation between N independent answers and their law p has a mean of at most
sum_s sqrt(p_s (1 - p_s) / N) / 2, and is above it by sqrt(log(1/d) / 2N) with a chance of at most d (McDiarmid).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from exact import log_z, unbiased
from searches import Search, judge, killed_anywhere, many, same_in_company

from generators.builtin import GENERATORS
from generators.toy import Markov

Law = Mapping[str, float]
INITIAL = (0.5, 0.3, 0.2)
TRANSITION = ((0.6, 0.3, 0.1), (0.2, 0.5, 0.3), (0.3, 0.3, 0.4))


def reward(text: str) -> float:
    """Counts 2s, likes "01" somewhere, dislikes a repeated end: not a sum over symbols."""
    return 0.6 * text.count("2") + 0.8 * ("01" in text) - 0.5 * (text[-2:] == text[-1:] * 2)


REWARD = judge(reward)


def chain(**config: Any) -> Any:
    return GENERATORS.find("toy/markov").factory(Markov.model_validate({"text": True, **config}))


def following(prefix: str) -> tuple[float, ...]:
    return TRANSITION[int(prefix[-1])] if prefix else INITIAL


def ended(prefix: str, length: int, stop: str | None) -> bool:
    return len(prefix) == length or (stop is not None and prefix.endswith(stop))


def law_of(length: int, stop: str | None, step: Callable[[str], Mapping[str, float]]) -> dict[str, float]:
    """The law of strings whose prefixes grow as `step` says: each extension of a prefix with its chance."""
    live, law = {"": 1.0}, dict[str, float]()
    while live:
        grown: dict[str, float] = {}
        for prefix, p in live.items():
            for longer, q in step(prefix).items():
                into = law if ended(longer, length, stop) else grown
                into[longer] = into.get(longer, 0.0) + p * q
        live = grown
    assert math.isclose(sum(law.values()), 1.0)
    return law


def plain(prefix: str) -> dict[str, float]:
    """The model itself."""
    return {prefix + str(s): p for s, p in enumerate(following(prefix))}


def tilted(law: Law, tilt: float) -> tuple[dict[str, float], float]:
    """p(s) exp(tilt r(s)) / Z, and log Z."""
    weights = {text: p * math.exp(tilt * reward(text)) for text, p in law.items()}
    z = sum(weights.values())
    return {text: w / z for text, w in weights.items()}, math.log(z)


def variation(one: Law, other: Law) -> float:
    """Total variation: half the sum of the differences."""
    return sum(abs(one.get(s, 0.0) - other.get(s, 0.0)) for s in {*one, *other}) / 2


def bound(law: Law, n: int, chance: float = 1e-4) -> float:
    """What the variation of n independent answers from their law passes with this chance."""
    return sum(math.sqrt(p * (1 - p) / n) for p in law.values()) / 2 + math.sqrt(math.log(1 / chance) / (2 * n))


def frequencies(texts: list[str]) -> dict[str, float]:
    return {text: times / len(texts) for text, times in Counter(texts).items()}


@pytest.mark.parametrize(("potential", "stop"), [("difference", None), ("max", "2"), ("mean", "2")])
def test_particles_follow_the_tilted_law(potential: str, stop: str | None) -> None:
    """Z_r/Z sum_k w_k 1{x_k = s} of population r is unbiased for the chance of s: its mean over populations is off by
    its standard error at most, on average, and so is the sum over the strings.
    """
    tilt, runs = 1.5, 40
    model = chain(stop=None if stop is None else int(stop))
    law = law_of(6, stop, plain)
    assert len(law) == (729 if stop is None else 127)
    exact, exact_z = tilted(law, tilt)
    config = {"particles": 256, "tilt": tilt, "potential": potential, "ess": 0.7}
    found = many([Search(model, REWARD, "feynman_kac", config, seed) for seed in range(runs)])
    strings = sorted(exact)
    place = {text: i for i, text in enumerate(strings)}
    shares = np.zeros((runs, len(strings)))
    for row, population in zip(shares, found, strict=True):
        answers = [place[population.verdicts.answers[i]] for i in population.verdict]
        np.add.at(row, answers, population.weights * math.exp(log_z(population) - exact_z))
    error = shares.std(0, ddof=1) / math.sqrt(runs)
    off = np.abs(shares.mean(0) - [exact[text] for text in strings])
    assert off.sum() < error.sum()
    assert variation(law, exact) > 2 * error.sum() / 2  # the model's own law would not pass
    assert max(len(population.splits) for population in found) > 0


def test_the_normalising_constant_is_unbiased() -> None:
    """Few particles, where log Z-hat itself is biased. 200 populations; the z-test is wrong once in 16,000."""
    model = chain(stop=2)
    exact_z = tilted(law_of(6, "2", plain), 2.0)[1]
    config = {"particles": 8, "tilt": 2.0, "ess": 0.7}
    found = many([Search(model, REWARD, "feynman_kac", config, seed) for seed in range(300)])
    assert unbiased([log_z(population) for population in found], exact_z)
    assert np.mean([log_z(population) for population in found]) < exact_z - 0.01  # Jensen: or nothing was tested


def test_finished_strings_are_not_weighed_again() -> None:
    """A string that has ended keeps its weight, costs nothing more and stays as it is, whatever the others do."""
    search = Search(chain(stop=2), REWARD, "feynman_kac", {"particles": 400, "tilt": 1.0, "ess": 0.01})
    population = search.found()
    assert population.splits == ()
    texts = [population.verdicts.answers[i] for i in population.verdict]
    assert population.rows.spent.tolist() == population.rows.step.tolist() == list(map(len, texts))
    assert population.rows.columns["tokens"].tolist() == list(map(len, texts))
    assert np.allclose(population.log_weights, [reward(text) for text in texts])
    assert {len(text) for text in texts} == {1, 2, 3, 4, 5, 6}


def chosen(children: int, alpha: float) -> Callable[[str], dict[str, float]]:
    """Soft-value decoding: one of M children by softmax(v / alpha), by enumeration of how often each symbol comes."""

    def step(prefix: str) -> dict[str, float]:
        p, out = following(prefix), {prefix + str(s): 0.0 for s in range(3)}
        for counts in product(range(children + 1), repeat=3):
            if sum(counts) != children:
                continue
            ways = math.factorial(children) / math.prod(map(math.factorial, counts))
            chance = ways * math.prod(q**c for q, c in zip(p, counts, strict=True))
            values = [reward(prefix + str(s)) if counts[s] else -math.inf for s in range(3)]
            top = max(values)
            pull = [
                c * (math.exp((v - top) / alpha) if alpha else v == top) for c, v in zip(counts, values, strict=True)
            ]
            for s in range(3):
                out[prefix + str(s)] += chance * pull[s] / sum(pull)
        return out

    return step


@pytest.mark.parametrize(("alpha", "stop"), [(0.0, "2"), (0.5, None)])
def test_soft_values_have_their_finite_law(alpha: float, stop: str | None) -> None:
    """M = 3. Answers are independent: 4 searches of 3000."""
    law = law_of(6, stop, chosen(3, alpha))
    model = chain(stop=None if stop is None else int(stop))
    config = {"n": 3000, "children": 3, "alpha": alpha}
    found = many([Search(model, REWARD, "soft_value", config, seed) for seed in range(4)])
    texts = [answer for population in found for answer in population.verdicts.answers]
    assert len(texts) == 12_000
    assert variation(frequencies(texts), law) < bound(law, 12_000)
    assert variation(law_of(6, stop, chosen(2, alpha)), law) > bound(law, 12_000)  # one child fewer would not pass


def beams(length: int, stop: str | None, width: int, children: int) -> dict[str, float]:
    """The law of a beam's best answer: every beam with its chance, every way in which its candidates may be drawn."""

    @cache
    def extensions(prefix: str) -> tuple[tuple[str, float], ...]:
        return ((prefix, 1.0),) if ended(prefix, length, stop) else tuple(plain(prefix).items())

    live, law = {("",) * width: 1.0}, dict[str, float]()
    while live:
        grown: dict[tuple[str, ...], float] = {}
        for beam, p in live.items():
            ways = [extensions(t) for t in beam for _ in range(1 if t and ended(t, length, stop) else children)]
            for drawn in product(*ways):
                q = p * math.prod(chance for _, chance in drawn)
                ranked = sorted((text for text, _ in drawn), key=lambda text: -reward(text))[:width]
                over = [ended(text, length, stop) for text in ranked]  # of these only the best can win
                kept = tuple(t for i, t in enumerate(ranked) if not over[i] or not any(over[:i]))
                grown[kept] = grown.get(kept, 0.0) + q
        live = {}
        for beam, p in grown.items():
            into: dict[Any, float] = law if all(ended(t, length, stop) for t in beam) else live
            name = beam[0] if into is law else beam
            into[name] = into.get(name, 0.0) + p

    assert math.isclose(sum(law.values()), 1.0)
    return law


@pytest.mark.parametrize(("stop", "length", "width", "children"), [("2", 6, 1, 3), (None, 4, 2, 2), ("2", 4, 2, 2)])
def test_beams_have_their_exact_law(stop: str | None, length: int, width: int, children: int) -> None:
    """Of 300 beams the best answer; one beam of one is the greedy choice among its children."""
    law = beams(length, stop, width, children)
    if width == 1:
        assert variation(law, law_of(length, stop, chosen(children, 0.0))) < 1e-12
    model = chain(stop=None if stop is None else int(stop), length=length)
    config = {"n": 1, "start": width, "end": width, "children": children}
    found = many([Search(model, REWARD, "beam", config, seed) for seed in range(300)])
    texts = [population.verdicts.answers[0] for population in found]
    assert variation(frequencies(texts), law) < bound(law, 300)
    assert variation(law_of(length, stop, plain), law) > bound(law, 300)  # the model's own law would not pass


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("best_of_n", {"n": 6}),
        ("feynman_kac", {"particles": 6, "tilt": 2.0, "ess": 0.9}),
        ("soft_value", {"n": 2, "children": 3, "every": 2}),
        ("beam", {"n": 2, "start": 2, "end": 2}),
        ("rollover", {"n": 2, "width": 3}),
    ],
)
def test_strings_of_different_length_are_killed_anywhere_and_in_company(name: str, config: dict[str, Any]) -> None:
    search = Search(chain(stop=2), REWARD, name, config)
    assert killed_anywhere(search) > 2
    same_in_company(search)
