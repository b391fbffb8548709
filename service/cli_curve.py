"""`winnow curve`: what more samples would give, as tables, a plot and sentences."""

from typing import Annotated

import typer

from service.cli_input import HERE, Url, connected


def curve(
    job: str,
    url: Url = HERE,
    judge: Annotated[str | None, typer.Option(help="Whose passes count; the first grader when left out.")] = None,
    level: Annotated[float, typer.Option(help="Of the intervals, above 0.5 and below 1.")] = 0.95,
    value: Annotated[float, typer.Option(help="What a right answer is worth, for the advice.")] = 1.0,
    loss: Annotated[float, typer.Option(help="What a wrong answer costs.")] = 1.0,
    cost: Annotated[float, typer.Option(help="What a sample costs.")] = 0.0,
    target: Annotated[float, typer.Option(help="Coverage whose cost the advice gives, above 0 and below 1.")] = 0.9,
    plot: Annotated[bool, typer.Option(help="Draw the curve.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curve as JSON.")] = False,
) -> None:
    """Print coverage, selected accuracy and advice against the number of samples."""
    with connected(url) as client:
        found = client.curve(job, judge, level, value=value, loss=loss, cost=cost, target=target)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    from rich.console import Console

    from service.curve_text import advice_lines, curve_plot, curve_tables

    console = Console(highlight=False)
    for table in curve_tables(found, console.width):
        console.print(table)
    if not found.points:
        console.print("No verdicts yet: there is no curve.")
    elif plot:
        console.print(curve_plot(found))
    for line in advice_lines(found):
        console.print(line)
