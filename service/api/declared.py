"""The OpenAPI document tells every refusal: the same problem+json everywhere."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from service.api.access import FREE
from service.views.base import View


class Fault(View):
    """One thing that is wrong with a request."""

    loc: list[int | str] = Field(description="Where.")
    msg: str = Field(description="What, and what would have been right.")


class OpenAIError(View):
    """The same in OpenAI's spelling."""

    message: str
    type: str
    param: str | None
    code: str | None


class QuotaLeft(View):
    """Which quota a job would pass."""

    currency: str
    period: str
    limit: int
    left: int
    wanted: int
    renews_at: float | None = Field(description="null: never.")


class Problem(View):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = Field(None, description="Where and what, of a 422.")
    quota: QuotaLeft | None = Field(None, description="Of a 403 or 429 for want of quota.")
    error: OpenAIError


EVERYWHERE = {
    400: "The request does not have one meaning.",
    422: "A value cannot be honoured.",
    503: "Database or queue do not answer; try again.",
}
GUARDED = {
    401: "An API key is needed, and this is none that is valid.",
    403: "The key's scopes or quotas do not allow it.",
    429: "The key's requests or quotas are spent for now.",
}
NAMED = {404: "There is none of that name, or it is somebody else's."}
BODIED = {
    409: "It stands against what is there.",
    413: "The body is too large.",
    415: "The body is of another type.",
}
DOORS = {
    404: "There is none of that name.",
    408: "The client left.",
    502: "No answer could be had.",
    504: "The search took too long.",
}


LISTS = ("/v1/tunes", "/v1/presets")


def refusals(path: str, method: str) -> dict[int, str]:
    """What an operation may answer beside its successes."""
    found = dict(EVERYWHERE)
    if path not in FREE:
        found |= GUARDED
    if path.endswith(("/completions", "/generations")):
        found |= DOORS
    if "{" in path or path in ("/v1/jobs", "/v1/files", "/v1/batches", "/v1/compare", "/v1/dead", "/v1/usage", *LISTS):
        found |= NAMED
    if method != "get":
        found |= BODIED
    if path == "/v1/session":
        found |= {401: GUARDED[401]}
    return found


def declare(app: FastAPI) -> None:
    """Add the refusals to what FastAPI says of the routes."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = told(plain())
        return app.openapi_schema

    app.openapi = openapi


def told(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every refusal of every operation, in place."""
    kept = document["components"]["schemas"]
    shapes: tuple[type[BaseModel], ...] = (Fault, OpenAIError, QuotaLeft, Problem)
    for shape in shapes:
        schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        kept[shape.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        kept.pop(name, None)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation["responses"].pop("422", None)
            for status, why in refusals(path, method).items():
                operation["responses"][str(status)] = {"description": why, "content": content}
    return document
