"""Programs through the whole service: one suite steers, another grades; a dead worker leaves nothing running."""

import os
import signal
from pathlib import Path

import pytest
from helping import GAUSS, done, offspring, pids, service, until

from verifiers.programs import tiers

TIER = tiers.standing().tier
pytestmark = pytest.mark.skipif(TIER == "refuse", reason=f"NOT TESTED: {tiers.standing().words}")

SIGN = {
    "entry": "f",
    "prefix": "def f():\n    return ",
    "suites": {"weak": {"tests": "assert f() > -1e9"}, "strong": {"tests": "assert f() > 0"}},
}
"""Numbers that a model draws are programs behind this prefix."""
SUITES = {"verifiers": [{"name": "program/asserts", "suite": "weak"}],
          "graders": [{"name": "program/asserts", "label": "strong", "suite": "strong"}]}  # fmt: skip


def test_programs_from_submit_to_curve_and_after_a_death(tmp_path: Path):
    with service(tmp_path) as (stack, client):
        job = {"model": GAUSS, "items": [{"target": SIGN}, {"target": SIGN}], "search": {"n": 8}, **SUITES}
        view = done(client, job, 120)
        assert (view.counts.candidates, view.counts.unscored) == (16, 0)
        for one in client.candidates(view.id):
            assert one.scores[0].reason == f"pass: 1 calls [{TIER}]"
            assert one.grades[0].passed is (float(one.answer) > 0)
            assert one.grades[0].passed or one.grades[0].reason.startswith("wrong_answer: call 1: AssertionError")
        said = client.http.get(f"/v1/jobs/{view.id}/curve").json()
        assert 0 < said["points"][0]["wrong"] < 1  # what the weak suite lets through is measured by the strong one

        (worker,) = pids(stack)
        slow = SIGN | {"prefix": "import time\ndef f():\n    time.sleep(60)\n    return "}
        limits = {"call_seconds": 100.0, "total_seconds": 100.0}
        verifiers = [{"name": "program/asserts", "suite": "weak", **limits}]
        client.submit({"model": GAUSS, "items": [{"target": slow}], "search": {"n": 2}, "verifiers": verifiers})
        until(lambda: len(offspring(worker)) > 8)
        below = offspring(worker)
        os.kill(worker, signal.SIGKILL)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
