"""`winnow rescore`: answers that are there already, judged by others."""

import json
from typing import Annotated, Any

import typer

from service.cli_input import HERE, Url, connected, stop


def named(given: str, option: str) -> Any:
    """A verifier's name, or a JSON object of its name and fields."""
    if not given.lstrip().startswith("{"):
        return given
    try:
        return json.loads(given)
    except ValueError as error:
        stop(f"{option}: {given[:60]!r} is no JSON: {error}")


def rescore(
    job: str,
    verifier: Annotated[list[str], typer.Option(help="Its name, or a JSON object of name and fields; one or more.")],
    grader: Annotated[list[str] | None, typer.Option(help="The same; it only reports.")] = None,
    search: Annotated[str | None, typer.Option(help='How to select, as JSON: {"select": "majority"}.')] = None,
    url: Url = HERE,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key.")] = None,
) -> None:
    """Have other verifiers judge the answers of a job that has ended; print the id of the new job."""
    asked: dict[str, Any] = {"verifiers": [named(one, "--verifier") for one in verifier]}
    asked |= {"graders": [named(one, "--grader") for one in grader]} if grader else {}
    asked |= {"search": named(search, "--search")} if search else {}
    with connected(url) as client:
        typer.echo(client.rescore(job, asked, key).id)
