"""Prompts, answers, names and reasons that would break a page which parsed them: text, here and in a report."""

import json
from pathlib import Path

import pytest
from helping import done
from hostile import ANSWERS, CONTROL, IMAGE, LONG, SCRIPT, TURNED
from playwright.sync_api import Page, expect

from service.client import Client
from service.report import report

LABEL = f"{IMAGE[:60]}{TURNED[:20]}"


@pytest.fixture(scope="package")
def job(client: Client) -> str:
    """A job in which all that a person may write is hostile."""
    prompts = [*(prompt for prompt in ANSWERS if prompt != LONG), LONG, "<p>" * 30_000]
    return done(
        client,
        {
            "model": "hostile/echo",
            "items": [{"id": f"{p[:180]}{i}", "prompt": p, "target": [p[:1000]]} for i, p in enumerate(prompts)],
            "search": {"method": "best_of_n", "n": 3},
            "verifiers": [{"name": "hostile/grumble", "label": LABEL}],
            "graders": [{"name": "hostile/grumble", "label": SCRIPT}],
            "metadata": {SCRIPT: IMAGE},
            "top_k": 2,
        },
    ).id


def harmless(page: Page) -> None:
    """No text has become an element, run, or turned other text around."""
    assert page.evaluate("window.hit") is None
    assert page.evaluate("Object.prototype.polluted") is None
    strange = "() => [...document.querySelectorAll('script:not([src]):not([type]), iframe, object, base, [onerror]')]"
    assert page.evaluate(f"({strange})().map(e => e.outerHTML.slice(0, 100)).filter(e => e.includes('hit'))") == []
    assert page.evaluate("[...document.querySelectorAll('[onload], [onerror], a[href^=javascript]')].length") == 0
    assert page.evaluate("/[\\u202a-\\u202e\\u2066-\\u2069\\u0007\\u001b]/.test(document.body.innerText)") is False
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_job(page: Page, url: str, job: str) -> None:
    page.goto(f"{url}/#/jobs/{job}")
    gallery = page.get_by_test_id("gallery")
    for i, prompt in enumerate((SCRIPT, IMAGE)):
        expect(gallery.locator(f"[data-item='{i}'] .prompt")).to_contain_text(prompt)
        expect(gallery.locator(f"[data-item='{i}'] .answer").first).to_contain_text(prompt.split('"')[0])
    gallery.locator("[data-item='2'] [data-testid=all-answers] summary").click()
    expect(gallery.locator("[data-item='2'] .answer").first).to_contain_text("unscored <img src=x onerror")
    expect(gallery.locator("[data-item='2']")).to_contain_text("\\u001b[31m")
    expect(gallery.locator("[data-item='3']")).to_contain_text("\\u202eright to left")
    expect(page.locator("[data-testid=curve-chart] .main-svg").first).to_be_visible()
    harmless(page)


def test_long_texts(page: Page, url: str, job: str) -> None:
    """A megabyte is there to be had, and is not in the page until it is asked for."""
    page.goto(f"{url}/#/jobs/{job}")
    item = page.get_by_test_id("gallery").locator("[data-item='4']")
    answer = item.locator(".answer").first
    answer.scroll_into_view_if_needed()
    expect(answer).to_contain_text("<b><b><b>")
    assert len(answer.inner_text()) < 5000
    expect(answer).to_contain_text("of 1,050,0")
    answer.get_by_role("button", name="Show more").click()
    assert 20_000 < len(answer.inner_text()) < 60_000
    with page.expect_download() as waiting:
        answer.get_by_role("button", name="Download").click()
    assert len(waiting.value.path().read_text()) >= 1_050_000
    prompt = page.get_by_test_id("gallery").locator("[data-item='5'] .prompt")
    assert len(prompt.inner_text()) < 2000
    harmless(page)


@pytest.mark.parametrize("view", ["jobs", "compare?jobs={job},{job}", "fleet", "jobs/{script}", "cards/{script}"])
def test_other_views(refusable: Page, url: str, job: str, view: str) -> None:
    refusable.goto(f"{url}/#/{view.format(job=job, script=SCRIPT)}")
    expect(refusable.locator("main h1, main [role=alert]").first).to_be_visible()
    harmless(refusable)


def test_charts_and_advice(page: Page, url: str, client: Client, job: str) -> None:
    """plotly.js reads some tags in texts: labels of judges must not be read."""
    other = done(client, {**(client.job(job).spec or {}), "seed": 7}).id
    page.goto(f"{url}/#/compare?jobs={job},{other}")
    expect(page.locator("[data-testid=compare-chart] .main-svg").first).to_be_visible()
    harmless(page)
    page.goto(f"{url}/#/jobs/{job}")
    expect(page.locator("[data-testid=curve-chart] .ytitle")).to_contain_text("<script>")
    harmless(page)


def test_form(refusable: Page, url: str) -> None:
    """What is refused is shown as it was written; a megabyte of it too."""
    page = refusable
    page.goto(f"{url}/#/submit")
    page.get_by_test_id("model-select").select_option("hostile/echo")
    page.get_by_test_id("items").fill(f"{SCRIPT}\n{IMAGE}\n{TURNED}")
    page.get_by_test_id("verifiers-select").select_option("regex")
    page.get_by_test_id("submit-button").click()
    expect(page.locator(".wrong:visible, [role=alert]:visible").first).to_be_visible()
    harmless(page)
    spec = {"model": IMAGE, "items": [{"prompt": "x" * 1_000_000}], "verifiers": [SCRIPT], SCRIPT: 1}
    page.get_by_test_id("spec-json").fill(json.dumps(spec))
    page.get_by_test_id("submit-button").click()
    expect(page.locator(".wrong:visible, [role=alert]:visible").first).to_contain_text("100000 characters")
    harmless(page)
    page.get_by_test_id("spec-json").fill(SCRIPT)
    page.get_by_test_id("submit-button").click()
    expect(page.locator("main [role=alert]:visible").first).to_contain_text("not JSON")
    harmless(page)


def test_report(local: Page, client: Client, job: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report(client, job))
    local.goto(path.as_uri())
    expect(local.locator("#gallery article")).to_have_count(6)
    expect(local.locator("#gallery article").first).to_contain_text(SCRIPT)
    expect(local.locator("#gallery article").nth(1)).to_contain_text(IMAGE)
    expect(local.locator("#gallery article").nth(2)).to_contain_text("\\u001b[31m")
    expect(local.locator("#gallery article").nth(4)).to_contain_text("<b><b>")
    assert len(local.locator("#gallery article").nth(4).inner_text()) < 5000
    expect(local.locator("#curve .main-svg").first).to_be_visible()
    harmless(local)
    assert CONTROL not in local.content()
