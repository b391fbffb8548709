"""Routes of audits and of verifiers' cards: parse, call one function, return a model."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from service import audit
from service.api.guard import StrictRoute
from service.api.state import store
from service.cards import Asked, Kind, card, cards
from service.views import Audits, Card, Cards, NextAudits

router = APIRouter(prefix="/v1", tags=["cards"], route_class=StrictRoute)
Judge = Annotated[str | None, Query(max_length=200, description="Its label; the first verifier when left out.")]
Limit = Annotated[int, Query(ge=1, le=audit.MOST)]


@router.get("/jobs/{job}/audits/next")
def following(
    job: str,
    request: Request,
    judge: Judge = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    by: Annotated[
        Literal["answer", "verdict"],
        Query(description="answer: uniform over scored answers. verdict: as many accepted as rejected."),
    ] = "answer",
    seed: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    show: Annotated[bool, Query(description="Say what the judge said; that would sway a label.")] = False,
) -> NextAudits:
    """Answers that a person should label next: a random sample that depends on the seed alone."""
    return store(request).read(audit.following, job, judge, by, limit, seed, show)


@router.post("/jobs/{job}/audits")
def label(job: str, labelled: audit.Labelled, request: Request) -> Audits:
    """Label answers as right or wrong, all of them or none; a label again replaces the one before."""
    return store(request).write(audit.keep, job, labelled)


@router.get("/jobs/{job}/audits")
def listing(
    job: str,
    request: Request,
    judge: Judge = None,
    limit: Limit = 100,
    after: Annotated[str, Query(pattern=r"^-?\d{1,9}:-?\d{1,9}$")] = "-1:-1",
) -> Audits:
    """Labels of a judge's answers, by item and sample."""
    item, sample = map(int, after.split(":"))
    return store(request).read(audit.listed, job, judge, (item, sample), limit)


@router.get("/cards")
def listed(request: Request) -> Cards:
    """Verifiers that judged anything."""
    return store(request).read(cards)


@router.get("/cards/{name:path}")
def one(
    name: str,
    request: Request,
    version: Annotated[str | None, Query(max_length=200, description="The newest when left out.")] = None,
    config: Annotated[str | None, Query(max_length=64, description="Digest of its settings; the newest.")] = None,
    level: Annotated[float, Query(gt=0.5, lt=1)] = 0.95,
    against: Annotated[
        str | None,
        Query(max_length=200, description="`audits` or a grader's label; labels by people go first when left out."),
    ] = None,
    interval: Kind = "wilson",
) -> Card:
    """All that its verdicts show of a verifier, over all jobs with the same version and settings."""
    return store(request).read(card, Asked(name[:200], version, config, level, against, interval))
