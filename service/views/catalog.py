"""What a job may name."""

from typing import Any

from pydantic import Field

from service.views.base import View


class PluginView(View):
    """A model, verifier or method that a job may name."""

    name: str
    version: str
    card: str
    config: dict[str, Any] = Field(description="JSON Schema of its own fields.")
    offers: list[str]
    needs: list[str]


class Plugins(View):
    """All plug-ins of a kind."""

    data: list[PluginView]
