"""`winnow dead`: shards that failed for good."""

from typing import Annotated

import typer

from service.cli_input import HERE, Url, connected

app = typer.Typer(help="Dead letters: shards that failed for good.", no_args_is_help=True)


@app.command("list")
def listed(url: Url = HERE) -> None:
    """All of them: id, model, how many workers died, why."""
    from service import calls

    with connected(url) as opened:
        for letter in opened.every(calls.dead):
            typer.echo(f"{letter.id}  {letter.model}  {letter.deaths}  {letter.error or ''}")


@app.command()
def requeue(
    letter: Annotated[list[str], typer.Argument(help="Ids, as `winnow dead list` prints them.")], url: Url = HERE
) -> None:
    """Let them run again, after what killed them was mended."""
    from service import calls

    with connected(url) as opened:
        for one in letter:
            job = opened.send(calls.requeue(one))
            typer.echo(f"{one}  {job.state}")
