"""Each view, as it is read: curve, advice, answers, genealogy, comparison, fleet, cards; wide, narrow and dark."""

import csv
import io
import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from helping import done
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from service.client import Client


def drawn(page: Page, name: str) -> Locator:
    """A chart, once it is there."""
    chart = page.get_by_test_id(name)
    expect(chart.locator(".main-svg").first).to_be_visible()
    return chart


def downloaded(page: Page, button: Locator) -> tuple[str, bytes]:
    """What a button gives: the file's name and its bytes."""
    with page.expect_download() as waiting:
        button.click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def test_jobs(page: Page, url: str, digits: str) -> None:
    page.goto(url)
    row = page.locator(f"[data-job={digits}]")
    expect(row).to_contain_text("digits-early")
    expect(row).to_contain_text("completed")
    row.get_by_role("link").click()
    expect(page.get_by_test_id("job-state")).to_have_attribute("data-state", "completed")
    page.go_back()
    expect(row).to_be_visible()


def test_curve_and_axes(page: Page, url: str, digits: str) -> None:
    page.goto(f"{url}/#/jobs/{digits}")
    chart = drawn(page, "curve-chart")
    expect(chart.locator(".xtitle")).to_have_text("samples an item")
    expect(chart.locator(".scatterlayer .trace").nth(3)).to_be_attached()  # two lines, two intervals
    right = (
        "() => Math.max(...document.querySelector('[data-testid=curve-chart] .js-plotly-plot').data.flatMap(t => t.x))"
    )
    samples = page.evaluate(right)
    axis = page.get_by_test_id("axis-select")
    names = axis.locator("option").evaluate_all("options => options.map(o => o.value)")
    assert {"samples", "evaluations", "seconds", "cost"} <= set(names)
    for name in names:
        axis.select_option(name)
        expect(chart.locator(".xtitle")).to_contain_text(name.replace("verifier_calls", "verdicts").split("_")[0])
    axis.select_option("evaluations")
    expect(chart.locator(".xtitle")).to_have_text("evaluations an item")
    assert page.evaluate(right) == pytest.approx(10 * samples)  # ten steps
    for kind in page.get_by_test_id("interval-select").locator("option").all():
        page.get_by_test_id("interval-select").select_option(kind.get_attribute("value"))
        expect(chart.locator(".main-svg").first).to_be_visible()


def test_every_number_has_its_definition(page: Page, url: str, digits: str) -> None:
    page.goto(f"{url}/#/jobs/{digits}")
    drawn(page, "curve-chart")
    terms = page.locator("main abbr.term")
    expect(terms.nth(20)).to_be_attached()
    assert page.locator("main dt:not(:has(abbr.term))").count() == 0
    tip = page.locator("#tip")
    terms.first.hover()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    terms.nth(3).focus()
    expect(tip).to_be_visible()
    assert len(tip.inner_text()) > 20
    for described in terms.evaluate_all("all => all.map(a => a.getAttribute('aria-describedby'))"):
        assert page.locator(f"#{described}").count() == 1


def test_advice(page: Page, url: str, digits: str) -> None:
    page.goto(f"{url}/#/jobs/{digits}")
    advice = page.get_by_test_id("advice").locator("li")
    expect(advice.first).to_be_visible()
    assert any(char.isdigit() for char in advice.first.inner_text())
    before = page.get_by_test_id("advice").inner_text()
    page.get_by_test_id("stake-cost").fill("0.4")
    expect(page.get_by_test_id("advice")).not_to_have_text(before)


def test_verifier_gap_and_outcomes(page: Page, url: str, pair: tuple[str, str]) -> None:
    page.goto(f"{url}/#/jobs/{pair[0]}")
    drawn(page, "gap-chart")
    chart = drawn(page, "outcome-chart")
    expect(chart.locator(".scatterlayer .trace")).to_have_count(3)  # right, wrong, abstain


def test_answers(page: Page, url: str, digits: str, client: Client) -> None:
    page.goto(f"{url}/#/jobs/{digits}")
    gallery = page.get_by_test_id("gallery")
    images = gallery.locator(".answer img")
    expect(images).to_have_count(10)
    for image in images.all():
        image.scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('.answer img')].every(i => i.naturalWidth === 28)")
    best = next(iter(client.items(digits))).best[0]
    first = gallery.locator("[data-item='0'] .answer").first
    expect(first).to_contain_text(best.seed)
    expect(first).to_contain_text("digit_classifier_b")
    gallery.locator("[data-item='0'] [data-testid=all-answers] summary").click()
    expect(gallery.locator("[data-item='0'] [data-testid=all-answers] .answer")).to_have_count(16)


def test_genealogy(page: Page, url: str, pair: tuple[str, str]) -> None:
    page.goto(f"{url}/#/jobs/{pair[1]}")
    page.locator("[data-item='0'] [data-testid=show-genealogy] summary").click()
    chart = drawn(page, "genealogy")
    expect(chart.locator(".legendtext").filter(has_text="lead to an answer")).to_be_visible()
    expect(chart.locator(".xtitle").first).to_have_text("step")


def test_downloads(page: Page, url: str, digits: str, client: Client) -> None:
    page.goto(f"{url}/#/jobs/{digits}")
    drawn(page, "curve-chart")
    card = page.locator("section.card", has=page.get_by_test_id("curve-chart"))
    name, data = downloaded(page, card.get_by_test_id("download-png"))
    assert name.endswith(".png")
    assert Image.open(io.BytesIO(data)).size[0] >= 1440
    name, data = downloaded(page, card.get_by_test_id("download-svg"))
    assert name.endswith(".svg")
    assert ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"
    name, data = downloaded(page, card.get_by_test_id("download-csv"))
    assert name.endswith(".csv")
    head, *rows = csv.reader(io.StringIO(data.decode()))
    points = client.curve(digits).points
    assert [float(row[head.index("coverage")]) for row in rows] == [p.coverage.mean for p in points]
    name, data = downloaded(page, page.get_by_test_id("download-jsonl"))
    assert name.endswith(".jsonl")
    lines = [json.loads(line) for line in data.splitlines()]
    assert [(c["item"], c["sample"]) for c in lines] == [(i, s) for i in range(10) for s in range(16)]


def test_compare(page: Page, url: str, pair: tuple[str, str]) -> None:
    page.goto(f"{url}/#/jobs")
    for job in pair:
        page.locator(f"[data-job={job}] input").check()
    page.get_by_test_id("compare-button").click()
    table = page.get_by_test_id("compare-table")
    expect(table).to_contain_text("best_of_n")
    expect(table).to_contain_text("feynman_kac")
    expect(table.locator("tbody tr")).to_have_count(2)
    chart = drawn(page, "compare-chart")
    expect(chart.locator(".legendtext")).to_have_count(2)
    page.get_by_test_id("axis-select").select_option("samples")
    expect(chart.locator(".xtitle")).to_have_text("samples an item")
    expect(page.get_by_test_id("advice").locator("li").first).to_be_visible()


def test_fleet(page: Page, url: str, digits: str) -> None:
    page.goto(f"{url}/#/fleet")
    fleet = page.get_by_test_id("fleet")
    expect(fleet).to_contain_text("digits-early")
    expect(fleet.get_by_test_id("workers")).to_have_text("1")
    expect(fleet.get_by_test_id("dead-letters")).to_have_text("0")
    expect(fleet).to_contain_text(re.compile("programs: (strict|lite|refuse)"))
    expect(fleet.get_by_test_id("rows-per-second")).to_have_text("0")  # known after two looks, and nothing runs
    page.get_by_test_id("fleet").locator("abbr.term").first.hover()
    expect(page.locator("#tip")).to_be_visible()


def test_cards(page: Page, url: str, digits: str) -> None:
    """What is known of one that has judged, and of one that has not."""
    page.goto(f"{url}/#/cards")
    page.get_by_role("link", name="digit_classifier_b", exact=True).click()
    expect(page.get_by_role("heading", name="digit_classifier_b")).to_be_visible()
    expect(page.locator("main")).to_contain_text("What it is")
    expect(page.get_by_test_id("card")).to_contain_text("160")
    page.goto(f"{url}/#/cards/terrain%2Froute")
    expect(page.get_by_test_id("card")).to_contain_text("Not audited")
    expect(page.locator("main")).to_contain_text("What it is")


VIEWS: dict[str, Callable[[str, tuple[str, str]], str]] = {
    "jobs": lambda digits, pair: "jobs",
    "job": lambda digits, pair: f"jobs/{digits}",
    "particles": lambda digits, pair: f"jobs/{pair[1]}",
    "compare": lambda digits, pair: f"compare?jobs={','.join(pair)}",
    "fleet": lambda digits, pair: "fleet",
    "submit": lambda digits, pair: "submit",
    "cards": lambda digits, pair: "cards",
}


@pytest.mark.parametrize("view", VIEWS)
def test_narrow(phone: Page, url: str, digits: str, pair: tuple[str, str], view: str) -> None:
    """400 pixels are enough: the page itself never scrolls sideways."""
    phone.goto(f"{url}/#/{VIEWS[view](digits, pair)}")
    expect(phone.locator("main h1").first).to_be_visible()
    phone.wait_for_load_state("networkidle")
    assert phone.evaluate("document.documentElement.scrollWidth") == 400
    outside = """() => [...document.querySelectorAll('main button, main select, main input, main a')]
      .filter(e => e.getClientRects().length && !e.closest('.scroll') && e.getBoundingClientRect().right > 400.5)
      .map(e => e.outerHTML.slice(0, 100))"""
    assert phone.evaluate(outside) == []


def test_dark(dark: Page, page: Page, url: str, digits: str) -> None:
    colours = """() => {
      const own = (e) => getComputedStyle(e), card = document.querySelector('.card');
      return [own(document.body).backgroundColor, own(card).backgroundColor, own(card).color,
              document.querySelector('[data-testid=curve-chart] .js-plotly-plot').layout.paper_bgcolor];
    }"""
    found = list[list[str]]()
    for each in (page, dark):
        each.goto(f"{url}/#/jobs/{digits}")
        drawn(each, "curve-chart")
        found.append(each.evaluate(colours))
    assert all(light != night for light, night in zip(*found, strict=True))
    page.get_by_test_id("theme").click()
    page.get_by_test_id("theme").click()  # system, light, dark
    page.wait_for_function(f"() => JSON.stringify(({colours})()) === JSON.stringify({json.dumps(found[1])})")


def test_text_of_a_model_elsewhere(page: Page, url: str, client: Client) -> None:
    """Conversations are shown speaker by speaker; tokens and lost answers are counted."""
    messages = [{"role": "system", "content": "be <b>brief</b>"}, {"role": "user", "content": "say some words"}]
    view = done(
        client,
        {
            "model": {"name": "outside/elsewhere", "steps": 2, "lost": 0.3},
            "items": [{"id": "talk", "messages": messages}],
            "search": {"method": "best_of_n", "n": 24},
            "verifiers": [{"name": "regex", "pattern": "red"}],
        },
    )
    assert view.counts.lost > 0
    assert view.usage.tokens > 0
    page.goto(f"{url}/#/jobs/{view.id}")
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text(f"lost {view.counts.lost}")
    expect(facts.locator("div", has_text="Tokens").first).to_contain_text(f"{view.usage.tokens}")
    item = page.get_by_test_id("gallery").locator("[data-item='0']")
    expect(item.get_by_test_id("messages")).to_contain_text("system: be <b>brief</b>")
    expect(item.get_by_test_id("messages")).to_contain_text("user: say some words")
    expect(item).to_contain_text(f"lost {view.counts.lost}")
    expect(item.locator(".answer .meta").first).to_contain_text("tokens")
    page.get_by_test_id("axis-select").select_option("tokens")
    expect(page.get_by_test_id("curve-chart").locator(".xtitle")).to_have_text("tokens an item")
