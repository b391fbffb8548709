"""A model behind an endpoint that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, Ollama, hosted ones."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

import regex
from pydantic import Field, model_validator

from search.configs import ModelConfig
from search.endpoints import VARIABLE, Endpoint, endpoints
from search.plugins import plugin
from search.ports import Frozen, Generator, Item, Many

SHARD = 64
"""Samples in one piece of work: what a worker that dies has to ask for again, at most."""


class Step(Frozen):
    """What a search method sees as one step of an answer."""

    unit: Literal["line", "regex"] = Field("line", description="A step ends after a line, or what `pattern` matches.")
    pattern: str | None = Field(
        None, min_length=1, max_length=200, description="With `regex`: searched in what the step has generated."
    )
    most: int = Field(8, ge=1, le=4096, description="Steps of an answer; it is cut behind them.")
    tokens: int = Field(64, ge=1, le=4096, description="Tokens of a step, at most.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.unit == "regex") != (self.pattern is not None):
            raise ValueError(f"`pattern` goes with unit 'regex', and only with it; unit is {self.unit!r}")
        try:
            regex.compile(self.pattern or "")
        except regex.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from None
        return self


class OpenAI(ModelConfig):
    """A model behind an endpoint and how it is sampled."""

    endpoint: str = Field(max_length=100, description="One of the operator's endpoints.")
    model: str | None = Field(None, min_length=1, max_length=300, description="As the server calls it; its own if not.")
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(256, ge=1, le=131_072, description="Tokens of an answer, or of each of its steps, at most.")
    stop: Many[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        (), max_length=4, description="The answer ends before the first of these."
    )
    logprobs: bool = Field(
        False, description="Answers are objects of text, logprobs (null where the server gives none), finish_reason."
    )
    step: Step | None = Field(None, description="Asked for in steps, so that a search may steer; else in one go.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        server = self.server
        if self.model is None and server.model is None:
            raise ValueError(f"endpoint {self.endpoint!r} has no model of its own: name one in `model`")
        if self.step is not None:
            if not server.continues:
                raise ValueError(f"endpoint {self.endpoint!r} cannot continue a text: leave `step` out")
            if self.logprobs:
                raise ValueError("`logprobs` does not go with `step`")
            if self.step.unit == "line" and ("\n" in self.stop or len(self.stop) > 3):
                raise ValueError("a line's end is what steps stop at: give at most 3 other strings in `stop`")
        return self

    @property
    def server(self) -> Endpoint:
        """The endpoint. Raises ValueError for a name that no endpoint has."""
        known = endpoints()
        if self.endpoint not in known:
            valid = ", ".join(sorted(known)) or f"none: the operator lists them in the file that {VARIABLE} names"
            raise ValueError(f"unknown endpoint {self.endpoint!r}; valid: {valid}")
        return known[self.endpoint]

    @property
    def evaluations(self) -> int:
        """One a step."""
        return self.step.most if self.step else 1

    @property
    def tokens(self) -> int:
        """Every step's."""
        return self.evaluations * self.per_step

    @property
    def per_step(self) -> int:
        """Tokens of one step, at most."""
        return min(self.step.tokens, self.max_tokens) if self.step else self.max_tokens

    @property
    def shard(self) -> int:
        """Samples in one piece of work."""
        return SHARD

    @property
    def lacks(self) -> Mapping[str, str]:
        """What needs a text that can be continued, and what needs chance."""
        if self.step is None:
            remedy = "give `step`" if self.server.continues else "this endpoint serves best_of_n"
            why = f"{remedy} (an answer is asked for in one go)"
            return {"preview": why, "stochastic_step": why}
        return {} if self.temperature else {"stochastic_step": "set temperature above 0"}

    def check(self, item: Item) -> None:
        """Raise ValueError for an item that asks nothing, or a conversation where none is served."""
        if not item.asked:
            raise ValueError("an item for a language model needs a `prompt` or `messages`; this one has neither")
        if item.messages and not self.server.chat:
            raise ValueError(f"endpoint {self.endpoint!r} takes no conversation; give a `prompt`")


@plugin(version="1", offers=("chat", "preview", "stochastic_step"))
def endpoint(config: OpenAI) -> Generator:
    """A model behind one of the operator's endpoints."""
    from generators.remote import Completions

    return cast(Generator, Completions(config, config.server))
