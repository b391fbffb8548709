"""What a tune asks for, and one trial of it."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from search.evolution import Genes, Lever
from search.ports import Frozen, Item, Many
from service.spec import JudgeField, Lane, ModelField, identified

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Stage = Literal["reference", "baseline", "candidate", "final reference", "final baseline", "final"]


class Objective(Frozen):
    """What a candidate is worth. score: the mean of its answers' values, the more the better.

    frechet: the distance between the places of its answers and those of the reference, the less the better.
    """

    measure: Literal["score", "frechet"] = "score"
    features: str | None = Field(None, max_length=200, description="frechet: the feature space.")
    reference: ModelField | None = Field(
        None, description="frechet: the model as it draws at its best, from the same noises: more steps, say."
    )


class Limit(Frozen):
    """What a tune may spend."""

    evaluations: int | None = Field(None, ge=1, description="Network evaluations of all its jobs; hard.")


class TuneSpec(Frozen):
    """A search for the settings of a model that its verifiers, or a distance to a reference, like best."""

    preset: str = Field(pattern=NAME, description="The name under which jobs will find the result.")
    model: ModelField = Field(description="The baseline: a model's name, or an object of `name` and its fields.")
    levers: dict[str, Lever] = Field(min_length=1, max_length=32, description="Fields of the model, by name.")
    items: Many[Item] = Field(min_length=1, max_length=1000, description="Every candidate answers all of them.")
    verifiers: Many[JudgeField] = Field(min_length=1, max_length=16)
    objective: Objective = Field(default_factory=lambda: Objective.model_validate({}))
    samples: int = Field(16, ge=1, le=4096, description="Answers to each item by one candidate.")
    population: int = Field(16, ge=2, le=256, description="Candidates of a generation.")
    generations: int = Field(8, ge=1, le=100)
    finalists: int = Field(3, ge=1, le=16, description="The best, drawn again with other noises beside the baseline.")
    final_samples: int | None = Field(None, ge=1, le=4096, description="Answers to each item then; twice `samples`.")
    evaluations: int | None = Field(
        None, ge=1, description="Evaluations of one answer, at most; those of the baseline when left out."
    )
    budget: Limit = Field(default_factory=lambda: Limit.model_validate({}))
    seed: int = Field(0, ge=-(2**63), lt=2**63 - 1)
    priority: Lane = "batch"

    @field_validator("items")
    @classmethod
    def _ids(cls, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """As of a job."""
        return identified(items)

    @property
    def last_samples(self) -> int:
        """Answers of one finalist to one item."""
        return self.final_samples or min(4096, 2 * self.samples)


@dataclass(frozen=True)
class Trial:
    """One job of a tune. evaluations: None until it has ended; value, or the reason why there is none."""

    stage: Stage
    genes: Genes
    generation: int | None = None
    evaluations: int | None = None
    value: float | None = None
    reason: str | None = None

    @property
    def final(self) -> bool:
        """Whether it is of the last round, with its own noises."""
        return self.stage.startswith("final")
