"""Stored answers judged again: the spec of a job that draws nothing."""

from typing import Any

import sqlalchemy as sa
from pydantic import Field

from generators.given import GIVEN
from search.metering import Budget
from search.ports import Frozen, Many
from service.catalog import Invalid, Prepared
from service.dependence import dependence
from service.spec import JobSpec, JudgeField, Lane, Search, WebhookField
from service.store import jobs, stored
from service.store.jobs import Conflict
from service.store.schema import TERMINAL


class Rescoring(Frozen):
    """How the stored answers of a job are judged again."""

    verifiers: Many[JudgeField] = Field(min_length=1, max_length=16, description="They select.")
    graders: Many[JudgeField] = Field((), max_length=16, description="They only report.")
    search: Search = Field(
        default_factory=lambda: Search.model_validate({}),
        description="How an answer is selected: the fields of best_of_n but `n`, which is what there is.",
    )
    budget: Budget = Field(default_factory=lambda: Budget.model_validate({}))
    top_k: int = Field(1, ge=1, le=1000, description="Best answers in an item's result.")
    priority: Lane = "batch"
    webhook: WebhookField = None
    metadata: dict[str, str] = Field(default_factory=dict, max_length=16)


def ended(connection: sa.Connection, name: str) -> sa.Row[Any]:
    """A job that has ended. Raises Missing, Conflict."""
    job = jobs.find(connection, name)
    if job.state not in TERMINAL:
        raise Conflict(f"job {name} is {job.state}; its answers can be judged again when it has ended")
    return job


def spec_of(connection: sa.Connection, name: str, asked: Rescoring) -> JobSpec:
    """The job that judges the answers of job `name` again. Raises Missing, Conflict, or Invalid."""
    job = ended(connection, name)
    source, extent = JobSpec.model_validate_json(job.spec), stored.extent(connection, job.id)
    if not extent.kept:
        drew = f"{job.candidates} were drawn, and none was kept" if job.candidates else "none was drawn"
        raise Conflict(f"job {name} has no answers to be judged again: {drew}")
    if asked.search.method != "best_of_n" or "n" in asked.search.config:
        message = "answers are not drawn again, only selected; valid here: fields of best_of_n other than n"
        raise Invalid([{"loc": ["search"], "msg": message}])
    stops, piece = dependence(source)
    whole = source.keep == "all"
    population = extent.samples if not whole else piece if stops is None else None
    in_order = asked.search.config.get("select") == "first_pass" or asked.search.config.get("stop") is not None
    if in_order and population is not None:
        why = "depend on each other" if whole else "are only the best of those that it drew"
        message = f"the answers of job {name} {why}: in which order they come says nothing; valid here: the other rules"
        raise Invalid([{"loc": ["search", "select"], "msg": message}])
    model: dict[str, Any] = {"name": GIVEN, "job": name, "population": population}
    model["early"] = whole and stops is not None
    search = Search.model_validate({"method": "best_of_n", **asked.search.config, "n": extent.samples})
    own = {field: getattr(asked, field) for field in Rescoring.model_fields}
    return JobSpec.model_validate({**own, "model": model, "search": search, "items": source.items, "seed": source.seed})


def source_held(connection: sa.Connection, prepared: Prepared) -> None:
    """The job whose answers a new one will judge is there and ended, and stays so until this transaction ends.

    Raises Missing, Conflict.
    """
    assert prepared.source is not None
    jobs.hold(connection, jobs.find(connection, prepared.source).id)
    ended(connection, prepared.source)
