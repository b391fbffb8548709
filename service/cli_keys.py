"""`winnow keys`: made by the operator on the service's own database, so that the first key needs none."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli_input import DataDir, settings, stop

if TYPE_CHECKING:
    from service.store import Store
    from service.views.keys import Quotas, UsageView

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


Quota = Annotated[
    list[str] | None,
    typer.Option(help="evaluations=1000, tokens=500/day or samples=20/day; of each, one in all and one a day."),
]


def quotas_of(given: "list[str]") -> "Quotas":
    """What a key may spend, as it is written on the command line."""
    from service.views.keys import Quotas

    found: dict[str, dict[str, int]] = {}
    for one in given:
        name, _, limit = one.partition("=")
        count, _, period = limit.partition("/")
        if name not in Quotas.model_fields or not (count.isascii() and count.isdigit()) or period not in ("", "day"):
            valid = f"CURRENCY=NUMBER or CURRENCY=NUMBER/day, of {', '.join(Quotas.model_fields)}"
            stop(f"unknown quota {one!r}; valid: {valid}")
        found.setdefault(name, {})[period or "total"] = int(count)
    return Quotas.model_validate(found)


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Keys of one owner see the same jobs.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; read and write when left out.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Requests a minute, at most.")] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Until it expires.")] = None,
    quota: Quota = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once."""
    from service.api.keys import made
    from service.store.access import SCOPES

    scopes = tuple(scope or ("read", "write"))
    if unknown := [one for one in scopes if one not in SCOPES]:
        stop(f"unknown scope {unknown[0]!r}; valid: {', '.join(SCOPES)}")
    allowed = quotas_of(quota or [])
    with database(data_dir) as store:
        typer.echo(store.write(made, owner, scopes, rate, days, allowed).key)


@app.command("list")
def listed(data_dir: DataDir = None) -> None:
    """All keys, without their secrets, with what they have left of their quotas."""
    from service.api.keys import view
    from service.store import access

    with database(data_dir) as store, store.reading() as connection:
        for row in access.listed(connection):
            key = view(connection, row)
            state = "revoked" if key.revoked_at else "expires" if key.expires_at else "valid"
            typer.echo("  ".join([key.id, key.owner, ",".join(key.scopes), state, *left(key.usage)]))


def left(usage: "UsageView") -> list[str]:
    """What is left of every quota, in words."""
    from service.views.keys import Quotas

    return [
        f"{account.left} of {account.limit} {name}{' today' if period == 'day' else ''}"
        for name in Quotas.model_fields
        for period in ("total", "day")
        if (account := getattr(getattr(usage, name), period)).limit is not None
    ]


@app.command("quota")
def limited(
    key: str,
    quota: Annotated[list[str] | None, typer.Argument(help="As with create; none: no limits.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Change what a key may spend; what it has spent stays spent."""
    from service.api.keys import limit
    from service.store import access

    allowed = quotas_of(quota or [])
    with database(data_dir) as store:
        try:
            typer.echo(", ".join(left(store.write(limit, key, allowed).usage)) or "no limits")
        except access.Missing as missing:
            stop(missing)


@app.command()
def revoke(key: str, data_dir: DataDir = None) -> None:
    """Let a key in no longer."""
    from service.store import access

    with database(data_dir) as store:
        try:
            store.write(access.revoke, key)
        except access.Missing as missing:
            stop(missing)
