"""A page that has stopped following a job notices what others did to it, once it is looked at again."""

import re
from collections.abc import Callable

import pytest
from helping import SLOW, ended, frozen
from playwright.sync_api import Page, expect

from service.client import Client
from service.embedded import Stack

from .test_ended import LARGEST, field, made

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Tabs without a window are visible, always: this one is told what a hidden one is told."""


class Tab:
    """A page on a job that has ended, with another tab beside it; `asked` counts how often it asked for that job."""

    def __init__(self, page: Page, url: str, job: str) -> None:
        self.page, self.job, self.asked = page, f"{url}/v1/jobs/{job}", 0
        page.on("request", lambda request: self.count(request.url == self.job))
        page.goto(f"{url}/#/jobs/{job}")
        page.wait_for_function(f"() => ({LARGEST})() === 4", timeout=120_000)
        page.wait_for_load_state("networkidle")  # it listens, and has opened no stream
        page.context.new_cdp_session(page).send("Emulation.setFocusEmulationEnabled", {"enabled": False})
        self.other = page.context.new_page()
        page.bring_to_front()
        self.answered(2)
        page.evaluate("window.loadedOnce = true")

    def count(self, mine: bool) -> None:
        self.asked += mine

    def answered(self, times: int) -> None:
        """Wait until the page has had so many answers, and see that it asked no oftener."""
        had = "([job, times]) => performance.getEntriesByName(job).length >= times"
        self.page.wait_for_function(had, arg=[self.job, times])
        assert self.asked == times

    def focus(self) -> None:
        """Its tab is turned to again."""
        self.other.bring_to_front()
        self.page.bring_to_front()

    def show(self) -> None:
        """It is hidden, then seen."""
        self.page.evaluate(HIDE, True)
        self.page.evaluate(HIDE, False)

    def show_and_focus(self) -> None:
        """All that a tab of a window is told: twice, in the same moment."""
        self.page.evaluate(HIDE, True)
        self.page.evaluate(f"() => {{ ({HIDE})(false); window.dispatchEvent(new Event('focus')); }}")


@pytest.mark.parametrize("look", [Tab.focus, Tab.show])
def test_a_job_that_goes_on_is_followed_again(
    page: Page, url: str, running: tuple[Stack, Client], look: Callable[[Tab], None]
) -> None:
    """Whatever the tab had unfolded: live to the end, and further on the curve."""
    stack, client = running
    job = made(client, model=SLOW)
    tab = Tab(page, url, job)
    page.get_by_test_id("extend").click()
    expect(field(page, "search.n")).to_be_focused()
    with frozen(stack):
        client.extend(job, {"n": 64})
        expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
        look(tab)
        expect(page.get_by_test_id("cancel")).to_be_visible()
        expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "queued")
        expect(page.get_by_test_id("extend-form")).to_have_count(0)
        expect(page.locator("main")).to_be_focused()
        expect(page.get_by_role("status")).to_have_text("The job goes on.")
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed", timeout=120_000)
    page.wait_for_function(f"() => ({LARGEST})() === 64")
    expect(page.get_by_test_id("extend")).to_be_visible()
    assert page.evaluate("window.loadedOnce")


def test_a_job_that_went_on_and_ended_shows_its_new_numbers(page: Page, url: str, client: Client) -> None:
    """By one look, without having followed."""
    job = made(client)
    tab = Tab(page, url, job)
    client.extend(job, {"n": 8})
    assert ended(client, job).extended == 1
    tab.focus()
    expect(page.locator("dl.facts div", has_text="Extended")).to_contain_text(re.compile("1last .*[0-9]{2}:[0-9]{2}"))
    expect(page.get_by_role("status")).to_have_text("The job went on, and has completed.")
    page.wait_for_function(f"() => ({LARGEST})() === 8")
    expect(page.locator("dl.facts div", has_text="Answers")).to_contain_text("96")
    page.get_by_test_id("extend").click()
    expect(field(page, "search.n")).to_have_value("8")
    tab.answered(3)
    assert page.evaluate("window.loadedOnce")


def test_a_look_at_a_job_that_is_as_it_was_changes_nothing(page: Page, url: str, client: Client) -> None:
    """One question a look, none by a tab that is left; a form keeps what was typed."""
    tab = Tab(page, url, made(client))
    page.get_by_test_id("extend").click()
    field(page, "search.n").fill("77")
    for times in (3, 4):
        tab.show_and_focus()
        tab.answered(times)
    page.evaluate(HIDE, True)
    assert tab.asked == 4
    expect(field(page, "search.n")).to_have_value("77")
    expect(field(page, "search.n")).to_be_focused()


def test_a_job_that_was_deleted_says_so(refusable: Page, url: str, client: Client) -> None:
    """What was seen of it stays; nothing can be done with it, and nobody asks for it again."""
    page, job = refusable, made(client)
    tab = Tab(page, url, job)
    page.get_by_test_id("rescore").click()
    expect(page.get_by_test_id("rescore-form")).to_be_visible()
    client.delete(job)
    tab.focus()
    expect(page.get_by_test_id("problem")).to_have_text(re.compile("^Deleted This job is no longer there"))
    for name in ("extend", "rescore", "delete", "download-jsonl", "rescore-form"):
        expect(page.get_by_test_id(name)).to_have_count(0)
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    tab.focus()
    tab.show()
    tab.answered(3)
