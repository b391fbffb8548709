"""A plug-in is named before it is loaded, and a name or a factory that is wrong says what would have been right."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from search.configs import MethodConfig
from search.methods import METHODS
from search.plugins import Facts, Plugin, Registry, Unknown, plugin
from search.ports import Config

TABLE = {"one": "search.methods.best_of_n:best_of_n", "broken": "search.no_such_module:thing"}


class Sizes(Config):
    """A configuration."""

    size: int = 1


@plugin(version="7", offers=("preview",), needs=("stochastic_step",), place="device")
def marked(config: Sizes) -> int:
    """Its docstring is its card."""
    return config.size


def test_names_are_listed_and_nothing_is_loaded() -> None:
    assert Registry("thing", "winnow.tests", TABLE).names() == ["broken", "one"]
    assert "search.no_such_module" not in sys.modules


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(Unknown, match="unknown thing 'two'; valid: broken, one") as error:
        Registry("thing", "winnow.tests", TABLE).find("two")
    assert (error.value.kind, error.value.name, error.value.valid) == ("thing", "two", ["broken", "one"])
    assert isinstance(error.value, ValueError)


def test_a_found_plugin_is_loaded_once() -> None:
    registry = Registry("thing", "winnow.tests", TABLE)
    assert registry.find("one") is registry.find("one")
    assert Registry("thing", "winnow.tests", TABLE)._found == {}


def test_a_broken_plugin_fails_only_when_it_is_named() -> None:
    registry = Registry("thing", "winnow.tests", TABLE)
    assert registry.find("one").name == "one"
    with pytest.raises(ModuleNotFoundError):
        registry.find("broken")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A distribution with two entry points, of which one fails when it is imported and one shadows a built-in."""
    info = tmp_path / "winnow_demo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: winnow-demo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[winnow.tests]\noutside = winnow_demo_good:make\nbad = winnow_demo_bad:make\none = winnow_demo_good:make\n"
    )
    (tmp_path / "winnow_demo_good.py").write_text(
        "from search.ports import Config\n\n\ndef make(config: Config) -> str:\n    return 'made'\n"
    )
    (tmp_path / "winnow_demo_bad.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("thing", "winnow.tests", TABLE)
    sys.modules.pop("winnow_demo_good", None)


def test_entry_points_are_loaded_only_when_named(installed: Registry) -> None:
    assert installed.names() == ["bad", "broken", "one", "outside"]
    with pytest.raises(Unknown, match="bad, broken, one, outside"):
        installed.find("two")
    assert installed.find("one").config.__name__ == "BestOfN"  # the built-in, not its shadow
    assert not {"winnow_demo_good", "winnow_demo_bad"} & set(sys.modules)
    assert installed.find("outside").factory(Config()) == "made"
    with pytest.raises(RuntimeError, match="imported"):
        installed.find("bad")


def test_facts_stand_beside_the_factory() -> None:
    assert marked(Sizes(size=3)) == 3
    facts = Plugin("marked", marked).facts
    assert facts == Facts("7", frozenset({"preview"}), frozenset({"stochastic_step"}), "device")
    assert Plugin("bare", lambda config: config).facts == Facts("1", frozenset(), frozenset(), "thread")


def test_the_configuration_is_read_from_the_annotation() -> None:
    found = Plugin("marked", marked)
    assert found.config is Sizes
    assert found.schema()["properties"]["size"]["default"] == 1
    assert found.card == "Its docstring is its card."


def test_a_card_beside_the_module_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "toy-a.md").write_text("# Card of a\n")
    monkeypatch.setattr("inspect.getfile", lambda _: str(tmp_path / "module.py"))
    assert Plugin("toy/a", marked).card == "# Card of a\n"


class Loose(BaseModel):
    """Not a Config: it would take unknown fields and has no `check`."""


def bare(config) -> None: ...  # type: ignore[no-untyped-def]


def misnamed(configuration: Sizes) -> None: ...


def dictionary(config: dict[str, Any]) -> None: ...


def optional(config: Sizes | None) -> None: ...


def loose(config: Loose) -> None: ...


@pytest.mark.parametrize("factory", [bare, misnamed, dictionary, optional, loose])
def test_a_factory_without_a_configuration_says_what_to_annotate(factory: Any) -> None:
    with pytest.raises(TypeError, match="plug-in 'mine': annotate its parameter `config` with a subclass of Config"):
        _ = Plugin("mine", factory).config


def test_a_registry_says_what_its_configurations_derive_from() -> None:
    registry = Registry("method", "winnow.tests", {"mine": f"{__name__}:marked", **TABLE}, MethodConfig)
    assert registry.find("one").config.__name__ == "BestOfN"
    with pytest.raises(TypeError, match=r"plug-in 'mine': annotate .* with a subclass of MethodConfig"):
        _ = registry.find("mine").config


def test_every_builtin_method_can_be_loaded() -> None:
    for name in METHODS.builtins:
        found = METHODS.find(name)
        assert found.card
        assert found.config().samples >= 1  # type: ignore[attr-defined]
