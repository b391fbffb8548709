"""Naming a thing loads nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "scipy", "matplotlib", "rdkit", "selfies", "RNA")


@pytest.mark.parametrize("module", ["service.cli", "service.api", "service.worker", "service.client"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    assert said.stdout.strip() == ""
