"""Makes tests/verifiers/support importable; servers and tiny models that the verifiers' own servers and models are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from servers import Servers, started


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A judge and a hook that really serve."""
    with started(tmp_path_factory.mktemp("endpoints")) as found:
        yield found


@pytest.fixture
def servers(serving: Servers, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """The same, named in a file as an operator would."""
    for name, value in serving.environment.items():
        monkeypatch.setenv(name, value)
    return serving


@pytest.fixture(autouse=True)
def any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator lets verifiers load what they like."""
    monkeypatch.setenv("WINNOW_VERIFIER_MODELS", "*")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Directories of tiny random models: classifier, steps and language."""
    from models import saved

    return saved(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Directories of tiny random networks that see: clip, siglip, blip, classifier, seer; and their heads."""
    from seeing import saved

    return saved(tmp_path_factory.mktemp("eyes"))
