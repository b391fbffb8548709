"""What a client asks for: the only thing that crosses the queue. Unknown fields and wrong types are refused."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from search.metering import Budget
from search.ports import Frozen, Item, Many

Lane = Literal["interactive", "batch"]


class Named(BaseModel):
    """A plug-in's name and, beside it, its own configuration."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)
    name: str = Field(max_length=200)

    @property
    def config(self) -> dict[str, Any]:
        """The plug-in's own fields."""
        return self.model_extra or {}


class ModelRef(Named):
    """The model of a job."""

    preset: str | None = Field(
        None, max_length=100, description="Settings under this name, in place of the model's own fields that it sets."
    )

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As it was asked for: without a preset where there is none."""
        return {name: value for name, value in handler(self).items() if name != "preset" or value is not None}


class JudgeRef(Named):
    """A verifier or grader of a job."""

    label: str = Field("", max_length=100, description="Name in results; the verifier's name when left out.")
    threshold: float | None = Field(None, description="When given, an answer passes if its value is at least this.")


class Search(BaseModel):
    """A search method and, beside it, its own configuration."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)
    method: str = Field("best_of_n", max_length=200)

    @property
    def config(self) -> dict[str, Any]:
        """The method's own fields."""
        return self.model_extra or {}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _address(value: str) -> str:
    """A URL of a webhook, normalised."""
    url = HTTP.validate_python(value)
    if url.username is not None or url.password is not None or url.fragment is not None:
        raise ValueError("a webhook's URL has no user, no password and no fragment")
    return str(url)


def identified(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Position as id where none was given. Raises ValueError unless ids differ."""
    named = tuple(item if item.id else item.model_copy(update={"id": str(i)}) for i, item in enumerate(items))
    twice = [name for name, times in Counter(item.id for item in named).items() if times > 1]
    if twice:
        raise ValueError(f"item ids must differ; {twice[0]!r} stands more than once")
    return named


HTTP = TypeAdapter[HttpUrl](HttpUrl)
ModelField = Annotated[ModelRef, BeforeValidator(_named, json_schema_input_type=str | ModelRef)]
WebhookField = Annotated[
    Annotated[str, AfterValidator(_address)] | None,
    Field(max_length=2000, description="URL that is told when the job has ended; see POST /v1/webhooks/secret."),
]
JudgeField = Annotated[JudgeRef, BeforeValidator(_named, json_schema_input_type=str | JudgeRef)]


class ItemsFrom(Frozen):
    """Items of a reasoning-gym task, or of HumanEval, drawn when the job is submitted."""

    task: str = Field(max_length=200, description="Name of the task, such as lcm or human_eval.")
    count: int = Field(30, ge=1, le=2000, description="Items to draw.")
    seed: int = Field(0, ge=0, lt=2**31, description="The same seed draws the same items.")
    shots: int = Field(0, ge=0, le=16, description="Solved examples in front of each question.")
    chat: bool = Field(False, description="Questions and examples as turns of a conversation, not as one prompt.")
    config: dict[str, JsonValue] = Field(default_factory=dict, description="The task's own settings.")


class JobSpec(Frozen):
    """One generation job: answers for each item, searched by `verifiers`, reported by `graders`, within `budget`."""

    model: ModelField = Field(description="A model's name, or an object of `name` and the model's own fields.")
    items_from: ItemsFrom | None = Field(None, description="In place of `items`: a task to draw them from.")
    items: Many[Item] = Field((), max_length=10_000, validate_default=True, description="1 to 10,000; or `items_from`.")
    search: Search = Field(default_factory=lambda: Search.model_validate({}))
    verifiers: Many[JudgeField] = Field(min_length=1, max_length=16, description="They steer the search.")
    graders: Many[JudgeField] = Field((), max_length=16, description="The search never sees them; they only report.")
    budget: Budget = Field(default_factory=lambda: Budget.model_validate({}))
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    keep: Literal["all", "top_k"] = Field("all", description="Which answers to store; scores are always stored.")
    top_k: int = Field(1, ge=1, le=1000, description="Best answers in an item's result, and those that `top_k` keeps.")
    mode: Literal["optimise", "sample"] = Field(
        "optimise",
        description="optimise: return the best-scoring answers; sample: return all of them with their weights.",
    )
    priority: Lane = "batch"
    webhook: WebhookField = None
    metadata: dict[str, str] = Field(default_factory=dict, max_length=16)

    @field_validator("items")
    @classmethod
    def _ids(cls, items: tuple[Item, ...], info: ValidationInfo) -> tuple[Item, ...]:
        """Position as id where none was given; ids must differ."""
        if bool(items) == bool(info.data.get("items_from")):
            raise ValueError("a job has at least one item, or `items_from` in their place, and not both")
        return identified(items)

    @property
    def judges(self) -> list[tuple[str, JudgeRef]]:
        """(role, reference) of verifiers, then graders."""
        return [("verifier", ref) for ref in self.verifiers] + [("grader", ref) for ref in self.graders]


class Span(Frozen):
    """A range of samples of one item, and the share of the job's budget that it may spend."""

    item: int
    first: int
    count: int
    evaluations: int | None = None
    tokens: int | None = None
    previews: int | None = None
    verifier_calls: int | None = None
    verifier_seconds: float | None = None


class Ticket(Frozen):
    """What lies in a queue: everything else is read from SQL, which is the truth."""

    shard: int
    job: int
    model: str
    lane: Lane
    share: str = Field("", exclude=True, description="Names its stream; in the message itself nobody needs it.")
