"""What a job may name: the registries of plug-ins by kind, and a plug-in as the API shows it."""

from typing import Any

from generators.builtin import GENERATORS
from generators.given import GIVEN
from search.configs import ModelConfig
from search.methods import METHODS
from search.plugins import Registry, Unknown
from service.views import PluginView
from verifiers.builtin import VERIFIERS
from verifiers.features import FEATURES

REGISTRIES: dict[str, Registry] = {
    "models": GENERATORS,
    "verifiers": VERIFIERS,
    "methods": METHODS,
    "features": FEATURES,
}
STORED = Registry(
    GENERATORS.kind, GENERATORS.group, {**GENERATORS.builtins, GIVEN: "generators.given:given"}, ModelConfig
)
"""Models of jobs that were accepted: also the one that no client names."""


def described(kind: str, name: str) -> PluginView:
    """A plug-in of a kind of REGISTRIES as the API has it; of one that cannot be loaded, why. Raises Unknown."""
    named: dict[str, Any] = {"name": name, "id": name, "object": kind.removesuffix("s")}
    try:
        plugin = REGISTRIES[kind].find(name)
        facts = plugin.facts
        return PluginView(
            **named,
            version=facts.version,
            card=plugin.card,
            config=plugin.schema(),
            here=facts.here() if facts.here else None,
            offers=sorted(facts.offers),
            needs=sorted(facts.needs),
        )
    except Unknown:
        raise
    except Exception as error:  # of another distribution: it hides no other
        card = f"This plug-in cannot be loaded: {type(error).__name__}: {error}"[:500]
        return PluginView(**named, version="", card=card, config={}, offers=[], needs=[])
