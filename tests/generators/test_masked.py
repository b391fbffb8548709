"""Masked diffusion follows the law of its table, string by string, whatever the sampler and the order of its tokens.

The table: 81 strings of 3 symbols in 4 places with strong interactions of all pairs. Total variation between N draws
and their law p has a mean of at most sum_s sqrt(p_s (1 - p_s) / N) / 2, and passes it by sqrt(log(1/d) / 2N) with a
chance of at most d (McDiarmid), here 1e-4; seeds are fixed.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from generators.dna import chances
from generators.masked import Law, Masked
from generators.sampling import Sampling
from generators.tables import Table
from generators.unmasking import MASK, drawn
from search import keys
from search.ports import Floats, Item, Rows

LENGTH, SYMBOLS, N = 4, 3, 20_000


class Small(Sampling):
    @property
    def size(self) -> int:
        return LENGTH


def interacting(seed: int) -> Floats:
    pairs = np.random.default_rng(seed).normal(size=(LENGTH, LENGTH, SYMBOLS, SYMBOLS))
    energy = np.zeros((SYMBOLS,) * LENGTH)
    for text in product(range(SYMBOLS), repeat=LENGTH):
        energy[text] = sum(pairs[i, j, text[i], text[j]] for i in range(LENGTH) for j in range(i))
    return np.exp(energy) / np.exp(energy).sum()


P = interacting(1)


def template(item: Item) -> Any:
    return np.array([MASK if c == "_" else int(c) for c in item.prompt or "_" * LENGTH])


class Counting(Table):
    calls = 0

    def __call__(self, tokens: Any) -> Floats:
        self.calls += 1
        return super().__call__(tokens)


def build(p: Floats = P, guide: Floats | None = None, **config: Any) -> Masked:
    laws = [Law("t", SYMBOLS, LENGTH, Counting(q), template, np.ndarray.tolist) for q in (p, guide) if q is not None]
    return Masked(laws[0], Small(**config), laws[1] if len(laws) > 1 else None)


def begin(generator: Masked, n: int = N, prompt: str = "", seed: int = 0) -> Rows:
    return generator.start([Item(prompt=prompt)] * n, keys.rows(keys.problem(seed, "masked"), 0, n))


def ended(generator: Masked, rows: Rows) -> Rows:
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


def shares(rows: Rows) -> Floats:
    found = np.zeros((SYMBOLS,) * LENGTH)
    np.add.at(found, tuple(rows.columns["text"].T), 1 / len(rows))
    return found


def variation(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).sum() / 2)


def bound(p: Floats, n: int = N) -> float:
    return float(np.sqrt(p * (1 - p) / n).sum() / 2 + np.sqrt(np.log(1e4) / (2 * n)))


def ancestral_law(p: Floats, steps: int) -> Floats:
    """By enumeration of all partly masked strings: tokens of one step are drawn as if they were independent."""
    table, live = Table(p), {(MASK,) * LENGTH: 1.0}
    for step in range(steps):
        appears, grown = 1 / (steps - step), defaultdict[tuple[int, ...], float](float)
        for text, chance in live.items():
            log = table(np.array([text]))[0]
            choices = [
                [(s, 1.0)] if s != MASK else [(MASK, 1 - appears), *enumerate(appears * np.exp(log[i]))]
                for i, s in enumerate(text)
            ]
            for drawn_now in product(*choices):
                grown[tuple(s for s, _ in drawn_now)] += chance * float(np.prod([q for _, q in drawn_now]))
        live = {text: q for text, q in grown.items() if q > 0}
    law = np.zeros((SYMBOLS,) * LENGTH)
    for text, q in live.items():
        law[text] = q
    return law


@pytest.mark.parametrize("config", [{}, {"order": "confidence"}, {"block": 2}, {"block": 3, "order": "confidence"}])
def test_every_order_of_first_hitting_has_the_exact_law(config: dict[str, Any]) -> None:
    generator = build(**config)
    rows = ended(generator, begin(generator))
    assert variation(shares(rows), P) < bound(P)
    alone = [P.sum(tuple(set(range(LENGTH)) - {i})) for i in range(LENGTH)]
    assert variation(np.einsum("a,b,c,d->abcd", *alone), P) > 3 * bound(P)  # or nothing was tested


def test_blocks_and_confidence_decide_the_place() -> None:
    generator = build(block=1)
    rows = begin(generator, 50)
    for step in range(LENGTH - 1):
        rows = generator.advance(rows)
        assert ((rows.columns["text"] != MASK) == (np.arange(LENGTH) < step)).all()
    generator = build(order="confidence")
    rows = generator.advance(begin(generator, 50))
    surest = rows.columns["log_p"].max(-1).argmax(1)
    after = generator.advance(rows).columns["text"] != MASK
    assert (after.argmax(1) == surest).all()
    assert after.sum(1).tolist() == [1] * 50


def test_the_ancestral_sampler_has_its_law_and_first_hitting_needs_a_tenth_of_its_calls() -> None:
    """At 3 steps its own law, far from the table; at 1,000 the table's within the chance of two tokens in a step."""
    coarse = build(sampler="ancestral", steps=3)
    law = ancestral_law(P, 3)
    assert variation(shares(ended(coarse, begin(coarse))), law) < bound(law)
    assert variation(law, P) > 2 * bound(P)
    fine, hitting, n = build(sampler="ancestral", steps=1000), build(), 4000
    together = LENGTH * (LENGTH - 1) / 2 / 1000
    found = [shares(ended(generator, begin(generator, n, seed=1))) for generator in (fine, hitting)]
    assert variation(*found) < 2 * bound(P, n) + together
    calls = [generator.law.predict.calls for generator in (fine, hitting)]  # type: ignore[attr-defined]
    assert calls == [1000, LENGTH]
    assert calls[0] >= 10 * calls[1]


def test_tokens_appear_at_the_times_of_the_ancestral_process() -> None:
    """The time of the k-th of L is the k-th largest of L uniforms: mean (L + 1 - k) / (L + 1), beta's variance."""
    generator = build()
    rows = begin(generator)
    for k in range(LENGTH):
        rows = generator.advance(rows)
        number = LENGTH if rows.done.all() else k
        time, b = rows.columns["time"], LENGTH + 1 - number
        mean = b / (LENGTH + 1) if number else 1.0
        deviation = np.sqrt(b * number / ((LENGTH + 1) ** 2 * (LENGTH + 2)))
        assert abs(time.mean() - mean) <= 4 * deviation / np.sqrt(N)
        assert abs(time.std() - deviation) < 0.02
    assert rows.done.all()


@pytest.mark.parametrize(("at", "back"), [(4, 3), (3, 1), (4, 0)])
@pytest.mark.parametrize("config", [{}, {"sampler": "ancestral", "steps": 4}])
def test_rows_that_went_back_have_the_law_of_rows_that_did_not(config: dict[str, Any], at: int, back: int) -> None:
    """On the way the same number of tokens shows, wherever; at the end the same strings."""
    generator = build(**config)
    law = ancestral_law(P, 4) if config else P
    rows, straight = begin(generator), begin(generator, seed=1)
    for _ in range(at):
        rows = generator.advance(rows)
    for _ in range(back):
        straight = generator.advance(straight)
    again = generator.renoise(rows.fork(np.arange(N)), back)
    assert (again.step == back).all()
    assert not again.done.any()
    shown = (generator.advance(straight).columns["text"] != MASK, generator.advance(again).columns["text"] != MASK)
    assert np.abs(shown[0].mean(0) - shown[1].mean(0)).max() < 4 * np.sqrt(0.5 / N)
    mean = 1 - back / 4 if config else 1 - back / (LENGTH + 1)
    assert abs(again.columns["time"].mean() - mean) < 4 * 0.2 / np.sqrt(N)
    assert variation(shares(ended(generator, again)), law) < bound(law)


def test_given_tokens_stay_and_the_others_follow_the_conditional_law() -> None:
    generator = build()
    rows = ended(generator, begin(generator, prompt="_2_0"))
    assert rows.step.tolist() == [2] * N
    expected = np.zeros_like(P)
    expected[:, 2, :, 0] = P[:, 2, :, 0] / P[:, 2, :, 0].sum()
    assert variation(shares(rows), expected) < bound(expected)
    back = generator.renoise(rows.fork(np.arange(N)), 1)
    assert (back.columns["text"][:, [1, 3]] == [2, 0]).all()
    assert variation(shares(ended(generator, back)), expected) < bound(expected)


def test_fills_are_draws_of_what_is_masked() -> None:
    generator = build(fills=5)
    rows = generator.advance(begin(generator, 4000))
    fills = np.array([preview["fills"] for preview in generator.preview(rows)])
    assert fills.shape == (4000, 5, LENGTH)
    for place in range(LENGTH):
        marginal = P.sum(tuple(set(range(LENGTH)) - {place}))
        found = np.bincount(fills[..., place].ravel(), minlength=SYMBOLS) / fills[..., 0].size
        assert np.abs(found - marginal).max() < 4 * np.sqrt(0.25 / fills[..., 0].size)
    likely = build().preview(rows_of(rows, 0))
    assert likely[0] == rows.columns["log_p"][0].argmax(-1).tolist()
    done = ended(generator, rows)
    assert generator.preview(done) == generator.finish(done)


def rows_of(rows: Rows, fills: int) -> Rows:
    return replace(rows, columns={**rows.columns, "fills": np.full(len(rows), fills)})


RARE = 20_000


def entropy(dtype: Any, bits: int, proposals: int = 300_000) -> float:
    """Of the tokens that appear in a step of the ancestral sampler as it is often written: the mask is one more symbol.

    T = 1000; 10 common tokens of chance .05, 20,000 rare ones that share the other half; uniforms are multiples of
    2^-bits below 1. Token v beats the mask only with a uniform within (p_v / T) log(1 / u_mask) of 1. So uniforms are
    drawn from there, 2^-10 for common and 2^-20 for rare tokens: beyond, the mask's would have to be below 1e-8. What
    appears counts as often as the tokens of its kind times the chance of such a uniform.
    """
    rng, appeared = np.random.default_rng(3), list[float]()
    for p, tokens, near in ((0.05, 10, 2.0**-10), (0.5 / RARE, RARE, 2.0**-20)):
        tail = np.ceil(rng.random(proposals) * near * 2.0**bits) / 2.0**bits
        u = np.stack([1 - tail, (rng.random(proposals) * (2.0**24 - 1) + 1) // 1 / 2.0**24], 1).astype(dtype)
        log_p = np.log([p / 1000, 1 - 1 / 1000]).astype(dtype)
        appeared.append(float((drawn(log_p, u) == 0).mean()) * tokens * near)
    q = appeared[0] / sum(appeared)
    return float(-q * np.log(q / 10) - (1 - q) * np.log((1 - q) / RARE))


def test_float32_gumbel_numbers_lower_the_entropy_and_float64_ones_do_not() -> None:
    exact = np.log(2) + np.log(10) / 2 + np.log(RARE) / 2

    def holds(found: float) -> bool:
        return abs(found - exact) < 0.1  # 4 standard deviations of the share of rare tokens

    assert holds(entropy(np.float64, 52))
    assert not holds(entropy(np.float32, 24))
    assert entropy(np.float32, 24) < exact - 1


def test_dna_is_a_law_in_which_both_strands_count_the_same() -> None:
    p = chances(0.7)
    assert p.sum() == pytest.approx(1)
    assert np.allclose(p, p.transpose(range(7, -1, -1))[(slice(None, None, -1),) * 8])
    assert p[1, 2, 1, 2, 1, 2, 1, 2] > 50 * p[0, 3, 0, 3, 0, 3, 0, 3]  # CGCGCGCG, ATATATAT
    assert np.ptp(chances(0.0)) < 1e-18
