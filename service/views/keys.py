"""API keys, and what they may spend."""

from typing import Literal

from pydantic import Field

from search.ports import Frozen
from service.views.base import View


class Quota(Frozen):
    """What a key may spend of one currency; null is no limit."""

    total: int | None = Field(None, ge=0, lt=2**53, description="In all.")
    day: int | None = Field(None, ge=0, lt=2**53, description="On one day, by UTC.")


class Quotas(Frozen):
    """What a key may spend: a job is refused when it may need more than is left."""

    evaluations: Quota = Field(default_factory=lambda: Quota.model_validate({}))
    tokens: Quota = Field(default_factory=lambda: Quota.model_validate({}), description="Generated.")
    samples: Quota = Field(default_factory=lambda: Quota.model_validate({}), description="Answers drawn.")


class Account(View):
    """What a key has spent of one currency in one period."""

    spent: int = Field(description="By shards that are committed.")
    held: int = Field(description="What unfinished shards may cost, at most.")
    limit: int | None = Field(description="null: none.")
    left: int | None = Field(description="What a new job may hold; null where there is no limit.")


class Accounts(View):
    """One currency, in all and today."""

    total: Account
    day: Account


class UsageView(View):
    """What a key has spent and may still spend."""

    object: Literal["usage"] = "usage"
    key: str
    evaluations: Accounts
    tokens: Accounts
    samples: Accounts
    renews_at: float = Field(description="When `day` begins anew, in seconds since 1970.")


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
    usage: UsageView


class KeyMade(KeyView):
    """A new key, with what nobody is shown again."""

    key: str = Field(description="Send it as `Authorization: Bearer KEY`.")


class Keys(View):
    """All keys, oldest first."""

    data: list[KeyView]
