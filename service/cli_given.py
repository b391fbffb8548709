"""`winnow rescore`, `verify` and `delete`: answers that are there already, judged again or taken away."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli_input import HERE, Url, connected, read_spec, stop


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


def verify(
    file: Annotated[Path, typer.Argument(help="Answers, item and verifiers as JSON; - is standard input.")],
    url: Url = HERE,
    wait: Annotated[int, typer.Option(min=0, max=60, help="Seconds to wait for a worker.")] = 60,
) -> None:
    """Have verifiers judge given answers; print for each of them the list of verdicts, as JSON."""
    with connected(url) as client:
        found = client.verify(read_spec(file, "a request"), wait=wait)
    if found.data is None:
        stop(f"not judged within {wait} s; job {found.job} goes on, its verdicts will be in `winnow results`")
    typer.echo(json.dumps([[score.model_dump() for score in one] for one in found.data], indent=1))


def delete(
    job: Annotated[list[str], typer.Argument(help="Ids of jobs that have ended.")],
    url: Url = HERE,
) -> None:
    """Delete jobs with all their answers, and the bytes that no other job names."""
    with connected(url) as client:
        for one in job:
            typer.echo(f"{client.delete(one).id} deleted")
