"""Submitting from the form and watching, with the mouse and without one."""

import json

import pytest
from helping import SLOW, frozen
from playwright.sync_api import Page, expect

from service.client import Client
from service.embedded import Stack


def fill(page: Page, url: str, prompts: str, n: int) -> None:
    """The form for a slow toy."""
    page.goto(f"{url}/#/submit")
    page.get_by_test_id("model-select").select_option("outside/slow")
    page.get_by_test_id("items").fill(prompts)
    page.locator("[data-loc='model.seconds'] input").fill(str(SLOW["seconds"]))
    page.locator("[data-loc='model.steps'] input").fill(str(SLOW["steps"]))
    page.locator("[data-loc='search.n'] input").fill(str(n))
    page.get_by_test_id("verifiers-select").select_option("toy/linear")
    page.locator("[data-loc='verifiers.0.threshold'] input").fill("0.9")


def test_submit_and_watch(page: Page, url: str, running: tuple[Stack, Client]) -> None:
    """The state and the counts change without a reload, and the curve appears."""
    fill(page, url, "one\ntwo\nthree", 100)
    sent = json.loads(page.get_by_test_id("spec-json").input_value())
    assert sent["model"] == {"name": "outside/slow", "seconds": 0.0005, "steps": 20}
    assert [item["prompt"] for item in sent["items"]] == ["one", "two", "three"]
    page.evaluate("window.loadedOnce = true")
    stack, client = running
    state = page.get_by_test_id("job-state")
    with frozen(stack):
        page.get_by_test_id("submit-button").click()
        expect(state).to_have_attribute("data-state", "queued")
    expect(state).to_have_attribute("data-state", "completed")
    expect(page.get_by_test_id("progress")).to_have_text("Shards 3 of 3")
    expect(page.locator("[data-testid=curve-chart] .main-svg").first).to_be_visible()
    assert page.evaluate("window.loadedOnce")
    job = client.job(page.url.rsplit("/", 1)[1])
    assert job.state == "completed"
    assert job.counts.candidates == 300
    assert job.spec is not None
    assert job.spec["verifiers"][0]["threshold"] == 0.9


def test_keyboard_only(page: Page, url: str) -> None:
    """From the list to a job's end with Tab, letters and Enter."""
    page.goto(f"{url}/#/jobs")
    expect(page.get_by_test_id("jobs")).to_be_visible()

    def tab_to(test: str, most: int = 80) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({json.dumps(test)})"):
                return
        raise AssertionError(f"Tab never reaches {test}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    tab_to("#nav a[href='#/submit']")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("submit-form")).to_be_visible()
    tab_to("[data-testid=model-select]")
    page.keyboard.type("toy/noop")
    tab_to("[data-testid=items]")
    page.keyboard.press("Control+A")
    page.keyboard.type("by hand")
    tab_to("[data-testid=verifiers-select]")
    page.keyboard.type("toy/linear")
    tab_to("[data-testid=submit-button]", 200)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    expect(page.get_by_test_id("axis-select")).to_be_visible()
    page.wait_for_load_state("networkidle")  # nothing is drawn anew while it has the focus
    tab_to("[data-testid=axis-select]")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_refusal_stands_at_its_field(refusable: Page, url: str) -> None:
    fill(refusable, url, "one", 100)
    refusable.locator("[data-loc='model.steps'] input").fill("0")
    refusable.get_by_test_id("submit-button").click()
    wrong = refusable.locator("[data-loc='model.steps'] .wrong")
    expect(wrong).to_be_visible()
    expect(wrong).to_contain_text("greater than or equal to 1")
    expect(refusable.locator("[data-loc='model.steps'] input")).to_be_focused()
    refusable.locator("[data-loc='model.steps'] input").fill("1")
    refusable.get_by_test_id("submit-button").click()
    expect(refusable.get_by_test_id("job-state")).to_be_visible()


def test_cancel(page: Page, url: str, client: Client) -> None:
    search = {"n": 50_000}  # 250 s of work and more, in short calls
    job = client.submit({"model": SLOW, "items": [{}], "verifiers": ["any"], "search": search})
    page.goto(f"{url}/#/jobs/{job.id}")
    page.get_by_test_id("cancel").click()
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "cancelled")
    expect(page.get_by_test_id("cancel")).to_have_count(0)


@pytest.mark.parametrize("where", ["jobs/job_nowhere", "nothing", "jobs/%", "compare?jobs=a,b", "cards/no/such"])
def test_an_address_that_is_none(refusable: Page, url: str, where: str) -> None:
    refusable.goto(f"{url}/#/{where}")
    expect(refusable.locator("main [role=alert], main h1").first).to_be_visible()
    expect(refusable.locator("main .waiting")).to_have_count(0)
