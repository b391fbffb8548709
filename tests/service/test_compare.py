"""Several searches on the same items: outcomes, costs, paired differences, and controls at equal evaluations."""

import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from helping import GAUSS, SLOW, done, ended, job, prepared, refused
from typer.testing import CliRunner

from search.configs import MethodConfig
from search.methods.best_of_n import BestOfN
from search.voting import Ballot
from service.catalog import Rule
from service.cli import app
from service.cli_compare import controls, show
from service.client import Client
from service.comparable import Different
from service.compare import Ran, Read, compared, control_of
from service.curves.paired import paired_proportions, paired_t
from service.spec import JobSpec
from service.store import Store, answers, creating, jobs, results
from service.store.bulk import insert_rows
from service.store.schema import candidates, judges, scores
from service.views import Compared, Comparison

GRADER = {"name": "toy/quadratic", "label": "near", "center": 1.5, "threshold": -0.1}
"""Passes within 0.45 of 1.5."""


def winnow(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = [sys.executable, "-m", "service.cli", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)


def sentence(said: Any, *parts: str) -> None:
    """It failed in one sentence, after the lines of progress."""
    assert said.returncode != 0
    assert "Traceback" not in said.stderr
    last = said.stderr.strip().splitlines()[-1]
    assert last.startswith("winnow: ")
    assert all(part in last for part in parts), last


def graded(items: int, n: int, /, **changes: Any) -> dict[str, Any]:
    return job(items, n, **{"graders": [GRADER], **changes})


def problem(client: Client, names: Sequence[str], **params: Any) -> str:
    response = client.http.get("/v1/compare", params={"jobs": ",".join(names), **params})
    return refused(response, 422)["detail"]


@pytest.fixture(scope="module")
def three(running: tuple[Any, Client]) -> tuple[str, str, str]:
    """n = 2; a steered search of 8; n = 8: the same 30 items."""
    client = running[1]
    fk = {"method": "feynman_kac", "particles": 8, "tilt": 1.0}
    specs = graded(30, 2), graded(30, 8, search=fk), graded(30, 8, seed=1)
    a, b, c = (done(client, spec).id for spec in specs)
    return a, b, c


def test_compare(client: Client, three: tuple[str, str, str]) -> None:
    found = client.compare(three)
    assert (found.judge, found.level, found.items) == ("near", 0.95, 30)
    assert [one.job for one in found.jobs] == list(three)
    shown = {name: list(client.items(name)) for name in three}
    for one in found.jobs:
        best = [item.best[0] for item in shown[one.job]]
        grades = [answer.grades[0] for answer in best]
        assert [(o.passed, o.value) for o in one.outcomes] == [(g.passed, g.value) for g in grades]
        assert [o.item for o in one.outcomes] == [item.id for item in shown[one.job]]
        assert [o.evaluations for o in one.outcomes] == [item.evaluations for item in shown[one.job]]
        assert one.passed
        assert one.value
        assert one.passed.mean == pytest.approx(np.mean([bool(g.passed) for g in grades]))
        assert one.passed.low < one.passed.mean < one.passed.high
        assert one.value.mean == pytest.approx(np.mean([g.value for g in grades]))
        usage = client.job(one.job).usage.model_dump()
        for name, each in one.cost.items():
            assert each == pytest.approx(usage[name] / 30)
        assert one.cost.keys() >= {"evaluations", "verifier_calls", "verifier_seconds", "seconds"}
        assert (one.unanswered, one.unscored) == (0, 0)
    two, steered, eight = found.jobs
    # The steered search has a best_of_n at equal evaluations, which is its own control; n = 2 has none.
    assert (steered.control, eight.control, two.control) == (three[2], three[2], three[0])
    assert (steered.evaluations_ratio, steered.equal_budget) == (1, True)
    assert steered.search["method"] == "feynman_kac"
    assert eight.difference is None
    difference = steered.difference
    assert difference
    assert difference.passed
    assert difference.value
    pairs = [(a.passed, b.passed) for a, b in zip(steered.outcomes, eight.outcomes, strict=True)]
    cells = [pairs.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))]
    assert (difference.only_here, difference.only_control) == (cells[1], cells[2])
    spread = difference.passed
    expected = paired_proportions(cells[0], cells[1], cells[2], cells[3])
    assert (spread.mean, spread.low, spread.high) == pytest.approx(tuple(expected))
    assert difference.passed_scored == spread
    ours, theirs = ([o.value or 0.0 for o in one.outcomes] for one in (steered, eight))
    value = difference.value
    assert (value.mean, value.low, value.high) == pytest.approx(tuple(paired_t(ours, theirs)))
    assert value.items == 30


def test_unequal_budgets_are_flagged(client: Client, three: tuple[str, str, str]) -> None:
    found = client.compare([three[0], three[2]])  # two best_of_n: the first is the control
    first, second = found.jobs
    assert (first.control, second.control) == (three[0], three[0])
    assert (first.equal_budget, second.equal_budget) == (True, False)
    assert second.evaluations_ratio == 4
    assert second.difference
    found = client.compare([three[1], three[0]])  # a best_of_n, but not at equal evaluations
    assert [one.control for one in found.jobs] == [three[1], three[1]]
    assert found.jobs[1].evaluations_ratio == 0.25


def test_judge_and_level(client: Client, three: tuple[str, str, str]) -> None:
    narrow, wide = (client.compare(three, level=level).jobs[1].difference for level in (0.8, 0.99))
    assert narrow
    assert wide
    for a, b in ((narrow.passed, wide.passed), (narrow.value, wide.value)):
        assert a
        assert b
        assert b.low < a.low < a.mean < a.high < b.high  # type: ignore[operator]
    found = client.compare(three, "toy/linear")  # a verifier without a threshold passes nothing
    for one in found.jobs:
        assert one.passed is None
        assert one.value
        assert one.value.items == 30
        assert one.unscored == 0
    assert found.jobs[1].difference
    assert found.jobs[1].difference.passed is None
    assert found.jobs[1].difference.value
    said = problem(client, three, judge="far")
    assert "no judge 'far'" in said
    assert "toy/linear, near" in said


def test_items_are_paired_by_id(client: Client) -> None:
    """The same items in another order are the same items: their noise has the same names too."""
    one, two = graded(5, 4), graded(5, 4)
    two["items"] = two["items"][::-1]
    found = client.compare([done(client, spec).id for spec in (one, two)])
    first, second = found.jobs
    assert first.outcomes == second.outcomes
    assert second.difference
    assert second.difference.value
    assert (second.difference.value.mean, second.difference.value.low) == (0, None)  # no spread, no interval
    assert second.difference.passed
    assert second.difference.passed.low
    assert second.difference.passed.low < 0 < (second.difference.passed.high or 0)


def test_only_the_same_items_are_compared(client: Client) -> None:
    def other(**changes: Any) -> str:
        return done(client, graded(3, 1, **changes)).id

    items = [{"id": f"i{i}", "prompt": f"p{i}", "target": 1} for i in range(3)]
    first = other(items=items)

    def said(**changes: Any) -> str:
        return problem(client, [first, other(**{"items": items, **changes})])

    assert "item 'i2'" in said(items=items[:2])
    assert "item 'i3'" in said(items=[*items, {"id": "i3"}])
    assert "item 'i1'" in said(items=[items[0], {**items[1], "id": "x"}, items[2]])
    assert "item 'i1' has another prompt" in said(items=[items[0], {**items[1], "prompt": "q"}, items[2]])
    assert "item 'i2' has another target" in said(items=[*items[:2], {**items[2], "target": True}])
    assert "judge 'near' is configured otherwise" in said(graders=[{**GRADER, "center": 0.0}])
    assert "judge 'near' is configured otherwise" in said(graders=[{**GRADER, "threshold": -1.0}])
    assert "no judge 'near'" in said(graders=[])


def test_which_jobs(client: Client, three: tuple[str, str, str]) -> None:
    assert "takes 2 to 16" in problem(client, three[:1])
    assert "takes 2 to 16" in problem(client, [f"job_{i}" for i in range(17)])
    assert "more than once" in problem(client, [three[0], three[1], three[0]])
    missing = client.http.get("/v1/compare", params={"jobs": f"{three[0]},job_nothing"})
    assert "no job 'job_nothing'" in refused(missing, 404)["detail"]
    for params in ({}, {"jobs": ",".join(three), "level": 1}, {"jobs": ",".join(three), "level": "nan"}):
        refused(client.http.get("/v1/compare", params=params), 422)
    slow = client.submit(job(30, 40, model={**SLOW, "steps": 2000}))  # ten minutes of work and more
    assert "only jobs that have ended" in problem(client, [slow.id, three[0]])
    client.cancel(slow.id)
    ended(client, slow.id)


def test_abstentions_failures_and_missing_verdicts(client: Client) -> None:
    """An abstention did not pass; an item that failed or was not scored has no outcome, and both bounds are shown."""
    prompts = ["number", "number", "boom", "huge"]
    items = [{"id": f"{i}", "prompt": prompt} for i, prompt in enumerate(prompts)]
    common: dict[str, Any] = {"model": "outside/by_prompt", "items": items}
    common |= {
        "verifiers": [{"name": "toy/linear", "threshold": 2.0}],
        "graders": [{"name": "toy/linear", "label": "g"}],
    }
    common["graders"][0]["threshold"] = 0.0
    most = done(client, job(**common, search={"method": "best_of_n", "n": 2}))
    none = done(client, job(**common, search={"method": "best_of_n", "n": 2, "select": "first_pass"}))
    best, first = client.compare([most.id, none.id]).jobs
    assert [o.passed for o in best.outcomes] == [True, True, None, False]
    assert [o.answered for o in best.outcomes] == [True, True, False, False]  # no verifier can read "huge"
    assert (best.unscored, best.unanswered) == (1, 1)
    assert "boom" in (best.outcomes[2].reason or "")
    assert [o.passed for o in first.outcomes] == [False, False, None, False]
    assert (first.unscored, first.unanswered) == (1, 3)
    assert best.passed
    assert best.passed.mean == 0.5
    assert best.value
    assert best.value.items == 2
    assert first.value is None
    assert first.difference
    assert first.difference.passed
    assert first.difference.passed_scored
    assert (first.difference.passed.mean, first.difference.passed.items) == (-0.5, 4)
    assert first.difference.passed_scored.mean == pytest.approx(-2 / 3)
    assert first.difference.passed_scored.items == 3
    assert first.difference.value is None


def voted(connection: sa.Connection, ids: list[int], item: int, ballot: Ballot) -> int | None:
    """The vote, counted by hand: forms of the first verifier, weights of the last."""
    mine = sa.select(scores).where(scores.c.item == item)
    forms = {s.sample: s.canonical for s in connection.execute(mine.where(scores.c.judge == ids[0]))}
    by = {s.sample: s for s in connection.execute(mine.where(scores.c.judge == ids[-1]))}
    votes, first = dict[str, Fraction](), dict[str, int]()
    for sample in sorted(forms):
        form, said = forms[sample], by.get(sample)
        weight: Any = 1
        if ballot.kind != "count":
            if said is None or said.value is None:
                continue
            weight = said.value if ballot.kind == "value" else ballot.passed if said.passed else ballot.failed
        if form is not None:
            votes[form] = votes.get(form, Fraction(0)) + Fraction(weight)
            first.setdefault(form, sample)
    return first[max(votes, key=lambda form: (votes[form], -first[form]))] if votes else None


RULES = [
    Rule(),
    Rule("first_pass"),
    Rule("majority", ballot=Ballot("count")),
    Rule("weighted", ballot=Ballot("value")),
    Rule("bayes", ballot=Ballot.of_rates(0.9, 0.3)),
]


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
@pytest.mark.parametrize("verifiers", [1, 3])
def test_the_answer_is_the_one_that_results_show(store: Store, rule: Rule, verifiers: int) -> None:
    """One query for all items picks what `results.best` puts first, with ties, gaps and unscored answers."""
    items, samples = 25, 12
    refs = [{"name": "toy/linear", "label": f"v{i}"} for i in range(verifiers)]
    spec = prepared(items, samples, verifiers=refs, graders=[GRADER])
    made = store.write(creating.create, spec)
    rng = np.random.default_rng(verifiers)
    with store.writing() as connection:
        judged = results.judges_of(connection, made.id)
        for judge in judged:
            for item in range(items - 1):  # the last one has no answers
                for sample in rng.permutation(samples)[: rng.integers(1, samples + 1)].tolist():
                    value = [None, 0.0, 0.5, 1.0][rng.integers(4)]
                    canonical = [None, "a", "b", "c"][rng.integers(4)]
                    passed = None if value is None else value > 0.4
                    row = (judge.id, item, sample, value, passed, None, canonical, 1.0)
                    insert_rows(connection, scores, [row])
        places = product(range(items), range(samples))
        given = [(made.id, item, sample, "k", "1", None, 1, None, None) for item, sample in places]
        insert_rows(connection, candidates, given)
        ids = [judge.id for judge in judged if judge.role == "verifier"]
        found = answers.outcomes(connection, made.id, ids, rule, judged[-1].id)
        assert [one.number for one in found] == list(range(items))
        for one in found:
            best = results.best(connection, spec.spec, judged, made.id, one.number, rule)
            assert one.sample == (best[0]["sample"] if best else None)
            if rule.ballot is not None:
                assert one.sample == voted(connection, ids, one.number, rule.ballot)
            query = sa.select(scores.c.value, scores.c.passed)
            mine = query.where(scores.c.judge == judged[-1].id, scores.c.item == one.number)
            row = connection.execute(mine.where(scores.c.sample == one.sample)).first()
            assert (one.value, one.passed) == (tuple(row) if row else (None, None))
        assert len({one.sample for one in found}) > 2


def test_large(store: Store) -> None:
    """10,000 items of 20 samples: under a second a job, where a query for each item takes many."""
    made = store.write(creating.create, prepared(10_000, 20))
    with store.writing() as connection:
        judge = results.judges_of(connection, made.id)[0].id
        values = [(judge, i, s, math.sin(i + 7.0 * s), True, None, None, 1.0) for i in range(10_000) for s in range(20)]
        insert_rows(connection, scores, values)
        start = time.perf_counter()
        found = answers.outcomes(connection, made.id, [judge], Rule(), judge)
        seconds = time.perf_counter() - start
    assert seconds < 30  # 0.4 on one idle core; a plan that is quadratic in the items takes 100
    best = np.sin(np.arange(10_000)[:, None] + 7.0 * np.arange(20)).max(1)
    np.testing.assert_allclose([one.value or 0.0 for one in found], best)


def test_jobs_without_answers_and_changed_judges(store: Store) -> None:
    """Cancelled before anything was drawn: nothing is known, nothing was spent, and nothing is divided by it."""
    names = [store.write(creating.create, prepared(3, 2)).name for _ in range(2)]
    for name in names:
        assert store.write(jobs.cancel, name).state == "cancelled"
    found = store.read(compared, names, None, 0.95)
    for one in found.jobs:
        assert (one.passed, one.value, one.unscored, one.unanswered) == (None, None, 3, 0)
        assert (one.evaluations_ratio, one.equal_budget) == (None, True)
        assert set(one.cost.values()) == {0.0}
    assert found.jobs[1].difference
    assert (found.jobs[1].difference.passed, found.jobs[1].difference.value) == (None, None)
    with store.writing() as connection:
        last = sa.select(sa.func.max(judges.c.id)).scalar_subquery()
        connection.execute(sa.update(judges).where(judges.c.id == last).values(version="2"))
    with pytest.raises(Different, match=r"'toy/linear' had version 1 in job .* and 2 in job"):
        store.read(compared, names, None, 0.95)


def ran(method: str, evaluations: float) -> Ran:
    search = {"method": "best_of_n", "select": method} if method == "first_pass" else {"method": method}
    spec = JobSpec.model_validate(job(1, 1) | {"search": search})
    none = np.zeros(0)
    return Ran(Read(None, spec, []), [], none.astype(bool), none.astype(bool), none, {"evaluations": evaluations})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([("x", 100), ("best_of_n", 100)], [1, 1]),
        ([("x", 95.0), ("best_of_n", 100), ("y", 105), ("z", 105.5)], [1, 1, 1, 0]),  # 5 % of the control's
        ([("best_of_n", 10), ("best_of_n", 20), ("best_of_n", 10)], [0, 0, 0]),
        ([("x", 80), ("y", 120), ("best_of_n", 120), ("best_of_n", 80)], [3, 2, 2, 3]),  # two budgets, two controls
        ([("x", 80), ("best_of_n", 80), ("best_of_n", 81)], [0, 0, 0]),  # which of the two?
        ([("x", 80), ("best_of_n", 80), ("best_of_n", 640)], [1, 1, 0]),
        ([("x", 80), ("best_of_n", 80), ("first_pass", 80)], [1, 1, 1]),
        ([("x", 0), ("best_of_n", 0)], [1, 1]),
    ],
)
def test_control(jobs: list[tuple[str, float]], expected: list[int]) -> None:
    all_of = [ran(*one) for one in jobs]
    assert [all_of.index(control_of(one, all_of)) for one in all_of] == expected


class Other(MethodConfig):
    """A method of so many trajectories."""

    worth: float

    @property
    def trajectories(self) -> float:
        return self.worth


@pytest.mark.parametrize(
    ("worth", "n", "added"),
    [
        ([8.0], [], [8]),
        ([8.0], [8], []),
        ([8.0], [4], [8]),
        ([8.0, 12.0, 8.0], [], [8, 12]),
        ([20.4], [20], []),  # within 5 %
        ([20.4, 20.0, 19.6], [], [20]),
        ([1.5], [2], []),  # n is whole: the flag of the comparison tells
        ([0.2], [], [1]),
        ([], [4, 16], []),
    ],
)
def test_controls(worth: list[float], n: list[int], added: list[int]) -> None:
    plans = [*(Other(worth=w) for w in worth), *(BestOfN(n=k) for k in n)]
    assert controls(plans) == added


def test_controls_of_first_pass() -> None:
    assert controls([BestOfN(n=8, select="first_pass")]) == [8]
    assert controls([BestOfN(n=8, select="first_pass"), BestOfN(n=8, select="majority")]) == []


FK = {"method": "feynman_kac", "particles": 4, "tilt": 2.0}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(graded(4, 4, search=[FK, {"method": "best_of_n", "n": 2}])))
    return path


def test_command(spec: Path, client: Client) -> None:
    said = winnow("compare", spec, "--json")
    assert said.returncode == 0, said.stderr
    own = Comparison.model_validate_json(said.stdout)
    searches = [(one.search["method"], one.search.get("n")) for one in own.jobs]
    assert searches == [("best_of_n", 4), ("feynman_kac", None), ("best_of_n", 2)]  # the control was added
    steered = own.jobs[1]
    assert {one.control for one in own.jobs} == {own.jobs[0].job}
    assert (steered.evaluations_ratio, steered.equal_budget) == (1, True)
    assert steered.cost["evaluations"] == 4 * GAUSS["steps"]
    # The same over a running service: the same answers.
    url = str(client.http.base_url)
    there = winnow("compare", spec, "--url", url, "--json")
    assert there.returncode == 0, there.stderr
    shared = Comparison.model_validate_json(there.stdout)
    assert [one.outcomes for one in shared.jobs] == [one.outcomes for one in own.jobs]
    table = winnow("compare", spec, "--url", url, "--search", json.dumps(FK), "--level", "0.9")
    assert table.returncode == 0, table.stderr
    for words in ("4 items, judged by near", "feynman_kac particles=4 tilt=2.0", "best_of_n n=4", "90%"):
        assert words in table.stdout, table.stdout
    assert "best_of_n n=2" not in table.stdout  # --search replaces the file's
    assert " ! " not in table.stdout.split("mean cost")[1].split("ratio of")[0]
    costs = winnow("compare", spec, "--url", url).stdout.split("mean cost")[1]
    assert "0.5 ! " in costs.split("│ 3 │")[1].splitlines()[0]  # n = 2 against n = 4


def test_narrow_terminals(spec: Path, client: Client) -> None:
    """All of both tables in 80 columns, and markup in a search is text."""
    found = client.compare([done(client, graded(4, n)).id for n in (4, 16)])
    odd = [{"method": "best_of_n", "n": 4, "note": "[b]"}, {"method": "feynman_kac", "particles": 128}]
    jobs = [one.model_copy(update={"search": s}) for one, s in zip(found.jobs, odd, strict=True)]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setenv("COLUMNS", "80")
        show(found.model_copy(update={"jobs": jobs, "judge": "[i]"}))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "judged by [i]" in text
    assert "note=[b]" in text
    assert "…" not in text
    assert all(word in text for word in ("vs", "seconds", "ratio", "only"))


def test_the_guide(tmp_path: Path, client: Client) -> None:
    """The guide's job does what the guide says, and every field that it explains is there."""
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    section = guide.split("## Comparing searches")[1].split("\n## ")[0]
    path = tmp_path / "job.json"
    path.write_text(section.split("```json")[1].split("```")[0])
    said = winnow("compare", path, "--url", str(client.http.base_url), "--json")
    assert said.returncode == 0, said.stderr
    found = Comparison.model_validate_json(said.stdout)
    assert [one.search.get("n") for one in found.jobs] == [8, None, 2]
    assert found.judge == "near"
    explained = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[1:]))
    own = Compared.model_fields.keys() - {"job", "state", "model", "search"}
    assert set(explained) == own


def test_several_files(spec: Path, tmp_path: Path, client: Client) -> None:
    url = str(client.http.base_url)
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps(graded(2, 4)))
    two.write_text(json.dumps(graded(2, 4, search={"method": "best_of_n", "n": 3, "select": "first_pass"})))
    said = winnow("compare", one, two, "--url", url, "--judge", "toy/linear", "--json")
    assert said.returncode == 0, said.stderr
    found = Comparison.model_validate_json(said.stdout)
    assert found.judge == "toy/linear"
    assert [one.search.get("n") for one in found.jobs] == [3, 4, 3]


def test_command_refuses(spec: Path, tmp_path: Path) -> None:
    plain, empty, text = tmp_path / "plain.json", tmp_path / "empty.json", tmp_path / "text.json"
    plain.write_text(json.dumps(job()))
    empty.write_text(json.dumps(job(search=[])))
    text.write_text(json.dumps(job(search=["best_of_n"])))

    def refuses(words: list[str | Path], *parts: str) -> None:
        said = CliRunner().invoke(app, ["compare", *map(str, words)])
        assert isinstance(said.exception, SystemExit)
        assert len(said.stderr.strip().splitlines()) == 1
        assert said.stderr.startswith("winnow: ")
        assert said.exit_code == 1
        assert all(part in said.stderr for part in parts), said.stderr

    refuses([plain], "nothing to compare")
    refuses([empty], "empty list")
    refuses([text], "search")
    refuses([tmp_path / "none.json"], "No such file")
    refuses([spec, "--search", "{"], "--search '{'", "not JSON")
    refuses([spec, "--search", '{"method": "best_of_x"}'], "unknown method 'best_of_x'", "best_of_n")
    refuses(
        [spec, "--search", '{"m": 3}'], "search.m: unknown field; valid: diversity, features, fpr, n, select, stop, tpr"
    )
    refuses([spec, "--search", '{"n": 0}'], "search.n")
    refuses([spec, plain, "--search", '{"n": 3}'], "one file")
    refuses([spec, "--judge", "far"], "no judge 'far' in job 1; valid there: toy/linear, near")
    refuses([spec, plain], "item 'i2' of job 1 is not in job 3")  # before anything runs
    lacking = tmp_path / "lacking.json"
    lacking.write_text(json.dumps(job(model="toy/noop", search=FK)))
    refuses([lacking], "'toy/noop' lacks stochastic_step")  # before its control runs
    refuses([spec, "--level", "95"], "--level 95.0")
    refuses([spec, "--url", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1")


def test_command_tells_of_failed_jobs(tmp_path: Path, client: Client) -> None:
    path = tmp_path / "job.json"
    items = [{"id": "a", "prompt": "boom"}]
    path.write_text(json.dumps(job(model="outside/by_prompt", items=items, search=[{"n": 1}, {"n": 2}])))
    said = winnow("compare", path, "--url", str(client.http.base_url))
    sentence(said, "has failed", "boom")
    assert "1 items" in said.stdout


def test_async(client: Client, three: tuple[str, str, str]) -> None:
    """The one description of the call serves both clients."""
    from service.calls import compare

    call = compare(three, "near", 0.9)
    answer = httpx.get(f"{client.http.base_url}{call.path}", params=call.params, trust_env=False)
    assert call.read(answer) == client.compare(three, "near", 0.9)
