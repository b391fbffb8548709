"""Labels by people, and what they, or a grader, show of a verifier."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helping import done, job, refused
from scipy import stats
from typer.testing import CliRunner

from service.audit import plan, ranks
from service.cli import app
from service.client import Client, Refused
from service.curves.grouped import Share, grouped_share, homogeneity
from service.curves.imperfect import clopper_pearson, rates_from_precision, wilson
from service.embedded import Stack
from service.store.audits import Labels, Verdicts
from service.truth import Truth, by_grader, by_labels, rates, together
from service.views import Card, JobView

UNIFORM = {"name": "outside/slow", "seconds": 0, "steps": 1}
HALF = {"name": "toy/linear", "label": "half", "threshold": 0.5}
"""Accepts answers from 0.5 on."""
TRUTH = {"name": "toy/quadratic", "label": "truth", "center": 0.6, "threshold": -0.045}
"""Right answers lie between 0.3 and 0.9."""


def judged(client: Client, items: int, n: int, /, **changes: Any) -> JobView:
    return done(client, job(items, n, **{"model": UNIFORM, "verifiers": [HALF], "graders": [TRUTH], **changes}))


def cells(client: Client, *names: str) -> list[int]:
    """tp, fp, fn, tn by the grader."""
    said = [(c.scores[0].passed, c.grades[0].passed) for name in names for c in client.candidates(name)]
    return [said.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))]


def labelled(client: Client, name: str, places: list[tuple[int, int]]) -> None:
    """Label as the grader would."""
    right = {(c.item, c.sample): c.grades[0].passed for c in client.candidates(name)}
    client.label(name, [{"item": i, "sample": s, "right": right[i, s]} for i, s in places])


def of(client: Client, *names: str, **asked: Any) -> Card:
    """The card of HALF under a threshold that only these jobs have."""
    config = next(c.config for c in client.cards().data if set(names) <= set(c.jobs) and c.name == "toy/linear")
    return client.card("toy/linear", config=config, **asked)


def own(threshold: float) -> dict[str, Any]:
    """HALF with a threshold, and so a card, of one's own."""
    return {"verifiers": [{**HALF, "threshold": threshold}]}


def test_card_by_a_grader(client: Client) -> None:
    names = [judged(client, 20, 10, seed=seed, **own(0.501)).id for seed in (0, 1)]
    found = of(client, *names)
    tp, fp, fn, tn = cells(client, *names)
    assert (found.name, found.against, found.jobs, found.verdicts) == ("toy/linear", "truth", names, 400)
    assert tuple(found.counts.model_dump().values()) == (tp, fp, fn, tn)
    assert found.tpr
    assert found.fpr
    assert found.ppv
    assert found.npv
    shares = (found.tpr, tp, tp + fn), (found.fpr, fp, fp + tn), (found.ppv, tp, tp + fp), (found.npv, tn, tn + fn)
    for share, x, n in shares:
        assert (share.share, share.n) == (pytest.approx(x / n), n)
        assert share.effective
        assert n / 3 < share.effective <= n  # answers of an item are independent here
        assert (share.low, share.high) == pytest.approx(wilson(share.share * share.effective, share.effective))
    assert found.right == pytest.approx((tp + fn) / 400)
    assert (found.unscored, found.uncalibrated) == (0, None)
    assert found.calibration
    assert found.calibration.answers == 400
    answers = [(c.answer, c.grades[0].passed) for name in names for c in client.candidates(name)]
    assert found.calibration.brier == pytest.approx(np.mean([(float(str(x)) - bool(y)) ** 2 for x, y in answers]))
    assert sum(one.answers for one in found.calibration.bins) == 400
    (other,) = found.agreement
    assert (other.name, other.n, other.share) == ("toy/quadratic", 400, pytest.approx((tp + tn) / 400))
    assert [one.job for one in found.drift.jobs] == names
    assert [test.share for test in found.drift.tests] == ["passed", "tpr", "fpr"]
    first = cells(client, names[0])
    assert found.drift.jobs[0].fpr
    assert found.drift.jobs[0].fpr.share == pytest.approx(first[1] / (first[1] + first[3]))
    assert found.median_ms is not None


def test_labels(client: Client) -> None:
    view = judged(client, 6, 10, **own(0.502))
    places = [(c.item, c.sample) for c in client.candidates(view.id)]
    by_truth = of(client, view.id)
    labelled(client, view.id, places[:7])
    kept = client.audits(view.id)
    assert [(a.item, a.sample) for a in kept.data] == places[:7]
    assert sum(kept.counts.model_dump().values()) == 7
    labelled(client, view.id, places)  # again, and the rest
    assert len(client.audits(view.id).data) == 60
    by_people = of(client, view.id)
    assert by_people.against == "audits"
    assert by_people.counts == by_truth.counts
    for name in ("tpr", "fpr", "ppv", "npv"):
        assert getattr(by_people, name).share == pytest.approx(getattr(by_truth, name).share)
    assert [test.share for test in by_people.drift.tests] == []  # one job
    assert of(client, view.id, against="truth") == by_truth
    assert client.next_audits(view.id).data == []
    client.label(view.id, [{"item": 0, "sample": 0, "right": True}])
    client.label(view.id, [{"item": 0, "sample": 0, "right": False}])
    assert client.audits(view.id).data[0].right is False
    page = client.http.get(f"/v1/jobs/{view.id}/audits", params={"limit": 50}).json()
    rest = client.http.get(f"/v1/jobs/{view.id}/audits", params={"limit": 50, "after": page["next"]}).json()
    assert (len(page["data"]), len(rest["data"]), rest["next"]) == (50, 10, None)


def test_next(client: Client) -> None:
    view = judged(client, 10, 10, **own(0.9))
    passed = {(c.item, c.sample): c.scores[0].passed for c in client.candidates(view.id)}
    first = client.next_audits(view.id, limit=20)
    assert first == client.next_audits(view.id, limit=20)
    assert (first.scored, first.labelled, len(first.data)) == (100, 0, 20)
    assert first.data[0].score is None
    assert first.data[:5] == client.next_audits(view.id, limit=5).data
    places = [(one.item, one.sample) for one in first.data]
    assert places != [(one.item, one.sample) for one in client.next_audits(view.id, limit=20, seed=1).data]
    labelled(client, view.id, places[:10])
    assert client.next_audits(view.id, limit=10).data == first.data[10:]
    even = client.next_audits(view.id, by="verdict", limit=6, show=True)
    assert [one.score and one.score.passed for one in even.data].count(True) == 3
    assert all(one.score and one.score.passed == passed[one.item, one.sample] for one in even.data)
    open_ = {place for place in passed if place not in places[:10]}
    everything = client.next_audits(view.id, by="verdict", limit=100)
    assert {(one.item, one.sample) for one in everything.data} == open_


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        ([(0, 0, True), (0, 4, True)], ["item 0, sample 4"]),
        ([(0, 0, True), (2, 0, True)], ["item 2, sample 0"]),
        ([(0, 0, True), (0, 0, False)], ["item 0, sample 0", "both right and wrong"]),
        ([], ["labels"]),
        ([(0, 0, True)] * 1001, ["labels", "1000"]),
        ([(-1, 0, True)], ["labels.0.item"]),
        ([(0, 0, "yes")], ["labels.0.right"]),
        ([(0, 2**40, True)], ["labels.0.sample"]),
    ],
)
def test_labels_that_are_refused(client: Client, labels: list[Any], parts: list[str]) -> None:
    view = judged(client, 2, 4)
    body = {"labels": [{"item": i, "sample": s, "right": r} for i, s, r in labels]}
    said = refused(client.http.post(f"/v1/jobs/{view.id}/audits", json=body), 422)["detail"]
    assert all(part in said for part in parts), said
    assert client.audits(view.id).data == []  # all or nothing


def test_unscored_answers_are_no_labels(client: Client) -> None:
    view = judged(client, 1, 4, verifiers=[{"name": "outside/raising", "threshold": 0.509}])
    assert view.counts.unscored == 4
    assert client.next_audits(view.id).data == []
    body = {"labels": [{"item": 0, "sample": 1, "right": True}]}
    said = refused(client.http.post(f"/v1/jobs/{view.id}/audits", json=body), 422)["detail"]
    assert "outside/raising has no score for item 0, sample 1" in said
    (config,) = (c.config for c in client.cards().data if c.jobs == [view.id] and c.name == "outside/raising")
    found = client.card("outside/raising", config=config)
    assert (found.unscored, found.tpr, found.passed) == (1, None, None)
    assert found.notes
    assert found.uncalibrated


def test_other_refusals(client: Client) -> None:
    view = judged(client, 2, 4, keep="top_k", **own(0.503))
    said = refused(client.http.get(f"/v1/jobs/{view.id}/audits/next"), 422)["detail"]
    assert "kept only its best answers" in said
    plain = judged(client, 2, 4, verifiers=["toy/ones", "toy/linear"], graders=[])
    said = refused(client.http.get(f"/v1/jobs/{plain.id}/audits/next", params={"judge": "far"}), 422)["detail"]
    assert "unknown judge 'far'; valid: toy/ones, toy/linear" in said
    params = {"judge": "toy/linear", "by": "verdict"}
    said = refused(client.http.get(f"/v1/jobs/{plain.id}/audits/next", params=params), 422)["detail"]
    assert "toy/linear gives no passes" in said
    body = {"labels": [{"item": 0, "sample": 0, "right": True, "sure": 1}]}
    said = refused(client.http.post(f"/v1/jobs/{view.id}/audits", json=body), 422)["detail"]
    assert "valid: item, right, sample" in said
    refused(client.http.get("/v1/jobs/none/audits"), 404)
    said = refused(client.http.get("/v1/cards/toy/linear", params={"against": "nobody"}), 404)["detail"]
    assert "'nobody'" in said
    assert "audits" in said


def test_a_verifier_that_has_judged_nothing(client: Client, stack: Stack) -> None:
    """Its published card, and that nobody has audited it."""
    name = "terrain/route"
    assert name not in [one.name for one in client.cards().data]
    found = client.card(name)
    assert found.card == Path("verifiers/cards/terrain-route.md").read_text()
    assert found.version == client.http.get(f"/v1/verifiers/{name}").json()["version"]
    assert (found.verdicts, found.jobs, found.unscored, found.tpr) == (0, [], None, None)
    assert found.notes[0].startswith("Not audited")
    shown = CliRunner().invoke(app, ["card", name, "--url", stack.url])
    assert shown.exit_code == 0, shown.output
    assert "Not audited" in shown.output
    assert found.card.splitlines()[0] in shown.output


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("toy/none", "unknown verifier 'toy/none'; valid: aesthetic, any, boxed, "),
        ("terrain/route?version=7", "no verdicts of 'terrain/route 7'; versions and configurations of that name: none"),
        ("terrain/route?against=me", "no grader 'me' in its jobs; valid: audits"),
    ],
)
def test_cards_that_there_are_not(client: Client, asked: str, said: str) -> None:
    assert refused(client.http.get(f"/v1/cards/{asked}"), 404)["detail"].startswith(said)


def test_values_that_are_no_chances(client: Client) -> None:
    judged(client, 2, 4, verifiers=[{"name": "toy/linear", "slope": 7, "threshold": 3}])
    config = next(c.config for c in client.cards().data if c.settings.get("slope") == 7)
    found = client.card("toy/linear", config=config)
    assert found.calibration is None
    assert "no chances" in (found.uncalibrated or "")
    assert found.tpr or found.fpr


def test_drift_is_seen(client: Client) -> None:
    """The verifier reads the answer, the grader too; what changes is which answers are right."""
    same = own(0.504)
    names = [judged(client, 20, 10, seed=1, **same).id]
    names.append(judged(client, 20, 10, seed=2, graders=[{**TRUTH, "center": 0.2}], **same).id)
    tests = {test.share: test for test in of(client, *names).drift.tests}
    assert tests["passed"].p > 0.01
    assert "No sign" in tests["passed"].text
    assert tests["tpr"].p < 1e-6  # 2/3 of the right answers lie above 0.5, then none do
    assert "differs" in tests["tpr"].text


def test_winnow_audit_and_card(client: Client, stack: Stack) -> None:
    item = [{"id": "a", "prompt": "\x1b[31mred\u202e"}]
    view = judged(client, 1, 6, items=item, **own(0.505))
    words = ["audit", view.id, "--by", "verdict", "--limit", "4", "--url", stack.url]
    said = CliRunner().invoke(app, words, input="y\nhm\nn\ns\nq\n")
    assert said.exit_code == 0, said.output
    assert "\x1b" not in said.output
    assert "\u202e" not in said.output
    assert "\\x1b[31mred\\u202e" in said.output
    assert len(client.audits(view.id).data) == 2
    config = next(c.config for c in client.cards().data if view.id in c.jobs and c.name == "toy/linear")
    words = ["card", "toy/linear", "--config", config, "--url", stack.url]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert all(part in shown.output for part in ("TPR", "right by people's labels", "toy/quadratic"))
    as_json = CliRunner().invoke(app, [*words, "--json"])
    assert Card.model_validate(json.loads(as_json.output)) == client.card("toy/linear", config=config)
    missing = CliRunner().invoke(app, ["card", "toy/none", "--url", stack.url])
    assert missing.exit_code == 1


def test_refusals_of_the_client(client: Client) -> None:
    with pytest.raises(Refused, match="by"):
        client.next_audits(judged(client, 1, 2).id, by="chance")


def verdicts(items: int, n: int, accepted: Any) -> Verdicts:
    item, sample = np.repeat(np.arange(items), n), np.tile(np.arange(n), items)
    return Verdicts(item, sample, np.full(items * n, 0.5), np.asarray(accepted, np.int8), np.ones(items * n))


def test_the_plan_is_a_uniform_sample() -> None:
    """5 of 20 rows under 4000 seeds: a row is picked Binomial(4000, 1/4) times, sd 27; within 5 sd, as pairs are."""
    found = verdicts(4, 5, np.arange(20) < 10)
    picked = np.zeros((4000, 20))
    even = np.zeros((4000, 20))
    for seed in range(4000):
        picked[seed, plan(found, np.zeros(0, np.int64), "answer", 5, seed)] = 1
        even[seed, plan(found, np.zeros(0, np.int64), "verdict", 4, seed)] = 1
    assert np.abs(picked.sum(0) - 1000).max() < 5 * 27.4
    assert np.abs(even.sum(0) - 800).max() < 5 * 25.3
    assert (even[:, :10].sum(1) == 2).all()
    together_ = picked.T @ picked
    off = together_[~np.eye(20, dtype=bool)]
    assert np.abs(off - 4000 * 5 * 4 / 20 / 19).max() < 5 * 14.1
    numbers = ranks(np.arange(1000), np.zeros(1000, np.int64), 0)
    assert len(set(numbers)) == 1000


def test_grouped_share() -> None:
    hits, ones = np.arange(40) < 13, np.ones(40)
    alone = grouped_share(hits, ones, np.arange(40), 0.95)
    assert alone
    assert alone[:3] == pytest.approx((13 / 40, *wilson(13, 40)))
    assert (alone.n, alone.effective) == (40, pytest.approx(40))
    exact = grouped_share(hits, ones, np.arange(40), 0.9, exact=True)
    assert exact
    assert exact[1:3] == pytest.approx(clopper_pearson(13, 40, 0.9))
    copies = grouped_share(np.repeat(hits, 10), np.ones(400), np.repeat(np.arange(40), 10), 0.95)
    assert copies
    assert copies.share == alone.share
    assert copies.effective == pytest.approx(39, rel=0.01)  # ten copies tell as much as one, but for n/(n-1)
    none = grouped_share(np.zeros(10), np.ones(10), np.arange(10), 0.95)
    assert none
    assert none[:3] == pytest.approx((0, *wilson(0, 10)))
    assert grouped_share([], [], np.zeros(0, np.int64), 0.95) is None
    uneven = grouped_share([1, 0], [3, 1], np.arange(2), 0.95)
    assert uneven
    assert uneven.share == 0.75


def test_homogeneity() -> None:
    big = homogeneity([Share(0.5, 0, 1, 100, 100), Share(0.3, 0, 1, 100, 100)])
    assert big
    expected: Any = stats.chi2_contingency([[50, 50], [30, 70]], correction=False)
    assert (big.test, big.statistic, big.p) == (
        "chi2",
        pytest.approx(expected.statistic),
        pytest.approx(expected.pvalue),
    )
    small = homogeneity([Share(0.2, 0, 1, 10, 10), Share(0.6, 0, 1, 5, 5)])
    assert small
    assert small == ("fisher", None, pytest.approx(stats.fisher_exact([[2, 8], [3, 2]])[1]))
    assert homogeneity([Share(0.0, 0, 1, 10, 10), Share(0.0, 0, 1, 5, 5)]) is None
    assert homogeneity([Share(0.2, 0, 1, 10, 10)]) is None


def answers(rng: np.random.Generator, n: int, right: float, tpr: float, fpr: float) -> tuple[Verdicts, Verdicts]:
    """A verifier's verdicts and the truth, one answer an item."""
    true = rng.random(n) < right
    accepted = rng.random(n) < np.where(true, tpr, fpr)
    return verdicts(n, 1, accepted), verdicts(n, 1, true)


def picked(found: Verdicts, true: Verdicts, rows: Any) -> Truth:
    rows = np.sort(rows)
    return by_labels(found, Labels(found.item[rows], found.sample[rows], true.verdict[rows] == 1, np.zeros(len(rows))))


@pytest.mark.parametrize("by", ["answer", "verdict"])
@pytest.mark.parametrize("exact", [False, True])
def test_rates_from_labels_are_right_under_both_plans(by: Any, exact: bool) -> None:
    """300 audits of 200 labels: 95 % intervals miss Binomial(300, 0.05) times, at most 28 (99.9 %) if they hold; the
    mean of 300 estimates lies within 5 of its standard errors, and 0.01 for the ratio's own bias."""
    rng = np.random.default_rng(0)
    found, true = answers(rng, 20_000, 0.3, 0.8, 0.05)
    whole = rates(by_grader(found, true), 0.95)
    estimates, missed = np.zeros((300, 2)), np.zeros(2)
    for seed in range(300):
        truth = picked(found, true, plan(found, np.zeros(0, np.int64), by, 200, seed))
        for i, name in enumerate(("tpr", "fpr")):
            share, target = getattr(rates(truth, 0.95, exact), name), getattr(whole, name).share
            estimates[seed, i] = share.share
            missed[i] += not share.low <= target <= share.high
            assert share.low <= share.share <= share.high
    targets = np.array([whole.tpr and whole.tpr.share, whole.fpr and whole.fpr.share], float)
    error = estimates.std(0) / np.sqrt(300)
    assert (np.abs(estimates.mean(0) - targets) < 5 * error + 0.01).all()
    assert (missed <= 28).all()


def test_labels_of_several_jobs_weigh_by_their_answers() -> None:
    """A small job labelled wholly and a large one in part: the large one's labels count for all of its answers."""
    rng = np.random.default_rng(1)
    jobs = [answers(rng, 100, 0.5, 0.9, 0.1), answers(rng, 1000, 0.5, 0.5, 0.5)]
    parts = [picked(f, t, np.arange(0, len(f.item), step)) for (f, t), step in zip(jobs, (1, 10), strict=True)]
    truth = together(parts)
    assert truth
    assert len(set(truth.group.tolist())) == 200
    found = rates(truth, 0.95)
    ppv = [part.right[part.verdict == 1].mean() for part in parts]
    sizes = [int((f.verdict == 1).sum()) for f, _ in jobs]
    assert found.ppv
    assert found.npv
    assert found.ppv.share == pytest.approx(np.average(ppv, weights=sizes))
    assert truth.accepted == pytest.approx(sum(sizes) / 1100)
    expected = rates_from_precision(sum(sizes) / 1100, found.ppv.share, found.npv.share)
    assert found.tpr
    assert found.fpr
    assert (found.tpr.share, found.fpr.share) == pytest.approx((expected.tpr, expected.fpr))


def test_intervals_narrow_with_labels() -> None:
    found, true = answers(np.random.default_rng(2), 5000, 0.3, 0.8, 0.05)
    widths = []
    for n in (50, 200, 1000):
        fpr = rates(picked(found, true, plan(found, np.zeros(0, np.int64), "verdict", n, 0)), 0.95).fpr
        assert fpr
        widths.append(fpr.high - fpr.low)
    assert all(a > b for a, b in pairwise(widths))
