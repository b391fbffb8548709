"""How the samples of an item hang together, which decides what a curve may say of fewer of them."""

from typing import NamedTuple

from generators.given import GIVEN, Given
from service.catalog import plan_of
from service.spec import JobSpec


class Dependence(NamedTuple):
    """stops: why drawing may have ended early. piece: samples of one search, which depend on each other; else None."""

    stops: str | None
    piece: int | None


def dependence(spec: JobSpec) -> Dependence:
    """Of a stored job. Answers that are given hang together as in the job that drew them."""
    plan = plan_of(spec.search)
    if spec.model.name != GIVEN:
        return Dependence(plan.stops, plan.piece) if plan else Dependence(None, None)
    given = Given.model_validate(spec.model.config)
    stops = (plan and plan.stops) or ("converged" if given.early else None)
    return Dependence(stops, given.population)
