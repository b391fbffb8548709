"""A job from submission to results, through HTTP, a real queue and a worker process."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helping import GAUSS, SLOW, done, ended, frozen, items, job, refused, service, until, whole
from prometheus_client.parser import text_string_to_metric_families

from generators.builtin import GENERATORS
from search.methods import METHODS
from service.calls import plugins
from service.client import Client
from service.curve_points import prefix_points
from service.embedded import Stack
from service.store import Store, dispatch
from service.store.schema import events
from verifiers.builtin import VERIFIERS
from verifiers.programs import tiers


def sse(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """(id, event, data) of an event stream."""
    out: list[tuple[int, str, dict[str, Any]]] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            out.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return out


def test_items_candidates_curve(client: Client) -> None:
    view = done(client, job(5, 8, verifiers=[{"name": "toy/linear", "threshold": 0.0}], top_k=3))
    whole(client, view, 8)
    assert view.usage.evaluations == 5 * 8 * 2
    assert view.usage.verifier_calls == 5 * 8
    assert view.usage.unspent == {}
    assert view.stop_reason is None
    assert view.finished_at
    assert view.started_at
    assert view.created_at <= view.started_at <= view.finished_at
    assert view.spec
    assert view.spec["seed"] == 0
    candidates = list(client.candidates(view.id))
    for item in client.items(view.id):
        mine = [c for c in candidates if c.item == item.number]
        best = sorted(mine, key=lambda c: -(c.scores[0].value or 0))[:3]
        assert [c.sample for c in item.best] == [c.sample for c in best]
        assert item.best == best
        assert item.evaluations == 16
    for c in candidates:
        assert c.scores[0].value == c.answer
        assert c.scores[0].passed == (c.answer >= 0)
        assert c.scores[0].version == "1"
        assert c.grades == []
    assert len({c.seed for c in candidates}) == 40
    curve = client.curve(view.id)
    assert [point.k for point in curve.points] == [1, 2, 4, 8]
    share = np.mean([bool(c.scores[0].passed) for c in candidates])
    assert curve.points[0].coverage.mean == pytest.approx(share)
    assert curve.points[-1].evaluations == 16
    for point in curve.points:  # the verifier that selects is the one whose passes count
        assert point.selected
        assert point.selected.mean == pytest.approx(point.coverage.mean)


def test_pages_and_lines(client: Client) -> None:
    name = done(client, job(3, 7)).id
    every = [c.model_dump() for c in client.candidates(name)]
    paged: list[Any] = []
    after = "-1:-1"
    while after:
        page = client.http.get(f"/v1/jobs/{name}/candidates", params={"limit": 4, "after": after}).json()
        assert len(page["data"]) <= 4
        paged += page["data"]
        after = page["next"]
    lines = client.http.get(f"/v1/jobs/{name}/candidates?format=jsonl")
    assert lines.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line) for line in lines.text.splitlines()] == paged == every
    one = client.http.get(f"/v1/jobs/{name}/candidates?item=1").json()["data"]
    assert one == [c for c in every if c["item"] == 1]
    assert client.http.get(f"/v1/jobs/{name}/candidates?item=9").json()["data"] == []
    page = client.http.get(f"/v1/jobs/{name}/items?limit=2").json()
    rest = client.http.get(f"/v1/jobs/{name}/items", params={"after": page["next"]}).json()
    assert [item["id"] for item in page["data"] + rest["data"]] == ["i0", "i1", "i2"]
    assert rest["next"] is None


def test_listing(client: Client) -> None:
    mine = [client.submit(job(1, 1)).id for _ in range(5)]
    first = client.http.get("/v1/jobs?limit=3").json()
    assert [view["id"] for view in first["data"]] == mine[:1:-1]
    assert all(view["spec"] is None for view in first["data"])
    second = client.http.get("/v1/jobs", params={"limit": 2, "after": first["next"]}).json()
    assert [view["id"] for view in second["data"]] == mine[1::-1]


def test_events_in_order_and_resumable(client: Client) -> None:
    view = client.submit(job(6, 400))
    response = client.http.get(f"/v1/jobs/{view.id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    told = sse(response.text)
    names = [event for _, event, _ in told]
    assert names[0] == "created"
    assert names[1] == "in_progress"
    assert names[-1] == "completed"
    assert set(names[2:-1]) <= {"progress"}
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    shown = [data["shards_done"] for _, event, data in told if event in ("progress", "completed")]
    assert shown == sorted(set(shown))  # shards that end together are told of together
    assert shown[-1] == view.counts.shards
    for place in (0, 1, len(told) - 2):
        headers = {"Last-Event-ID": str(numbers[place])}
        again = sse(client.http.get(f"/v1/jobs/{view.id}/events", headers=headers).text)
        assert again == told[place + 1 :]
    # Nothing can follow the last one: a browser that asks again must be told to stop.
    last = client.http.get(f"/v1/jobs/{view.id}/events", headers={"Last-Event-ID": str(numbers[-1])})
    assert last.status_code == 204


def test_events_behind_the_last_end_with_the_job(client: Client) -> None:
    view = client.submit(job(4, 4000, model=SLOW))  # 80 s of work and more
    threading.Timer(0.5, lambda: client.cancel(view.id)).start()
    response = client.http.get(f"/v1/jobs/{view.id}/events", headers={"Last-Event-ID": "9" * 15})
    assert sse(response.text) == []
    assert ended(client, view.id).state == "cancelled"


def test_prefer_wait_and_location(client: Client) -> None:
    quick = client.http.post("/v1/jobs", json=job(1, 1), headers={"Prefer": "respond-async, wait=60"})
    assert quick.status_code == 202
    assert quick.json()["state"] == "completed"
    assert client.http.get(quick.headers["location"]).json() == quick.json()
    started = time.monotonic()
    slow = client.http.post("/v1/jobs", json=job(1, 20_000, model=SLOW), headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - started < 60  # it is 100 s of work and more
    at_once = client.http.post("/v1/jobs", json=job(1, 20_000, model=SLOW), headers={"Prefer": "wait=0"})
    for response in (slow, at_once):
        assert response.json()["state"] in ("queued", "in_progress")
        client.cancel(response.json()["id"])


def test_many_who_wait_do_not_hold_up_the_rest(client: Client, stack: Stack) -> None:
    """Sixty jobs, of which none ends before the rest has its answers: nobody works on them."""

    def newest() -> set[str]:
        return {view["id"] for view in client.http.get("/v1/jobs?limit=100").json()["data"]}

    before = newest()
    with ThreadPoolExecutor(60) as pool, frozen(stack):
        waiting = [pool.submit(client.submit, job(1, 1), None, 60) for _ in range(60)]
        mine = until(lambda: len(new := newest() - before) == 60 and new)
        for _ in range(5):
            assert client.http.get("/healthz").status_code == 200
            client.http.get("/v1/jobs?limit=1").raise_for_status()
        assert not any(future.done() for future in waiting)
        for name in mine:
            client.cancel(name)
        assert {future.result(90).id for future in waiting} == mine


def test_idempotency(client: Client) -> None:
    one = client.submit(job(1, 2), "key-1")
    assert client.submit(job(1, 2), "key-1").id == one.id
    assert client.submit({**job(1, 2), "seed": 0, "keep": "all"}, "key-1").id == one.id  # the same, said at length
    assert client.submit(job(1, 2), "key-2").id != one.id
    response = client.http.post("/v1/jobs", json=job(1, 3), headers={"Idempotency-Key": "key-1"})
    assert one.id in refused(response, 409)["detail"]
    barrier = threading.Barrier(8)

    def together(_: int) -> str:
        barrier.wait(60)
        return client.submit(job(1, 2), "key-3").id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(together, range(8)))) == 1


def test_cancel_queued_running_finished(client: Client) -> None:
    slow = job(4, 4000, model=SLOW)  # 80 s of work and more
    running = client.submit(slow)
    until(lambda: client.job(running.id).state == "in_progress")
    queued = client.submit(slow)
    for view in (queued, running):
        assert client.cancel(view.id).state in ("cancelling", "cancelled")
        assert client.cancel(view.id).state in ("cancelling", "cancelled")  # twice changes nothing
    for view in (queued, running):
        last = ended(client, view.id)
        assert last.state == "cancelled"
        assert last.stop_reason == "cancelled"
        assert last.counts.done == 4
        assert last.counts.shards_done == last.counts.shards
        rows = list(client.candidates(view.id))
        assert len(rows) == last.counts.candidates == sum(item.drawn for item in client.items(view.id))
        client.curve(view.id)
    finished = done(client, job(1, 1))
    assert client.cancel(finished.id) == finished


def test_what_is_done_before_a_cancel_is_kept(tmp_path: Path) -> None:
    with service(tmp_path, window=1) as (_, client):  # a shard at a time; else they end together
        view = client.submit(job(1, 10_000, model=SLOW))  # a hundred shards, 50 s of work and more
        until(lambda: client.job(view.id).counts.shards_done)
        client.cancel(view.id)
        last = ended(client, view.id)
        rows = list(client.candidates(view.id))
        assert last.state == "cancelled"
        assert 0 < len(rows) < 10_000
        assert next(client.items(view.id)).best
        assert client.curve(view.id).points[-1].k == len(rows)


@pytest.mark.parametrize("select", ["verifier", "first_pass"])
def test_budgets_are_never_passed(client: Client, select: str) -> None:
    judges = ["toy/linear", {"name": "toy/quadratic", "threshold": 1.0}]  # never passes
    spec = job(3, 50, verifiers=judges, search={"n": 50, "select": select})
    for limit in (0, 1, 2, 7, 99, 100_000):
        for name, each in (("evaluations", 2), ("verifier_calls", 2)):
            view = done(client, spec | {"budget": {name: limit}})
            spent = getattr(view.usage, name)
            assert spent <= limit
            assert view.usage.unspent == {name: limit - spent}
            enough = limit >= 3 * 50 * each
            assert (view.stop_reason is None) == enough
            if not enough:
                assert view.stop_reason == "budget"
                assert spent > limit - 3 * each  # no item leaves an answer that it could pay
            assert view.counts.candidates == spent // each


def test_verifier_seconds(client: Client) -> None:
    view = done(client, job(2, 50, budget={"verifier_seconds": 0.0}))
    assert view.counts.candidates == 0
    assert view.stop_reason == "budget"
    assert view.usage.unspent == {"verifier_seconds": 0.0}


def test_deadline(client: Client) -> None:
    view = client.submit(job(2, 2000, model=SLOW, budget={"seconds": 1.5}))  # 40 s of work
    last = ended(client, view.id)
    assert last.state == "completed"
    assert last.stop_reason == "deadline"
    assert last.finished_at
    assert last.started_at
    assert last.finished_at - last.started_at < 30
    assert last.counts.candidates == len(list(client.candidates(view.id)))
    client.curve(view.id)
    now = done(client, job(2, 3, budget={"seconds": 0}))
    assert now.stop_reason == "deadline"
    assert now.counts.candidates == 0
    assert [item.best for item in client.items(now.id)] == [[], []]
    assert client.curve(now.id).points == []


def test_keep_top_k(client: Client) -> None:
    view = done(client, job(2, 20, keep="top_k", top_k=3))
    rows = list(client.candidates(view.id))
    assert len(rows) == 40
    assert all(c.scores[0].value is not None for c in rows)
    for item in client.items(view.id):
        kept = {c.sample for c in rows if c.item == item.number and c.answer is not None}
        assert kept == {c.sample for c in item.best}
        assert len(kept) == 3
        assert all(c.answer == c.scores[0].value for c in item.best)
    first = {"name": "outside/above", "pass_at": 0.9}
    view = done(
        client,
        job(4, 64, model="toy/noop", verifiers=[first], keep="top_k", search={"n": 64, "select": "first_pass"}),
    )
    assert view.stop_reason == "target_reached"
    for item in client.items(view.id):
        assert item.best[0].answer >= 0.9  # what the rule selects is what was kept


def test_majority(client: Client) -> None:
    spec = job(3, 25, model="toy/noop", verifiers=["outside/above"], search={"n": 25, "select": "majority"}, top_k=50)
    view = done(client, spec)
    for item in client.items(view.id):
        votes = [int(4 * c.answer) for c in client.candidates(view.id) if c.item == item.number]
        winner = max(set(votes), key=lambda vote: (votes.count(vote), -votes.index(vote)))
        assert [c.sample for c in item.best] == [i for i, vote in enumerate(votes) if vote == winner]


def test_first_pass(client: Client) -> None:
    judges = [{"name": "outside/above", "pass_at": 0.8}]
    spec = job(30, 8, model="toy/noop", verifiers=judges, search={"n": 8, "select": "first_pass"})
    view = done(client, spec)
    every = list(client.candidates(view.id))
    drawn: list[int] = []
    for item in client.items(view.id):
        mine = [c.answer for c in every if c.item == item.number]
        passes = [i for i, u in enumerate(mine) if u >= 0.8]
        assert len(mine) in (1, 2, 4, 8)  # rounds of 1, 1, 2, 4
        drawn.append(len(mine))
        assert [c.sample for c in item.best] == passes[:1]  # none passes: it abstains
        assert item.stop_reason == ("target_reached" if passes else None)
        assert bool(passes) or len(mine) == 8
    assert 8 in drawn
    assert min(drawn) < 8
    curve = client.curve(view.id)
    assert curve.estimator == "prefix"
    assert curve.points[-1].coverage.mean == pytest.approx(np.mean([bool(i.best) for i in client.items(view.id)]))


def test_first_pass_abstains(client: Client) -> None:
    never = [{"name": "toy/linear", "threshold": 1e9}]
    view = done(client, job(2, 4, verifiers=never, search={"n": 4, "select": "first_pass"}))
    assert [item.best for item in client.items(view.id)] == [[], []]
    assert client.curve(view.id).points[-1].coverage.mean == 0


def test_two_verifiers_by_mean_rank(client: Client) -> None:
    judges = [{"name": "toy/linear"}, {"name": "toy/quadratic", "center": 0.5}]
    view = done(client, job(2, 12, verifiers=judges, top_k=12))
    for item in client.items(view.id):
        rows = [c for c in client.candidates(view.id) if c.item == item.number]
        values = np.array([[score.value for score in c.scores] for c in rows], float)
        larger = (values[:, None] < values[None]).sum(1) + 0.5 * (values[:, None] == values[None]).sum(1)
        assert [c.sample for c in item.best] == np.argsort(larger.mean(1), kind="stable").tolist()
    assert [point.selected for point in client.curve(view.id).points] == [None] * 5  # not the first verifier's best


def test_curve_of_a_majority_has_no_best_of_k(client: Client) -> None:
    judges = [{"name": "outside/above"}]
    view = done(client, job(2, 4, model="toy/noop", verifiers=judges, search={"n": 4, "select": "majority"}))
    assert [point.selected for point in client.curve(view.id).points] == [None] * 3


def test_prefix_curve_ends_where_the_first_unsolved_item_was_cut() -> None:
    """One item passed at its second draw, one of 8 at none, one was cut after 3: who knows what its fourth had been?"""
    accepted = np.zeros((3, 8), bool)
    accepted[0, 1] = True
    points = prefix_points(accepted, accepted, np.array([2, 8, 3]), 1.0, 0.95)
    assert [(point.k, point.coverage.mean) for point in points] == [(1, 0.0), (2, 1 / 3), (3, 1 / 3)]
    points = prefix_points(accepted[:1], accepted[:1], np.array([2]), 1.0, 0.95)
    assert [point.k for point in points] == [1, 2]
    assert prefix_points(accepted[:0], accepted[:0], np.array([], np.int64), 1.0, 0.95) == []


def test_labels_thresholds_graders(client: Client) -> None:
    judges = [{"name": "toy/linear", "label": "up"}, {"name": "toy/linear", "label": "down", "slope": -1.0}]
    graders = [{"name": "toy/linear", "label": "high", "threshold": 0.5}, "toy/quadratic"]
    view = done(client, job(4, 6, verifiers=judges, graders=graders))
    assert view.usage.verifier_calls == 4 * 6 * 2  # graders are not the search's to pay
    for c in client.candidates(view.id):
        assert [score.name for score in c.scores] == ["up", "down"]
        assert [score.name for score in c.grades] == ["high", "toy/quadratic"]
        assert c.scores[1].value == -c.answer
        assert c.scores[0].passed is None
        assert c.grades[0].passed == (c.answer >= 0.5)
    assert client.curve(view.id).judge == "high"
    up = client.curve(view.id, "up")
    assert (up.points[0].coverage.mean, [advice.kind for advice in up.advice]) == (0, ["passless"])
    assert "passless" not in {advice.kind for advice in client.curve(view.id).advice}
    refused(client.http.get(f"/v1/jobs/{view.id}/curve?judge=toy/linear"), 422)


def test_unscored_is_counted_and_never_best(client: Client) -> None:
    judge = {"name": "outside/above", "least": 0.5, "pass_at": 0.9}
    view = done(client, job(6, 10, model="toy/noop", verifiers=[judge], top_k=10))
    every = list(client.candidates(view.id))
    amiss = [c for c in every if c.answer < 0.5]
    assert view.counts.unscored == len(amiss) > 0
    for c in amiss:
        assert (c.scores[0].value, c.scores[0].passed) == (None, None)
        assert c.scores[0].reason == "too small to be judged"
    assert all(c.answer >= 0.5 for item in client.items(view.id) for c in item.best)
    assert client.curve(view.id).unscored == pytest.approx(len(amiss) / 60)
    view = done(client, job(2, 10, model="toy/noop", verifiers=["outside/raising"]))
    every = list(client.candidates(view.id))
    assert view.counts.unscored == sum(c.answer < 0.5 for c in every)  # only those that it cannot read
    assert {c.scores[0].reason for c in every} == {None, "RuntimeError: cannot read this"}


def test_one_item_fails_the_others_finish(client: Client) -> None:
    spec = job(model="outside/by_prompt", verifiers=["exact"], search={"n": 2})
    spec["items"] = [item | {"target": "x"} for item in items("image", "boom", "image", "boom", "huge")]
    view = done(client, spec)
    assert view.counts.failed == 2
    assert view.stop_reason == "error"
    states = {item.number: item for item in client.items(view.id)}
    assert [states[i].state for i in range(5)] == ["completed", "failed", "completed", "failed", "completed"]
    assert "boom" in (states[1].error or "")
    assert states[1].best == []
    assert len(list(client.candidates(view.id))) == 6


def test_every_item_fails(client: Client) -> None:
    view = ended(client, client.submit(job(model="outside/by_prompt", items=items("boom", "boom"))).id)
    assert view.state == "failed"
    assert view.error
    assert "boom" in view.error
    assert view.stop_reason == "error"
    assert view.counts.failed == 2


@pytest.mark.parametrize("prompt", ["surrogate", "nan", "object"])
def test_answers_that_cannot_be_kept(client: Client, prompt: str) -> None:
    spec = job(model="outside/by_prompt", items=items(prompt), verifiers=["toy/ones"])
    view = ended(client, client.submit(spec).id)
    assert view.state == "failed"
    assert view.error


def test_verifier_that_cannot_be_loaded(client: Client) -> None:
    view = ended(client, client.submit(job(40, 3, verifiers=["toy/linear", "outside/unloadable"])).id)
    assert view.state == "failed"
    assert view.error == "ImportError: this verifier needs the package moonshine"
    assert view.counts.failed == 40
    assert {item.error for item in client.items(view.id)} == {view.error}
    assert done(client, job(1, 1)).state == "completed"  # the worker lives


def test_curve_while_shards_end_out_of_order(client: Client, stack: Stack) -> None:
    """The second shard of an item is there, the first is not."""
    database = Store(stack.settings.database)
    try:
        spec = done(client, job(1, 3000, model={"name": "toy/noop"}, priority="batch"))
        with database.writing() as connection:  # as if its first shard had not come yet
            number = connection.exec_driver_sql("select id from jobs where name = ?", (spec.id,)).scalar()
            connection.exec_driver_sql("delete from candidates where job = ? and sample < 2000", (number,))
            judge = connection.exec_driver_sql("select id from judges where job = ?", (number,)).scalar()
            connection.exec_driver_sql("delete from scores where judge = ? and sample < 2000", (judge,))
            connection.exec_driver_sql("delete from pools where judge = ? and first < 2000", (judge,))
            connection.exec_driver_sql("update tallies set scored = 1000 where judge = ?", (judge,))
        assert client.curve(spec.id).points[-1].k == 1000
    finally:
        database.close()


def test_first_pass_of_several_shards_is_the_earliest(client: Client) -> None:
    view = done(client, job(2, 4500, model="toy/noop", verifiers=[{"name": "outside/above", "pass_at": 0.999}]))
    assert view.counts.shards > 2
    whole(client, view, 4500)
    assert client.curve(view.id).samples == 4500


def test_catalog(client: Client) -> None:
    for kind, registry in (("models", GENERATORS), ("verifiers", VERIFIERS), ("methods", METHODS)):
        listed = client.http.get(f"/v1/{kind}").raise_for_status().json()["data"]
        assert {plugin["name"] for plugin in listed} >= set(registry.names())
        for plugin in listed:
            assert plugin["card"]
            assert client.http.get(f"/v1/{kind}/{plugin['name']}").json() == plugin
            assert plugin["config"].get("type") == ("object" if plugin["version"] else None)
        assert registry.names()[0] in refused(client.http.get(f"/v1/{kind}/nothing"), 404)["detail"]
    broken = {plugin.name: plugin for plugin in client.send(plugins("models")).data}["outside/missing"]
    assert "no_such_module" in broken.card


def test_health_and_metrics(client: Client) -> None:
    done(client, job(1, 1))
    assert client.http.get("/healthz").json() == {"status": "ok"}
    ready = client.http.get("/readyz").json()
    found = tiers.standing()
    assert ready == {"status": "ready", "programs": {"tier": found.tier, "missing": list(found.missing)}}
    assert client.http.get("/v1/verifiers/program/values").json()["here"] == found.words
    text = client.http.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {"winnow_jobs", "winnow_shards", "winnow_candidates", "winnow_queue_messages"} <= families.keys()
    states = {sample.labels["state"]: sample.value for sample in families["winnow_jobs"].samples}
    assert states["completed"] >= 1
    assert all(sample.value >= 0 for family in families.values() for sample in family.samples)
    document = client.http.get("/openapi.json").json()
    assert {"/v1/jobs", "/v1/jobs/{job}/events", "/v1/artifacts/{sha256}"} <= document["paths"].keys()


def test_events_tell_of_no_other_job(client: Client, stack: Stack) -> None:
    database = Store(stack.settings.database)
    try:
        one, two = done(client, job(1, 1)), done(client, job(1, 1))
        told = [sse(client.http.get(f"/v1/jobs/{view.id}/events").text) for view in (one, two)]
        assert not {n for n, _, _ in told[0]} & {n for n, _, _ in told[1]}
        with database.reading() as connection:
            assert connection.execute(events.select()).first()
            assert dispatch.out(connection, 60) == []  # nothing of all these tests is left behind
    finally:
        database.close()


def test_item_ids_of_many_kinds(client: Client) -> None:
    names = ["a", "ü", "💡", "a/b?c=d&e", "<script>", "'; drop table jobs; --", " ", "0"]
    view = done(client, job(items=[{"id": name} for name in names], model=GAUSS))
    assert [item.id for item in client.items(view.id)] == names
