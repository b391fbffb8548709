"""API keys."""

from typing import Literal

from pydantic import Field

from service.views.base import View


class KeyView(View):
    """A key without its secret."""

    id: str
    object: Literal["key"] = "key"
    owner: str
    scopes: list[str]
    rate: int | None = Field(description="Requests a minute, at most.")
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class KeyMade(KeyView):
    """A new key, with what nobody is shown again."""

    key: str = Field(description="Send it as `Authorization: Bearer KEY`.")


class Keys(View):
    """All keys, oldest first."""

    data: list[KeyView]
