"""Paths that the operator names."""

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from search.allowing import allowed

PATH = TypeAdapter[str](Annotated[str, allowed("WINNOW_TEST_MODELS")])


@pytest.mark.parametrize(
    ("named", "path", "valid"),
    [
        (None, "", None),
        (None, "a", "none so far"),
        ("", "a", "none so far"),
        ("a,b/c", "b/c", None),
        ("a,b/c", "b", "a, b/c"),
        (",a,", "", None),
        ("*", "/etc", None),
        ("a,*", "b", None),
    ],
)
def test_only_named_paths(monkeypatch: pytest.MonkeyPatch, named: str | None, path: str, valid: str | None) -> None:
    monkeypatch.delenv("WINNOW_TEST_MODELS", raising=False)
    if named is not None:
        monkeypatch.setenv("WINNOW_TEST_MODELS", named)
    if valid is None:
        assert PATH.validate_python(path) == path
        return
    said = rf"'{path}' is not among the operator's models \(WINNOW_TEST_MODELS\): {valid}"
    with pytest.raises(ValidationError, match=said):
        PATH.validate_python(path)
