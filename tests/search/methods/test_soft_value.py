"""Soft-value decoding: exact law for a finite number of candidates, best of n as its limit, groups of their own."""

from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pytest
from exact import model, verifier
from pydantic import ValidationError
from searches import VALUE, Early, Search, gain, judge, killed_anywhere, many, record, same_in_company

from generators.fake import Fake
from search.metering import Budget
from search.methods.soft_value import SoftValue
from search.population import NoWeight

GROUPS = 20_000


def mixture(steps: int = 6) -> Any:
    return model("toy/gaussian_mixture", steps=steps)


@pytest.mark.parametrize(
    ("children", "exact"), [(1, 0.3000), (2, 0.4334), (4, 0.5414), (8, 0.6030), (16, 0.6319), (64, 0.6515)]
)
def test_law_of_one_bit(children: int, exact: float) -> None:
    """P(one) of M candidates weighed by exp(1.5 r): 20,000 answers have a standard error of at most .0035, 8,000 (of 16
    and 64 candidates) of .0054; 4 of them, and half a unit of the last digit of the exact value."""
    groups = GROUPS if children < 16 else 8000
    config = {"n": groups, "children": children, "alpha": 1 / 1.5}
    found = Search(model("toy/bits", length=1, q=0.3), verifier("toy/ones"), "soft_value", config).found()
    assert len(found) == groups
    assert np.mean(found.verdicts.answers) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / groups) + 5e-5)


@pytest.mark.parametrize("children", [1, 2, 4, 8])
def test_law_of_the_best_bit(children: int) -> None:
    exact = 1 - 0.7**children
    config = {"n": GROUPS, "children": children}
    found = Search(model("toy/bits", length=1, q=0.3), verifier("toy/ones"), "soft_value", config).found()
    assert np.mean(found.verdicts.answers) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / GROUPS))


@pytest.mark.parametrize(("alpha", "children"), [(0.5, 2), (0.5, 5), (0.0, 3)])
def test_law_of_a_string(alpha: float, children: int) -> None:
    """Every step of a Markov chain of 4 symbols has its own choice: the law is a product of finite-M laws, enumerated.

    Count of a symbol: the value of a prefix rises by one or not, so each choice is that of a bit with the chance q of
    the symbol after the last; mean over 20,000 answers within 4 standard errors.
    """
    transition = [[0.6, 0.4], [0.2, 0.8]]
    chain = model("toy/markov", initial=[0.5, 0.5], transition=transition, length=4)
    config = {"n": GROUPS, "children": children, "alpha": alpha}
    found = Search(chain, verifier("toy/count", symbol=1), "soft_value", config).found()

    def chosen(q: float) -> float:
        k = np.arange(children + 1)
        binomial = np.array([comb(children, int(i)) * q**i * (1 - q) ** (children - i) for i in k])
        win = (k > 0) * 1.0 if alpha == 0 else k * np.exp(1 / alpha) / (k * np.exp(1 / alpha) + children - k)
        return float(binomial @ win)

    law = np.array([1 - chosen(0.5), chosen(0.5)])
    answers = np.array(found.verdicts.answers)
    for symbol in range(4):
        exact = law[1]
        assert answers[:, symbol].mean() == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / GROUPS))
        law = np.array([law @ [1 - chosen(row[1]) for row in transition], law @ [chosen(row[1]) for row in transition]])


@pytest.mark.parametrize("every", [6, 7, 100])
@pytest.mark.parametrize("children", [1, 5])
def test_choosing_at_the_end_alone_is_best_of_n(children: int, every: int) -> None:
    """Digest for digest: the same keys and the same answers, of every group."""
    search = Search(mixture(), verifier("toy/linear"), "soft_value", {"n": 7, "children": children, "every": every})
    found = search.found()
    drawn = Search(mixture(), verifier("toy/linear"), "best_of_n", {"n": 7 * children}).found()
    groups = drawn.verdicts.rewards.reshape(7, children)
    best = np.arange(7) * children + groups.argmax(1)
    assert record(found) == record(drawn[best].found())
    assert search.end().spent.previews == 0


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_ranges_of_samples_are_searches_of_their_own(cut: int) -> None:
    whole = Search(mixture(), verifier("toy/linear"), "soft_value", {"n": 7, "children": 4, "alpha": 0.3})
    left, right = replace(whole, count=cut).found(), replace(whole, first=cut, count=7 - cut).found()
    assert left.names() + right.names() == whole.found().names()
    assert [*left.verdicts.answers, *right.verdicts.answers] == whole.found().verdicts.answers


@pytest.mark.parametrize(("every", "points"), [(1, 5), (2, 2), (3, 1), (4, 1), (5, 1), (6, 0)])
def test_cost_is_exact(every: int, points: int) -> None:
    """6 steps: candidates are scored at the multiples of `every` below 6, and at the end."""
    outcome = Search(mixture(), verifier("toy/linear"), "soft_value", {"n": 3, "children": 4, "every": every}).end()
    assert (outcome.stop_reason, outcome.spent.evaluations) == (None, 3 * 4 * 6)
    assert (outcome.spent.previews, outcome.spent.verifier_calls) == (12 * points, 12 * (points + 1))
    config = SoftValue(n=3, children=4, every=every)
    assert (config.verdicts(6), config.trajectories, config.samples) == (points + 1, 12.0, 3)


def test_one_candidate_is_not_previewed() -> None:
    outcome = Search(mixture(), verifier("toy/linear"), "soft_value", {"n": 3, "children": 1}).end()
    assert (outcome.spent.previews, outcome.spent.verifier_calls) == (0, 3)


@pytest.mark.parametrize("generator", [mixture(), Early(5)], ids=["mixture", "early"])
@pytest.mark.parametrize(
    "config",
    [
        {"n": 3, "children": 4},
        {"n": 3, "children": 4, "alpha": 0.7, "every": 2},
        {"n": 2, "children": 1},
        {"n": 2, "children": 3, "every": 9},
    ],
    ids=str,
)
def test_killed_anywhere_and_in_company(generator: Any, config: dict[str, Any]) -> None:
    search = Search(generator, VALUE, "soft_value", config)
    assert killed_anywhere(search) > generator.steps / 2
    same_in_company(search)


def test_rows_that_end_early_are_chosen_once() -> None:
    found = Search(Early(6), VALUE, "soft_value", {"n": 200, "children": 3}).found()
    assert len(found) == 200
    assert len(set(found.names())) == 200
    assert found.rows.done.all()
    assert (found.rows.step < 6).any()
    assert np.mean(found.verdicts.rewards) > 1


def test_ranges_of_samples_that_end_early() -> None:
    whole = Search(Early(6), VALUE, "soft_value", {"n": 9, "children": 3, "alpha": 0.4, "every": 2})
    apart = many([replace(whole, first=i, count=1) for i in range(9)])
    assert [name for one in apart for name in one.names()] == whole.found().names()


@pytest.mark.parametrize(("limit", "drawn"), [(5, 0), (23, 0), (24, 1), (47, 1), (48, 2), (71, 2), (72, 3), (1000, 3)])
@pytest.mark.parametrize("currency", ["evaluations", "verifier_calls", "previews"])
def test_a_budget_gives_whole_answers(currency: str, limit: int, drawn: int) -> None:
    """An answer of 4 candidates costs 24 evaluations and 24 verdicts, 20 of them on previews."""
    if currency == "previews":
        limit = limit * 20 // 24
    budget = Budget(**{currency: limit})
    search = Search(mixture(), verifier("toy/linear"), "soft_value", {"n": 3, "children": 4}, budget=budget)
    outcome = search.end()
    assert outcome.error is None
    assert outcome.stop_reason == (None if drawn == 3 else "budget")
    assert getattr(outcome.spent, currency) == (20 if currency == "previews" else 24) * drawn
    if drawn:
        assert outcome.population is not None
        every = replace(search, budget=None).found()
        assert outcome.population.verdicts.answers == every.verdicts.answers[:drawn]


def test_unscored_candidates_are_not_chosen() -> None:
    """Of walks only those above 0 are scored: with 8 candidates, hardly a group has none."""
    positive = judge(lambda x: x if x > 0 else None)
    for alpha in (0.0, 0.5):
        found = Search(Fake(1), positive, "soft_value", {"n": 2000, "children": 3, "alpha": alpha}).found()
        share = np.mean(np.isnan(found.verdicts.rewards))
        assert share == pytest.approx(1 / 8, abs=4 * np.sqrt(1 / 8 * 7 / 8 / 2000))


def test_previews_of_which_none_is_scored_end_the_search() -> None:
    outcome = Search(Fake(3), judge(lambda x: None), "soft_value", {"n": 3, "children": 2}).end()
    assert isinstance(outcome.error, NoWeight)
    assert str(outcome.error).startswith("step 1: none of 6 answers was scored: cannot read")


def test_unscored_answers_are_records() -> None:
    found = Search(Fake(3), judge(lambda x: None), "soft_value", {"n": 3, "children": 2, "every": 3}).found()
    assert np.isnan(found.verdicts.rewards).all()


def test_extreme_temperatures() -> None:
    cold = Search(mixture(), VALUE, "soft_value", {"n": 4, "children": 5, "alpha": 1e-300})
    assert record(cold.found()) == record(replace(cold, config={"n": 4, "children": 5}).found())
    hot = Search(Fake(1), VALUE, "soft_value", {"n": 4000, "children": 5, "alpha": 1e9})
    assert abs(np.mean(hot.found().verdicts.answers)) < 4 / np.sqrt(4000)


def test_it_improves_on_the_model() -> None:
    mean, error = gain("soft_value", {"n": 4, "children": 4})
    assert mean - 4 * error > 1.5


def test_limits() -> None:
    for wrong in ({"n": 0}, {"children": 0}, {"alpha": -1.0}, {"every": 0}, {"m": 1}):
        with pytest.raises(ValidationError):
            SoftValue(**wrong)  # type: ignore[arg-type]
