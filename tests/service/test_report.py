"""`winnow report`: one file in which no text can become markup, and nothing is asked of anybody."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helping import done, items, job
from typer.testing import CliRunner

from service.cli import app
from service.client import Client, Refused
from service.report import LONGEST, embedded, report, shortened

EVIL = "</script><script>alert(1)</script><!-- <img onerror=alert(1)> \u2028 & ]]>"


class Parts(HTMLParser):
    """Elements with their attributes, and what stands in scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.inside:
            self.inside[self._open][-1] += data


def data_of(parts: Parts) -> dict[str, Any]:
    return json.loads(parts.inside["script"][0])


@pytest.fixture(scope="module")
def hostile(client: Client) -> str:
    spec = job(items=[{"id": EVIL[:100], "prompt": EVIL}, {"prompt": "x" * 50_000}], metadata={EVIL: EVIL})
    return done(client, spec).id


@pytest.fixture(scope="module")
def client(running: tuple[Any, Client]) -> Client:
    return running[1]


def test_texts_stay_data(client: Client, hostile: str) -> None:
    parts = Parts(report(client, hostile))
    scripts = [attributes for tag, attributes in parts.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}, {"type": "module"}]
    assert not {"img", "iframe", "object"} & {tag for tag, _ in parts.tags}
    data = data_of(parts)
    assert data["items"][0]["prompt"] == EVIL
    assert data["items"][0]["id"] == EVIL[:100]
    assert data["job"]["spec"]["metadata"] == {EVIL: EVIL}
    assert data["items"][1]["prompt"].startswith("x" * LONGEST + "… (50,000")


def test_the_policy_names_what_is_there(client: Client, hostile: str) -> None:
    """Scripts and styles by hash: any other would be refused."""
    parts = Parts(report(client, hostile))
    (policy,) = [a["content"] for tag, a in parts.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None

    def hashes(texts: list[str]) -> set[str]:
        return {"sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts}

    sources = {name: set(words) for name, *words in (part.split() for part in policy.split(";"))}
    assert sources["default-src"] == {"'none'"}
    assert sources["script-src"] == {f"'{each}'" for each in hashes(parts.inside["script"][1:])}
    assert sources["style-src"] == {f"'{each}'" for each in hashes(parts.inside["style"])}
    assert sources["img-src"] == {"data:", "blob:"}
    for _, attributes in parts.tags:
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")


def test_the_script_stands_alone(client: Client, hostile: str) -> None:
    script = Parts(report(client, hostile)).inside["script"][2]
    assert not re.search(r"^\s*import\b", script, re.MULTILINE)
    assert "fetch(" not in script
    assert "innerHTML" not in script


def test_as_many_items_as_wanted(client: Client) -> None:
    view = done(client, job(7, 3))
    for wanted in (0, 2, 50):
        data = data_of(Parts(report(client, view.id, wanted)))
        assert [item["number"] for item in data["items"]] == list(range(min(wanted, 7)))
        assert data["job"]["spec"]["items"] == 7
    assert data["curve"] == client.curve(view.id).model_dump(mode="json")


def test_pictures_and_long_answers(client: Client) -> None:
    """A picture is a data URI, a text that the database would not hold is text; both by the names of their bytes."""
    view = done(
        client, job(2, 1, model="outside/by_prompt", items=items("image", "huge"), verifiers=["outside/deadly"])
    )
    data = data_of(Parts(report(client, view.id)))
    picture, text = (data["artifacts"][item["best"][0]["artifact"]] for item in data["items"])
    assert base64.b64decode(picture["picture"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert text["text"].startswith("x" * 10_000)
    assert len(data["artifacts"]) == 2


@pytest.mark.parametrize("text", [EVIL, "\u2029</ScRiPt >", "<!--<script>"])
def test_embedded_json_is_the_same_json(text: str) -> None:
    inside = embedded({text: [text]})
    assert "<" not in inside
    assert json.loads(inside) == {text: [text]}


def test_shortened() -> None:
    assert shortened("x" * LONGEST) == "x" * LONGEST
    assert shortened("é" * (LONGEST + 1)).endswith("… (20,001 characters in all)")


def test_no_such_job(client: Client) -> None:
    with pytest.raises(Refused, match="job_nowhere"):
        report(client, "job_nowhere")


def test_command(client: Client, hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = str(client.http.base_url)
    said = CliRunner().invoke(app, ["report", hostile, "--url", url])
    assert said.exit_code == 0, said.output
    assert said.stdout.strip() == f"report-{hostile}.html"
    assert (tmp_path / f"report-{hostile}.html").read_text().startswith("<!doctype html>")
    said = CliRunner().invoke(app, ["report", hostile, "--url", url, "--out", str(tmp_path / "no" / "r.html")])
    assert said.exit_code == 1
    assert "cannot be written: No such file or directory" in said.stderr
    said = CliRunner().invoke(app, ["report", "job_nowhere", "--url", url])
    assert said.exit_code == 1
    assert "winnow: 404" in said.stderr
