"""The route of comparisons: parse, call one function, return a model."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.api.errors import Problem
from service.api.guard import StrictRoute
from service.comparable import Different
from service.compare import compared
from service.store import Store
from service.views import Comparison

router = APIRouter(prefix="/v1", tags=["compare"], route_class=StrictRoute)
MOST = 16
"""Jobs of one comparison, at most: it is computed while a request waits."""


@router.get("/compare")
def compare(
    request: Request,
    jobs: Annotated[str, Query(max_length=2000, description=f"2 to {MOST} job ids with commas between.")],
    judge: Annotated[str | None, Query(description="Whose verdicts count; the first grader when left out.")] = None,
    level: Annotated[float, Query(gt=0.5, lt=1)] = 0.95,
) -> Comparison:
    """Finished jobs on the same items under several searches: outcomes, costs, paired differences to the control.

    The control of a job is the best_of_n job at equal evaluations if there is exactly one, else the first job.
    """
    names = [name.strip() for name in jobs.split(",")]
    if not 2 <= len(names) <= MOST:
        raise Problem(422, f"jobs: {len(names)} ids were given; a comparison takes 2 to {MOST}, with commas between")
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise Problem(422, f"jobs: {twice[:100]!r} stands more than once")
    database: Store = request.app.state.store
    try:
        return database.read(compared, names, judge, level)
    except Different as error:
        raise Problem(422, str(error)) from None
