"""What a job may name."""

from typing import Any, Literal

from pydantic import Field

from service.views.base import View


class PluginView(View):
    """A model, verifier or method that a job may name."""

    name: str
    id: str = Field(description="The name again, where OpenAI has it.")
    object: str = Field(description="Its kind: model, verifier, method or feature space.")
    created: int = 0
    owned_by: str = "winnow"
    version: str
    card: str
    config: dict[str, Any] = Field(description="JSON Schema of its own fields.")
    here: str | None = Field(
        None, description="What this machine gives to it, where that matters: of programs, the tier."
    )
    offers: list[str]
    needs: list[str]


class Plugins(View):
    """All plug-ins of a kind."""

    object: Literal["list"] = "list"
    data: list[PluginView]
