"""Rollover budget forcing: the law of its draws by dynamic programming, quotas that are never exceeded."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from exact import model, verifier
from pydantic import ValidationError
from searches import VALUE, Early, Search, gain, judge, killed_anywhere, many, record, same_in_company

from generators.fake import Fake
from search.metering import Budget
from search.methods.rollover import Rollover
from search.population import NoWeight

ANSWERS = 10_000
TRANSITION = [[0.6, 0.4], [0.2, 0.8]]


def mixture(steps: int = 6) -> Any:
    return model("toy/gaussian_mixture", steps=steps)


def enumerated(width: int, length: int) -> tuple[list[float], float]:
    """P(symbol 1 at each place) and mean draws of one answer, for the count of ones on a two-symbol chain.

    The first symbol is taken as it comes. Later ones are better only when they are 1: up to the quota left, symbols are
    drawn until a 1; what is left is added to the next quota.
    """
    states = {(symbol, 2 * width - 1): 0.5 for symbol in (0, 1)}
    places, draws = [0.5], 1.0
    for _ in range(length - 1):
        after: dict[tuple[int, int], float] = defaultdict(float)
        for (last, quota), p in states.items():
            q = TRANSITION[last][1]
            for j in range(1, quota + 1):
                won = p * (1 - q) ** (j - 1) * q
                after[1, quota - j + width] += won
                draws += won * j
            lost = p * (1 - q) ** quota
            after[0, width] += lost
            draws += lost * quota
        states = dict(after)
        places.append(sum(p for (symbol, _), p in states.items() if symbol == 1))
    return places, draws


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_law_of_a_string(width: int) -> None:
    """Each place of 10,000 strings, and their mean cost, within 4 standard errors."""
    chain = model("toy/markov", initial=[0.5, 0.5], transition=TRANSITION, length=5)
    search = Search(chain, verifier("toy/count", symbol=1), "rollover", {"n": ANSWERS, "width": width})
    outcome = search.end()
    assert outcome.population is not None
    assert len(outcome.population) == ANSWERS
    answers = np.array(outcome.population.verdicts.answers)
    places, draws = enumerated(width, 5)
    for place, exact in enumerate(places):
        assert answers[:, place].mean() == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / ANSWERS))
    most = 5 * width
    assert outcome.spent.evaluations / ANSWERS == pytest.approx(draws, abs=4 * most / 2 / np.sqrt(ANSWERS))
    assert outcome.spent.verifier_calls == outcome.spent.evaluations  # every candidate is scored, once


def test_a_width_of_one_is_the_model() -> None:
    found = Search(Fake(4), VALUE, "rollover", {"n": 4000, "width": 1}).found()
    assert abs(np.mean(found.verdicts.answers)) < 4 * 2 / np.sqrt(4000)
    assert np.std(found.verdicts.answers) == pytest.approx(2, abs=4 * 2 / np.sqrt(2 * 4000))


@pytest.mark.parametrize("width", [1, 2, 7])
def test_quotas_are_never_exceeded(width: int) -> None:
    """Rewards that fall with every step use up every quota: only the first step takes what it gets, and hands on."""
    falling = judge(lambda x: -1e6 * len(x))
    chain = model("toy/markov", length=5)
    outcome = Search(chain, falling, "rollover", {"n": 3, "width": width}).end()
    assert outcome.spent.evaluations == 3 * width * 5 == Rollover(n=3, width=width).trajectories * 5
    rising = judge(lambda x: float(len(x)))
    outcome = Search(chain, rising, "rollover", {"n": 3, "width": width}).end()
    assert outcome.spent.evaluations == 3 * 5
    assert (outcome.spent.previews, outcome.spent.verifier_calls) == (3 * 4, 3 * 5)


def test_the_best_candidate_of_a_used_up_quota_is_taken() -> None:
    """One answer on a walk whose reward falls by 100 a step: of every quota the highest candidate goes on.

    The first step draws 1 candidate, the second 7, and the others 4: the mean is that of the sum of best-of-k normals.
    """
    highest = {1: 0.0, 4: 1.029375, 7: 1.352178}

    def reward(x: float) -> float:
        return x

    class Falling(Fake):
        @property
        def batch_key(self) -> str:
            return "falling"

        def preview(self, rows: Any) -> list[Any]:
            return (rows.columns["x"] - 100.0 * rows.step).tolist()

        finish = preview

    found = Search(Falling(4), judge(reward), "rollover", {"n": 3000, "width": 4}).found()
    exact = highest[1] + highest[7] + 2 * highest[4] - 400
    assert np.mean(found.verdicts.rewards) == pytest.approx(exact, abs=4 * np.std(found.verdicts.rewards) / 3000**0.5)


@pytest.mark.parametrize("generator", [mixture(), Early(5)], ids=["mixture", "early"])
@pytest.mark.parametrize("config", [{"n": 3, "width": 3}, {"n": 1, "width": 5}, {"n": 2, "width": 1}], ids=str)
def test_killed_anywhere_and_in_company(generator: Any, config: dict[str, Any]) -> None:
    search = Search(generator, VALUE, "rollover", config)
    assert killed_anywhere(search) > 6
    same_in_company(search)


@pytest.mark.parametrize("generator", [mixture(), Early(6)], ids=["mixture", "early"])
def test_answers_are_searches_of_their_own(generator: Any) -> None:
    whole = Search(generator, VALUE, "rollover", {"n": 9, "width": 3})
    apart = many([replace(whole, first=i, count=1) for i in range(9)])
    found = whole.found()
    assert [name for one in apart for name in one.names()] == found.names()
    assert [answer for one in apart for answer in one.verdicts.answers] == found.verdicts.answers
    assert len(set(found.names())) == 9


@pytest.mark.parametrize("currency", ["evaluations", "verifier_calls", "previews"])
@pytest.mark.parametrize("limit", [0, 23, 24, 40, 48, 60, 71, 72, 1000])
def test_a_budget_gives_whole_answers(currency: str, limit: int) -> None:
    """An answer may cost 24 evaluations, all scored, 20 of them previewed: so much must be left before one begins.

    What an answer leaves of its quotas pays for the next.
    """
    share = {"evaluations": 24, "verifier_calls": 24, "previews": 20}[currency]
    limit = limit * share // 24
    search = Search(mixture(), VALUE, "rollover", {"n": 3, "width": 4}, budget=Budget(**{currency: limit}))
    outcome = search.end()
    assert outcome.error is None
    n = 0 if outcome.population is None else len(outcome.population.found())
    assert n >= min(3, limit // share)
    assert outcome.stop_reason == (None if n == 3 else "budget")
    assert getattr(outcome.spent, currency) <= limit
    if n:
        assert outcome.population is not None
        every = replace(search, budget=None).found()
        assert outcome.population.found().verdicts.answers == every.verdicts.answers[:n]
    if n < 3:
        assert limit - getattr(outcome.spent, currency) < share


def test_a_quota_of_unscored_previews_ends_the_search() -> None:
    """The first step takes what it gets; the second has 5 candidates."""
    outcome = Search(Fake(4), judge(lambda x: None), "rollover", {"n": 3, "width": 3}).end()
    assert isinstance(outcome.error, NoWeight)
    assert str(outcome.error).startswith("step 2: none of 5 candidates was scored: cannot read")


def test_unscored_answers_are_records() -> None:
    outcome = Search(Fake(1), judge(lambda x: None), "rollover", {"n": 3}).end()
    assert outcome.error is None
    assert outcome.population is not None
    assert np.isnan(outcome.population.verdicts.rewards).all()


def test_a_scored_candidate_is_better_than_an_unscored_one() -> None:
    """Only walks above 0 are scored, half of the model's; with a quota of 30 all but the lowest come there."""
    found = Search(Fake(3), judge(lambda x: x if x > 0 else None), "rollover", {"n": 300, "width": 30}).found()
    assert np.isnan(found.verdicts.rewards).mean() < 0.05


def test_it_improves_on_the_model() -> None:
    mean, error = gain("rollover", {"n": 4, "width": 4})
    assert mean - 4 * error > 1.0


def test_nothing_is_kept_of_other_candidates() -> None:
    found = Search(mixture(), VALUE, "rollover", {"n": 5, "width": 3}).found()
    assert found.rows.step.tolist() == found.rows.spent.tolist() == [6] * 5
    assert record(found) == record(found.found())


def test_limits() -> None:
    assert (Rollover(n=3, width=5).samples, Rollover(n=3, width=5).piece, Rollover().verdicts(7)) == (3, None, 7)
    for wrong in ({"n": 0}, {"width": 0}, {"m": 1}):
        with pytest.raises(ValidationError):
            Rollover(**wrong)  # type: ignore[arg-type]
