"""Weighted votes, votes by a verifier's rates and votes that end early, through the whole service."""

import math
from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from helping import done, job, prepared, refused

from search.ports import Score
from service.catalog import Invalid
from service.client import Client
from service.curves.voting import majority_curve
from service.rated import rated
from service.store import Store, audits, commits, creating, results, shards
from service.store.commits import Results
from service.store.pools import packed

ABOVE = {"name": "outside/above", "label": "above", "pass_at": 0.3}
"""Votes for the quarter of (0, 1) in which a uniform number lies; the value is the number."""


def voting(select: str, n: int = 12, /, items: int = 4, **search: Any) -> dict[str, Any]:
    return job(
        *(items, n),
        model={"name": "outside/slow"},
        search={"n": n, "select": select, **search},
        verifiers=[ABOVE],
        graders=[{"name": "outside/above", "label": "high", "pass_at": 0.75}],
        top_k=2,
    )


def forms(client: Client, name: str) -> list[list[Any]]:
    """Each item's answers with their scores."""
    out: dict[int, list[Any]] = defaultdict(list)
    for c in client.candidates(name):
        out[c.item].append(c)
    return list(out.values())


@pytest.mark.parametrize(
    ("search", "weight"),
    [
        ({"select": "majority"}, lambda s: 1.0),
        ({"select": "weighted"}, lambda s: s.value),
        (
            {"select": "bayes", "tpr": 0.9, "fpr": 0.4},
            lambda s: math.log(0.9 / 0.4) if s.passed else math.log(0.1 / 0.6),
        ),
    ],
)
def test_the_form_with_most_votes_is_returned(client: Client, search: Any, weight: Any) -> None:
    view = done(client, voting(search.pop("select"), **search))
    for item, mine in zip(client.items(view.id), forms(client, view.id), strict=True):
        votes: dict[str, float] = defaultdict(float)
        for c in mine:
            votes[c.scores[0].canonical] += weight(c.scores[0])
        most = max(votes.values())
        (wins,) = [form for form, n in votes.items() if math.isclose(n, most)][:1]
        assert [c.sample for c in item.best] == [c.sample for c in mine if c.scores[0].canonical == wins][:2]
    last = client.curve(view.id).points[-1]
    best = [item.best[0].grades[0].passed for item in client.items(view.id)]
    assert view.spec
    rule = view.spec["search"]["select"]
    assert (last.voted is None) == (rule == "majority")
    if rule == "weighted" and last.voted:  # without ties, and here a form is right or wrong as a whole
        assert last.voted.mean == pytest.approx(np.mean(best))


def test_lossless_returns_the_answers_of_the_full_vote(client: Client) -> None:
    full, short = (
        done(client, voting("majority", 16, items=8, **more)) for more in ({}, {"stop": {"rule": "lossless"}})
    )
    assert [i.best[0].sample for i in client.items(full.id)] == [i.best[0].sample for i in client.items(short.id)]
    assert short.counts.candidates < full.counts.candidates
    for item in client.items(short.id):
        assert (item.stop_reason == "converged") == (item.drawn < 16)
    assert short.usage.evaluations == short.counts.candidates
    one, other = client.curve(full.id), client.curve(short.id)
    assert other.estimator == "prefix"
    assert other.points[-1].k == max(item.drawn for item in client.items(short.id))
    assert other.points[-1].majority
    assert other.points[-1].majority.mean == np.mean([i.best[0].grades[0].passed for i in client.items(full.id)])
    assert other.points[-1].draws == short.counts.candidates / 8
    assert one.estimator == "pool"


def test_beta_stops_sooner(client: Client) -> None:
    """Where all agree four answers are enough: Beta(5, 1) is above a half with 0.97."""
    spec = voting("majority", 64, stop={"rule": "beta"}) | {
        "model": "toy/bits",
        "verifiers": ["toy/ones"],
        "graders": [],
    }
    view = done(client, spec | {"model": {"name": "toy/bits", "q": 0.0}})
    assert view.stop_reason == "converged"
    assert [item.drawn for item in client.items(view.id)] == [4] * 4
    assert view.usage.evaluations == 4 * 4 * 3


def committed(store: Store, right: list[bool], accepted: list[bool], **changes: Any) -> Any:
    """A job of one item whose verifier accepted some answers and whose grader passed some."""
    graders = [{"name": "toy/quadratic", "label": "truth", "threshold": 0.0}]
    made = store.write(creating.create, prepared(1, len(right), graders=graders, **changes))
    with store.reading() as connection:
        (shard,) = connection.execute(sa.text("select id from shards where job = :job"), {"job": made.id}).scalars()
    claim = store.write(shards.claim, "w", [("1-0", shard)]).claims["1-0", shard]
    given = Results()
    for label, passes in (("toy/linear", accepted), ("truth", right)):
        verdicts = [Score(float(p), p, canonical="x") for p in passes]
        given.pools[label] = [(0, 0, len(passes), packed(verdicts))]
        given.scores[label] = [(0, i, *score, 1.0) for i, score in enumerate(verdicts)]
    assert store.write(commits.commit, claim, given)
    return made


BAYES = {"search": {"n": 4, "select": "bayes"}}


def test_rates_come_from_the_card(store: Store) -> None:
    """Of 20 right answers 18 pass, of 30 wrong ones 6: by a grader, in a job of the same configuration."""
    asked = prepared(1, 4, **BAYES)
    with pytest.raises(Invalid, match="the card of 'toy/linear', as it is configured here, has no rates; give `tpr`"):
        store.read(rated, asked)
    committed(store, [True] * 20 + [False] * 30, [True] * 18 + [False] * 2 + [True] * 6 + [False] * 24)
    found = store.read(rated, asked).search.config
    assert 0.8 < found["tpr"] < 0.9  # half an answer is added on either side
    assert 0.2 < found["fpr"] < 0.23
    other = prepared(1, 4, verifiers=[{"name": "toy/linear", "threshold": 0.5}], **BAYES)
    with pytest.raises(Invalid, match="no rates"):
        store.read(rated, other)
    given = prepared(1, 4, search={"n": 4, "select": "bayes", "tpr": 0.7, "fpr": 0.1})
    assert store.read(rated, given) == given.spec


def test_a_job_keeps_the_rates_that_it_began_with(store: Store) -> None:
    """Later labels change the card, not the job; the same key finds the job although its rates would differ now."""
    base = committed(store, [True] * 10 + [False] * 10, [True] * 9 + [False] * 10 + [True])
    asked = prepared(1, 4, **BAYES)
    made = store.write(creating.create, asked, "key", final=rated)
    judge = store.read(results.judges_of, base.id)[0].id
    store.write(audits.write, judge, {(0, i): i % 2 == 0 for i in range(20)}, 1.0)
    assert store.write(creating.create, asked, "key", final=rated).id == made.id
    assert '"tpr":0.85' in made.spec or '"tpr":0.86' in made.spec


def test_a_verifier_that_says_nothing_is_refused(store: Store) -> None:
    committed(store, [True] * 10 + [False] * 10, [True, False] * 10)
    with pytest.raises(Invalid, match="its verdicts say nothing; valid here: majority"):
        store.read(rated, prepared(1, 4, **BAYES))


def test_refused_at_submit(client: Client) -> None:
    spec = voting("bayes") | {"verifiers": [ABOVE | {"pass_at": 0.123}]}
    body = refused(client.http.post("/v1/jobs", json=spec), 422)
    assert body["errors"][0]["loc"] == ["search", "tpr"]
    assert "label answers of a job with it, or run one with a grader" in body["detail"]


def test_rates_through_the_service(client: Client) -> None:
    done(client, voting("majority", 40))
    view = done(client, voting("bayes"))
    assert view.spec
    assert 0.9 < view.spec["search"]["tpr"] < 1  # what is above 0.75 is above 0.3
    assert 0.2 < view.spec["search"]["fpr"] < 0.8  # 0.45 of 0.75


def test_a_vote_of_weights_has_its_exact_law() -> None:
    """All 6-choose-3 subsets by hand; with equal weights it is the majority."""
    names = np.array([5, 5, 5, 9, 9, 7], np.uint64)
    weights = np.array([0.2, 0.1, 0.3, 0.9, 0.05, np.nan])
    right = np.array([1, 1, 1, 0, 0, 1], float)

    def wins(chosen: tuple[int, ...]) -> float:
        votes: dict[int, float] = defaultdict(float)
        for i in chosen:
            if not np.isnan(weights[i]):
                votes[int(names[i])] += weights[i]
        return float(max(votes, key=lambda form: votes[form]) == 5) if votes else 0.0

    exact = float(np.mean([wins(chosen) for chosen in combinations(range(6), 3)]))
    found = majority_curve(names, right, np.array([3]), 40_000, weights=weights)
    assert found[0] == pytest.approx(exact, abs=4 * 0.5 / 200)
    equal = majority_curve(names, right, np.array([1, 3, 6]), 500, weights=np.full(6, 0.7))
    assert equal.tolist() == majority_curve(names, right, np.array([1, 3, 6]), 500).tolist()
