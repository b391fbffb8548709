"""Plug-ins: a factory `def name(config: ItsConfig) -> thing`, found in a table of built-ins or by an entry point.

A table maps names to "module:attribute", so that naming a plug-in imports nothing heavy. Entry points (groups
`winnow.generators`, `winnow.verifiers`, `winnow.methods`) are loaded only when somebody names them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from search.ports import Config

F = TypeVar("F", bound=Callable[..., Any])
Place = Literal["thread", "device", "process"]


class Unknown(ValueError):
    """A name that no plug-in has; says which would have been right."""

    def __init__(self, kind: str, name: str, valid: list[str]) -> None:
        self.kind, self.name, self.valid = kind, name, valid
        super().__init__(f"unknown {kind} {name!r}; valid: {', '.join(valid)}")


@dataclass(frozen=True)
class Facts:
    """What is known of a plug-in without calling it. `offers` and `needs` are capabilities that must meet.

    together: a verifier whose scores depend on the other answers of the call, such as a tournament.
    here: what this machine gives to it, in one sentence.
    """

    version: str = "1"
    offers: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    place: Place = "thread"
    together: bool = False
    here: Callable[[], str] | None = None


def plugin(
    version: str,
    *,
    offers: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    place: Place = "thread",
    together: bool = False,
    here: Callable[[], str] | None = None,
) -> Callable[[F], F]:
    """Decorate a factory with its facts. Change `version` whenever the same input may give another result."""

    def mark(factory: F) -> F:
        factory.facts = Facts(version, frozenset(offers), frozenset(needs), place, together, here)  # type: ignore[attr-defined]
        return factory

    return mark


@dataclass(frozen=True)
class Plugin:
    """A named factory."""

    name: str
    factory: Callable[..., Any]
    base: type[Config] = Config

    @cached_property
    def config(self) -> type[Config]:
        """Type of its configuration: the annotation of the parameter `config`."""
        found = get_type_hints(self.factory).get("config")
        if not (isinstance(found, type) and issubclass(found, self.base)):
            right = f"a subclass of {self.base.__name__}"
            raise TypeError(f"plug-in {self.name!r}: annotate its parameter `config` with {right}")
        return found

    @property
    def facts(self) -> Facts:
        """Version, capabilities and where it runs."""
        return getattr(self.factory, "facts", Facts())

    @cached_property
    def card(self) -> str:
        """cards/NAME.md beside the factory's module, else its docstring."""
        path = Path(inspect.getfile(self.factory)).parent / "cards" / f"{self.name.replace('/', '-')}.md"
        return path.read_text("utf-8") if path.exists() else inspect.getdoc(self.factory) or ""

    def schema(self) -> dict[str, Any]:
        """JSON schema of the configuration."""
        return self.config.model_json_schema()


@dataclass(frozen=True)
class Registry:
    """All plug-ins of one kind ("model", "verifier", "method"). base: what their configurations derive from."""

    kind: str
    group: str
    builtins: Mapping[str, str]
    base: type[Config] = Config
    _found: dict[str, Plugin] = field(default_factory=dict[str, Plugin], repr=False)

    def names(self) -> list[str]:
        """Every name that would be accepted; loads nothing."""
        return sorted({*self.builtins, *(point.name for point in entry_points(group=self.group))})

    def find(self, name: str) -> Plugin:
        """The plug-in of that name. Raises Unknown, which lists the valid names."""
        if name not in self._found:
            self._found[name] = Plugin(name, self._load(name), self.base)
        return self._found[name]

    def _load(self, name: str) -> Callable[..., Any]:
        if name in self.builtins:
            module, _, attribute = self.builtins[name].partition(":")
            return getattr(import_module(module), attribute)
        for point in entry_points(group=self.group):
            if point.name == name:
                return point.load()
        raise Unknown(self.kind, name, self.names())
