"""What the API answers with; the client reads the same models."""

from service.views.base import Estimate, Spread, View
from service.views.catalog import Plugins, PluginView
from service.views.compare import Compared, Comparison, OutcomeView, Versus
from service.views.curves import Advice, Beyond, CurveView, Point
from service.views.jobs import (
    Candidates,
    CandidateView,
    Counts,
    Items,
    ItemView,
    Jobs,
    JobState,
    JobView,
    Page,
    Populations,
    PopulationView,
    SampleView,
    ScoreView,
    SplitView,
    Usage,
)

__all__ = [
    "Advice",
    "Beyond",
    "CandidateView",
    "Candidates",
    "Compared",
    "Comparison",
    "Counts",
    "CurveView",
    "Estimate",
    "ItemView",
    "Items",
    "JobState",
    "JobView",
    "Jobs",
    "OutcomeView",
    "Page",
    "PluginView",
    "Plugins",
    "Point",
    "PopulationView",
    "Populations",
    "SampleView",
    "ScoreView",
    "SplitView",
    "Spread",
    "Usage",
    "Versus",
    "View",
]
