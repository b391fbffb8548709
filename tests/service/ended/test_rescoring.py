"""Stored answers under other verifiers: nothing is drawn again, and the old verifiers say the same to the last bit."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helping import GAUSS, done, ended, found, frozen, job, pids, refused, service, strike, until, whole
from typer.testing import CliRunner

from service.cli import app
from service.client import Client
from service.embedded import Stack
from service.store import Store
from service.store.jobs import find
from service.store.schema import extensions
from service.views import JobView

GUIDE = Path(__file__).parents[3] / "docs" / "guide.md"
LINEAR = "toy/linear"
TEXT = {"name": "toy/markov", "text": True}
DIGITS: dict[str, Any] = {"name": "digits-early", "steps": 3}


def again(client: Client, name: str, **asked: Any) -> JobView:
    """The job's answers under other verifiers, to the end."""
    view = client.rescore(name, {"verifiers": [LINEAR], **asked}, wait=60)
    view = view if view.finished else ended(client, view.id)
    assert view.state == "completed", view
    return view


def free(rows: list[Any]) -> list[Any]:
    """Everything that was found but what it cost."""
    return [(*row[:5], *row[6:]) for row in rows]


def best(client: Client, name: str) -> list[Any]:
    """What each item returns."""
    return [
        [(c.sample, c.seed, [(s.name, s.value, s.passed) for s in c.scores]) for c in item.best]
        for item in client.items(name)
    ]


SEVENS = [{"id": f"d{i}", "prompt": "7", "target": "7"} for i in range(2)]
KINDS: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    (job(3, 70, model={"name": "toy/noop"}), [LINEAR], [{"name": LINEAR, "label": "half", "threshold": 0.5}]),
    (job(2, 5, model={"name": "toy/markov"}), [{"name": "toy/count", "symbol": 1}], []),
    (job(2, 6, model=TEXT), [{"name": "regex", "pattern": "1"}, {"name": "exact", "label": "same"}], []),
    (job(items=SEVENS, model=DIGITS), ["digit_classifier"], ["digit_classifier_b"]),
    (job(1, 3, model="outside/by_prompt", items=[{"prompt": "huge"}]), ["any"], []),
    (job(1, 3, model="outside/by_prompt", items=[{"prompt": "image"}]), ["any"], []),
]


@pytest.mark.parametrize(
    ("spec", "verifiers", "graders"), KINDS, ids=["numbers", "lists", "text", "digits", "long", "pictures"]
)
def test_the_jobs_own_verifiers_say_the_same(client: Client, spec: Any, verifiers: Any, graders: Any) -> None:
    """Scores, selection and curve, to the last bit; evaluations are 0 and the job that is rescored is named."""
    if spec["model"] == TEXT:
        spec = {**spec, "items": [{"id": "a", "target": "012012"}, {"id": "b", "target": "000000"}]}
    spec = {**spec, "verifiers": verifiers, "graders": graders, "seed": 5, "top_k": 3}
    first = done(client, spec)
    second = again(client, first.id, verifiers=verifiers, graders=graders, top_k=3)
    assert free(found(client, second.id)) == free(found(client, first.id))
    assert best(client, second.id) == best(client, first.id)
    assert (second.rescores, second.usage.evaluations, second.stop_reason) == (first.id, 0, None)
    assert second.counts.candidates == first.counts.candidates
    assert {c.evaluations for c in client.candidates(second.id)} == {0}
    assert first.rescores is None
    old, new = client.curve(first.id), client.curve(second.id)
    assert [p.coverage for p in new.points] == [p.coverage for p in old.points]
    assert [p.selected for p in new.points] == [p.selected for p in old.points]
    assert new.estimator == old.estimator == "pool"


def test_a_worker_that_remembers_nothing(plugins: None, tmp_path: Path) -> None:
    """The same bits from pictures and texts that come out of the store, not out of what a worker has judged before."""
    text = {"id": "a", "target": "0120"}
    specs = [
        job(2, 70, items=SEVENS, model=DIGITS, verifiers=["digit_classifier"], graders=["digit_classifier_b"]),
        job(1, 70, items=[text], model=TEXT, verifiers=[{"name": "regex", "pattern": "01"}], graders=["exact"]),
    ]
    with service(tmp_path) as (stack, client):
        names = [done(client, spec).id for spec in specs]
        (pid,) = pids(stack)
        os.kill(pid, signal.SIGTERM)
        until(lambda: pids(stack) not in ([pid], []))
        for name, spec in zip(names, specs, strict=True):
            second = again(client, name, verifiers=spec["verifiers"], graders=spec["graders"])
            assert free(found(client, second.id)) == free(found(client, name))
            assert best(client, second.id) == best(client, name)
            assert second.usage.verifier_seconds > 0


def test_other_verifiers_select_otherwise(client: Client) -> None:
    """Against a job that had them from the start, by every rule; and a rescored job can be rescored and compared."""
    far = {"name": "toy/quadratic", "center": -2.0}
    first = done(client, job(3, 12))
    second = again(client, first.id, verifiers=[far])
    assert best(client, second.id) == best(client, done(client, job(3, 12, verifiers=[far])).id)
    assert best(client, second.id) != best(client, first.id)
    back = again(client, second.id)
    assert back.rescores == second.id
    assert free(found(client, back.id)) == free(found(client, first.id))
    one, two = client.compare([first.id, back.id]).jobs
    assert one.value
    assert one.value == two.value


@pytest.mark.parametrize(
    "search",
    [
        {"select": "majority"},
        {"select": "weighted"},
        {"select": "first_pass"},
        {"select": "majority", "stop": {"rule": "lossless"}},
    ],
)
def test_every_rule(client: Client, search: dict[str, Any]) -> None:
    """A rescored job returns what a job that drew by the same rule returns, also where drawing ends early."""
    judge = {"name": "outside/above", "label": "above", "pass_at": 0.8}
    drawn = done(client, job(3, 16, model={"name": "outside/slow"}, verifiers=["any"]))
    second = again(client, drawn.id, verifiers=[judge], search=search)
    asked = done(client, job(3, 16, model={"name": "outside/slow"}, verifiers=[judge], search={"n": 16, **search}))
    assert best(client, second.id) == best(client, asked.id)
    assert second.counts.candidates == asked.counts.candidates
    assert client.curve(second.id).estimator == client.curve(asked.id).estimator


def test_scores_that_depend_on_company(client: Client) -> None:
    """Verifiers that compare answers see all of an item at once."""
    together = {"name": "ensemble", "verifiers": [LINEAR, "toy/quadratic"]}
    first = done(client, job(2, 40, verifiers=[together]))
    second = again(client, first.id, verifiers=[together])
    assert free(found(client, second.id)) == free(found(client, first.id))
    more = done(client, job(1, 65))
    told = refused(client.http.post(f"/v1/jobs/{more.id}/rescore", json={"verifiers": [together]}), 422)
    assert "at most 64" in told["detail"]


def test_what_was_not_kept_is_no_score(client: Client) -> None:
    """`top_k` keeps the best of each search: the others are lost, with the reason, and count nowhere."""
    first = done(client, job(2, 8, keep="top_k", top_k=2))
    second = again(client, first.id)
    assert (second.counts.candidates, second.counts.lost) == (16, 12)
    kept = {(c.item, c.sample) for c in client.candidates(first.id) if c.answer is not None}
    assert len(kept) == 4
    for c in client.candidates(second.id):
        (score,) = c.scores
        if (c.item, c.sample) in kept:
            assert score.value is not None
        else:
            assert (score.value, score.passed, c.answer) == (None, None, None)
            assert score.reason == f"not kept: job {first.id} stored its best answers only"
    assert best(client, second.id) == [one[:1] for one in best(client, first.id)]
    curve = client.curve(second.id)
    assert (curve.estimator, [point.k for point in curve.points]) == ("population", [2])
    ask = {"verifiers": [LINEAR], "search": {"select": "first_pass"}}
    told = refused(client.http.post(f"/v1/jobs/{first.id}/rescore", json=ask), 422)
    assert "only the best" in told["detail"]


def test_lost_answers_stay_lost(client: Client) -> None:
    red = {"name": "regex", "pattern": "red"}
    model = {"name": "outside/elsewhere", "steps": 2, "lost": 0.3}
    first = done(client, job(2, 24, model=model, items=[{"id": "a", "prompt": "x"}], verifiers=[red]))
    second = again(client, first.id, verifiers=[red])
    assert second.counts.lost == first.counts.lost > 0
    for old, new in zip(client.candidates(first.id), client.candidates(second.id), strict=True):
        assert (new.answer, new.seed) == (old.answer, old.seed)
        why = old.scores[0].reason
        assert new.scores[0].reason == (f"lost in job {first.id}: {why}" if old.answer is None else why)


def test_a_budget_that_ended_the_first_job(client: Client) -> None:
    """What was not drawn is not there: the item says `budget`, and has the answers that there are."""
    first = done(client, job(2, 8, budget={"evaluations": 20}))
    second = again(client, first.id)
    assert [item.drawn for item in client.items(second.id)] == [item.drawn for item in client.items(first.id)] == [5, 5]
    assert free(found(client, second.id)) == free(found(client, first.id))
    half = again(client, first.id, budget={"verifier_calls": 6})
    assert [item.drawn for item in client.items(half.id)] == [3, 3]
    assert (half.stop_reason, half.usage.verifier_calls) == ("budget", 6)


def test_items_of_unequal_length(client: Client) -> None:
    """Of a job that stopped at a pass: other verifiers see what was drawn, and the curve counts first draws only."""
    judge = {"name": "outside/above", "label": "above", "pass_at": 0.8}
    model = {"name": "outside/slow"}
    first = done(client, job(4, 64, model=model, verifiers=[judge], search={"n": 64, "select": "first_pass"}))
    drawn = [item.drawn for item in client.items(first.id)]
    assert len(set(drawn)) > 1
    second = again(client, first.id, verifiers=[{**judge, "pass_at": 0.5}])
    assert [item.drawn for item in client.items(second.id)] == drawn
    assert {i.stop_reason for i in client.items(second.id) if i.drawn < max(drawn)} == {"target_reached"}
    curve = client.curve(second.id)
    assert curve.estimator == "prefix"
    assert curve.points[-1].items == 4


def test_a_pass_that_others_saw_is_none(client: Client) -> None:
    """Of a job that stopped at a pass, read in order by verifiers that pass nothing: it is not the target's end."""
    judge = {"name": "outside/above", "label": "above", "pass_at": 0.7}
    search = {"n": 64, "select": "first_pass"}
    first = done(client, job(4, 64, model={"name": "outside/slow"}, verifiers=[judge], search=search))
    second = again(client, first.id, verifiers=[{**judge, "pass_at": 2.0}], search={"select": "first_pass"})
    drawn = [item.drawn for item in client.items(first.id)]
    for item in client.items(second.id):
        assert (item.best, item.drawn) == ([], drawn[item.number])
        assert item.stop_reason == ("budget" if item.drawn < max(drawn) else None)


def test_items_that_failed_fail(client: Client) -> None:
    """With the reason; the others are judged."""
    items = [{"prompt": "boom"}, {"prompt": "number"}]
    first = done(client, job(2, 3, model="outside/by_prompt", items=items))
    second = again(client, first.id)
    bad, good = client.items(second.id)
    assert (bad.state, bad.drawn, bad.stop_reason) == ("failed", 0, "error")
    assert str(bad.error).startswith(f"job {first.id} has no answer to this item: RuntimeError: boom")
    assert (good.state, good.drawn) == ("completed", 3)
    assert second.counts.failed == 1
    whole(client, again(client, done(client, job(1, 3)).id), 3)


def test_populations_are_counted_whole(client: Client) -> None:
    search = {"method": "feynman_kac", "particles": 4, "repeats": 3, "tilt": 1.0}
    first = done(client, job(2, 1, model={**GAUSS, "steps": 4}, search=search))
    second = again(client, first.id)
    assert [row[:5] for row in found(client, second.id)] == [row[:5] for row in found(client, first.id)]
    old, new = client.curve(first.id), client.curve(second.id)
    assert new.estimator == old.estimator == "population"
    assert [p.k for p in new.points] == [p.k for p in old.points]
    for select in ({"select": "first_pass"}, {"select": "majority", "stop": {"rule": "lossless"}}):
        ask = {"verifiers": [LINEAR], "search": select}
        assert "depend" in refused(client.http.post(f"/v1/jobs/{first.id}/rescore", json=ask), 422)["detail"]


def test_an_artifact_that_is_gone(client: Client, stack: Stack) -> None:
    """A record of it, and the other answers as they were."""
    first = done(client, job(1, 3, model="outside/by_prompt", items=[{"prompt": "huge"}], verifiers=["any"]))
    (gone, *_) = [c.artifact for c in client.candidates(first.id)]
    (path,) = (Path(stack.settings.data_dir) / "artifacts").rglob(f"{gone}*")
    path.unlink()
    second = again(client, first.id, verifiers=["any"])
    reasons = [c.scores[0].reason for c in client.candidates(second.id)]
    assert reasons[0] == f"artifact {gone} of job {first.id} is no longer there"
    assert second.counts.lost == 1


def test_the_same_key_makes_it_once(client: Client) -> None:
    first = done(client, job(1, 2))
    one = client.rescore(first.id, {"verifiers": [LINEAR]}, idempotency_key=f"again {first.id}")
    two = client.rescore(first.id, {"verifiers": [LINEAR]}, idempotency_key=f"again {first.id}")
    assert one.id == two.id
    assert one.id != client.rescore(first.id, {"verifiers": [LINEAR]}).id
    response = client.http.post(f"/v1/jobs/{first.id}/rescore", json={"verifiers": [LINEAR]})
    assert (response.status_code, response.headers["location"]) == (202, f"/v1/jobs/{response.json()['id']}")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "verifiers"),
        ({"verifiers": []}, "verifiers"),
        ({"verifiers": ["nobody"]}, "unknown verifier 'nobody'; valid:"),
        ({"verifiers": [LINEAR], "seed": 3}, "unknown field; valid: budget, graders"),
        ({"verifiers": [LINEAR], "search": {"method": "beam"}}, "valid here: fields of best_of_n"),
        ({"verifiers": [LINEAR], "search": {"n": 2}}, "valid here: fields of best_of_n"),
        ({"verifiers": [LINEAR], "search": {"select": "magic"}}, "select"),
        ({"verifiers": ["trajectory_variance"]}, "lacks trajectory"),
        ({"verifiers": [LINEAR], "budget": {"tokens": 3}}, "counts no tokens"),
        ({"verifiers": [LINEAR], "search": {"select": "pareto"}}, "two verifiers"),
        ({"verifiers": [LINEAR], "webhook": "ftp://a"}, "webhook"),
    ],
)
def test_refusals(client: Client, asked: dict[str, Any], said: str) -> None:
    name = done(client, job(1, 1)).id
    assert said in refused(client.http.post(f"/v1/jobs/{name}/rescore", json=asked), 422)["detail"]


def test_jobs_that_cannot_be_rescored(client: Client, stack: Stack) -> None:
    """One that runs, one of which nothing is left, one that is not there; and nobody names the model himself."""
    ask = {"verifiers": [LINEAR]}
    refused(client.http.post("/v1/jobs/job_0/rescore", json=ask), 404)
    with frozen(stack):
        slow = client.submit(job(2, 200))
        assert "when it has ended" in refused(client.http.post(f"/v1/jobs/{slow.id}/rescore", json=ask), 409)["detail"]
        client.cancel(slow.id)
    empty = ended(client, client.submit(job(1, 4, budget={"evaluations": 0})).id)
    told = refused(client.http.post(f"/v1/jobs/{empty.id}/rescore", json=ask), 409)
    assert told["detail"].endswith("has no answers to be judged again: none was drawn")
    first = done(client, job(1, 1))
    told = refused(client.http.post("/v1/jobs", json=job(model={"name": "given", "job": first.id})), 422)
    assert "unknown model 'given'" in told["detail"]
    assert "given" not in [model["id"] for model in client.http.get("/v1/models").json()["data"]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies(plugins: None, tmp_path: Path, number: int) -> None:
    """Another judges what it had not: every answer once, as if nothing had been."""
    slow = {"name": "outside/misjudging", "kind": "slow"}
    with service(tmp_path, lease_seconds=2.0) as (stack, client):
        first = done(client, job(1, 200))
        view = client.rescore(first.id, {"verifiers": [LINEAR], "graders": [slow]})
        strike(stack, number)
        last = ended(client, view.id)
        whole(client, last, 200)
        assert {c.grades[0].value for c in client.candidates(view.id)} == {1.0}
        assert best(client, view.id)[0][0][:2] == best(client, first.id)[0][0][:2]
        assert (last.usage.evaluations, last.usage.verifier_calls) == (0, 200)


def test_command(client: Client, stack: Stack) -> None:
    first = done(client, job(1, 2))
    words = ["rescore", first.id, "--verifier", json.dumps({"name": LINEAR, "label": "one"}), "--grader", "any"]
    said = CliRunner().invoke(app, [*words, "--search", '{"select": "verifier"}', "--url", stack.url])
    view = ended(client, said.stdout.strip())
    assert (view.state, view.rescores) == ("completed", first.id)
    bad = CliRunner().invoke(app, ["rescore", first.id, "--verifier", "{", "--url", stack.url])
    assert bad.exit_code == 1
    assert "is no JSON" in bad.stderr


def test_the_guide(client: Client) -> None:
    """The guide's body does what the guide says."""
    section = GUIDE.read_text().split("## Answers that are there already")[1]
    first = done(client, job(2, 4))
    view = again(client, first.id, **json.loads(section.split("```json")[1].split("```")[0]))
    assert view.usage.unspent == {"verifier_calls": 992}
    assert [score.name for score in next(client.candidates(view.id)).grades] == [LINEAR]


def test_of_a_job_that_was_extended(client: Client, stack: Stack) -> None:
    """All that is there by then; what judges given answers is not extended itself, and goes with its source."""
    view = done(client, job(2, 3, model={"name": "toy/markov"}, verifiers=[{"name": "toy/count", "symbol": 1}]))
    client.extend(view.id, {"n": 5}, wait=60)
    ended(client, view.id)
    rescored = again(client, view.id, verifiers=[{"name": "toy/count", "symbol": 1}])
    assert best(client, rescored.id) == best(client, view.id)
    assert rescored.counts.candidates == 10
    told = refused(client.http.post(f"/v1/jobs/{rescored.id}/extend", json={"search": {"n": 7}}), 409)
    assert "judges answers that were given to it" in told["detail"]
    database = Store(stack.settings.database)
    number = database.read(lambda connection: find(connection, view.id).id)
    mine = sa.select(sa.func.count()).where(extensions.c.job == number)
    assert database.read(lambda connection: connection.execute(mine).scalar()) == 1
    client.delete(rescored.id)
    client.delete(view.id)
    assert database.read(lambda connection: connection.execute(mine).scalar()) == 0
