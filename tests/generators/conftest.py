"""Makes tests/generators/support importable, and gives tests a fake endpoint and random pipelines."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from faking import Bed
from piping import Made, Make, configured


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    return Bed(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Folder of a family's random pipeline, written when first asked for."""
    from generators.pipelines import tiny

    root = tmp_path_factory.mktemp("tiny")

    def of(family: str) -> Path:
        return root / family if (root / family).exists() else tiny.save(family, root / family)

    return of


@pytest.fixture
def make(made: Made, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A family's generator, configured as said."""
    from generators.pictures import diffusers

    def of(family: str, **settings: Any) -> Any:
        return diffusers(configured(made(family), monkeypatch, **settings))

    return of
