"""Searches for a sampler's settings, and the presets that they make."""

from typing import Any, Literal

from pydantic import Field

from service.views.base import View
from service.views.jobs import Page


class PresetView(View):
    """Settings of a model under a name: `"model": {"name": ..., "preset": ...}`."""

    name: str
    object: Literal["preset"] = "preset"
    model: str
    config: dict[str, Any] = Field(description="The model's own fields that it sets.")
    tune: str | None = Field(description="The tune that found it.")
    created_at: float


class Presets(Page):
    """A page of presets, newest first."""

    data: list[PresetView]


class TrialView(View):
    """One job of a tune."""

    number: int
    stage: Literal["reference", "baseline", "candidate", "final reference", "final baseline", "final"]
    generation: int | None
    genes: dict[str, Any] = Field(description="The levers that it sets.")
    job: str | None
    value: float | None = Field(
        description="Mean score (more is better), or distance to the reference (less is); null without, see `reason`."
    )
    reason: str | None
    evaluations: int | None = Field(description="null until it has ended.")


class Trials(Page):
    """A page of trials, in order."""

    data: list[TrialView]


class TuneView(View):
    """A tune."""

    id: str
    object: Literal["tune"] = "tune"
    state: Literal["in_progress", "cancelling", "completed", "failed", "cancelled"]
    error: str | None
    preset: str = Field(description="The name of the preset, which is there once the tune has completed.")
    created_at: float
    finished_at: float | None
    trials: int = Field(description="So far.")
    trials_done: int
    evaluations: int = Field(description="Spent by trials that have ended.")
    planned: int = Field(description="Evaluations, at most.")
    baseline: TrialView | None = Field(description="The baseline, in the last round once that is there.")
    best: TrialView | None = Field(description="The best so far, in the last round once that is there.")
    spec: dict[str, Any] | None = Field(None, description="As it was accepted; left out of lists.")

    @property
    def finished(self) -> bool:
        """No more will happen."""
        return self.state in ("completed", "failed", "cancelled")


class Tunes(Page):
    """A page of tunes, newest first."""

    data: list[TuneView]
