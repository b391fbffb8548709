"""A report opened from a file: all of it is there, and it asks nobody for anything."""

import csv
import io
import re
from pathlib import Path

import pytest
from helping import done
from playwright.sync_api import Browser, Page, expect

from service.client import Client
from service.report import report

from .conftest import PHONE, opened


@pytest.fixture(scope="package")
def written(client: Client, digits: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(client, digits, items=4), encoding="utf-8")
    return path


def test_everything_is_there(local: Page, written: Path, client: Client, digits: str) -> None:
    local.goto(written.as_uri())
    expect(local.locator("#job")).to_contain_text(digits)
    expect(local.locator("#job")).to_contain_text("digit_classifier_b")
    expect(local.locator("#usage")).to_contain_text("1,600")
    expect(local.locator("#curve .main-svg").first).to_be_visible()
    points = client.curve(digits).points
    rows = local.get_by_test_id("curve-table").locator("tbody tr")
    expect(rows).to_have_count(len(points))
    expect(rows.last).to_contain_text(f"{100 * points[-1].coverage.mean:.1f} %")
    expect(local.locator("#gallery article")).to_have_count(4)
    expect(local.locator("#gallery")).to_contain_text("The first 4 of 10 items")
    local.wait_for_function("() => [...document.querySelectorAll('#gallery img')].every(i => i.naturalWidth === 28)")
    axis = local.get_by_label("Against", exact=True)
    axis.select_option("evaluations")
    expect(local.locator("#curve .xtitle").first).to_have_text("evaluations an item")
    local.locator("#usage abbr.term").first.hover()
    expect(local.locator("#tip")).to_be_visible()


def test_advice_is_that_of_the_service(local: Page, written: Path, client: Client, digits: str) -> None:
    local.goto(written.as_uri())
    told = [one.text for one in client.curve(digits).advice]
    assert told
    expect(local.locator("#advice li")).to_have_text(told, use_inner_text=True)


def test_its_curve_can_be_kept(local: Page, written: Path, client: Client, digits: str) -> None:
    local.goto(written.as_uri())
    with local.expect_download() as waiting:
        local.locator("#csv").click()
    head, *rows = csv.reader(io.StringIO(waiting.value.path().read_text()))
    points = client.curve(digits).points
    assert [float(row[head.index("coverage")]) for row in rows] == [p.coverage.mean for p in points]


def test_narrow_and_dark(browser: Browser, written: Path) -> None:
    with opened(browser, "file://", viewport=PHONE, color_scheme="dark") as (page, _):
        page.goto(written.as_uri())
        expect(page.locator("#curve .main-svg").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        red, green, blue = map(
            int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
        )
        assert max(red, green, blue) < 64


def test_its_policy_lets_nothing_out(local: Page, written: Path) -> None:
    """Even a script that got in could not ask anybody for anything."""
    local.goto(written.as_uri())
    policy = local.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    source = written.read_text()
    assert re.findall(r'<script[^>]* src=|<link[^>]* href="(?!data:)|@import|url\((?!data:)', source[:50_000]) == []


def test_a_job_without_answers(local: Page, client: Client, tmp_path: Path) -> None:
    spec = {"model": "toy/noop", "items": [{}], "verifiers": ["toy/linear"], "budget": {"evaluations": 0}}
    job = done(client, spec)
    path = tmp_path / "report.html"
    path.write_text(report(client, job.id), encoding="utf-8")
    local.goto(path.as_uri())
    expect(local.locator("#curve")).to_contain_text("There is no curve")
    expect(local.locator("#gallery")).to_contain_text("No answer")
