"""Votes that are settled early: the answer of the full vote, or a leader that probably stays ahead."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from searches import Search as Whole
from searches import killed_anywhere, same_in_company

from generators.fake import Fake
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods.best_of_n import ROUND, BestOfN, best_of_n
from search.ports import Answer, Item, Score, Task
from search.run import Outcome, run
from search.scoring import Judge
from search.voting import Ballot, Confident, Lossless, ahead, two_highest
from service.curves.stopping import adaptive_consistency, majority_is_settled

LOSSLESS, BETA = Lossless(rule="lossless"), Confident(rule="beta", confidence=0.95)
Cast = list[str | None]
casts = st.lists(st.sampled_from(["a", "a", "a", "b", "b", "c", None]), min_size=1, max_size=40)


def scores(forms: Sequence[str | None]) -> list[Score]:
    return [Score(0.0, canonical=form) for form in forms]


def winner(forms: Sequence[str | None]) -> str | None:
    """The most frequent form; of a tie the one seen first."""
    votes = Counter(form for form in forms if form is not None)
    return max(votes, key=lambda form: votes[form], default=None)  # a Counter keeps the order of first votes


def drawn(forms: Cast, stop: Any) -> int:
    """How many of these answers, in this order, are drawn."""
    n, config = 0, BestOfN(n=len(forms), select="majority", stop=stop)
    while n < len(forms):
        left = len(forms) - n
        more = min(config.stop.wanting(two_highest(scores(forms[:n])), left), ROUND, left) if config.stop else left
        if not more:
            break
        n += more
    return n


@settings(derandomize=True, deadline=None, max_examples=200)
@given(forms=casts)
def test_lossless_is_the_full_vote(forms: Cast) -> None:
    """And it draws exactly as many as a rule that looks after every single answer."""
    n = drawn(forms, LOSSLESS)
    assert winner(forms[:n]) == winner(forms)
    one_by_one = next(
        (
            k
            for k in range(1, len(forms) + 1)
            if majority_is_settled(list(Counter(f for f in forms[:k] if f).values()) or [0], len(forms) - k)
        ),
        len(forms),
    )
    assert n == one_by_one


@settings(derandomize=True, deadline=None, max_examples=100)
@given(forms=casts, confidence=st.sampled_from([0.6, 0.8, 0.95, 0.99]))
def test_beta_stops_where_the_rule_says(forms: Cast, confidence: float) -> None:
    """After the first answer at which P(leader > runner-up) > confidence: rounds waste nothing."""
    n = drawn(forms, Confident(rule="beta", confidence=confidence))
    first = next(
        (k for k in range(1, len(forms) + 1) if adaptive_consistency(*two_highest(scores(forms[:k]))) > confidence),
        len(forms),
    )
    assert n == first


@pytest.mark.parametrize("v1", [0, 1, 2, 7, 30, 400, 5000])
@pytest.mark.parametrize("v2", [0, 1, 6, 25, 390])
def test_the_posterior_is_that_of_scipy(v1: int, v2: int) -> None:
    assert ahead(v1, v2) == pytest.approx(1 - adaptive_consistency(v2, v1) if v1 < v2 else adaptive_consistency(v1, v2))


def test_the_first_round_is_the_least_that_can_settle() -> None:
    """Beta(5, 1): 1 - 2^-5 = 0.969 > 0.95 after four equal answers, 0.9375 after three; lossless after a majority."""
    assert BETA.wanting([0, 0], 100) == 4
    assert LOSSLESS.wanting([0, 0], 100) == 51
    assert LOSSLESS.wanting([0, 0], 1) == 1
    assert LOSSLESS.wanting([6, 1], 4) == 0
    assert LOSSLESS.wanting([6, 2], 4) == 1  # a tie would go to the form seen first, which may be the other


def test_unparsable_answers_never_vote() -> None:
    assert two_highest(scores([None] * 5)) == [0, 0]
    assert two_highest(scores([None, "a", None, "b", "a"])) == [2, 1]


def rounded(answers: Sequence[Answer]) -> list[Score]:
    """Votes for the sign of a walk; far from 0 it cannot be read."""
    return [
        Score(answer.value, canonical=None if abs(answer.value) > 2.5 else "+" if answer.value > -0.6 else "-")
        for answer in answers
    ]


JUDGE = Judge("v", "rounded", rounded)


def search(n: int, stop: Any, seed: int, budget: Budget | None = None) -> Outcome:
    task, config = Task(Item(id="a"), seed, 0, n), BestOfN(n=n, select="majority", stop=stop)
    model = Fake(2)
    tools = Metered(Shared(Engine(), task, model, [JUDGE]), model, 1, budget or Budget())
    return asyncio.run(run(best_of_n(task, tools, config), tools))


def test_a_search_stops_when_its_vote_is_settled() -> None:
    """The answers are those of a full draw, and so is the winner; only fewer are paid for."""
    fewer = 0
    for seed in range(30):
        full, short = search(25, None, seed).population, search(25, LOSSLESS, seed)
        assert full is not None
        assert short.population is not None
        n = len(short.population)
        assert short.spent.evaluations == 2 * n
        assert short.population.verdicts.answers == full.verdicts.answers[:n]
        every = [score.canonical for score in full.verdicts.scores["v"]]
        assert winner(every[:n]) == winner(every)
        fewer += 25 - n
    assert fewer > 30


def test_a_budget_is_hard_whatever_the_vote() -> None:
    outcome = search(25, LOSSLESS, 0, Budget(evaluations=10))
    assert outcome.population is not None
    assert (len(outcome.population), outcome.stop_reason) == (5, "budget")


def test_killed_anywhere_and_in_company() -> None:
    for stop in ({"rule": "lossless"}, {"rule": "beta"}):
        whole = Whole(Fake(3), JUDGE, "best_of_n", {"n": 40, "select": "majority", "stop": stop})
        assert killed_anywhere(whole) > 3
        same_in_company(whole)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"stop": {"rule": "lossless"}}, "`stop` goes with select 'majority', not 'verifier'"),
        ({"select": "majority", "stop": {"rule": "soon"}}, "'lossless', 'beta'"),
        ({"select": "majority", "stop": {"rule": "beta", "confidence": 0.4}}, "greater than 0.5"),
        ({"select": "majority", "stop": {"rule": "lossless", "confidence": 0.9}}, "Extra inputs"),
        ({"select": "majority", "tpr": 0.9, "fpr": 0.1}, "go with select 'bayes', not 'majority'"),
        ({"select": "bayes", "tpr": 0.9}, "give both rates"),
        ({"select": "bayes", "tpr": 0.2, "fpr": 0.3}, "`tpr` above `fpr`; not 0.2 and 0.3"),
        ({"select": "bayes", "tpr": 1.0, "fpr": 0.3}, "less than 1"),
    ],
)
def test_refuses(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        BestOfN.model_validate(config)


def test_a_ballot_of_rates_is_bayes_rule() -> None:
    """P(right | verdicts) / P(wrong | verdicts) = prior odds times the product of P(verdict | .): TPR .9, FPR .2."""
    ballot = Ballot.of_rates(0.9, 0.2)
    assert (ballot.passed, ballot.failed) == pytest.approx((1.504077, -2.079442), abs=1e-6)
    assert BestOfN(select="bayes", tpr=0.9, fpr=0.2).ballot == ballot
    assert BestOfN(select="bayes").ballot is None
    assert BestOfN(select="majority").ballot == Ballot("count")
    assert BestOfN(select="weighted").ballot == Ballot("value")
