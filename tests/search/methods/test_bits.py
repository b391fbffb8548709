"""Methods on three masked bits have their exact laws, by enumeration of all that they may draw and keep.

Answers of independent searches are compared with the law by their total variation, its bound as in `test_strings`.
"""

import math
from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np
import pytest
from exact import model, verifier
from searches import Search, many, rewards

from search.ports import Floats

ONES = verifier("toy/ones")
Text = tuple[int, ...]
MASKED: Text = (-1, -1, -1)


def ways(text: Text, ends: bool, q: float = 0.3) -> dict[Text, float]:
    """What a string of three bits may be after a step, which reveals one bit, or at the end both that are left."""
    out = defaultdict[Text, float](float)
    masked = [i for i in range(3) if text[i] < 0]
    for bits in product((0, 1), repeat=len(masked) if ends else 1):
        for i in range(1) if ends else masked:
            p = math.prod(q if bit else 1 - q for bit in bits) / (1 if ends else len(masked))
            put = dict(zip(masked if ends else [i], bits, strict=True))
            out[tuple(put.get(j, text[j]) for j in range(3))] += p
    return dict(out)


def ones(text: Text) -> int:
    """The value of a string or of its preview: what is masked is likelier to be 0."""
    return sum(bit == 1 for bit in text)


def array(law: dict[Text, float]) -> Floats:
    """Of whole strings, [2, 2, 2]."""
    out = np.zeros((2, 2, 2))
    for text, p in law.items():
        out[text] += p
    assert out.sum() == pytest.approx(1)
    return out


def soft_law(children: tuple[int, int], alpha: float) -> Floats:
    """Of soft-value decoding by enumeration of all children, so many at each of the two steps that reveal bits."""
    live = {MASKED: 1.0}
    for ends, count in zip((False, True), children, strict=True):
        grown = defaultdict[Text, float](float)
        for text, chance in live.items():
            for some in product(ways(text, ends).items(), repeat=count):
                v = np.array([ones(way) for way, _ in some], float)
                weight = np.exp((v - v.max()) / alpha) if alpha else (np.arange(len(v)) == v.argmax()).astype(float)
                for (way, _), w in zip(some, weight / weight.sum(), strict=True):
                    grown[way] += chance * math.prod(p for _, p in some) * w
        live = dict(grown)
    return array(live)


def beam_law(width: int, children: int) -> Floats:
    """Of the best answer of a beam by enumeration of all beams, in order: of equal values the first stays."""
    live = {(MASKED,) * width: 1.0}
    for ends in (False, True):
        grown = defaultdict[tuple[Text, ...], float](float)
        for beam, chance in live.items():
            for some in product(*(ways(text, ends).items() for text in beam for _ in range(children))):
                kept = sorted((way for way, _ in some), key=ones, reverse=True)[: 1 if ends else width]
                grown[tuple(kept)] += chance * math.prod(p for _, p in some)
        live = dict(grown)
    return array({beam[0]: p for beam, p in live.items()})


def rollover_law(width: int) -> Floats:
    """Of rollover budget forcing by dynamic programming over (string, quota)."""
    live = {(MASKED, 2 * width - 1): 1.0}  # the first evaluation reveals nothing, and the first candidate is taken
    for ends in (False, True):
        grown = defaultdict[tuple[Text, int], float](float)
        for (text, left), chance in live.items():
            after = ways(text, ends)
            better = {way: p for way, p in after.items() if ones(way) > ones(text)}
            worse = sum(after.values()) - sum(better.values())
            for drawn in range(left):  # so many were no better before one is
                for way, p in better.items():
                    grown[way, left - drawn - 1 + width] += chance * worse**drawn * p
            for top in {ones(way) for way in after if way not in better}:  # none is: the best goes on
                equal = {way: p for way, p in after.items() if way not in better and ones(way) == top}
                below = sum(p for way, p in after.items() if ones(way) < top)
                p = (below + sum(equal.values())) ** left - below**left
                for way, part in equal.items():
                    grown[way, width] += chance * p * part / sum(equal.values())
        live = dict(grown)
    law = defaultdict[Text, float](float)
    for (text, _), p in live.items():
        law[text] += p
    return array(dict(law))


def best_law(count: int) -> Floats:
    """Of the best of so many whole strings."""
    p = array({text: math.prod(0.3 if bit else 0.7 for bit in text) for text in product((0, 1), repeat=3)})
    v = np.indices((2, 2, 2)).sum(0)
    up_to = np.array([p[v <= k].sum() for k in range(-1, 4)])
    return p * ((up_to[1:] ** count - up_to[:-1] ** count) / np.diff(up_to))[v]


def follows(answers: list[Any], law: Floats, other: Floats) -> None:
    """Within the bound of their law; the other law would not pass."""
    n, shares = len(answers), np.zeros((2, 2, 2))
    np.add.at(shares, tuple(np.array(answers).T), 1 / n)
    bound = np.sqrt(law * (1 - law) / n).sum() / 2 + math.sqrt(math.log(1e4) / (2 * n))
    assert np.abs(shares - law).sum() / 2 < bound
    assert np.abs(other - law).sum() / 2 > bound


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_soft_values_have_their_finite_law(alpha: float) -> None:
    """M = 3; 6,000 independent answers. One child fewer would not pass."""
    plan = {"n": 1500, "children": 3, "alpha": alpha}
    found = many([Search(model("toy/bits"), ONES, "soft_value", plan, seed) for seed in range(4)])
    answers = [answer for population in found for answer in population.verdicts.answers]
    follows(answers, soft_law((3, 3), alpha), soft_law((2, 2), alpha))


def test_rollover_has_its_exact_law() -> None:
    """6,000 independent answers. A quota of one less would not pass."""
    found = many([Search(model("toy/bits"), ONES, "rollover", {"n": 1500, "width": 3}, seed) for seed in range(4)])
    answers = [population.verdicts.answers[i] for population in found for i in population.verdict]
    assert len(answers) == 6000
    follows(answers, rollover_law(3), rollover_law(2))


def best_of(name: str, plan: dict[str, Any], runs: int = 600) -> list[Any]:
    """The best answer of each of so many searches."""
    found = many([Search(model("toy/bits"), ONES, name, plan, seed) for seed in range(runs)])
    return [p.verdicts.answers[p.verdict[rewards(p).argmax()]] for p in found]


def test_a_beam_has_its_exact_law() -> None:
    """Two of four at each step. The better of two, without a beam, would not pass."""
    plan = {"n": 1, "start": 2, "end": 2, "children": 2}
    follows(best_of("beam", plan), beam_law(2, 2), soft_law((2, 2), 0.0))


PATHS: dict[str, Any] = {"algorithm": "paths", "n": 1, "ways": 3}
STEPWISE, LATE = soft_law((3, 3), 0.0), soft_law((1, 3), 0.0)


@pytest.mark.parametrize(
    ("parts", "law", "other"),
    [
        ({"start": 0.5, "forward": 0.3, "backward": 0.5}, STEPWISE, LATE),  # back by 1, on by 2, from the start
        ({"start": 0.3, "forward": 0.3, "backward": 0.6}, LATE, STEPWISE),  # back by 1 from 2: the bit that shows stays
        ({"start": 0.3, "forward": 0.6, "backward": 1.0}, best_law(3), STEPWISE),  # back to where nothing shows
    ],
)
def test_paths_have_their_exact_law(parts: dict[str, float], law: Floats, other: Floats) -> None:
    """Of three ways back and on again the best goes on; what goes back keeps what it keeps."""
    follows(best_of("noise_search", {**PATHS, **parts}), law, other)


def test_a_beam_that_covers_everything_finds_the_optimum() -> None:
    """256 last children of strings with a one: all are short of three ones with a chance of .91^256 = 3e-11."""
    plan = {"n": 1, "start": 32, "end": 32, "children": 8}
    assert best_of("beam", plan, 20) == [[1, 1, 1]] * 20
