"""What is told to others when a job ends."""

from typing import Literal

from pydantic import Field

from service.views.base import View


class SecretView(View):
    """A new secret, which nobody is shown again."""

    secret: str = Field(description="Checks what this key's jobs send: Standard Webhooks, `whsec_` and base64.")


class DeliveryView(View):
    """One message to a job's webhook."""

    id: str = Field(description="The header `webhook-id`, the same in every attempt.")
    object: Literal["delivery"] = "delivery"
    type: str = Field(description="`job.completed`, `job.failed` or `job.cancelled`.")
    url: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    status: int | None = Field(description="Of the last reply.")
    error: str | None = Field(description="Why the last attempt was none.")
    created_at: float
    changed_at: float
    next_at: float | None = Field(description="When the next attempt may be made; null when there is none.")


class Deliveries(View):
    """Messages to a job's webhook, oldest first: one for each time that the job has ended."""

    data: list[DeliveryView]
