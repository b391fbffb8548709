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
from service.store import Store, access
from service.views.keys import KeyMade, Keys, KeyView

router = APIRouter(prefix="/v1", tags=["keys"], route_class=StrictRoute)


class KeyBody(Frozen):
    """Body of POST /v1/keys."""

    owner: str = Field(min_length=1, max_length=200, description="Keys of one owner see the same jobs.")
    scopes: Many[Literal["read", "write", "admin"]] = Field(("read", "write"), min_length=1, max_length=3)
    rate: int | None = Field(None, ge=1, le=1_000_000, description="Requests a minute, at most.")
    days: float | None = Field(None, gt=0, le=36_500, description="Until it expires; never when left out.")


class SessionBody(Frozen):
    """Body of POST /v1/session."""

    key: str = Field(max_length=200)


def store(request: Request) -> Store:
    """The app's database."""
    return request.app.state.store


@router.post("/keys", status_code=201)
def create(body: KeyBody, request: Request) -> KeyMade:
    """Make a key. Its secret is in this answer and nowhere else. From the first key on, every request needs one."""
    return made(store(request), body.owner, body.scopes, body.rate, body.days)


@router.get("/keys")
def listed(request: Request) -> Keys:
    """All keys, without their secrets."""
    return Keys(data=[view(row) for row in store(request).read(access.listed)])


@router.delete("/keys/{key}")
def revoke(key: Annotated[str, Path(max_length=200)], request: Request) -> KeyView:
    """Let a key in no longer."""
    try:
        return view(store(request).write(access.revoke, key))
    except access.Missing as missing:
        raise Problem(404, str(missing)) from None


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


def made(database: Store, owner: str, scopes: tuple[str, ...], rate: int | None, days: float | None) -> KeyMade:
    """A new key."""
    expires = None if days is None else time.time() + 86_400 * days
    row, key = database.write(access.create, owner, scopes, rate, expires)
    return KeyMade(**view(row).model_dump(), key=key)


def view(row: sa.Row[Any]) -> KeyView:
    """A key without its secret."""
    return KeyView(
        id=row.name,
        owner=row.owner,
        scopes=json.loads(row.scopes),
        rate=row.rate,
        created_at=row.created,
        expires_at=row.expires,
        revoked_at=row.revoked,
    )
