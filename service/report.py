"""A job as one HTML file that needs nothing else: no server, no network. Its script shows the data as text."""

import base64
import hashlib
import json
import re
import time
from itertools import islice
from typing import Any

from service.client import Client, Refused
from service.dashboard import FILES, plotly_source, plotly_styled

STYLES = ("theme.css", "style.css")
SCRIPT = "report.js"
IMPORT = re.compile(r"^import\b[^;]*?\bfrom\s+[\"']\./([^\"']+)[\"'];?[ \t]*$", re.MULTILINE)
LONGEST = 20_000
"""Characters of an answer that are kept, and of a prompt."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Winnow report</title>
<link rel="icon" href="data:,">
<style>{css}</style>
<style id="plotly.js-style-global" class="no-inline-styles">{plotly_css}</style>
</head>
<body class="report">
<main id="report"></main>
<div id="tip" role="tooltip" hidden></div>
<div id="definitions" hidden></div>
{styled}
<script type="application/json" id="data">{data}</script>
<script>{plotly}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def report(client: Client, job: str, items: int = 50) -> str:
    """The report of a job as HTML: header, usage, advice, curves, and the best answers of the first `items` items.

    Raises Refused when there is no such job. A job without a curve has a report that says why.
    """
    return page(gathered(client, job, items))


def gathered(client: Client, job: str, items: int) -> dict[str, Any]:
    """What a report shows, as JSON; pictures as data URIs by their SHA-256."""
    view = client.job(job).model_dump(mode="json")
    shown = [item.model_dump(mode="json") for item in islice(client.items(job), items)] if items else []
    asked: list[dict[str, Any]] = view["spec"]["items"]
    view["spec"]["items"] = len(asked)  # the file shows those of the gallery, beside their answers
    for item in shown:
        prompt: str = asked[item["number"]].get("prompt", "")
        item |= {"prompt": shortened(prompt), "target": asked[item["number"]].get("target")}
    names = {answer["artifact"] for item in shown for answer in item["best"] if answer["artifact"]}
    curve, no_curve = _curve(client, job)
    return {
        "made_at": time.time(),
        "job": view,
        "items": shown,
        "artifacts": {name: _artifact(client.artifact(name)) for name in sorted(names)},
        "curve": curve,
        "no_curve": no_curve,
    }


def _curve(client: Client, job: str) -> tuple[dict[str, Any] | None, str | None]:
    """The curve, or why there is none."""
    try:
        return client.curve(job).model_dump(mode="json"), None
    except Refused as error:
        return None, str(error.problem.get("detail", error))


def _artifact(data: bytes) -> dict[str, str]:
    """A picture as {picture: data URI}, anything else as {text}."""
    if data.startswith(b"\x89PNG"):
        return {"picture": "data:image/png;base64," + base64.b64encode(data).decode()}
    value = json.loads(data)
    return {"text": shortened(value if isinstance(value, str) else data.decode())}


def shortened(text: str) -> str:
    """At most LONGEST characters, with the number of all of them."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters in all)"


def page(data: dict[str, Any]) -> str:
    """HTML around a report's data. The policy names each script by its hash, and lets nothing be asked of anybody."""
    plotly, script = inlined(plotly_source().decode()), inlined(bundle())
    css, plotly_css = "".join(map(static, STYLES)), static("plotly.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{digest(plotly)}' '{digest(script)}'",
            f"style-src '{digest(css)}' '{digest(plotly_css)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return PAGE.format(
        policy=policy,
        css=css,
        plotly_css=plotly_css,
        styled=plotly_styled(),
        data=embedded(data),
        plotly=plotly,
        script=script,
    )


def static(name: str) -> str:
    """A file of the page."""
    return (FILES / name).read_text("utf-8")


def bundle() -> str:
    """The report's module with all that it imports, each once and behind those whose names it uses."""
    held: dict[str, str] = {}

    def hold(name: str) -> None:
        source = static(name)
        for other in IMPORT.findall(source):
            if other not in held:
                hold(other)
        held[name] = IMPORT.sub("", source)

    hold(SCRIPT)
    return "\n".join(held.values())


def embedded(data: Any) -> str:
    """JSON inside a script element: without `<` no text of it can end the element."""
    return json.dumps(data).replace("<", "\\u003c")


def inlined(source: str) -> str:
    """A script inside a script element: the same program, and no text of it ends the element."""
    return source.replace("</script", "<\\/script")


def digest(source: str) -> str:
    """The hash by which a content security policy names what stands inline."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
