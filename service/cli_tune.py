"""`winnow tune` and `winnow preset`: search the settings of a sampler, and keep what was found."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli_input import HERE, Url, connected, read_spec, stop

if TYPE_CHECKING:
    from service.client import Client
    from service.views import TrialView, TuneView

tunes = typer.Typer(
    help="Searches for the settings of a sampler, each of which ends as a preset.", no_args_is_help=True
)
presets = typer.Typer(help="Settings of models under names that jobs can use.", no_args_is_help=True)
EVERY = 0.5


@tunes.command()
def start(
    spec: Annotated[Path, typer.Argument(help="A tune as JSON; - is standard input.")],
    url: Url = HERE,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print its id and leave it to the service.")] = False,
) -> None:
    """Start a tune, follow it to its end and print it as JSON. It goes on if this command is stopped."""
    from service import calls

    with connected(url) as opened:
        begun = opened.send(calls.tune(read_spec(spec), key))
        if detach:
            typer.echo(begun.id)
        else:
            _follow(opened, begun.id)


@tunes.command()
def watch(tune: str, url: Url = HERE) -> None:
    """Follow a tune to its end and print it as JSON."""
    with connected(url) as opened:
        _follow(opened, tune)


@tunes.command()
def cancel(tune: str, url: Url = HERE) -> None:
    """Stop a tune and its jobs."""
    from service import calls

    with connected(url) as opened:
        typer.echo(f"{tune} {opened.send(calls.cancel_tune(tune)).state}")


@tunes.command("list")
def listed(url: Url = HERE) -> None:
    """All tunes, newest first: id, state, preset, values of the baseline and of the best."""
    from service import calls

    with connected(url) as opened:
        for one in opened.every(lambda after: calls.tunes(100, after)):
            typer.echo(f"{one.id}  {one.state}  {one.preset}  {_value(one.baseline)}  {_value(one.best)}")


@presets.command("list")
def known(url: Url = HERE) -> None:
    """All presets, newest first: name, model, settings."""
    from service import calls

    with connected(url) as opened:
        for one in opened.every(lambda after: calls.presets(100, after)):
            typer.echo(f"{one.name}  {one.model}  {one.config}")


@presets.command()
def delete(preset: str, url: Url = HERE) -> None:
    """Forget a preset. Jobs that named it keep its settings."""
    from service import calls

    with connected(url) as opened:
        opened.send(calls.forget_preset(preset))


def _follow(opened: "Client", name: str) -> None:
    from service import calls

    told = ""
    while True:
        tune = opened.send(calls.tune_of(name))
        if (line := _line(tune)) != told:
            typer.echo(told := line, err=True)
        if tune.finished:
            break
        time.sleep(EVERY)
    typer.echo(tune.model_dump_json(indent=1))
    if tune.state != "completed":
        stop(f"the tune has {tune.state}{': ' + tune.error if tune.error else ''}")


def _line(tune: "TuneView") -> str:
    """Where a tune stands."""
    done = f"{tune.id} {tune.state}: {tune.trials_done} of {tune.trials} trials"
    return f"{done}, {tune.evaluations} evaluations, baseline {_value(tune.baseline)}, best {_value(tune.best)}"


def _value(trial: "TrialView | None") -> str:
    return "-" if trial is None or trial.value is None else f"{trial.value:.6g}"
