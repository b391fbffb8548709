"""`winnow extend`: a job that has ended goes on."""

from typing import Annotated

import typer

from service.cli_input import HERE, Url, connected, stop


def limits(given: list[str]) -> dict[str, float | None]:
    """A budget as it is written on the command line."""
    from search.metering import Budget

    found: dict[str, float | None] = {}
    for one in given:
        name, _, limit = one.partition("=")
        whole = limit.isascii() and limit.isdigit()
        try:
            found[name] = None if limit == "none" else int(limit) if whole else float(limit)
        except ValueError:
            name = ""
        if name not in Budget.model_fields:
            valid = f"CURRENCY=NUMBER or CURRENCY=none, of {', '.join(Budget.model_fields)}"
            stop(f"unknown budget {one!r}; valid: {valid}")
    return found


def extend(
    job: str,
    n: Annotated[int | None, typer.Option(help="Answers or searches of each item, in all.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Populations of each item, in all.")] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help="evaluations=5000, say, for all that the job spends; none lifts a limit.")
    ] = None,
    url: Url = HERE,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key.")] = None,
) -> None:
    """Let a job that has ended go on, reusing all that it has, and print its id; `watch` follows it."""
    search = {name: value for name, value in (("n", n), ("repeats", repeats)) if value is not None}
    with connected(url) as client:
        typer.echo(client.extend(job, search, limits(budget or []), key).id)
