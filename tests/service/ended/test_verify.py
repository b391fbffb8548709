"""Answers that come with a request: each verifier's verdict on each of them, or why there is none."""

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helping import done, job, refused, service, until
from PIL import Image
from typer.testing import CliRunner

from service.cli import app
from service.client import Client
from service.embedded import Stack


def coded(pixels: Any, kind: str = "PNG") -> str:
    """A picture in base64."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


def test_verdicts(client: Client) -> None:
    """In order of answers and of verifiers, as a job that draws them would have it."""
    asked = {
        "answers": ["7", "it is 7.0", "8"],
        "item": {"prompt": "3 + 4", "target": "7"},
        "verifiers": ["exact", {"name": "numeric", "label": "number"}, {"name": "any", "threshold": 2.0}],
    }
    response = client.http.post("/v1/verify", json=asked)
    assert response.status_code == 200
    body = response.json()
    rows = [[(s["name"], s["value"], s["passed"]) for s in one] for one in body["data"]]
    assert [row[0] for row in rows] == [("exact", 1.0, True), ("exact", 0.0, False), ("exact", 0.0, False)]
    assert [row[1] for row in rows] == [("number", 1.0, True), ("number", 1.0, True), ("number", 0.0, False)]
    assert {row[2][2] for row in rows} == {False}
    assert {"name", "value", "passed", "reason", "version", "ms"} <= body["data"][0][0].keys()
    assert response.headers["location"] == f"/v1/jobs/{body['job']}"
    assert client.job(body["job"]).usage.evaluations == 0


def test_pictures(client: Client, stack: Stack) -> None:
    """The pictures of a job, sent back as they came, have its scores to the last bit; JPEG is read too."""
    items = [{"prompt": "7", "target": "7"}]
    view = done(client, job(1, 4, items=items, model="digits-early", verifiers=["digit_classifier"]))
    rows = list(client.candidates(view.id))
    data = [base64.b64encode(client.artifact(row.artifact or "")).decode() for row in rows]
    asked = {"answers": data, "item": items[0], "verifiers": ["digit_classifier"], "pictures": True}
    found = client.verify(asked)
    assert found.data
    assert [one[0].value for one in found.data] == [row.scores[0].value for row in rows]
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    asked = {"answers": [coded(red), coded(red, "JPEG")], "verifiers": ["outside/warm"], "pictures": True}
    (png,), (jpeg,) = client.verify(asked).data or []
    assert png.value == 1.0
    assert jpeg.value == pytest.approx(1.0, abs=0.02)  # lossy


def test_errors_are_records(client: Client) -> None:
    """A verifier that cannot judge one answer says so of it alone; one that cannot be loaded, of all."""
    first, second = client.verify({"answers": [0.2, 0.7], "verifiers": ["outside/raising"]}).data or []
    assert (first[0].value, first[0].passed) == (None, None)
    assert first[0].reason == "RuntimeError: cannot read this"
    assert (second[0].value, second[0].passed) == (1.0, True)
    found = client.verify({"answers": [1, 2], "verifiers": ["any", "outside/unloadable"]})
    assert found.state == "failed"
    assert found.data
    for one in found.data:
        assert [(s.name, s.value, s.passed) for s in one] == [("any", None, None), ("outside/unloadable", None, None)]
        assert "moonshine" in str(one[0].reason)


def test_scores_that_depend_on_company(client: Client) -> None:
    """The verifier sees all answers at once."""
    together = {"name": "ensemble", "verifiers": ["toy/linear", {"name": "toy/quadratic", "center": 9.0}]}
    found = client.verify({"answers": [float(i) for i in range(64)], "verifiers": [together]})
    values = [one[0].value or 0.0 for one in found.data or []]
    assert len(set(values)) > 8
    alone = client.verify({"answers": [3.0], "verifiers": [together]}).data or []
    assert alone[0][0].value != values[3]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"answers": [], "verifiers": ["any"]}, "answers"),
        ({"answers": ["a"] * 65, "verifiers": ["any"]}, "answers"),
        ({"answers": ["a"], "verifiers": []}, "verifiers"),
        ({"answers": ["a"], "verifiers": ["nobody"]}, "unknown verifier 'nobody'; valid:"),
        ({"answers": ["a"], "verifiers": ["any"], "n": 3}, "valid: answers, item, pictures, verifiers"),
        ({"answers": ["a"], "verifiers": ["any"], "item": {"mask": "x"}}, "image"),
        ({"answers": ["a"], "verifiers": ["digit_classifier"]}, "digit"),
        ({"answers": [7], "verifiers": ["any"], "pictures": True}, "answers.0: a picture is a PNG"),
        ({"answers": ["###"], "verifiers": ["any"], "pictures": True}, "no base64"),
        ({"answers": ["AAAA"], "verifiers": ["any"], "pictures": True}, "cannot be read as a picture"),
        ({"answers": ["a"], "verifiers": ["trajectory_variance"]}, "lacks trajectory"),
    ],
)
def test_refusals(client: Client, asked: dict[str, Any], said: str) -> None:
    assert said in refused(client.http.post("/v1/verify", json=asked), 422)["detail"]


def test_large_and_broken_pictures(client: Client) -> None:
    """Small files that hold many pixels, and half of a file."""
    blank = coded(np.zeros((5000, 5000), np.uint8))
    asked = {"answers": [blank, blank], "verifiers": ["any"], "pictures": True}
    assert "are left for it" in refused(client.http.post("/v1/verify", json=asked), 422)["detail"]
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    for kind in ("PNG", "JPEG", "WEBP"):
        half = base64.b64encode(base64.b64decode(coded(noise, kind))[:900]).decode()
        asked = {"answers": [half], "verifiers": ["any"], "pictures": True}
        assert "cannot be read" in refused(client.http.post("/v1/verify", json=asked), 422)["detail"]


def test_no_worker(plugins: None, tmp_path: Path) -> None:
    """202 with the job; the same key asks again, and has the verdicts once there is a worker."""
    asked = {"answers": ["a"], "verifiers": ["any"]}
    with service(tmp_path, workers=0) as (stack, client):
        head = {"Prefer": "wait=0", "Idempotency-Key": "once"}
        response = client.http.post("/v1/verify", json=asked, headers=head)
        assert (response.status_code, response.json()["data"]) == (202, None)
        said = CliRunner().invoke(app, ["verify", "-", "--url", stack.url, "--wait", "0"], input=json.dumps(asked))
        assert said.exit_code == 1
        assert "goes on" in said.stderr
        with service_worker(stack):
            until(lambda: client.job(response.json()["job"]).finished)
        again = client.http.post("/v1/verify", json=asked, headers=head)
        assert (again.status_code, again.json()["job"]) == (200, response.json()["job"])
        assert again.json()["data"][0][0]["passed"] is True


class service_worker:  # noqa: N801 - reads as a verb
    """A worker of a service that has none, for the one model."""

    def __init__(self, stack: Stack) -> None:
        self.words = [sys.executable, "-m", "service.cli", "worker", "--model", "given"]
        self.words += ["--data-dir", str(stack.settings.data_dir)]
        self.stack = stack

    def __enter__(self) -> None:
        env = {**os.environ, "WINNOW_REDIS_URL": str(self.stack.settings.redis_url)}
        self.process = subprocess.Popen(self.words, env=env)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0


def test_the_api_loads_no_network() -> None:
    """What the routes import, and what reading a picture imports."""
    code = (
        "import sys, base64, io, numpy; from PIL import Image; out = io.BytesIO();"
        "Image.fromarray(numpy.zeros((2, 2), 'uint8')).save(out, 'PNG');"
        "import service.api; from service.verifying import Verification, job_of;"
        "from service import catalog, registries;"
        "data = base64.b64encode(out.getvalue()).decode();"
        "asked = Verification(answers=[data], verifiers=['digit_classifier'], pictures=True,"
        " item={'prompt': '7', 'target': '7'});"
        "catalog.prepare(job_of(asked), registries.STORED);"
        "print(*[m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip() == ""


def test_command(client: Client, stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({"answers": ["7", "x"], "item": {"target": "7"}, "verifiers": ["exact"]}))
    said = CliRunner().invoke(app, ["verify", str(file), "--url", stack.url])
    assert [[score["passed"] for score in one] for one in json.loads(said.stdout)] == [[True], [False]]
    file.write_text("[]")
    bad = CliRunner().invoke(app, ["verify", str(file), "--url", stack.url])
    assert "a request is a JSON object, not list" in bad.stderr


def test_the_guide(client: Client) -> None:
    """The guide's body does what the guide says."""
    section = (Path(__file__).parents[3] / "docs" / "guide.md").read_text().split("### Without a job")[1]
    found = client.verify(json.loads(section.split("```json")[1].split("```")[0]))
    passed = [[score.passed for score in one] for one in found.data or []]
    assert passed == [[True, True], [False, True], [False, False]]
