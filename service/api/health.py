"""Whether the service is well, for balancers and scrapers. What they add to an address is not read."""

import json
import shutil
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from service.api.errors import problem
from service.queue import Broker
from verifiers.programs import tiers

router = APIRouter(tags=["health"])
LEAST = 256 * 2**20
"""Free bytes of the data folder's disk below which `/readyz` warns."""


def room(folder: Path) -> int | None:
    """Free bytes of the disk on which a folder is; None where it is not, as when all is kept elsewhere."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """Database and queue answer: 200 with `warnings` and the tier at which programs run here; or 503 and why."""
    wrong: list[str] = []
    warnings: list[str] = []
    try:
        request.app.state.store.read(lambda connection: connection.execute(sa.text("select 1")).scalar())
    except SQLAlchemyError:
        wrong.append("the database does not answer")
    try:
        broker: Broker = request.app.state.watch.broker
        broker.redis.ping()
        if broker.durable() is False:
            warnings.append("Redis runs without AOF (appendonly no): a crash loses acknowledged writes")
    except redis.RedisError:
        wrong.append("the queue does not answer")
    if (free := room(request.app.state.data_dir)) is not None and free < LEAST:
        warnings.append(f"the disk of the data folder has {free / 2**20:.0f} MB left: make room")
    if wrong:
        return problem(503, "; ".join(wrong), headers={"Retry-After": "2"})
    found = tiers.standing()
    programs = {"tier": found.tier, "missing": list(found.missing)}
    said: dict[str, Any] = {"status": "ready", "programs": programs} | ({"warnings": warnings} if warnings else {})
    return Response(json.dumps(said), media_type="application/json")


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)
