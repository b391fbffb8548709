"""Answers as drawings, for pages that show text only otherwise."""

from typing import Any

from fastapi import APIRouter, Query, Response

from service import depiction
from service.api.errors import Problem
from service.api.guard import StrictRoute

router = APIRouter(route_class=StrictRoute)
HEADERS = {
    "Cache-Control": "private, max-age=86400",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/svg+xml": {}}, "description": "The drawing."},
    501: {"description": "RDKit is not installed here."},
}


@router.get("/v1/depictions/molecule", tags=["artifacts"], response_class=Response, responses=ANSWERS)
def molecule(smiles: str = Query(min_length=1, max_length=500, description="The molecule.")) -> Response:
    """A molecule as SVG: shapes only. 422 with RDKit's reason for what is none; 501 without RDKit."""
    try:
        return Response(depiction.molecule(smiles), media_type="image/svg+xml", headers=HEADERS)
    except depiction.NotInstalled as error:
        raise Problem(501, str(error)) from None
    except depiction.Undrawn as error:
        raise Problem(422, str(error)) from None
