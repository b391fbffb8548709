"""What the commands are given: options, settings, job files, a server. What is wrong with it is one sentence."""

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from service.client import Client
    from service.settings import Settings

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


def read_spec(path: Path, what: str = "a job") -> dict[str, Any]:
    """The body in a file (- is standard input)."""
    from starlette.exceptions import HTTPException

    from service.api.guard import loads

    try:
        value = loads(sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes())
    except OSError as error:
        stop(f"{path}: {error.strerror}")
    except HTTPException as error:
        stop(f"{path}: {error.detail}")
    if not isinstance(value, dict):
        stop(f"{path}: {what} is a JSON object, not {type(value).__name__}")
    return value


@contextmanager
def own(data_dir: Path | None, workers: int) -> Generator["Client"]:
    """A client of a service that lives as long as this, in a folder of its own unless one is given."""
    from service.client import Client, Refused
    from service.embedded import Stack
    from service.opening import Unusable

    with tempfile.TemporaryDirectory(prefix="winnow-") as temporary:
        chosen = alone(settings(data_dir=data_dir or Path(temporary)))
        try:
            with (
                Stack(chosen, workers=workers, log=chosen.data_dir / "worker.log") as stack,
                Client(stack.url) as client,
            ):
                yield client
        except (Unusable, Refused) as error:
            stop(error)


class connected(AbstractContextManager["Client"]):  # noqa: N801 - reads as a verb
    """A client whose failures are sentences."""

    def __init__(self, url: str) -> None:
        import httpx

        from service.client import Client

        try:
            self.client = Client(url, key=os.environ.get("WINNOW_API_KEY"))
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
