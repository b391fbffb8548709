"""Routes of API keys (scope `admin`), and of the page's session."""

import json
import time
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from search.ports import Frozen, Many
from service.api.access import COOKIE
from service.api.errors import Problem
from service.api.guard import StrictRoute
from service.api.state import store
from service.store import access, quotas
from service.views.keys import Account, Accounts, KeyMade, Keys, KeyView, Quotas, UsageView

router = APIRouter(prefix="/v1", tags=["keys"], route_class=StrictRoute)
Name = Annotated[str, Path(max_length=200)]


class KeyBody(Frozen):
    """Body of POST /v1/keys."""

    owner: str = Field(min_length=1, max_length=200, description="Keys of one owner see the same jobs.")
    scopes: Many[Literal["read", "write", "admin"]] = Field(("read", "write"), min_length=1, max_length=3)
    rate: int | None = Field(None, ge=1, le=1_000_000, description="Requests a minute, at most.")
    days: float | None = Field(None, gt=0, le=36_500, description="Until it expires; never when left out.")
    quotas: Quotas = Field(default_factory=lambda: Quotas.model_validate({}), description="What it may spend.")


class SessionBody(Frozen):
    """Body of POST /v1/session."""

    key: str = Field(max_length=200)


@router.post("/keys", status_code=201)
def create(body: KeyBody, request: Request) -> KeyMade:
    """Make a key. Its secret is in this answer and nowhere else. From the first key on, every request needs one."""
    return store(request).write(made, body.owner, body.scopes, body.rate, body.days, body.quotas)


@router.get("/keys")
def listed(request: Request) -> Keys:
    """All keys, without their secrets."""
    with store(request).reading() as connection:
        return Keys(data=[view(connection, row) for row in access.listed(connection)])


@router.get("/keys/{key}")
def one(key: Name, request: Request) -> KeyView:
    """One key, with what it has spent and has left."""
    return store(request).read(lambda connection: view(connection, access.find(connection, key)))


@router.put("/keys/{key}/quotas")
def limited(key: Name, body: Quotas, request: Request) -> KeyView:
    """Change what a key may spend. What it has spent stays spent."""
    return store(request).write(limit, key, body)


@router.delete("/keys/{key}")
def revoke(key: Name, request: Request) -> KeyView:
    """Let a key in no longer."""
    return store(request).write(lambda connection: view(connection, access.revoke(connection, key)))


@router.get("/usage")
def usage(request: Request) -> UsageView:
    """What the key that asks has spent and has left."""
    if (key := access.KEY.get()) is None:
        raise Problem(404, "usage is counted for keys, and this request has none")
    return store(request).read(lambda connection: spending(connection, access.find(connection, key)))


@router.post("/session", status_code=204)
def session(body: SessionBody, request: Request) -> Response:
    """Keep a key in a cookie that no script can read: so the page asks with it."""
    if store(request).read(access.checked, body.key) is None:
        raise Problem(401, "this is no API key, or one that has expired or was revoked")
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, body.key, max_age=30 * 86_400, httponly=True, samesite="strict", secure=secure)
    return response


@router.delete("/session", status_code=204)
def leave() -> Response:
    """Forget the page's key."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def made(
    connection: sa.Connection,
    owner: str,
    scopes: tuple[str, ...],
    rate: int | None,
    days: float | None,
    quotas: Quotas,
) -> KeyMade:
    """A new key."""
    expires = None if days is None else time.time() + 86_400 * days
    row, key = access.create(connection, owner, scopes, rate, expires, quotas.model_dump_json())
    return KeyMade(**view(connection, row).model_dump(), key=key)


def limit(connection: sa.Connection, key: str, quotas: Quotas) -> KeyView:
    """Change what a key may spend. Raises Missing."""
    return view(connection, access.change(connection, key, quotas=quotas.model_dump_json()))


def view(connection: sa.Connection, row: sa.Row[Any]) -> KeyView:
    """A key without its secret."""
    return KeyView(
        id=row.name,
        owner=row.owner,
        scopes=json.loads(row.scopes),
        rate=row.rate,
        created_at=row.created,
        expires_at=row.expires,
        revoked_at=row.revoked,
        usage=spending(connection, row),
    )


def spending(connection: sa.Connection, row: sa.Row[Any]) -> UsageView:
    """What a key has spent and has left."""
    limits = Quotas.model_validate_json(row.quotas)
    rows = quotas.account(connection, row.name, quotas.today())

    def account(currency: str, period: str) -> Account:
        limit: int | None = getattr(getattr(limits, currency), period)
        spent, held = (rows[period][f"{kind}_{currency}"] if period in rows else 0 for kind in ("spent", "held"))
        left = None if limit is None else max(0, limit - spent - held)
        return Account(spent=spent, held=held, limit=limit, left=left)

    found = {name: Accounts(total=account(name, "total"), day=account(name, "day")) for name in quotas.CURRENCIES}
    return UsageView(key=row.name, renews_at=quotas.renewal(), **found)  # type: ignore[arg-type]
