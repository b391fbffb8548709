"""The page over HTTP: its policy, its types, nothing inline, nothing from elsewhere."""

import gzip
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
import pytest

from service.api.page import plotly_path
from service.client import Client
from service.dashboard import FILES

POLICY = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "blob:", "data:"],
    "connect-src": ["'self'"],
    "font-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
NAMES = sorted(str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file())


class Elements(HTMLParser):
    """Tags with their attributes, and the text inside of script and style elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


def get(client: Client, path: str, **headers: str) -> httpx.Response:
    response = client.http.get(path, headers=headers)
    assert response.status_code == 200, (path, response.status_code)
    return response


def guarded(response: httpx.Response) -> None:
    """The headers that everything of the page has."""
    parts = (part.split() for part in response.headers["content-security-policy"].split(";"))
    assert {name: sources for name, *sources in parts} == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_inline_script_or_style_and_loads_from_its_own_host(client: Client) -> None:
    response = get(client, "/")
    guarded(response)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Elements(response.text)
    assert not page.inline
    assert "style" not in {tag for tag, _ in page.tags}
    for tag, given in page.tags:
        assert not [name for name in given if name == "style" or name.startswith("on")], (tag, given)
    loaded = [given["src"] for tag, given in page.tags if tag in ("script", "img")]
    loaded += [given["href"] for tag, given in page.tags if tag == "link"]
    assert len(loaded) >= 5
    for address in loaded:
        assert address is not None
        assert address.startswith("/static/")
        get(client, address)


@pytest.mark.parametrize("name", NAMES)
def test_files_have_their_type_and_are_asked_for_again(client: Client, name: str) -> None:
    response = get(client, f"/static/{name}")
    guarded(response)
    assert response.headers["content-type"].split(";")[0] == TYPES[name[name.rindex(".") :]]
    assert response.headers["cache-control"] == "no-cache"
    again = client.http.get(f"/static/{name}", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_scripts_never_parse_markup_and_import_what_exists(name: str) -> None:
    text = (FILES / name).read_text("utf-8")
    for banned in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "eval(",
        "new Function",
    ):
        assert banned not in text, banned
    assert not re.search(r"https?://", text)
    for target in re.findall(r'(?:from|import) "([^"]+)"', text):
        assert urljoin(f"/{name}", target).lstrip("/") in NAMES, target
    assert len(text.splitlines()) < 250


def test_styles_load_nothing() -> None:
    for name in NAMES:
        if name.endswith(".css"):
            assert not re.search(r"@import|url\(", (FILES / name).read_text("utf-8")), name


def test_every_term_has_a_definition() -> None:
    definitions = set(re.findall(r'^  "?([\w ]+)"?:', (FILES / "definitions.js").read_text("utf-8"), re.M))
    assert len(definitions) > 30
    for path in FILES.rglob("*.js"):
        for word in re.findall(r'\bterm\(\s*"([^"]+)"', path.read_text("utf-8")):
            assert word in definitions, (path.name, word)


def test_figures_touch_no_page_so_that_a_report_can_hold_them() -> None:
    for name in ("measures.js", "layout.js", "charts.js", "lineage.js"):
        text = (FILES / name).read_text("utf-8")
        assert set(re.findall(r'from "([^"]+)"', text)) <= {"./measures.js", "./layout.js"}, name
        assert not re.search(r"\b(document|window|fetch)\b", text), name


def test_plotly_comes_from_the_installed_package_and_is_kept(client: Client) -> None:
    page = get(client, "/").text
    assert f'data-plotly="{plotly_path()}"' in page
    packed = get(client, plotly_path(), **{"Accept-Encoding": "gzip"})
    guarded(packed)
    assert packed.headers["content-encoding"] == "gzip"
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["content-type"].split(";")[0] == "text/javascript"
    plain = get(client, plotly_path(), **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content  # httpx has unpacked it
    assert len(gzip.compress(plain.content, 1)) < len(plain.content) / 2
    assert b"plotly.js v" in plain.content[:200]


def test_style_elements_of_the_bundle_are_forestalled(client: Client) -> None:
    """Its maps would add a style element unless one of that id exists: the page has one."""
    ids = {given.get("id") for _, given in Elements(get(client, "/").text).tags}
    wanted = re.findall(r'createElement\("style"\);e\.id="([^"]+)"', get(client, plotly_path()).text)
    assert ids >= set(wanted)
    assert "plotly.js-style-global" in ids


@pytest.mark.parametrize(
    "path",
    [
        "/static/none.js",
        "/static/",
        "/static/../__init__.py",
        "/static/%2e%2e/__init__.py",
        "/static/..%2f__init__.py",
        "/vendor/plotly-0.0.0.min.js",
        "/vendor/none",
        "/none",
    ],
)
def test_other_paths_are_404(client: Client, path: str) -> None:
    response = client.http.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_the_page_is_no_part_of_the_api(client: Client) -> None:
    paths = get(client, "/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith(("/static", "/vendor"))]
