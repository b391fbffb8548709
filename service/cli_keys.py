"""`winnow keys`: made by the operator on the service's own database, so that the first key needs none."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli_input import DataDir, settings, stop

if TYPE_CHECKING:
    from service.store import Store

app = typer.Typer(help="API keys: from the first on, every request needs one.", no_args_is_help=True)


@contextmanager
def database(data_dir: DataDir) -> "Generator[Store]":
    """The service's database."""
    from service.opening import Unusable, opened

    chosen = settings(data_dir=data_dir)
    try:
        if chosen.database_url is None:
            chosen.data_dir.mkdir(parents=True, exist_ok=True)
        store = opened(chosen)
    except (Unusable, OSError) as error:
        stop(error)
    try:
        yield store
    finally:
        store.close()


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Keys of one owner see the same jobs.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; read and write when left out.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Requests a minute, at most.")] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Until it expires.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once."""
    from service.api.keys import made
    from service.store.access import SCOPES

    scopes = tuple(scope or ("read", "write"))
    if unknown := [one for one in scopes if one not in SCOPES]:
        stop(f"unknown scope {unknown[0]!r}; valid: {', '.join(SCOPES)}")
    with database(data_dir) as store:
        typer.echo(made(store, owner, scopes, rate, days).key)


@app.command("list")
def listed(data_dir: DataDir = None) -> None:
    """All keys, without their secrets."""
    from service.api.keys import view
    from service.store import access

    with database(data_dir) as store:
        for row in store.read(access.listed):
            key = view(row)
            state = "revoked" if key.revoked_at else "expires" if key.expires_at else "valid"
            typer.echo(f"{key.id}  {key.owner}  {','.join(key.scopes)}  {state}")


@app.command()
def revoke(key: str, data_dir: DataDir = None) -> None:
    """Let a key in no longer."""
    from service.store import access

    with database(data_dir) as store:
        try:
            store.write(access.revoke, key)
        except access.Missing as missing:
            stop(missing)
