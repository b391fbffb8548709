"""`winnow`: serve, work, and everything a client does. Heavy imports stay inside the commands."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from service import logs, tracing
from service.cli_cards import audit, card
from service.cli_client import emit, results, submit, watch
from service.cli_compare import compare
from service.cli_curve import curve
from service.cli_dead import app as dead
from service.cli_extend import extend
from service.cli_given import delete, rescore, verify
from service.cli_input import DataDir, alone, own, read_spec, settings, stop
from service.cli_keys import app as keys
from service.cli_report import report
from service.cli_tune import presets, tunes

app = typer.Typer(
    help="Sample many, verify, keep the best, and know what it cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Open = Annotated[bool, typer.Option("--open", help="Let anybody in who reaches the address, without a key.")]


def until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


def traces(service: str) -> None:
    """Send spans, if a collector is named."""
    try:
        tracing.start(service)
    except tracing.Untraceable as error:
        stop(error)


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option(min=0)] = 1,
    open: Open = False,
) -> None:
    """Start everything on this machine: database, queue, API and workers. Needs no configuration."""
    from service.embedded import Stack
    from service.opening import Unusable

    chosen = settings(data_dir=data_dir)
    log = chosen.data_dir / "worker.log"
    try:
        with Stack(chosen, host, port, workers, log, open=open) as stack:
            traces("api")
            logs.start(chosen.log, logging.WARNING)
            typer.echo(
                f"Winnow answers at {stack.url}, its page; the API is described at {stack.url}/openapi.json "
                f"(data: {chosen.data_dir})"
            )
            until_stopped()
    except Unusable as error:
        stop(error)


@app.command()
def api(host: str = "127.0.0.1", port: int = 8000, data_dir: DataDir = None, open: Open = False) -> None:
    """Start the API alone, on WINNOW_REDIS_URL and WINNOW_DATABASE_URL."""
    import uvicorn

    from service.api import create_app
    from service.artifacts import Artifacts
    from service.opening import KEEP_ALIVE, Unusable, guarded, opened, reached

    chosen = settings(data_dir=data_dir)
    try:
        broker = reached(chosen)
        if chosen.database_url is None:
            chosen.data_dir.mkdir(parents=True, exist_ok=True)
        store = opened(chosen)
        guarded(store, host, open)
    except Unusable as error:
        stop(error)
    except OSError as error:
        stop(f"the data folder {str(chosen.data_dir)!r} cannot be used: {error.strerror}")
    traces("api")
    logs.start(chosen.log)  # what went wrong until here was a sentence
    if broker.durable() is False:
        logging.getLogger("winnow.api").warning("Redis runs without AOF; a crash loses acknowledged writes")
    served = create_app(store, broker, Artifacts(chosen.artifacts), chosen)
    uvicorn.run(served, host=host, port=port, log_config=None, access_log=False, timeout_keep_alive=KEEP_ALIVE)


@app.command()
def worker(
    model: Annotated[list[str] | None, typer.Option(help="Serve only these models; any when left out.")] = None,
    name: Annotated[str | None, typer.Option(hidden=True)] = None,
    data_dir: DataDir = None,
) -> None:
    """Pull shards and run them, on WINNOW_REDIS_URL and WINNOW_DATABASE_URL."""
    from search.plugins import Unknown
    from service.opening import Unusable, listed, reached
    from service.registries import STORED
    from service.worker import main, new_name

    chosen, called = settings(data_dir=data_dir), name or new_name()
    try:
        listed()
        reached(chosen)
        for each in model or []:
            STORED.find(each)
    except (Unusable, Unknown) as error:
        stop(error)
    traces("worker")
    logs.start(chosen.log, worker=called)
    main(chosen, model or [], called)


@app.command()
def run(
    job: Annotated[Path, typer.Argument(help="A job as JSON; - is standard input.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the result and its artifacts.")] = None,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Run one job on an embedded service of its own and print the result as JSON."""
    from service.progress import watched

    spec = read_spec(job)
    with own(data_dir, workers) as client:
        last = watched(client, [client.submit(spec).id])[0]
        emit(client, last.id, out)
    if last.state != "completed":
        stop(f"the job has {last.state}{': ' + last.error if last.error else ''}")


for command in (submit, watch, results, extend, rescore, verify, delete, curve, report, audit, card):
    app.command()(command)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("demo"),
    prompts: Annotated[int, typer.Option(min=2, max=10_000, help="Digits to draw; the time goes with them.")] = 40,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 is any that is free.")] = 0,
    data_dir: DataDir = None,
    keep: Annotated[bool, typer.Option(help="Keep answering after the demo, until Ctrl-C.")] = False,
    language: Annotated[bool, typer.Option("--language", help="A language model on four tasks instead.")] = False,
    samples: Annotated[int, typer.Option(min=2, max=64, help="With --language: answers to each question.")] = 16,
) -> None:
    """Real jobs on the digits models: progress, a table, a curve and the best pictures."""
    from service import demo_language
    from service.client import Refused
    from service.demo import demonstrate
    from service.opening import Unusable

    chosen, wait = alone(settings(data_dir=data_dir)), until_stopped if keep else None
    try:
        if language:
            demo_language.demonstrate(chosen, out, host, port, samples, wait)
        else:
            demonstrate(chosen, out, host, port, prompts, wait)
    except (Unusable, Refused) as error:
        stop(error)


app.command()(compare)
app.add_typer(keys, name="keys")
app.add_typer(dead, name="dead")
app.add_typer(tunes, name="tune")
app.add_typer(presets, name="preset")


if __name__ == "__main__":
    app()
