"""`winnow report`: a job as one file to keep or to send."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli_input import HERE, Url, connected, stop


def report(
    job: str,
    url: Url = HERE,
    out: Annotated[Path | None, typer.Option(help="The file; report-JOB.html when left out.")] = None,
    items: Annotated[int, typer.Option(min=0, max=10_000, help="Items whose best answers it shows.")] = 50,
) -> None:
    """Write a job's curves, advice and best answers as one HTML file that needs no server and no network."""
    from service.report import report

    with connected(url) as client:
        html = report(client, job, items)
        path = out or Path(f"report-{client.job(job).id}.html")
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        stop(f"{str(path)!r} cannot be written: {error.strerror}")
    typer.echo(path)
