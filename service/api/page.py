"""The page at / and its files under /static/. Nothing in it is inline and nothing comes from elsewhere."""

import gzip
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from service.api.errors import Problem
from service.dashboard import FILES, plotly_source, plotly_styled

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",  # charts are downloaded by way of these
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
GUARDED = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
FRESH = {**GUARDED, "Cache-Control": "no-cache"}
"""Asked for each time and answered 304 while it has not changed: a page never meets scripts of another version."""
FOREVER = {**GUARDED, "Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


class Files(StaticFiles):
    """Static files with the page's headers."""

    def file_response(self, *args: Any, **named: Any) -> Response:
        response = super().file_response(*args, **named)
        response.headers.update(FRESH)
        return response


def plotly_path() -> str:
    """Where plotly.js is: its version is in the address, so that it may be kept for ever."""
    return f"/vendor/plotly-{version('plotly')}.min.js"


@lru_cache(maxsize=1)
def _packed() -> bytes:
    return gzip.compress(plotly_source(), 6)


@lru_cache(maxsize=1)
def _index() -> str:
    """Made when it is first asked for: an API that nobody looks at does not read 5 MB."""
    text = (FILES / "index.html").read_text("utf-8").replace("PLOTLY", plotly_path())
    return text.replace("<!-- STYLED -->", plotly_styled())


def install(app: FastAPI) -> None:
    """Routes of the page; they are no part of the API's documentation."""

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(_index(), media_type="text/html", headers=FRESH)

    @app.get("/vendor/{name}", include_in_schema=False)
    def vendor(name: str, request: Request) -> Response:
        if f"/vendor/{name}" != plotly_path():
            raise Problem(404, f"no file {name[:80]!r}; there is {plotly_path()}")
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(_packed(), media_type="text/javascript", headers={**FOREVER, "Content-Encoding": "gzip"})
        return Response(plotly_source(), media_type="text/javascript", headers=FOREVER)

    app.mount("/static", Files(directory=FILES), name="static")
