"""`select: diverse`, for real: answers that score well and differ, whoever computes them and however often."""

import asyncio
import io
import signal
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from helping import SLOW, done, ended, found, job, prepared, refused, service, strike
from PIL import Image

from search.engine import Engine
from service import catalog
from service.artifacts import Artifacts
from service.client import Client
from service.execute import Bench, execute
from service.store import Store, commits, creating, features, results, shards
from service.store.schema import features as table
from service.views import CandidateView
from service.writing import written

NUMBER = {"method": "best_of_n", "n": 200, "select": "diverse", "features": "number"}


def plain(search: dict[str, Any]) -> dict[str, Any]:
    """The same search without diversity."""
    return {"method": search["method"], "n": search["n"]}


def best(client: Client, name: str) -> list[list[CandidateView]]:
    return [item.best for item in client.items(name)]


def apart(points: list[Any]) -> float:
    """Mean distance of two."""
    return float(np.mean([np.linalg.norm(np.subtract(a, b)) for a, b in combinations(points, 2)]))


def rank(client: Client, name: str, chosen: list[list[CandidateView]]) -> float:
    """Mean share of an item's answers that a chosen one beats."""
    values: dict[int, list[float]] = {}
    for c in client.candidates(name):
        values.setdefault(c.item, []).append(c.scores[0].value or 0.0)
    return float(np.mean([[np.mean(np.less(values[c.item], c.scores[0].value)) for c in few] for few in chosen]))


@pytest.mark.parametrize("verifiers", [["toy/linear"], ["toy/linear", {"name": "toy/quadratic", "center": 3.0}]])
def test_answers_differ_at_a_small_loss_of_value(client: Client, verifiers: list[Any]) -> None:
    spec = job(6, 200, search=NUMBER, top_k=6, verifiers=verifiers, seed=5)
    some = done(client, spec)
    other = done(client, spec | {"search": plain(NUMBER)})
    differ, score = best(client, some.id), best(client, other.id)
    assert [few[0].sample for few in differ] == [few[0].sample for few in score]  # the best comes first
    for a, b in zip(differ, score, strict=True):
        assert apart([[c.answer] for c in a]) > 1.5 * apart([[c.answer] for c in b])
    assert rank(client, some.id, score) > 0.95
    assert rank(client, some.id, differ) > 0.6  # of 200 at random it would be 0.5; of the six best 0.98
    zero = done(client, spec | {"search": NUMBER | {"diversity": 0.0}})
    assert [[c.sample for c in few] for few in best(client, zero.id)] == [[c.sample for c in few] for few in score]


@pytest.mark.skipif(not find_spec("torch"), reason="the digits models need torch, which is not installed")
@pytest.mark.parametrize("space", ["pixels", "digit_embedding"])
def test_digits_differ(client: Client, space: str) -> None:
    search = {"method": "best_of_n", "n": 24, "select": "diverse", "features": space}
    spec = {
        "model": "digits-early",
        "items": [{"prompt": "7"}, {"prompt": "4"}],
        "verifiers": ["digit_classifier"],
        "search": search,
        "top_k": 4,
    }
    names = [done(client, spec | {"search": s}).id for s in (search, plain(search))]
    differ, score = (best(client, name) for name in names)

    def spreads(chosen: list[list[CandidateView]]) -> float:
        pictures = [
            [np.asarray(Image.open(io.BytesIO(client.artifact(c.artifact or "")))) for c in few] for few in chosen
        ]
        return float(np.mean([apart(list(catalog.space(space)(few).points)) for few in pictures]))

    for name, chosen in zip(names, (differ, score), strict=True):  # first the best, whatever the rest is
        drawn = [(c.item, c.scores[0].value or 0.0) for c in client.candidates(name)]
        tops = [max(value for item, value in drawn if item == i) for i in range(2)]
        assert [few[0].scores[0].value for few in chosen] == tops
    assert spreads(differ) > spreads(score)
    assert min(c.scores[0].value or 0.0 for few in differ for c in few) > 0.9


def test_compare_and_curve_see_the_best_answer(client: Client) -> None:
    spec = job(4, 50, search=NUMBER | {"n": 50}, verifiers=[{"name": "toy/linear", "threshold": 1.0}], seed=2)
    some, other = done(client, spec), done(client, spec | {"search": plain(NUMBER | {"n": 50})})
    compared = client.compare([some.id, other.id])
    assert compared.jobs[0].value == compared.jobs[1].value
    a, b = (client.curve(name) for name in (some.id, other.id))
    assert a.points == b.points
    assert a.points[0].selected is not None


def test_a_space_that_does_not_suit_the_answers(client: Client) -> None:
    view = client.submit(job(2, 4, search=NUMBER | {"n": 4, "features": "pixels"}), wait=60)
    assert view.state == "failed"
    for item in client.items(view.id):
        assert item.error
        assert "'pixels' has no place for these answers: expected an image, uint8 [h, w]" in item.error
        assert item.best == []


def test_what_cannot_be_asked_for(client: Client) -> None:
    def detail(**changes: Any) -> str:
        spec = job(1, 4, search=NUMBER | changes.pop("search", {}), **changes)
        return refused(client.http.post("/v1/jobs", json=spec), 422)["detail"]

    assert "valid: digit_embedding, ngrams, number, pixels" in detail(search={"features": "pixel"})
    assert "which answers diverse will select; valid here: all" in detail(keep="top_k")
    assert "needs `features`" in detail(search={"features": None})
    assert "at most 4096" in detail(search={"n": 5000})
    assert "sample" in detail(mode="sample")


def test_feature_spaces_are_in_the_catalog(client: Client) -> None:
    listed = client.http.get("/v1/features").json()["data"]
    assert [one["name"] for one in listed] == ["digit_embedding", "ngrams", "number", "pixels"]
    assert all(one["card"].startswith(f"# {one['name']}\n") for one in listed)


def test_a_killed_worker_changes_nothing(client: Client, tmp_path: Path) -> None:
    spec = job(1, 300, model=SLOW, search=NUMBER | {"n": 300}, top_k=8)
    calm = done(client, {**spec, "model": {**SLOW, "seconds": 0.0}})  # the same numbers without the sleep
    expected = found(client, calm.id), [c.sample for c in best(client, calm.id)[0]]
    with service(tmp_path, lanes=1, lease_seconds=2.0) as (stack, struck):
        view = struck.submit(spec)
        strike(stack, signal.SIGKILL)
        assert ended(struck, view.id).state == "completed"
        assert (found(struck, view.id), [c.sample for c in best(struck, view.id)[0]]) == expected


def test_features_are_written_once_and_only_by_the_holder(store: Store, tmp_path: Path) -> None:
    spec = prepared(2, 8, search=NUMBER | {"n": 8})
    made = store.write(creating.create, spec)
    old = store.write(shards.claim, "frozen", [("1-0", 1)]).claims["1-0", 1]
    new = store.write(shards.claim, "second", [("1-0", 1)]).claims["1-0", 1]

    async def run(claim: shards.Claim) -> commits.Results:
        finding = await execute(claim, Bench.of(spec), Engine())
        return written(claim, spec, finding, Artifacts(str(tmp_path)))

    first, again = asyncio.run(run(old)), asyncio.run(run(new))
    assert first.features == again.features
    assert [row[:4] for row in again.features] == [(made.id, 0, 0, 8), (made.id, 1, 0, 8)]
    assert not store.write(commits.commit, old, first)
    assert store.read(lambda c: c.execute(sa.select(table)).all()) == []
    assert store.write(commits.commit, new, again)
    assert not store.write(commits.commit, new, again)
    assert len(store.read(lambda c: c.execute(sa.select(table)).all())) == 2
    samples, points = store.read(features.places, made.id, 1)
    rows = store.read(results.candidates_page, made.id, (1, -1), 10, 1)
    assert samples.tolist() == [row["sample"] for row in rows]
    np.testing.assert_allclose(points[:, 0], [row["answer"] for row in rows], rtol=1e-3)


def test_samples_without_a_place(store: Store) -> None:
    """Shards end in any order, and some never come."""
    rows = [(7, 0, 8, 2, features.packed(np.array([[8.0], [9.0]]))), (7, 0, 0, 1, features.packed(np.array([[0.0]])))]
    store.write(lambda c: c.execute(sa.insert(table).values(rows)))
    places = store.read(features.places, 7, 0)
    np.testing.assert_array_equal(features.along(places, np.array([9, 0, 5, 30]))[:, 0], [9, 0, np.nan, np.nan])
    assert np.isnan(features.along(store.read(features.places, 7, 1), np.array([0, 1]))).all()
