"""`winnow`: serve, work, and everything a client does. Heavy imports stay inside the commands."""

import json
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from service.cli_compare import compare

if TYPE_CHECKING:
    from service.client import Client
    from service.settings import Settings

app = typer.Typer(
    help="Sample many, verify, keep the best, and know what it cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Url = Annotated[str, typer.Option(envvar="WINNOW_URL", help="Where the API answers.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of database, queue and artifacts.")]
HERE = "http://127.0.0.1:8000"


def stop(sentence: object, code: int = 1) -> NoReturn:
    """One clear sentence and a non-zero exit."""
    typer.echo(f"winnow: {sentence}", err=True)
    raise typer.Exit(code)


def settings(**given: Any) -> "Settings":
    """Settings from the environment under the options that were given."""
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        stop(f"setting WINNOW_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}")


def alone(chosen: "Settings") -> "Settings":
    """Settings of a service of one's own, whatever the environment says of a shared one."""
    return chosen.model_copy(update={"redis_url": None, "database_url": None, "artifacts_url": None})


def until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Start everything on this machine: database, queue, API and workers. Needs no configuration."""
    from service.embedded import Stack, Unusable

    chosen = settings(data_dir=data_dir)
    log = chosen.data_dir / "worker.log"
    try:
        with Stack(chosen, host, port, workers, log) as stack:
            typer.echo(
                f"Winnow answers at {stack.url}, its documentation at {stack.url}/docs (data: {chosen.data_dir})"
            )
            if host not in ("127.0.0.1", "::1", "localhost"):
                typer.echo("Anybody who reaches this address may submit jobs: there are no API keys.", err=True)
            until_stopped()
    except Unusable as error:
        stop(error)


@app.command()
def api(host: str = "127.0.0.1", port: int = 8000, data_dir: DataDir = None) -> None:
    """Start the API alone, on WINNOW_REDIS_URL and WINNOW_DATABASE_URL."""
    import uvicorn

    from service.api import create_app
    from service.artifacts import Artifacts
    from service.embedded import Unusable, opened, reached

    chosen = settings(data_dir=data_dir)
    try:
        broker = reached(chosen)
        if chosen.database_url is None:
            chosen.data_dir.mkdir(parents=True, exist_ok=True)
        store = opened(chosen)
    except Unusable as error:
        stop(error)
    except OSError as error:
        stop(f"the data folder {str(chosen.data_dir)!r} cannot be used: {error.strerror}")
    if not broker.durable():
        typer.echo("winnow: warning: Redis runs without AOF; a crash loses acknowledged writes", err=True)
    uvicorn.run(create_app(store, broker, Artifacts(chosen.artifacts), chosen), host=host, port=port)


@app.command()
def worker(
    model: Annotated[list[str] | None, typer.Option(help="Serve only these models; any when left out.")] = None,
    name: Annotated[str | None, typer.Option(hidden=True)] = None,
    data_dir: DataDir = None,
) -> None:
    """Pull shards and run them, on WINNOW_REDIS_URL and WINNOW_DATABASE_URL."""
    import logging

    from generators.builtin import GENERATORS
    from search.plugins import Unknown
    from service.embedded import Unusable, reached
    from service.worker import main

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    chosen = settings(data_dir=data_dir)
    try:
        reached(chosen)
        for each in model or []:
            GENERATORS.find(each)
    except (Unusable, Unknown) as error:
        stop(error)
    main(chosen, model or [], name)


def read_spec(path: Path) -> dict[str, Any]:
    """The body of a job file (- is standard input)."""
    from starlette.exceptions import HTTPException

    from service.api.guard import loads

    try:
        value = loads(sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes())
    except OSError as error:
        stop(f"{path}: {error.strerror}")
    except HTTPException as error:
        stop(f"{path}: {error.detail}")
    if not isinstance(value, dict):
        stop(f"{path}: a job is a JSON object, not {type(value).__name__}")
    return value


@app.command()
def run(
    job: Annotated[Path, typer.Argument(help="A job as JSON; - is standard input.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the result and its artifacts.")] = None,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Run one job on an embedded service of its own and print the result as JSON."""
    from service.client import Client, Refused
    from service.embedded import Stack, Unusable
    from service.progress import watched

    spec = read_spec(job)
    with tempfile.TemporaryDirectory(prefix="winnow-") as temporary:
        chosen = alone(settings(data_dir=data_dir or Path(temporary)))
        try:
            with (
                Stack(chosen, workers=workers, log=chosen.data_dir / "worker.log") as stack,
                Client(stack.url) as client,
            ):
                last = watched(client, [client.submit(spec).id])[0]
                emit(client, last.id, out)
        except (Unusable, Refused) as error:
            stop(error)
    if last.state != "completed":
        stop(f"the job has {last.state}{': ' + last.error if last.error else ''}")


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


@app.command()
def submit(
    job: Path, url: Url = HERE, key: Annotated[str | None, typer.Option(help="Idempotency-Key.")] = None
) -> None:
    """Submit a job and print its id."""
    with connected(url) as client:
        typer.echo(client.submit(read_spec(job), key).id)


@app.command()
def watch(job: str, url: Url = HERE) -> None:
    """Follow a job to its end."""
    from service.progress import watched

    with connected(url) as client:
        last = watched(client, [job])[0]
        typer.echo(f"{last.id} {last.state}")
    if last.state != "completed":
        raise typer.Exit(1)


@app.command()
def results(job: str, url: Url = HERE, out: Path | None = None) -> None:
    """Print a job's result as JSON; with --out keep its artifacts."""
    with connected(url) as client:
        emit(client, job, out)


@app.command()
def curve(job: str, url: Url = HERE, judge: str | None = None) -> None:
    """Print coverage and selected accuracy against the number of samples."""
    from rich.console import Console

    from service.progress import curve_table

    with connected(url) as client:
        Console().print(curve_table(client.curve(job, judge)))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("demo"),
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 is any that is free.")] = 0,
    data_dir: DataDir = None,
    keep: Annotated[bool, typer.Option(help="Keep answering after the demo, until Ctrl-C.")] = False,
) -> None:
    """Real jobs on the digits models: progress, a table, a curve and the best pictures."""
    from service.client import Refused
    from service.demo import demonstrate
    from service.embedded import Unusable

    try:
        demonstrate(alone(settings(data_dir=data_dir)), out, host, port, until_stopped if keep else None)
    except (Unusable, Refused) as error:
        stop(error)


app.command()(compare)


class connected:  # noqa: N801 - reads as a verb
    """A client whose failures are sentences."""

    def __init__(self, url: str) -> None:
        import httpx

        from service.client import Client

        try:
            self.client = Client(url)
        except httpx.InvalidURL as error:
            stop(f"{url!r} is no address: {error}")

    def __enter__(self) -> "Client":
        return self.client

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import httpx
        from pydantic import ValidationError

        from service.client import Refused

        self.client.http.close()
        if isinstance(error, Refused):
            stop(error)
        if isinstance(error, httpx.HTTPError):
            stop(f"no answer from {self.client.http.base_url}: {error}")
        if isinstance(error, ValidationError):
            stop(f"what answers at {self.client.http.base_url} is not Winnow")


if __name__ == "__main__":
    app()
