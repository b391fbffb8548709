"""Requests in OpenAI's spelling. Every field is honoured or refused: what a model has no setting for is a 422."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from search.metering import Budget
from search.ports import Frozen, Item, Many, Message
from service import catalog
from service.catalog import Invalid, Prepared
from service.registries import REGISTRIES
from service.spec import JobSpec, JudgeField

Number = Annotated[float, Field(strict=False)]
Stops = Annotated[Many[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
TOP = 128
"""Answers returned for one prompt, at most."""
ONLY: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "tools": (None, []),
    "store": (None, False),
    "service_tier": (None, "auto", "default"),
    "echo": (None, False),
    "suffix": (None, ""),
}
"""Fields that are accepted at values which ask for nothing."""


class DoorSearch(BaseModel):
    """What OpenAI's requests have no word for: the search method with its own fields, and these."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)
    method: str = Field("best_of_n", max_length=200)
    verifiers: Many[JudgeField] = Field((), max_length=16, description="`any`, which accepts everything, when empty.")
    graders: Many[JudgeField] = Field((), max_length=16)
    budget: Budget = Field(default_factory=lambda: Budget.model_validate({}))
    target: JsonValue = Field(None, description="What verifiers and graders compare with.")
    model: dict[str, JsonValue] = Field(default_factory=dict, description="The model's own fields.")

    @property
    def config(self) -> dict[str, Any]:
        """The method's own fields."""
        return self.model_extra or {}


class StreamOptions(Frozen):
    """What a stream ends with."""

    include_usage: bool = False


class Asked(Frozen):
    """What all kinds of request share."""

    only: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    model: str = Field(max_length=200)
    n: int = Field(1, ge=1, le=TOP, description="Answers returned, best first.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, max_length=500)
    metadata: dict[str, str] | None = Field(None, max_length=16)
    search: DoorSearch = Field(default_factory=lambda: DoorSearch.model_validate({}))

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        for name, allowed in self.only.items():
            if getattr(self, name, None) not in allowed:
                raise ValueError(f"{name} is not supported; leave it out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options goes with stream: true")
        return self

    @property
    def draws(self) -> int:
        """Answers to draw when `search` does not say."""
        return self.n

    def settings(self) -> dict[str, Any]:
        """The model's fields."""
        return {}

    def items(self, chats: bool) -> list[Item]:
        """What is asked. chats: the model takes conversations. Raises ValueError."""
        raise NotImplementedError

    def labels(self) -> dict[str, str]:
        """Metadata of the job."""
        return {**(self.metadata or {}), **({} if self.user is None else {"user": self.user})}

    def job(self, seed: int, name: Callable[[int], str] = str, **more: Any) -> Prepared:
        """The job that answers the request. seed: when the request has none. name: ids of the items. Raises Invalid."""
        return self.prepared(self.named(name), seed, more)

    def prepared(self, items: list[dict[str, Any]], seed: int, more: dict[str, Any]) -> Prepared:
        """The checked job of items that share these settings. Raises Invalid."""
        found = catalog.prepare(self.spec(items, seed, more))
        if found.plan.samples < self.n:
            message = f"{found.plan.samples} answers are drawn, {self.n} asked for"
            raise Invalid([{"loc": ["search"], "msg": message}])
        return found

    def named(self, name: Callable[[int], str]) -> list[dict[str, Any]]:
        """The items, with ids. Raises Invalid."""
        try:
            found = self.items(chats(self.model))
        except ValueError as error:
            raise Invalid([{"loc": ["messages"], "msg": str(error)}]) from None
        more = {"target": self.search.target}
        return [item.model_dump(mode="json") | more | {"id": name(i)} for i, item in enumerate(found)]

    def spec(self, items: list[dict[str, Any]], seed: int, more: dict[str, Any]) -> JobSpec:
        """The job of items that share these settings. more: fields of the job in place of the usual. Raises Invalid."""
        chosen, config = self.search, dict(self.search.config)
        if twice := sorted(self.settings().keys() & chosen.model.keys()):
            raise Invalid([{"loc": ["search", "model", twice[0]], "msg": f"{twice[0]} is given twice"}])
        if chosen.method == "best_of_n":
            config.setdefault("n", self.draws)
        fields = {
            "model": {"name": self.model, **chosen.model, **self.settings()},
            "items": items,
            "search": {"method": chosen.method, **config},
            "verifiers": [ref.model_dump() for ref in chosen.verifiers] or ["any"],
            "graders": [ref.model_dump() for ref in chosen.graders],
            "budget": chosen.budget.model_dump(),
            "seed": seed if self.seed is None else self.seed,
            "top_k": self.n,
            "priority": "interactive",
            "metadata": self.labels(),
            **more,
        }
        try:
            return JobSpec.model_validate(fields)
        except ValidationError as error:  # what each field may be, all of them together need not be
            raise Invalid(catalog.faults(error, JobSpec)) from None


def chats(model: str) -> bool:
    """Whether the model of that name takes conversations; one that is not there may."""
    try:
        return "chat" in REGISTRIES["models"].find(model).facts.offers
    except Exception:  # `prepare` says what is wrong
        return True


class Worded(Asked):
    """What requests for text share."""

    only = ONLY

    temperature: Number | None = Field(None, ge=0, le=2)
    top_p: Number | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: Stops | None = Field(None, max_length=4)
    frequency_penalty: JsonValue = None
    presence_penalty: JsonValue = None
    logit_bias: JsonValue = None
    store: JsonValue = None
    service_tier: JsonValue = None

    def settings(self) -> dict[str, Any]:
        """The model's fields."""
        asked = {name: getattr(self, name) for name in ("temperature", "top_p", "max_tokens", "stop")}
        return {name: value for name, value in asked.items() if value is not None}


class Part(Frozen):
    """A piece of a turn."""

    type: Literal["text"]
    text: str = Field(max_length=100_000)


class Turn(Frozen):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Many[Part]
    name: None = None

    def message(self) -> Message:
        """As an item has it."""
        parts = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(role=self.role, content=parts)


class Chat(Worded):
    """Body of /v1/chat/completions."""

    messages: Many[Turn] = Field(min_length=1, max_length=1000)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    response_format: JsonValue = None
    tools: JsonValue = None

    def settings(self) -> dict[str, Any]:
        """The model's fields."""
        own = super().settings() | ({"logprobs": True} if self.logprobs else {})
        return own | ({} if self.max_completion_tokens is None else {"max_tokens": self.max_completion_tokens})

    def items(self, chats: bool) -> list[Item]:
        """One conversation; for a model that takes none, the prompt that is its only turn."""
        messages = [turn.message() for turn in self.messages]
        if chats:
            return [Item(messages=tuple(messages))]
        if len(messages) != 1 or messages[0].role != "user":
            raise ValueError(f"model {self.model!r} takes no conversation; send one message of the user")
        return [Item(prompt=messages[0].content)]


class Completion(Worded):
    """Body of /v1/completions."""

    prompt: Annotated[str, Field(max_length=100_000)] | Annotated[Many[str], Field(min_length=1, max_length=10_000)]
    best_of: int | None = Field(None, ge=1, le=1_000_000, description="Answers drawn; the best `n` are returned.")
    logprobs: Literal[0] | None = Field(None, description="0: those of the answer's tokens, and no others.")
    echo: JsonValue = None
    suffix: JsonValue = None

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.best_of is not None and not self.search.verifiers:
            raise ValueError("best_of needs search.verifiers: which answer is best?")
        return self

    @property
    def draws(self) -> int:
        """As the request says."""
        return self.best_of or self.n

    def settings(self) -> dict[str, Any]:
        """The model's fields."""
        return super().settings() | ({} if self.logprobs is None else {"logprobs": True})

    def items(self, chats: bool) -> list[Item]:
        """One for each prompt."""
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        return [Item(prompt=prompt) for prompt in prompts]
