"""Routes of webhooks: the secret that signs them, and what became of each message."""

import sqlalchemy as sa
from fastapi import APIRouter, Request

from service.api.guard import StrictRoute
from service.api.state import store
from service.store import jobs, outbox
from service.store.access import KEY
from service.views.webhooks import Deliveries, DeliveryView, SecretView

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=StrictRoute)


@router.post("/webhooks/secret", status_code=201)
def secret(request: Request) -> SecretView:
    """Make the secret with which this key's messages are signed from now on. It is in this answer and nowhere else."""
    return SecretView(secret=store(request).write(outbox.renew, KEY.get()))


@router.get("/jobs/{job}/deliveries")
def deliveries(job: str, request: Request) -> Deliveries:
    """What was told of a job's end, and what became of it."""

    def work(connection: sa.Connection) -> Deliveries:
        rows = outbox.of(connection, jobs.find(connection, job).id)
        return Deliveries(data=[view(row) for row in rows])

    return store(request).read(work)


def view(row: outbox.Row) -> DeliveryView:
    """A delivery."""
    return DeliveryView(
        id=row.name,
        type=row.type,
        url=row.url,
        state=row.state,
        attempts=row.attempts,
        status=row.status,
        error=row.error,
        created_at=row.created,
        changed_at=row.changed,
        next_at=row.due if row.state == "pending" else None,
    )
