"""A job that goes on is afterwards what a new job is that had asked for all of it; nothing is drawn or paid twice."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helping import SLOW, done, ended, found, frozen, job, refused, service, strike, until

from service.client import Client, Refused
from service.embedded import Stack
from service.store import Store
from service.store.schema import jobs

LAW = {"name": "toy/linear", "threshold": 0.5}
CLOCKS = ("seconds", "verifier_seconds")
HARD = {
    "items": [{"id": f"{i}"} for i in range(12)],
    "verifiers": [{"name": "toy/linear", "threshold": 1.8}],
}
NEAR = {"model": "outside/near"}
TEXT = {"model": {"name": "toy/markov"}, "verifiers": [{"name": "toy/count", "symbol": 1}]}


def told(client: Client, name: str) -> Any:
    """All that a job says of what it found and what that took, but for its name, its clocks and its shards."""
    view = client.job(name)
    counts = view.counts.model_dump(exclude={"shards", "shards_done"})
    usage = view.usage.model_dump(exclude=set(CLOCKS))
    items = [item.model_dump() for item in client.items(name)]
    for item in items:
        for answer in item["best"]:
            for score in (*answer["scores"], *answer["grades"]):
                del score["ms"]
    curve = client.curve(name).model_dump(exclude={"job", "advice"})
    curve["each"] = {key: value for key, value in curve["each"].items() if key not in CLOCKS}
    return view.state, view.stop_reason, view.error, counts, usage, items, found(client, name), curve


def extended(client: Client, name: str, search: Any = None, budget: Any = None, **more: Any) -> Any:
    """The job, when it has gone on to its end."""
    view = client.extend(name, search, budget, **more)
    assert view.state != "completed" or more.get("wait")
    return ended(client, name)


SAME: dict[str, tuple[dict[str, Any], list[tuple[Any, Any]], dict[str, Any]]] = {
    # what is submitted, how it is extended, what is then asked for in all
    "samples": ({"search": {"n": 16}}, [({"n": 64}, {})], {"search": {"n": 64}}),
    "twice": ({"search": {"n": 16}}, [({"n": 32}, {}), ({"n": 64}, {})], {"search": {"n": 64}}),
    "several shards": (
        {"search": {"n": 700}, "model": {"name": "toy/gaussian_mixture", "steps": 10}},
        [({"n": 1000}, {})],
        {"search": {"n": 1000}, "model": {"name": "toy/gaussian_mixture", "steps": 10}},
    ),
    "a budget that was spent": (
        {"search": {"n": 64}, "budget": {"evaluations": 131}},
        [({}, {"evaluations": 400})],
        {"search": {"n": 64}, "budget": {"evaluations": 400}},
    ),
    "a budget that is spent again": (
        {"search": {"n": 64}, "budget": {"evaluations": 61, "verifier_calls": 90}},
        [({}, {"evaluations": 131}), ({"n": 80}, {"evaluations": 333, "verifier_calls": 180})],
        {"search": {"n": 80}, "budget": {"evaluations": 333, "verifier_calls": 180}},
    ),
    "a limit that is lifted": (
        {"search": {"n": 64}, "budget": {"evaluations": 131}},
        [({"n": 70}, {"evaluations": None})],
        {"search": {"n": 70}},
    ),
    "a budget that ends in the second of several shards": (
        {"search": {"n": 600}, "model": {"name": "toy/gaussian_mixture", "steps": 10}, "budget": {"evaluations": 7550}},
        [({"n": 900}, {"evaluations": 20010})],
        {
            "search": {"n": 900},
            "model": {"name": "toy/gaussian_mixture", "steps": 10},
            "budget": {"evaluations": 20010},
        },
    ),
    "majority": (
        TEXT | {"search": {"n": 16, "select": "majority"}},
        [({"n": 40}, {})],
        TEXT | {"search": {"n": 40, "select": "majority"}},
    ),
    "first pass": (
        HARD | {"search": {"n": 2, "select": "first_pass"}},
        [({"n": 32}, {}), ({"n": 600}, {})],
        HARD | {"search": {"n": 600, "select": "first_pass"}},
    ),
    "first pass within a budget": (
        {
            "search": {"n": 200, "select": "first_pass"},
            "verifiers": [{"name": "toy/linear", "threshold": 3.0}],
            "budget": {"evaluations": 64},
        },
        [({}, {"evaluations": 512})],
        {
            "search": {"n": 200, "select": "first_pass"},
            "verifiers": [{"name": "toy/linear", "threshold": 3.0}],
            "budget": {"evaluations": 512},
        },
    ),
    "several verifiers, a grader": (
        {"search": {"n": 5}, "verifiers": ["toy/linear", "toy/quadratic"], "graders": [LAW | {"label": "g"}]},
        [({"n": 11}, {})],
        {"search": {"n": 11}, "verifiers": ["toy/linear", "toy/quadratic"], "graders": [LAW | {"label": "g"}]},
    ),
    "populations": (
        {"search": {"method": "feynman_kac", "particles": 8, "repeats": 2}, "mode": "sample"},
        [({"repeats": 3}, {}), ({"repeats": 6}, {})],
        {"search": {"method": "feynman_kac", "particles": 8, "repeats": 6}, "mode": "sample"},
    ),
    "populations within a budget": (
        {
            "search": {"method": "feynman_kac", "particles": 8, "repeats": 2},
            "mode": "sample",
            "budget": {"evaluations": 100, "previews": 60},
        },
        [({"repeats": 5}, {"evaluations": 240, "previews": 240})],
        {
            "search": {"method": "feynman_kac", "particles": 8, "repeats": 5},
            "mode": "sample",
            "budget": {"evaluations": 240, "previews": 240},
        },
    ),
    "soft values": (
        {"search": {"method": "soft_value", "n": 3, "children": 3, "alpha": 0.5}},
        [({"n": 7}, {})],
        {"search": {"method": "soft_value", "n": 7, "children": 3, "alpha": 0.5}},
    ),
    "rollover": (
        {"search": {"method": "rollover", "n": 2, "width": 3}},
        [({"n": 5}, {})],
        {"search": {"method": "rollover", "n": 5, "width": 3}},
    ),
    "noise searches": (
        NEAR | {"search": {"method": "noise_search", "n": 2, "neighbours": 3, "rounds": 2}},
        [({"n": 5}, {})],
        NEAR | {"search": {"method": "noise_search", "n": 5, "neighbours": 3, "rounds": 2}},
    ),
    "random noise": (
        {"search": {"method": "noise_search", "algorithm": "random", "n": 2}, "budget": {"evaluations": 8}},
        [({"n": 5}, {"evaluations": 18})],
        {"search": {"method": "noise_search", "algorithm": "random", "n": 5}, "budget": {"evaluations": 18}},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_as_if_it_had_been_asked_for_at_once(client: Client, name: str) -> None:
    first, steps, whole = SAME[name]
    common: dict[str, Any] = {"seed": 11, "verifiers": [LAW], "top_k": 3}
    view = done(client, job(3, **(common | first)))
    for search, budget in steps:
        last = extended(client, view.id, search, budget)
        assert last.state == "completed"
    assert last.extended == len(steps)
    fresh = done(client, job(3, **(common | whole)))
    assert told(client, view.id) == told(client, fresh.id)
    (spec, other) = (client.job(one).spec for one in (view.id, fresh.id))
    assert spec == other


def test_each_case_draws_something_and_stops_where_it_should(client: Client) -> None:
    """What the law is about does happen: a pass in some items alone, budgets that cut."""
    first, steps, _ = SAME["first pass"]
    view = done(client, job(3, seed=11, **first))
    drawn = [[item.drawn for item in client.items(view.id)]]
    for step in steps:
        extended(client, view.id, *step)
        drawn.append([item.drawn for item in client.items(view.id)])
    assert set(drawn[0]) == {2}
    assert len(set(drawn[1])) > 2
    assert set(drawn[2]) - set(drawn[1])
    for name in ("a budget that was spent", "first pass within a budget", "random noise"):
        cut = done(client, job(3, seed=11, **({"verifiers": [LAW]} | SAME[name][0])))
        assert cut.stop_reason == "budget"
        assert 0 < cut.usage.evaluations <= SAME[name][0]["budget"]["evaluations"]


def test_nothing_is_done_again(client: Client) -> None:
    """What a rerun would change: the milliseconds of stored verdicts, and what the verifiers were asked."""
    view = done(client, job(2, 16))

    def times() -> dict[tuple[int, int], float]:
        return {(c.item, c.sample): c.scores[0].ms for c in client.candidates(view.id)}

    before, used = times(), client.job(view.id).usage
    last = extended(client, view.id, {"n": 64})
    after = times()
    assert {place: after[place] for place in before} == before
    assert len(after) == 128
    assert last.usage.evaluations == 4 * used.evaluations
    assert last.usage.verifier_calls == 4 * used.verifier_calls == 128
    assert last.usage.seconds < (last.finished_at or 0) - view.created_at + 1


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    """A service that does one shard after the other."""
    with service(tmp_path_factory.mktemp("struck"), lease_seconds=2.0, window=1, lanes=1) as pair:
        yield pair


@pytest.mark.parametrize(
    ("first", "more", "whole"),
    [
        ({"search": {"n": 100}}, {"n": 300}, {"search": {"n": 300}}),
        (
            {"search": {"n": 300}, "budget": {"evaluations": 5000}},
            {},
            {"search": {"n": 300}, "budget": {"evaluations": 15_000}},
        ),
    ],
    ids=["samples", "budget"],
)
def test_a_worker_is_killed_in_the_middle(struck: tuple[Stack, Client], first: Any, more: Any, whole: Any) -> None:
    stack, client = struck
    slow = {"model": {**SLOW, "seconds": 0.0002}, "seed": 5}
    view = done(client, job(3, **slow, **first))
    had = view.counts.shards_done
    client.extend(view.id, more, whole.get("budget"))
    until(lambda: client.job(view.id).counts.shards_done > had)
    strike(stack, signal.SIGKILL)
    last = ended(client, view.id)
    fresh = done(client, job(3, **{**slow, "model": {**SLOW, "seconds": 0.0}}, **whole))
    ours, theirs = told(client, last.id), told(client, fresh.id)
    assert ours == theirs
    assert last.usage.evaluations == 20 * last.counts.candidates


def test_a_cancelled_job_and_a_cancelled_extension_go_on(tmp_path: Path) -> None:
    """What the searches that were stopped had done is paid and not stored; all else is as if nothing had happened."""
    spec = job(2, search={"n": 200}, model={**SLOW, "seconds": 0.001}, seed=6)
    with service(tmp_path, window=1, lanes=1) as (stack, client):  # a shard at a time: four of them, 2 s each
        view = client.submit(spec)
        until(lambda: client.job(view.id).counts.shards_done)
        with frozen(stack):  # others wait, one is in its hands
            client.cancel(view.id)
        assert ended(client, view.id).state == "cancelled"
        part = found(client, view.id)
        assert 0 < len(part) < 400
        client.extend(view.id, {"n": 300})
        client.cancel(view.id)
        assert ended(client, view.id).state == "cancelled"
        last = extended(client, view.id)
        assert (last.state, last.stop_reason, last.extended) == ("completed", None, 2)
        fresh = done(client, {**spec, "search": {"n": 300}, "model": {**SLOW, "seconds": 0.0}})
        assert found(client, view.id) == found(client, fresh.id)
        assert [item.drawn for item in client.items(view.id)] == [300, 300]
        assert last.usage.evaluations >= fresh.usage.evaluations == 12_000


def test_events_and_states(client: Client) -> None:
    view = done(client, job(2, 4))
    again = client.extend(view.id, {"n": 8}, wait=60)
    assert (again.state, again.counts.candidates, again.extended) == ("completed", 16, 1)
    assert (again.created_at, again.id) == (view.created_at, view.id)
    assert (again.started_at or 0) > (view.finished_at or 0)
    assert again.usage.seconds < (again.finished_at or 0) - (view.started_at or 0)
    with client.http.stream("GET", f"/v1/jobs/{view.id}/events") as stream:
        kinds = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    assert [kind for kind in kinds if kind != "progress"] == [
        *("created", "in_progress", "completed"),
        *("extended", "in_progress", "completed"),
    ]


def test_when_it_was_last_extended(client: Client) -> None:
    """Of one job and in lists, by the clock that wrote it."""
    view = client.submit(job(1, 2), idempotency_key="extended later", wait=60)
    assert view.extended_at is client.job(view.id).extended_at is None
    for n in (4, 6):
        before = time.time()
        again = client.extend(view.id, {"n": n}, wait=60)
        assert before <= (again.extended_at or 0) <= time.time()
    listed = {one["id"]: one["extended_at"] for one in client.http.get("/v1/jobs").json()["data"]}
    same = client.submit(job(1, 2), idempotency_key="extended later")
    assert listed[view.id] == client.job(view.id).extended_at == same.extended_at == again.extended_at


def test_the_same_request_twice(client: Client) -> None:
    view = done(client, job(2, 4))
    first = client.extend(view.id, {"n": 8}, idempotency_key="k", wait=60)
    again = client.extend(view.id, {"n": 8}, {}, idempotency_key="k")
    assert again == first
    with pytest.raises(Refused, match="used with another body") as error:
        client.extend(view.id, {"n": 9}, idempotency_key="k")
    assert error.value.status == 409
    other = done(client, job(2, 4))
    assert client.extend(other.id, {"n": 9}, idempotency_key="k", wait=60).counts.candidates == 18
    made = client.submit(job(1, 4, seed=99), idempotency_key="of a job", wait=60)
    client.extend(made.id, {"n": 8}, wait=60)
    assert client.submit(job(1, 4, seed=99), idempotency_key="of a job").id == made.id


@pytest.mark.parametrize(
    ("changes", "body", "said"),
    [
        ({}, {}, "of n 4 nothing is missing that could be drawn; ask for more"),
        ({}, {"search": {"n": 4}}, "of n 4 nothing is missing"),
        ({}, {"search": {"n": 3}}, "it is 4, and can grow, not fall to 3"),
        ({}, {"search": {"n": "8"}}, "valid integer"),
        ({}, {"search": {"n": 10**7}}, "less than or equal to 1000000"),
        ({}, {"search": {"n": 8, "select": "majority"}}, "valid here: n"),
        ({}, {"search": {"repeats": 8}}, "valid here: n"),
        ({}, {"n": 8}, "unknown field; valid: budget, search"),
        ({}, {"seed": 8}, "unknown field; valid: budget, search"),
        ({}, {"budget": {"evaluations": 100}}, "no such limit"),
        ({}, {"budget": {"dollars": 100}}, "unknown field; valid: evaluations"),
        ({"budget": {"evaluations": 16}}, {"budget": {"evaluations": 15}}, "the limit is 16; it can be raised"),
        ({"budget": {"evaluations": 16}}, {"search": {"n": 8}}, "of 16 the job has spent 16"),
        ({"budget": {"verifier_calls": 8}}, {"search": {"n": 8}}, "of 8 the job has spent 8"),
        ({"budget": {"verifier_seconds": 0.0}}, {"search": {"n": 8}}, "of 0.0 the job has spent 0.0"),
        (
            {"search": {"method": "beam"}},
            {"search": {"n": 8}},
            "methods that can: best_of_n (n), feynman_kac (repeats)",
        ),
        ({"search": {"method": "noise_search", "algorithm": "paths"}}, {"search": {"n": 8}}, "cannot go on"),
        (
            TEXT | {"search": {"n": 4, "select": "majority", "stop": {"rule": "lossless"}}},
            {"search": {"n": 8}},
            "cannot go on",
        ),
        (
            {"verifiers": [{"name": "ensemble", "verifiers": ["toy/linear", "toy/quadratic"]}]},
            {"search": {"n": 8}},
            "must see all of them at once",
        ),
        (
            {"search": {"method": "feynman_kac", "particles": 4}},
            {"search": {"particles": 8}},
            "valid here: repeats",
        ),
    ],
)
def test_what_cannot_be_honoured(client: Client, changes: Any, body: Any, said: str) -> None:
    view = done(client, job(2, **({"search": {"n": 4}} | changes)))
    before = client.job(view.id)
    problem = refused(client.http.post(f"/v1/jobs/{view.id}/extend", json=body), 422)
    assert said in problem["detail"], problem["detail"]
    assert client.job(view.id) == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "n"),
        ({"search": {"method": "feynman_kac", "particles": 4}}, "repeats"),
        ({"search": {"method": "beam"}}, None),
        ({"search": {"method": "noise_search", "algorithm": "paths"}}, None),
    ],
)
def test_a_job_says_in_which_field_it_grows(client: Client, changes: Any, field: str | None) -> None:
    view = done(client, job(1, **changes))
    assert view.extends == client.job(view.id).extends == field
    again = client.rescore(view.id, {"verifiers": ["toy/quadratic"]}, wait=60)
    assert (again.state, again.extends) == ("completed", None)


def test_other_states(struck: tuple[Stack, Client]) -> None:
    stack, client = struck
    with frozen(stack):
        running = client.submit(job(1, 400, model=SLOW))
        problem = refused(client.http.post(f"/v1/jobs/{running.id}/extend", json={"search": {"n": 500}}), 409)
        assert "wait until it has ended, or cancel it" in problem["detail"]
        client.cancel(running.id)
    failed = ended(client, client.submit(job(1, 4, model="outside/by_prompt", items=[{"prompt": "object"}])).id)
    assert failed.state == "failed"
    problem = refused(client.http.post(f"/v1/jobs/{failed.id}/extend", json={"search": {"n": 500}}), 409)
    assert "submit it again" in problem["detail"]
    refused(client.http.post("/v1/jobs/job_0/extend"), 404)


def test_items_that_failed_stay_as_they_are(client: Client) -> None:
    spec = job(model="outside/by_prompt", items=[{"prompt": "number"}, {"prompt": "object"}], search={"n": 3})
    view = done(client, spec)
    assert view.counts.failed == 1
    last = extended(client, view.id, {"n": 5})
    items = list(client.items(view.id))
    assert [(item.state, item.drawn) for item in items] == [("completed", 5), ("failed", 0)]
    assert (last.counts.failed, last.counts.done, last.state) == (1, 2, "completed")


def test_an_item_cut_in_the_middle_cannot_go_on(client: Client) -> None:
    """A population whose budget ended: what it has is half of a search."""
    half = {"search": {"method": "feynman_kac", "particles": 8, "repeats": 2}, "budget": {"evaluations": 30}}
    view = done(client, job(1, **half))
    assert view.stop_reason == "budget"
    body = {"search": {"repeats": 4}, "budget": {"evaluations": 500}}
    assert 0 < view.counts.candidates < 16
    problem = refused(client.http.post(f"/v1/jobs/{view.id}/extend", json=body), 409)
    assert "item 'i0' was stopped (budget) in the middle of a search" in problem["detail"]


def test_only_the_best_answers_are_kept(client: Client) -> None:
    """At least the best of all, whenever they were drawn."""
    spec = job(4, search={"n": 16}, keep="top_k", top_k=2)
    view = done(client, spec)
    extended(client, view.id, {"n": 64})
    fresh = done(client, {**spec, "search": {"n": 64}})
    ours, theirs = told(client, view.id), told(client, fresh.id)
    assert ours[:6] + ours[7:] == theirs[:6] + theirs[7:]
    assert all(answer["answer"] is not None for item in ours[5] for answer in item["best"])


def test_seconds_do_not_count_between_its_runs(struck: tuple[Stack, Client]) -> None:
    """A job that ended an hour ago; its worker knows it by the deadline of the first run."""
    stack, client = struck
    view = done(client, job(1, 100, model=SLOW, budget={"seconds": 60.0}))
    store = Store(stack.settings.database)
    earlier = {name: jobs.c[name] - 3600 for name in ("started", "finished")}
    store.write(lambda connection: connection.execute(sa.update(jobs).where(jobs.c.name == view.id).values(**earlier)))
    store.close()
    last = extended(client, view.id, {"n": 120})
    assert (last.stop_reason, last.counts.candidates) == (None, 120)
    assert view.usage.seconds < last.usage.seconds < 60
    assert client.curve(view.id).each["seconds"] < 1
    late = done(client, job(1, 100, model=SLOW, budget={"seconds": 0.0}))
    assert (late.stop_reason, late.counts.candidates) == ("deadline", 0)
    problem = refused(client.http.post(f"/v1/jobs/{late.id}/extend"), 422)
    assert "of 0.0 the job has spent" in problem["detail"]
    assert extended(client, late.id, {}, {"seconds": 60.0}).counts.candidates == 100


def test_command(client: Client, stack: Stack, tmp_path: Path) -> None:
    def winnow(*words: str) -> Any:
        command = [sys.executable, "-m", "service.cli", "extend", *words, "--url", stack.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    view = done(client, job(2, 4, budget={"evaluations": 16}))
    ran = winnow(view.id, "--n", "8", "--budget", "evaluations=32", "--key", "once")
    assert (ran.returncode, ran.stdout) == (0, f"{view.id}\n"), ran.stderr
    assert winnow(view.id, "--n", "8", "--budget", "evaluations=32", "--key", "once").returncode == 0
    assert ended(client, view.id).counts.candidates == 16
    assert winnow(view.id, "--n", "9", "--budget", "evaluations=none").returncode == 0
    assert ended(client, view.id).counts.candidates == 18
    many = done(client, job(1, search={"method": "feynman_kac", "particles": 4}))
    assert winnow(many.id, "--repeats", "3").returncode == 0
    assert ended(client, many.id).counts.candidates == 12
    for wrong, said in (
        (("--n", "8"), "can grow, not fall to 8"),
        (("--budget", "evaluations"), "CURRENCY=NUMBER"),
        (("--budget", "dollars=5"), "of evaluations, tokens"),
        (("--budget", "evaluations=many"), "CURRENCY=NUMBER"),
    ):
        failed = winnow(view.id, *wrong)
        assert failed.returncode == 1
        assert said in failed.stderr, failed.stderr
