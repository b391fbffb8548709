"""Pictures of each view of the page, from real jobs on a service of its own: `make screenshots`. Needs Chromium."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from service.client import Client
from service.embedded import Stack
from service.progress import watched
from service.settings import Settings

OUT = Path(__file__).parent / "screens"
MODEL = "digits-unconditional"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 400, "height": 860}
HIGHEST = 2600
"""Pixels of a picture."""
MOST = 300_000
"""Bytes of a picture."""


def job(search: dict[str, Any], n_items: int = 10) -> dict[str, Any]:
    """Digits to draw by a model that knows no digits: one judge searches, another grades."""
    return {
        "model": MODEL,
        "items": [{"id": f"digit {i}", "prompt": f"{i}", "target": f"{i}"} for i in range(n_items)],
        "search": search,
        "verifiers": ["digit_classifier"],
        "graders": ["digit_classifier_b"],
        "seed": 1,
    }


def strict(n_items: int = 40) -> dict[str, Any]:
    """Numbers by a verifier that accepts too much and a grader that does not: right, wrong and abstained."""
    mixture = {"weights": [0.7, 0.3], "means": [0.0, 2.0], "variances": [1.0, 0.5]}
    return {
        "model": {"name": "toy/gaussian_mixture", **mixture},
        "items": [{"id": f"number {i}", "prompt": f"a number near 2, try {i}"} for i in range(n_items)],
        "search": {"method": "best_of_n", "n": 16},
        "verifiers": [{"name": "toy/linear", "label": "above 1.4", "threshold": 1.4}],
        "graders": [{"name": "toy/quadratic", "center": 2.0, "threshold": -0.12, "label": "near 2"}],
    }


def molecules() -> dict[str, Any]:
    """Molecules by drug-likeness, with how hard they are to make beside it."""
    return {
        "model": "molecules",
        "items": [{"id": "free"}, {"id": "a benzene ring", "prompt": "[C][=C][C][=C][C][=C][Ring1][=Branch1]..."}],
        "search": {"method": "best_of_n", "n": 24, "select": "pareto"},
        "verifiers": ["molecule/qed", {"name": "molecule/sa", "limit": 3.5}],
        "top_k": 4,
        "seed": 1,
    }


JOBS: dict[str, dict[str, Any]] = {
    "best": job({"method": "best_of_n", "n": 32}),
    "particles": job({"method": "feynman_kac", "particles": 32, "tilt": 6.0, "begin": 2, "ess": 0.8}),
    "strict": strict(),
    "molecules": molecules(),
}


def settled(page: Page, address: str) -> None:
    """Go to a view and wait for all that it draws."""
    page.goto(address)
    page.locator("main h1").wait_for()
    page.wait_for_function("() => !document.querySelector('main').innerText.includes('Loading…')")
    if any(name in address for name in ("/jobs/", "/compare")):
        page.locator(".plot .main-svg").first.wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)


def keep(page: Page, name: str, whole: bool = True) -> None:
    """One picture, with as many colours as it may have; `whole` down to HIGHEST."""
    path = OUT / f"{name}.png"
    page.screenshot(path=path, full_page=whole, animations="disabled")
    with Image.open(path) as seen:
        picture = seen.convert("RGB").crop((0, 0, seen.width, min(seen.height, HIGHEST)))
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST:
        picture.quantize(128).save(path, optimize=True)
    print(f"{path} {path.stat().st_size // 1000} kB")


def shoot(browser: Browser, url: str, ids: dict[str, str]) -> None:
    """Every view, light and wide; one dark, one narrow."""
    page = browser.new_page(viewport=DESKTOP)
    views = {
        "jobs": "jobs",
        "job": f"jobs/{ids['best']}",
        "outcomes": f"jobs/{ids['strict']}",
        "compare": f"compare?jobs={ids['best']},{ids['particles']}",
        "fleet": "fleet",
        "submit": "submit",
        "cards": "cards",
        "card": "cards/digit_classifier",
    }
    for name, view in views.items():
        settled(page, f"{url}/#/{view}")
        if name == "fleet":
            page.wait_for_timeout(4500)  # until the speed is known
        keep(page, name)
    settled(page, f"{url}/#/jobs/{ids['particles']}")
    item = page.locator("[data-item='3']")
    item.get_by_test_id("show-genealogy").locator("summary").click()
    item.locator("[data-testid=genealogy] .main-svg").first.wait_for()
    item.scroll_into_view_if_needed()
    page.evaluate("document.querySelector('[data-item=\"3\"]').scrollIntoView()")
    page.wait_for_timeout(400)
    keep(page, "genealogy", whole=False)
    settled(page, f"{url}/#/jobs/{ids['molecules']}")
    page.get_by_test_id("show-front").first.locator("summary").click()
    page.locator("[data-testid=front] .main-svg").first.wait_for()
    page.locator("[data-testid=gallery]").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('[data-testid=gallery]').scrollIntoView()")
    page.wait_for_timeout(400)
    keep(page, "molecules", whole=False)
    for name, options in {"dark": {"viewport": DESKTOP, "color_scheme": "dark"}, "phone": {"viewport": PHONE}}.items():
        page = browser.new_page(**options)
        settled(page, f"{url}/#/jobs/{ids['best']}")
        keep(page, f"job-{name}")


def main() -> None:
    """Run the jobs, take the pictures."""
    OUT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="winnow-") as folder,
        Stack(Settings(data_dir=Path(folder)), log=Path(folder) / "worker.log") as stack,
        Client(stack.url) as client,
        sync_playwright() as playwright,
    ):
        ids = {name: client.submit(spec).id for name, spec in JOBS.items()}
        for view in watched(client, list(ids.values())):
            if view.state != "completed":
                sys.exit(f"job {view.id} has {view.state}: {view.error}")
        found = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        shoot(browser, stack.url, ids)
        browser.close()


if __name__ == "__main__":
    main()
