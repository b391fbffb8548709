"""A real service, a real worker and a real Chromium. Without Chromium these tests are skipped; under CI they fail."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

HERE = Path(__file__).parent
PATIENCE = 90_000
"""Milliseconds to wait for anything on a page."""
SUPPORT = [str(HERE / "support"), str(HERE.parent / "service" / "support")]
sys.path[:0] = SUPPORT

import hostile  # noqa: E402
import outside  # noqa: E402
from helping import done, service  # noqa: E402
from watching import Watched, watched  # noqa: E402

from service.client import Client  # noqa: E402
from service.embedded import Stack  # noqa: E402


def executable(playwright: Playwright) -> str:
    """Chromium of the system, or Playwright's own."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if Path(own := playwright.chromium.executable_path).exists():
        return own
    reason = "NO CHROMIUM: the page is not tested. Install it: apt-get install chromium, or playwright install chromium"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests here. It must end with them: its event loop would lie in the way of others."""
    with sync_playwright() as playwright:
        expect.set_options(PATIENCE)  # on a busy machine a chart takes its time
        browser = playwright.chromium.launch(executable_path=executable(playwright), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    """A service with a worker and the plug-ins of `hostile` and `outside`, and its client."""
    root = tmp_path_factory.mktemp("site")
    for plugins in (hostile, outside):
        info = root / f"{plugins.__name__}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {plugins.__name__}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(plugins.ENTRY_POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        path = os.pathsep.join(filter(None, [str(root), *SUPPORT, os.environ.get("PYTHONPATH")]))
        patch.setenv("PYTHONPATH", path)
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in [name for name in os.environ if name.startswith("WINNOW_")]:
            patch.delenv(name)
        with service(tmp_path_factory.mktemp("data")) as pair:
            yield pair


@pytest.fixture(scope="package")
def client(running: tuple[Stack, Client]) -> Client:
    return running[1]


@pytest.fixture(scope="package")
def url(client: Client) -> str:
    """Where the page is."""
    return str(client.http.base_url).rstrip("/")


@contextlib.contextmanager
def opened(browser: Browser, origin: str, **options: Any) -> Iterator[tuple[Page, Watched]]:
    """A page in a context of its own; nothing may go wrong in it until it is closed."""
    context: BrowserContext = browser.new_context(accept_downloads=True, **{"viewport": DESKTOP, **options})
    context.set_default_timeout(PATIENCE)
    seen = watched(context, origin)
    try:
        yield context.new_page(), seen
        seen.check()
    finally:
        context.close()


DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 400, "height": 800}


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A page of 1280 pixels whose console, requests and content policy are watched."""
    with opened(browser, url) as (page, _):
        yield page


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    """The same, 400 pixels wide."""
    with opened(browser, url, viewport=PHONE) as (page, _):
        yield page


@pytest.fixture
def dark(browser: Browser, url: str) -> Iterator[Page]:
    """The same for who likes it dark."""
    with opened(browser, url, color_scheme="dark") as (page, _):
        yield page


@pytest.fixture
def refusable(browser: Browser, url: str) -> Iterator[Page]:
    """The same where the API may refuse something, which Chromium tells in its console."""
    with opened(browser, url) as (page, seen):
        seen.refusals = True
        yield page


@pytest.fixture
def local(browser: Browser) -> Iterator[Page]:
    """A page for files: it may ask for nothing but the file."""
    with opened(browser, "file://") as (page, _):
        yield page


@pytest.fixture(scope="package")
def digits(client: Client) -> str:
    """A job of pictures with verifier and grader."""
    return done(
        client,
        {
            "model": "digits-early",
            "items": [{"id": f"digit {i}", "prompt": f"{i}", "target": f"{i}"} for i in range(10)],
            "search": {"method": "best_of_n", "n": 16},
            "verifiers": ["digit_classifier"],
            "graders": ["digit_classifier_b"],
            "seed": 1,
        },
    ).id


TOY: dict[str, Any] = {
    "model": {"name": "toy/gaussian_mixture", "weights": [1.0], "means": [0.0], "variances": [1.0], "steps": 4},
    "items": [{"id": f"i{i}", "prompt": f"a number, {i}"} for i in range(12)],
    "verifiers": [{"name": "toy/linear", "threshold": 1.0}],
    "graders": [{"name": "toy/quadratic", "center": 1.5, "threshold": -0.1, "label": "near"}],
}


@pytest.fixture(scope="package")
def pair(client: Client) -> tuple[str, str]:
    """Two jobs on the same items: best of n, and particles with a genealogy."""
    best = done(client, {**TOY, "search": {"method": "best_of_n", "n": 8}})
    particles = done(client, {**TOY, "search": {"method": "feynman_kac", "particles": 8, "tilt": 2.0, "ess": 1.0}})
    return best.id, particles.id
