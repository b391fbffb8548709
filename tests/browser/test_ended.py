"""What the page does with a job that has ended: extend, rescore, delete; what is refused, and for whom."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from helping import SLOW, done, frozen, service, until
from playwright.sync_api import Browser, Page, expect

from service.client import Client, Refused
from service.embedded import Stack
from service.store import Store, access

from .conftest import TOY, opened

LARGEST = """() => Math.max(...(document.querySelector('[data-testid=curve-chart] .js-plotly-plot')?.data ?? [])
  .filter((trace) => trace.name === 'coverage').flatMap((trace) => trace.x))"""
"""The most samples that the curve tells of."""


def made(client: Client, /, **changes: Any) -> str:
    """A small job that has ended."""
    return done(client, {**TOY, "search": {"n": 4}, **changes}).id


def job_of(client: Client, name: str) -> dict[str, Any]:
    """A job as it was accepted."""
    return client.job(name).spec or {}


def wrong(page: Page, loc: str) -> Any:
    """What stands beside a field that was refused."""
    return page.locator(f"[data-loc='{loc}'] > .wrong")


def field(page: Page, loc: str) -> Any:
    """The control of a field."""
    return page.locator(f"[data-loc='{loc}'] input")


def test_extend(page: Page, url: str, running: tuple[Stack, Client]) -> None:
    """To more samples: the view is live again, and the curve goes further."""
    stack, client = running
    job = made(client, model=SLOW)
    page.goto(f"{url}/#/jobs/{job}")
    page.wait_for_function(f"() => ({LARGEST})() === 4")
    page.evaluate("window.loadedOnce = true")
    page.get_by_test_id("extend").click()
    expect(field(page, "search.n")).to_be_focused()
    expect(field(page, "search.n")).to_have_value("4")
    expect(page.get_by_test_id("extend-form").locator("input")).to_have_count(1)  # it has no limits
    field(page, "search.n").fill("64")
    with frozen(stack):
        page.get_by_test_id("extend-button").click()
        expect(page.get_by_test_id("cancel")).to_be_visible()
        expect(page.get_by_test_id("extend-form")).to_have_count(0)
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    expect(page.get_by_test_id("extend")).to_be_visible()
    page.wait_for_function(f"() => ({LARGEST})() === 64")
    assert page.evaluate("window.loadedOnce")
    expect(page.locator("dl.facts div", has_text="Extended")).to_contain_text(re.compile("1last .*[0-9]{2}:[0-9]{2}"))
    view = client.job(job)
    assert (view.extended, view.counts.candidates) == (1, 64 * 12)
    page.get_by_test_id("extend").click()
    expect(field(page, "search.n")).to_have_value("64")


def test_a_refusal_of_more_stands_at_its_field(refusable: Page, url: str, client: Client) -> None:
    """And the form is not closed: what is right goes through."""
    page, job = refusable, made(client, budget={"evaluations": 12 * 4 * 4, "verifier_calls": 1000})
    page.goto(f"{url}/#/jobs/{job}")
    page.get_by_test_id("extend").click()
    expect(page.get_by_test_id("extend-form").locator("input")).to_have_count(3)
    field(page, "search.n").fill("3")
    page.get_by_test_id("extend-button").click()
    expect(wrong(page, "search.n")).to_have_text("it is 4, and can grow, not fall to 3")
    expect(field(page, "search.n")).to_be_focused()
    field(page, "search.n").fill("8")
    page.get_by_test_id("extend-button").click()
    expect(wrong(page, "budget.evaluations")).to_contain_text("of 192 the job has spent 192")
    expect(wrong(page, "search.n")).to_be_hidden()
    field(page, "budget.evaluations").fill("384")
    field(page, "budget.verifier_calls").fill("")
    page.get_by_test_id("extend-button").click()
    expect(page.get_by_test_id("progress")).to_have_text("Shards 2 of 2")
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    view = client.job(job)
    assert view.spec is not None
    assert (view.spec["budget"]["evaluations"], view.spec["budget"]["verifier_calls"]) == (384, None)
    assert view.counts.candidates == 8 * 12


@pytest.mark.parametrize(
    ("search", "field"),
    [({"method": "feynman_kac", "particles": 4}, "search.repeats"), ({"method": "beam"}, None)],
)
def test_only_what_the_method_allows(page: Page, url: str, client: Client, search: Any, field: str | None) -> None:
    page.goto(f"{url}/#/jobs/{made(client, search=search)}")
    expect(page.get_by_test_id("delete")).to_be_visible()
    if field is None:
        expect(page.get_by_test_id("extend")).to_have_count(0)
        return
    page.get_by_test_id("extend").click()
    given = page.get_by_test_id("extend-form").locator("[data-loc]")
    expect(given).to_have_count(1)
    expect(given).to_have_attribute("data-loc", field)


def test_rescore(refusable: Page, url: str, client: Client) -> None:
    """A new job, whose view opens; a value that is refused stands at its field before."""
    page, job = refusable, made(client)
    page.goto(f"{url}/#/jobs/{job}")
    page.get_by_test_id("rescore").click()
    expect(page.get_by_test_id("verifiers-select")).to_have_value("toy/linear")
    expect(field(page, "verifiers.0.threshold")).to_have_value("1")
    page.get_by_test_id("verifiers-select").select_option("toy/quadratic")
    expect(field(page, "verifiers.0.threshold")).to_have_value("")  # that was for the other
    field(page, "verifiers.0.center").fill("1")
    page.locator("[data-loc='search.select'] select").select_option(label="first_pass")
    field(page, "top_k").fill("0")
    page.get_by_test_id("rescore-button").click()
    expect(wrong(page, "top_k")).to_contain_text("greater than or equal to 1")
    field(page, "top_k").fill("2")
    page.get_by_test_id("rescore-button").click()
    page.wait_for_url(lambda now: not now.endswith(job))
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    view = client.job(page.url.rsplit("/", 1)[1])
    assert (view.rescores, view.usage.evaluations, view.counts.candidates) == (job, 0, 48)
    assert view.spec is not None
    assert view.spec["verifiers"][0] == {"name": "toy/quadratic", "label": "", "threshold": None, "center": 1}
    assert view.spec["graders"] == job_of(client, job)["graders"]
    assert (view.spec["search"]["select"], view.spec["top_k"]) == ("first_pass", 2)
    expect(page.get_by_test_id("rescore")).to_be_visible()
    expect(page.get_by_test_id("extend")).to_have_count(0)  # it draws nothing


def test_rescore_begins_with_how_the_job_was_judged(page: Page, url: str, client: Client) -> None:
    """Judges with all their settings, also what a field cannot show, and the rule: sent as it stands, it ends alike."""
    cascade = {"name": "cascade", "stages": [{"verifier": "toy/linear", "above": 2}, {"verifier": "toy/quadratic"}]}
    given = [{"name": "toy/linear", "threshold": 1.0, "label": "two\nlines", "slope": 0.5}, cascade]
    job = made(client, verifiers=given, search={"n": 4, "select": "first_pass"})
    page.goto(f"{url}/#/jobs/{job}")
    page.get_by_test_id("rescore").click()
    expect(page.get_by_test_id("verifiers-select").nth(1)).to_have_value("cascade")
    expect(page.get_by_test_id("graders-select")).to_have_value("toy/quadratic")
    expect(field(page, "graders.0.label")).to_have_value("near")
    expect(page.locator("[data-loc='search.select'] select")).to_have_value('"first_pass"')
    page.get_by_test_id("rescore-button").click()
    page.wait_for_url(lambda now: not now.endswith(job))
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    again = page.url.rsplit("/", 1)[1]
    for part in ("verifiers", "graders"):
        assert job_of(client, again)[part] == job_of(client, job)[part]
    assert job_of(client, again)["search"] == {"method": "best_of_n", "select": "first_pass", "n": 4}
    bests = [[[best.seed for best in item.best] for item in client.items(name)] for name in (job, again)]
    assert bests[0] == bests[1]


def test_delete(refusable: Page, url: str, client: Client) -> None:
    """Not before it is confirmed; then the list shows, without it."""
    page, job, other = refusable, made(client), made(client)
    page.goto(f"{url}/#/jobs")
    page.locator(f"[data-job={job}] a").click()
    page.get_by_test_id("delete").click()
    expect(page.get_by_test_id("delete-form")).to_contain_text("with its 48 answers")
    expect(page.get_by_role("status")).to_contain_text("Delete this job for good")
    expect(page.get_by_test_id("delete-close")).to_be_focused()  # what was pressed twice deletes nothing
    page.get_by_test_id("delete-close").click()
    expect(page.get_by_test_id("delete-form")).to_have_count(0)
    expect(page.get_by_test_id("delete")).to_be_focused()
    assert client.job(job).id == job
    page.get_by_test_id("delete").click()
    page.get_by_test_id("delete-button").click()
    expect(page.locator(f"[data-job={other}]")).to_be_visible()
    expect(page.locator(f"[data-job={job}]")).to_have_count(0)
    with pytest.raises(Refused) as refusal:
        client.job(job)
    assert refusal.value.status == 404


def test_what_is_needed_is_not_deleted(refusable: Page, url: str, running: tuple[Stack, Client]) -> None:
    """The service's reason is shown: its answers are being judged again."""
    stack, client = running
    page, job = refusable, made(client)
    page.goto(f"{url}/#/jobs/{job}")
    page.get_by_test_id("delete").click()
    with frozen(stack):
        judged = client.rescore(job, {"verifiers": [{"name": "outside/misjudging", "kind": "slow"}]})
        page.get_by_test_id("delete-button").click()
        reason = f"are being judged again by job {judged.id}; cancel that"
        expect(page.get_by_test_id("problem")).to_contain_text(reason)
        expect(page.get_by_test_id("delete-button")).to_be_focused()
    client.cancel(judged.id)
    until(lambda: client.job(judged.id).finished)
    page.get_by_test_id("delete-button").click()
    expect(page.get_by_test_id("jobs")).to_be_visible()


def test_keyboard_only(page: Page, url: str, client: Client) -> None:
    """Extend, then delete, with Tab, figures and Enter."""
    job = made(client)
    page.goto(f"{url}/#/jobs/{job}")
    expect(page.get_by_test_id("extend")).to_be_visible()

    def tab_to(test: str, most: int = 40) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({json.dumps(test)})"):
                return
        raise AssertionError(f"Tab never reaches {test}")

    tab_to("[data-testid=extend]")
    page.keyboard.press("Enter")
    expect(field(page, "search.n")).to_be_focused()
    assert page.get_by_label("n", exact=True).count() == 1
    page.keyboard.press("Control+A")
    page.keyboard.type("6")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_test_id("progress")).to_have_text("Shards 2 of 2")
    expect(page.get_by_test_id("delete")).to_be_visible()
    tab_to("[data-testid=delete]")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("delete-close")).to_be_focused()
    assert page.get_by_test_id("delete").get_attribute("aria-expanded") == "true"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("jobs")).to_be_visible()


@pytest.mark.parametrize("name", ["extend", "rescore", "delete"])
def test_narrow(phone: Page, url: str, digits: str, name: str) -> None:
    phone.goto(f"{url}/#/jobs/{digits}")
    phone.get_by_test_id(name).click()
    expect(phone.get_by_test_id(f"{name}-form")).to_be_visible()
    phone.wait_for_load_state("networkidle")
    assert phone.evaluate("document.documentElement.scrollWidth") == 400


def test_a_key_that_may_only_read_is_told_so(browser: Browser, tmp_path: Path) -> None:
    """Each of the three, in the words of the service."""
    with service(tmp_path) as (stack, _):
        store = Store(stack.settings.database)
        writes, reads = (store.write(access.create, "ann", (scope,), None, None)[1] for scope in ("write", "read"))
        store.close()
        until(lambda: httpx.get(f"{stack.url}/v1/jobs").status_code == 401)
        with opened(browser, stack.url) as (page, seen), Client(stack.url, key=writes) as writer:
            seen.refusals = True
            job = writer.submit({**TOY, "search": {"n": 4}}, wait=60).id
            page.goto(f"{stack.url}/#/jobs/{job}")
            page.get_by_label("This service needs an API key.").fill(reads)
            page.get_by_role("button", name="Enter").click()
            for name in ("extend", "rescore", "delete"):
                page.get_by_test_id(name).click()
                page.get_by_test_id(f"{name}-button").click()
                said = page.get_by_test_id(f"{name}-form").get_by_test_id("problem")
                expect(said).to_contain_text("this key has the scopes read; this needs write")
