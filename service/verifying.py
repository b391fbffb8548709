"""Answers that come with a request, judged once: a job of one item whose answers are given."""

from typing import Any

import sqlalchemy as sa
from pydantic import Field, JsonValue

from generators.given import GIVEN, PIECE, picture
from search.ports import Frozen, Item, Many
from service.catalog import Invalid
from service.spec import JobSpec, JudgeField
from service.store import results
from service.store.schema import TERMINAL
from service.views import ScoreView, Verified

PIXELS = 2**25
"""Of all pictures of a request together, at most: small files may hold large ones."""


class Verification(Frozen):
    """Body of POST /v1/verify."""

    answers: Many[JsonValue] = Field(min_length=1, max_length=PIECE, description="Texts, numbers, lists, objects.")
    item: Item = Field(default_factory=Item, description="What they answer: prompt, target, ...")
    verifiers: Many[JudgeField] = Field(min_length=1, max_length=16)
    pictures: bool = Field(False, description="Every answer is a picture: PNG, JPEG or WebP in base64.")


def job_of(asked: Verification) -> JobSpec:
    """The job that judges the answers. Raises Invalid."""
    if asked.pictures:
        _checked(asked.answers)
    model = {"name": GIVEN, "answers": asked.answers, "pictures": asked.pictures}
    search = {"method": "best_of_n", "n": len(asked.answers)}
    named: dict[str, Any] = {"model": model, "items": (asked.item,), "search": search, "verifiers": asked.verifiers}
    return JobSpec.model_validate({**named, "priority": "interactive"})


def _checked(answers: tuple[JsonValue, ...]) -> None:
    """Raise Invalid unless all are pictures that a worker can hold at once."""
    left = PIXELS
    for i, answer in enumerate(answers):
        try:
            if not isinstance(answer, str):
                raise ValueError("a picture is a PNG, JPEG or WebP in base64, as a string")
            height, width = picture(answer, f"answers.{i}", left).shape[:2]
            left -= height * width
        except ValueError as error:
            raise Invalid([{"loc": ["answers", i], "msg": str(error)}]) from None


def verified(connection: sa.Connection, job: sa.Row[Any]) -> Verified:
    """What the verifiers said, if they have all spoken; an answer that none was asked about is unscored, with why."""
    if job.state not in TERMINAL:
        return Verified(job=job.name, state=job.state, data=None)
    found = results.candidates_page(connection, job.id, (-1, -1), PIECE)
    judged = {row["sample"]: [ScoreView(**score) for score in row["scores"]] for row in found}
    why = job.error or f"the job was {job.state} before they were asked"
    none = [
        ScoreView(name=judge.label, value=None, passed=None, reason=why, version=judge.version, ms=0.0)
        for judge in results.judges_of(connection, job.id)
    ]
    given = JobSpec.model_validate_json(job.spec).search.config["n"]
    return Verified(job=job.name, state=job.state, data=[judged.get(sample, none) for sample in range(given)])
