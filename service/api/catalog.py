"""Routes that say what a job may name, and whether the service is well."""

from fastapi import APIRouter, Request, Response

from search.plugins import Registry, Unknown
from service.api.errors import Problem
from service.api.guard import StrictRoute
from service.registries import REGISTRIES, described
from service.store import blobs
from service.views import Plugins, PluginView

router = APIRouter(route_class=StrictRoute)


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
