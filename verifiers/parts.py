"""Verifiers made of verifiers: how a part is named, checked and asked.

The engine asks each part in its own place (process, device, thread), shares its calls with other jobs, and counts its
seconds. Called as a plain verifier, without an engine, a composite makes its parts itself and asks them here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import isawaitable
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from search.plugins import Plugin
from search.ports import Answer, Config, Item, Score, Verifier
from search.scoring import Combine
from verifiers.builtin import VERIFIERS


class Part(BaseModel):
    """A verifier's name and, beside it, its own configuration."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)
    name: str = Field(max_length=200, description="Name of a verifier.")
    threshold: float | None = Field(None, description="When given, an answer passes if its value is at least this.")

    @cached_property
    def found(self) -> tuple[Plugin, Config]:
        """The plug-in and its checked configuration. Raises ValueError: an unknown name lists the valid ones."""
        plugin = VERIFIERS.find(self.name)
        return plugin, plugin.config.model_validate(self.model_extra or {})

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            _ = self.found
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            message = fault["msg"]
            if fault["type"] == "extra_forbidden":
                valid = sorted(VERIFIERS.find(self.name).config.model_fields)
                message = f"unknown field; valid: {', '.join(valid) or 'none'}"
            raise ValueError(f"verifier {self.name!r}: {where}: {message}") from None
        return self


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


PartField = Annotated[Part, BeforeValidator(_named, json_schema_input_type=str | Part)]


class Composed(Config):
    """Base of a composite's configuration."""

    @property
    def parts(self) -> Sequence[Part]:
        """The verifiers that it is made of, in the order in which they are asked for."""
        raise NotImplementedError

    def check(self, item: Item) -> None:
        for part in self.parts:
            part.found[1].check(item)


@cache
def made(name: str, config: str) -> Verifier:
    """A part, made in this process."""
    plugin = VERIFIERS.find(name)
    return plugin.factory(plugin.config.model_validate_json(config))


@dataclass(frozen=True)
class Composite:
    """Parts and what makes scores out of theirs."""

    parts: Sequence[Part]
    combine: Combine

    async def __call__(self, answers: Sequence[Answer]) -> Sequence[Score]:
        """Scores, with all parts asked here."""
        return await self.combine(answers, self._here)

    async def _here(self, index: int, answers: Sequence[Answer]) -> Sequence[Score]:
        part = self.parts[index]
        given: Any = made(part.name, part.found[1].model_dump_json())(answers)
        scores: Sequence[Score] = await given if isawaitable(given) else given
        if part.threshold is None:
            return scores
        return [s if s.value is None else s._replace(passed=s.value >= part.threshold) for s in scores]
