"""`winnow submit`, `watch` and `results`: what a client does with a service that runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli_input import HERE, Url, connected, read_spec, stop

if TYPE_CHECKING:
    from service.client import Client


def emit(client: "Client", job: str, out: Path | None) -> None:
    """Print a job's result; with `out`, keep it and its artifacts there."""
    from service.result import result, saved

    value = result(client, job)
    typer.echo(json.dumps(value, indent=1))
    if out is not None:
        try:
            saved(client, value, out)
        except OSError as error:
            stop(f"{str(out)!r} cannot be written: {error.strerror}")


def submit(
    job: Path, url: Url = HERE, key: Annotated[str | None, typer.Option(help="Idempotency-Key.")] = None
) -> None:
    """Submit a job and print its id."""
    with connected(url) as client:
        typer.echo(client.submit(read_spec(job), key).id)


def watch(job: str, url: Url = HERE) -> None:
    """Follow a job to its end."""
    from service.progress import watched

    with connected(url) as client:
        last = watched(client, [job])[0]
        typer.echo(f"{last.id} {last.state}")
    if last.state != "completed":
        raise typer.Exit(1)


def results(job: str, url: Url = HERE, out: Path | None = None) -> None:
    """Print a job's result as JSON; with --out keep its artifacts."""
    with connected(url) as client:
        emit(client, job, out)
