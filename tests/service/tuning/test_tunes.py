"""Tunes end to end: a real service, real jobs, a closed-form optimum; and what may happen to them on the way."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helping import done, end, free_port, offspring, outcome, refused, take, until
from PIL import Image
from typer.testing import CliRunner

from service.calls import trials as trials_call
from service.calls import tune, tune_of
from service.cli import app
from service.client import Client
from service.feeder import Feeder
from service.queue import Broker
from service.store import Store, access, commits, dispatch, jobs, presets, tunes
from service.tune_spec import TuneSpec
from service.tuner import Tuner
from service.tuning import checked
from service.views import TrialView, TuneView

CENTRE = 1.5
MODEL = {"name": "toy/gaussian_mixture", "weights": [1.0], "means": [0.0], "variances": [1.0], "steps": 2}


def asked(preset: str, /, **changes: Any) -> dict[str, Any]:
    """E[-(x - c)^2 / 2] = -((m - c)^2 + v) / 2 is greatest at m = c and the least v."""
    value: dict[str, Any] = {
        "preset": preset,
        "model": MODEL,
        "levers": {
            "means": {"low": -4.0, "high": 4.0, "count": 1},
            "variances": {"low": 0.01, "high": 2.0, "count": 1},
        },
        "items": [{"id": "a"}, {"id": "b"}],
        "verifiers": [{"name": "toy/quadratic", "center": CENTRE, "scale": 1.0}],
        "samples": 8,
        "population": 6,
        "generations": 4,
        "finalists": 2,
    }
    return value | changes


def at_end(client: Client, spec: dict[str, Any]) -> TuneView:
    name = client.send(tune(spec)).id
    until(lambda: client.send(tune_of(name)).finished, 200, 0.1)
    return client.send(tune_of(name))


def trials(client: Client, name: str) -> list[TrialView]:
    return client.send(trials_call(name)).data


def told(found: list[TrialView]) -> list[tuple[Any, ...]]:
    return [(one.number, one.stage, one.generation, one.genes, one.value, one.evaluations) for one in found]


@pytest.fixture(scope="module")
def tuned(running: tuple[Any, Client]) -> tuple[TuneView, list[TrialView]]:
    client = running[1]
    view = at_end(client, asked("centred"))
    return view, trials(client, view.id)


def test_it_finds_the_optimum(tuned: tuple[TuneView, list[TrialView]], client: Client) -> None:
    view, _ = tuned
    assert view.state == "completed", view
    assert view.baseline is not None
    assert view.best is not None
    assert view.baseline.value == pytest.approx(-(CENTRE**2 + 1) / 2, abs=1.0)  # 32 draws
    assert view.best.value is not None
    assert view.best.value > -0.5  # a random candidate: -3.7 on average
    preset = client.http.get("/v1/presets/centred").json()
    assert preset["tune"] == view.id
    assert preset["config"]["means"] == view.best.genes["means"]
    assert abs(preset["config"]["means"][0] - CENTRE) < 1


def test_every_trial_is_an_ordinary_job_with_the_same_noises(
    tuned: tuple[TuneView, list[TrialView]], client: Client
) -> None:
    view, found = tuned
    assert [one.stage for one in found] == ["baseline", *["candidate"] * 24, "final baseline", "final", "final"]
    assert sum(one.evaluations or 0 for one in found) == view.evaluations == 2 * (25 * 16 + 3 * 32)
    assert view.planned == view.evaluations
    seeds = {one.stage: [c.seed for c in client.candidates(one.job or "")] for one in found[::10] + found[-3:]}
    assert seeds["baseline"] == seeds["candidate"]
    assert seeds["final"] == seeds["final baseline"]
    assert not set(seeds["final"]) & set(seeds["baseline"])
    job = client.job(found[3].job or "")
    assert job.spec is not None
    assert job.spec["metadata"] == {"tune": view.id, "trial": "3"}
    values = [score.value for c in client.candidates(job.id) for score in c.scores if score.value is not None]
    assert found[3].value == pytest.approx(sum(values) / len(values))


def test_the_same_seed_gives_the_same_trials(tuned: tuple[TuneView, list[TrialView]], client: Client) -> None:
    again = at_end(client, asked("again", generations=2))
    other = at_end(client, asked("other", population=2, generations=1, seed=1))
    first = told(tuned[1])[:13]
    assert told(trials(client, again.id))[:13] == first
    assert told(trials(client, other.id))[1:3] != first[1:3]


def test_a_preset_in_a_job_is_its_settings(tuned: tuple[TuneView, list[TrialView]], client: Client) -> None:
    spec = {"items": [{"id": "a"}], "search": {"n": 3}, "verifiers": ["toy/linear"], "seed": 5}
    by_name = done(client, {**spec, "model": {"name": MODEL["name"], "preset": "centred"}})
    config = client.http.get("/v1/presets/centred").json()["config"]
    explicit = done(client, {**spec, "model": {"name": MODEL["name"], **config}})
    assert by_name.spec is not None
    assert by_name.spec["metadata"] == {"preset": "centred"}
    assert by_name.spec["model"]["means"] == config["means"]
    assert [c.answer for c in client.candidates(by_name.id)] == [c.answer for c in client.candidates(explicit.id)]


def test_the_budget_is_hard_and_ends_generations(client: Client) -> None:
    whole = 2 * (7 * 16 + 3 * 32)  # one generation and the last round
    view = at_end(client, asked("frugal", budget={"evaluations": whole + 2 * 6 * 16 + 100}))
    assert view.state == "completed"
    assert view.evaluations == whole + 2 * 6 * 16
    assert max(one.generation or 0 for one in trials(client, view.id)) == 1
    body = refused(client.http.post("/v1/tunes", json=asked("poor", budget={"evaluations": whole - 1})), 422)
    assert f"may need {whole}" in body["detail"]


def test_a_distance_to_a_reference_is_that_of_the_stored_places(client: Client) -> None:
    """Frechet's distance on the line is (m - n)^2 + (s - t)^2; answers of the same noises are moved points."""
    reference = {**MODEL, "means": [2.0], "variances": [0.25]}
    objective = {"measure": "frechet", "features": "number", "reference": reference}
    view = at_end(client, asked("like", objective=objective, generations=2))
    assert view.state == "completed", view
    found = trials(client, view.id)
    assert [one.stage for one in found[:3]] == ["reference", "baseline", "candidate"]
    assert found[0].value is None
    assert found[0].reason is None

    def drawn(one: TrialView) -> Any:
        return np.array([c.answer for c in client.candidates(one.job or "")], np.float16).astype(float)

    for one in (found[1], found[9]):
        x, y = drawn(one), drawn(found[0])
        want = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
        assert one.value == pytest.approx(want, rel=1e-6)
    assert view.best is not None
    assert view.baseline is not None
    assert (view.best.value or 9) < 0.5 * (view.baseline.value or 0)


def test_a_cancelled_tune_stops_its_jobs_and_makes_nothing(client: Client) -> None:
    slow = {"name": "outside/slow", "seconds": 0.02, "steps": 20}
    spec = asked("never", model=slow, levers={"seconds": {"low": 0.02, "high": 0.03}}, verifiers=["any"])
    name = client.send(tune(spec)).id
    until(lambda: any(one.job for one in trials(client, name)))
    client.http.post(f"/v1/tunes/{name}/cancel")
    until(lambda: client.send(tune_of(name)).finished, every=0.1)
    view = client.send(tune_of(name))
    assert (view.state, view.error) == ("cancelled", None)
    jobs = [client.job(one.job) for one in trials(client, name) if one.job]
    assert all(job.finished for job in jobs)
    assert view.evaluations == sum(job.usage.evaluations for job in jobs)
    refused(client.http.get("/v1/presets/never"), 404)
    again = client.http.post(f"/v1/tunes/{name}/cancel").json()
    assert again["state"] == "cancelled"


def test_a_candidate_that_cannot_be_measured_is_a_record(client: Client) -> None:
    """Some answers that a verifier could not score are not left out of the mean: there is none."""
    view = at_end(client, asked("unscored", verifiers=["outside/raising"], population=2))
    assert view.state == "failed"
    assert view.error is not None
    assert "of 16 answers are unscored by 'outside/raising': RuntimeError: cannot read this" in view.error
    baseline = trials(client, view.id)[0]
    assert (baseline.value, baseline.evaluations) == (None, 32)
    assert baseline.reason is not None
    assert view.error == f"the baseline has no value: {baseline.reason}"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"levers": {"mean": {"low": 0.0, "high": 1.0}}}, "'mean' is no field of 'toy/gaussian_mixture'; valid: "),
        ({"levers": {}}, "levers: Object should have at least 1 field"),
        ({"levers": {"means": {"low": 0.0, "high": 1.0}}}, "no candidate is valid: "),
        ({"levers": {"steps": {"choices": [7, 9]}}}, "an answer may cost 2 evaluations, and costs"),
        ({"levers": {"means": {"low": 0.0, "high": 1.0, "count": 1, "when": {"x": [1]}}}}, "'x' is no other lever"),
        ({"objective": {"measure": "frechet"}}, "needs `features` and `reference`"),
        ({"objective": {"features": "number"}}, "go with measure 'frechet'"),
        ({"objective": {"measure": "frechet", "features": "x", "reference": MODEL}}, "unknown feature space 'x'"),
        ({"evaluations": 1}, "an answer of the baseline costs 2"),
        ({"preset": "a b"}, "preset: String should match pattern"),
        ({"samples": 4096, "items": [{}] * 20}, "81920 answers of one candidate, items times samples, are too many"),
        ({"levers": {"means": {"low": -1e300, "high": 1e300, "count": 1}}}, "levers.means.low"),
        ({"seed": 2**63 - 1}, "seed: Input should be less than"),
        ({"model": {**MODEL, "preset": "none"}}, "preset 'none' is unknown; valid for 'toy/gaussian_mixture':"),
        ({"verifiers": ["nothing"]}, "unknown verifier 'nothing'"),
        ({"items": [{"id": "a"}, {"id": "a"}]}, "item ids must differ"),
        ({"colour": 1}, "unknown field; valid: "),
    ],
)
def test_what_cannot_be_honoured_is_refused(client: Client, changes: dict[str, Any], error: str) -> None:
    body = refused(client.http.post("/v1/tunes", json=asked("bad", **changes)), 422)
    assert error in body["detail"], body["detail"]


@pytest.fixture
def kept(client: Client) -> Iterator[str]:
    """A preset made by hand."""
    model = {"name": "digits", "steps": 4, "solver": "unipc"}
    made = client.http.post("/v1/presets", json={"name": "fast4", "model": model})
    assert made.status_code == 201, made.text
    yield "fast4"
    client.http.delete("/v1/presets/fast4")


def test_presets_are_listed_read_and_deleted(kept: str, client: Client) -> None:
    assert kept in [one["name"] for one in client.http.get("/v1/presets").json()["data"]]
    view = client.http.get(f"/v1/presets/{kept}").json()
    assert (view["model"], view["config"], view["tune"]) == ("digits", {"steps": 4, "solver": "unipc"}, None)
    refused(client.http.post("/v1/presets", json={"name": kept, "model": {"name": "digits", "steps": 5}}), 409)
    refused(client.http.post("/v1/tunes", json=asked(kept)), 409)
    bad = refused(client.http.post("/v1/presets", json={"name": "bad", "model": {"name": "digits", "steps": 0}}), 422)
    assert "steps" in bad["detail"]
    refused(client.http.post("/v1/presets", json={"name": "bad", "model": "digits"}), 422)
    assert client.http.delete(f"/v1/presets/{kept}").json() == view
    refused(client.http.get(f"/v1/presets/{kept}"), 404)
    refused(client.http.delete(f"/v1/presets/{kept}"), 404)


def test_a_preset_that_cannot_be_used_is_one_clear_error(kept: str, client: Client) -> None:
    def submitted(**model: Any) -> Any:
        job = {"model": model, "items": [{"prompt": "7"}], "verifiers": ["any"]}
        return refused(client.http.post("/v1/jobs", json=job), 422)

    body = submitted(name="digits", preset="fast5")
    assert body["detail"] == "model.preset: preset 'fast5' is unknown; valid for 'digits': fast4"
    assert body["errors"][0]["loc"] == ["model", "preset"]
    assert (
        "preset 'fast4' is of 'digits'; valid for 'digits-early': none"
        in submitted(name="digits-early", preset="fast4")["detail"]
    )
    twice = submitted(name="digits", preset="fast4", steps=9)
    assert twice["detail"] == "model.steps: preset 'fast4' sets steps already; leave them out"


def test_a_batch_file_names_no_preset(kept: str, client: Client) -> None:
    body = {"model": {"name": "digits", "preset": kept}, "items": [{"prompt": "7"}], "verifiers": ["any"]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/jobs", "body": body}
    file = client.http.post("/v1/files", files={"file": ("a", json.dumps(line))}, data={"purpose": "batch"}).json()
    batch = client.http.post("/v1/batches", json={"input_file_id": file["id"], "endpoint": "/v1/jobs"}).json()["id"]
    until(lambda: client.http.get(f"/v1/batches/{batch}").json()["status"] == "completed")
    errors = client.http.get(f"/v1/batches/{batch}").json()["error_file_id"]
    assert "preset 'fast4' is known where jobs are submitted" in client.http.get(f"/v1/files/{errors}/content").text


def test_an_idempotency_key_makes_one_tune(client: Client) -> None:
    spec = asked("once", generations=1)
    one, two = (client.send(tune(spec, "the-key")).id for _ in range(2))
    assert one == two
    body = client.http.post("/v1/tunes", json=asked("twice"), headers={"Idempotency-Key": "the-key"})
    refused(body, 409)
    until(lambda: client.send(tune_of(one)).finished)
    assert client.send(tune(spec, "the-key")).id == one


def serving(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """`winnow serve`, when it answers."""
    words = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), "--data-dir", str(folder)]
    env = {**os.environ, "WINNOW_LEASE_SECONDS": "1"}  # so long what a dead worker held is waited for
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    until(answers)
    return process


def test_killed_on_the_way_it_ends_as_if_nothing_had_been(
    tuned: tuple[TuneView, list[TrialView]], tmp_path: Path
) -> None:
    """The whole service, queue and worker too, by kill -9 in the middle of the second generation."""
    port = free_port()
    process = serving(tmp_path, port)
    with Client(f"http://127.0.0.1:{port}") as client:
        name = client.send(tune(asked("centred"))).id
        until(lambda: client.send(tune_of(name)).trials_done >= 9)
        os.kill(process.pid, signal.SIGSTOP)  # its children end with it: by themselves, if they hear of it first
        for pid in [*offspring(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        end(process)
        process = serving(tmp_path, port)
        try:
            until(lambda: client.send(tune_of(name)).finished, 200, 0.1)
            assert told(trials(client, name)) == told(tuned[1])
            assert len(client.http.get("/v1/jobs", params={"limit": 100}).json()["data"]) == len(tuned[1])
            preset = client.http.get("/v1/presets/centred").json()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert tuned[0].best is not None
    assert {**MODEL, **tuned[0].best.genes, "name": preset["model"]} == {**preset["config"], "name": preset["model"]}


def worked(store: Store) -> None:
    """Everything that waits is done by a worker without a network."""
    for lane in store.read(dispatch.windows):
        for ticket in store.read(dispatch.waiting, lane, 100):
            store.write(dispatch.published, {ticket.shard: f"{ticket.shard}-0"})
            claim = take(store, ticket.shard, f"{ticket.shard}-0")
            assert store.write(commits.commit, claim, outcome(claim))


def test_a_driver_that_dies_makes_nothing_twice(store: Store, broker: Broker) -> None:
    """Each step is taken by two drivers that know nothing of those before, both from the same look at the tune."""
    spec = asked("shared", verifiers=["toy/linear"], population=3, generations=2)
    made = store.write(tunes.create, TuneSpec.model_validate(spec).model_dump_json(), "shared", None)
    for _ in range(20):
        row = store.read(tunes.find, made.name)
        if row.state != "in_progress":
            break
        for name in "ab":
            Tuner(store, Feeder(store, broker, name)).step(row)
        worked(store)
    assert store.read(tunes.find, made.name).state == "completed"
    rows = store.read(tunes.trials_of, made.id)
    assert [row.stage for row in rows] == ["baseline", *["candidate"] * 6, "final baseline", "final", "final"]
    assert len(store.read(jobs.page, 100, None)) == len(rows) == len({row.job for row in rows})
    assert all(row.value == 3.5 for row in rows[:7])  # the mean of 0 to 7, which the worker gave
    found = store.read(presets.find, "shared")
    assert (found.model, found.tune) == (MODEL["name"], made.name)
    assert presets.config(found) == {key: MODEL[key] for key in MODEL if key != "name"}  # of equals the baseline


def test_each_owner_has_names_of_his_own(store: Store) -> None:
    with access.acting("ann", "k1"):
        store.write(presets.create, "fast", "digits", {"steps": 3})
        mine = store.write(tunes.create, "{}", "slow", None)
    with access.acting("bob", "k2"):
        with pytest.raises(access.Missing, match="no preset 'fast'"):
            store.read(presets.find, "fast")
        with pytest.raises(access.Missing, match="no tune"):
            store.read(tunes.find, mine.name)
        assert store.read(presets.names, "digits") == []
        assert store.read(tunes.page, 10, None) == []
        store.write(presets.create, "fast", "digits", {"steps": 9})
        store.write(tunes.create, "{}", "slow", None)
        with pytest.raises(presets.Taken, match="there is a preset 'fast'"):
            store.write(tunes.create, "{}", "fast", None)
    with access.acting("ann", "k1"):
        assert presets.config(store.read(presets.find, "fast")) == {"steps": 3}
        with pytest.raises(presets.Taken, match="'slow'"):
            store.write(tunes.unclaimed, "slow")


def test_levers_of_the_digits_are_searched_only_where_the_model_takes_them() -> None:
    spec = asked(
        "fast5",
        model={"name": "digits", "steps": 5},
        items=[{"prompt": "7"}],
        verifiers=["digit_classifier"],
        levers={
            "timesteps": {"low": 0.0, "high": 999.0, "count": 5, "falling": True},
            "solver": {"choices": ["ddim", "unipc", "heun"]},
            "dc_ratios": {"low": 0.0, "high": 2.0, "count": 2, "when": {"solver": ["unipc"]}},
            "time_shift": {"low": 0.0, "high": 100.0, "whole": True, "when": {"solver": ["ddim"]}},
        },
    )
    checked(TuneSpec.model_validate(spec))


def command(client: Client, *words: str, given: str = "") -> Any:
    """What `winnow` says, in this process."""
    return CliRunner().invoke(app, list(words), input=given, env={"WINNOW_URL": str(client.http.base_url)})


def test_the_command_line_follows_a_tune_to_its_preset(client: Client) -> None:
    spec = json.dumps(asked("by-hand", generations=1))
    followed = command(client, "tune", "start", "-", given=spec)
    assert followed.exit_code == 0, followed.stderr
    view = json.loads(followed.stdout)
    assert view["state"] == "completed"
    assert "10 of 10 trials" in followed.stderr.splitlines()[-1]
    listing = command(client, "tune", "list").stdout
    assert f"{view['id']}  completed  by-hand  " in listing
    assert "by-hand  toy/gaussian_mixture  {'weights': [1.0]" in command(client, "preset", "list").stdout
    assert command(client, "preset", "delete", "by-hand").exit_code == 0
    gone = command(client, "preset", "delete", "by-hand")
    assert gone.exit_code == 1
    assert gone.stderr == "winnow: 404: no preset 'by-hand'\n"
    bad = command(client, "tune", "start", "-", given=json.dumps(asked("bad", levers={"x": {"choices": [1]}})))
    assert bad.stderr.startswith(
        "winnow: 422: levers.x: 'x' is no field of 'toy/gaussian_mixture'; valid: guide, means, "
    )


def test_one_start_noise_is_found_on_some_items_and_used_for_others(client: Client) -> None:
    """The kept noise is the one with the best mean verdict over the items, here read off all verdicts by hand."""
    spec = asked(
        "good-start",
        model={"name": "digits-early", "steps": 2},
        levers={"start": {"low": 0, "high": 10**6, "whole": True, "ordered": False}},
        items=[{"prompt": "2"}, {"prompt": "5"}, {"prompt": "8"}],
        verifiers=["digit_classifier"],
        population=5,
        generations=1,
        samples=1,
        final_samples=1,
        finalists=1,
    )
    view = at_end(client, spec)
    assert view.state == "completed", view
    found = [one for one in trials(client, view.id) if one.stage == "candidate"]
    means = {}
    for one in found:
        values = [c.scores[0].value for c in client.candidates(one.job or "")]
        means[one.genes["start"]] = float(np.mean([value for value in values if value is not None]))
        assert one.value == pytest.approx(means[one.genes["start"]])
    assert len(means) == 5
    final = next(one for one in trials(client, view.id) if one.stage == "final")
    assert final.genes == {"start": max(means, key=lambda start: means[start])}
    assert final.value == pytest.approx(max(means.values()))  # a start has no other noises
    others = {"items": [{"prompt": "3"}, {"prompt": "4"}], "search": {"n": 2}, "verifiers": ["digit_classifier"]}
    model = {"name": "digits-early", "steps": 2, **final.genes}
    used = done(client, {**others, "model": model, "seed": 77})
    drawn = [client.artifact(c.artifact or "") for c in client.candidates(used.id)]
    pictures = [np.asarray(Image.open(io.BytesIO(data)), np.int64) for data in drawn]
    # The seed and the sample name no other noise; a pixel may be rounded otherwise at another place of a call.
    assert [np.abs(a - b).max() <= 1 for a, b in pairwise(pictures)] == [True, False, True]
