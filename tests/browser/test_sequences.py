"""Molecules are drawings, sequences are text, several verifiers are a scatter with its front; verdicts say why."""

from importlib.util import find_spec

import pytest
from helping import done
from playwright.sync_api import Page, expect

from service.client import Client

NEEDS = pytest.mark.skipif(not find_spec("rdkit"), reason="NOT EXAMINED: needs the extra `molecules`")


def submitted(client: Client, prompt: str, verifiers: list[object], select: str) -> str:
    job = {
        "model": "dna8",
        "items": [{"prompt": prompt}],
        "verifiers": verifiers,
        "search": {"method": "best_of_n", "n": 40, "select": select},
        "top_k": 4,
    }
    return done(client, job).id


@NEEDS
def test_molecules_are_drawn_and_what_is_none_is_text(page: Page, url: str, client: Client) -> None:
    """Of CC_CCCCC only CCCCCCCC is a molecule."""
    job = submitted(client, "CC_CCCCC", ["molecule/qed"], "verifier")
    page.goto(f"{url}/#/jobs/{job}")
    answer = page.get_by_test_id("gallery").locator(".answer").first
    expect(answer).to_contain_text("CCCCCCCC")
    picture = answer.get_by_test_id("molecule")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 240
    page.get_by_test_id("all-answers").locator("summary").click()
    unread = page.locator(".answer", has_text="CCGCCCCC").first
    expect(unread).to_contain_text("no SMILES")
    assert unread.get_by_test_id("molecule").count() == 0


def test_the_front_is_a_scatter(page: Page, url: str, client: Client) -> None:
    verifiers = [{"name": "dna/binding", "label": factor, "factor": factor} for factor in ("CRX", "EGR2", "SIX6")]
    job = submitted(client, "", verifiers, "pareto")
    page.goto(f"{url}/#/jobs/{job}")
    page.get_by_test_id("show-front").locator("summary").click()
    chart = page.get_by_test_id("front")
    expect(chart.locator(".main-svg").first).to_be_visible()
    expect(chart.locator(".xtitle")).to_have_text("CRX")
    data = chart.locator(".js-plotly-plot").evaluate("plot => plot.data.map(t => t.text)")
    assert sum(map(len, data)) == 40
    best = page.get_by_test_id("gallery").locator(".answers").first.locator(".answer")
    front = {int(text.split("<br>")[0].removeprefix("sample ")) for text in data[1]}
    shown = [int(sample) for sample in best.evaluate_all("all => all.map(a => a.dataset.sample)")]
    assert set(shown[: len(front)]) <= front  # the service's front is the page's
    page.get_by_test_id("front-x").select_option("2")
    expect(chart.locator(".xtitle")).to_have_text("SIX6")


def test_a_verdict_on_a_program_says_why_and_where_it_ran(page: Page, url: str, client: Client) -> None:
    """The programs return a number that begins with 1; the tier is that of the worker."""
    target = {"entry": "f", "prefix": "def f():\n    return 1", "cases": [{"expected": -1}]}
    job = {
        "model": {"name": "toy/markov", "text": True},
        "items": [{"target": target}],
        "verifiers": ["program/values"],
        "search": {"method": "best_of_n", "n": 2},
    }
    view = done(client, job)
    tier = client.http.get("/readyz").json()["programs"]["tier"]
    if tier == "refuse":
        pytest.skip("NOT EXAMINED: programs are refused here")
    page.goto(f"{url}/#/jobs/{view.id}")
    answer = page.get_by_test_id("gallery").locator(".answer").first
    expect(answer).to_contain_text("wrong_answer: case 1 of 1: another value is right")
    expect(answer).to_contain_text(f"[{tier}]")
