"""What a job may name."""

from typing import Any, Literal

from pydantic import Field

from service.views.base import View


class PluginView(View):
    """A model, verifier or method that a job may name."""

    name: str
    id: str = Field(description="The name again, where OpenAI has it.")
    object: Literal["model", "verifier", "method", "feature"]
    created: int = 0
    owned_by: str = "winnow"
    version: str
    card: str
    config: dict[str, Any] = Field(description="JSON Schema of its own fields.")
    offers: list[str]
    needs: list[str]


class Plugins(View):
    """All plug-ins of a kind."""

    object: Literal["list"] = "list"
    data: list[PluginView]
