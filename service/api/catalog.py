"""Routes that say what a job may name, and whether the service is well."""

import json
from typing import Any

import redis
import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from search.plugins import Registry, Unknown
from service.api.errors import Problem, problem
from service.catalog import REGISTRIES, described
from service.queue import Broker
from service.store import blobs
from service.views import Plugins, PluginView
from verifiers.programs import tiers

router = APIRouter()


def _routes(kind: str, registry: Registry) -> None:
    """GET /v1/KIND and /v1/KIND/NAME."""

    @router.get(f"/v1/{kind}", tags=["catalog"], operation_id=f"list_{kind}")
    def listing() -> Plugins:
        """Every plug-in of this kind, with its card and the schema of its own fields."""
        return Plugins(data=[described(kind, name) for name in registry.names()])

    @router.get(f"/v1/{kind}/{{name:path}}", tags=["catalog"], operation_id=f"get_{kind}")
    def one(name: str) -> PluginView:
        """One plug-in."""
        try:
            return described(kind, name[:200])
        except Unknown as unknown:
            raise Problem(404, str(unknown)) from None


for _kind, _registry in REGISTRIES.items():
    _routes(_kind, _registry)


@router.get("/v1/artifacts/{sha256}", tags=["artifacts"], responses={304: {"description": "You have it."}})
def artifact(sha256: str, request: Request) -> Response:
    """Bytes of an answer: named by their hash, they never change."""
    found = request.app.state.store.read(blobs.find, sha256) or request.app.state.artifacts.get(sha256)
    if found is None:
        raise Problem(404, f"no artifact {sha256[:80]!r}")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "ETag": f'"{sha256}"',
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(found.data, media_type=found.media, headers=headers)


@router.get("/healthz", tags=["health"])
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"])
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
    if wrong:
        return problem(503, "; ".join(wrong), headers={"Retry-After": "2"})
    found = tiers.standing()
    programs = {"tier": found.tier, "missing": list(found.missing)}
    said: dict[str, Any] = {"status": "ready", "programs": programs} | ({"warnings": warnings} if warnings else {})
    return Response(json.dumps(said), media_type="application/json")


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)
