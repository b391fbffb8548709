"""Another distribution with an import name of ours is told at the start."""

from pathlib import Path

import pytest

from service.owning import Shadowed, owned

LISTS = {
    "wheel": ("dist-info", "RECORD", "other/__init__.py,,\nother/search/x.py,,\nservice/__init__.py,sha256=x,1\n"),
    "module": ("dist-info", "RECORD", "service.py,,\n"),
    "top level": ("egg-info", "top_level.txt", "other\nservice\n"),
    "none": ("dist-info", "RECORD", "other/service/__init__.py,,\nservices/__init__.py,,\nservice_x.py,,\n"),
    "no list": ("dist-info", "INSTALLER", "pip\n"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_root_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    suffix, name, text = LISTS[kind]
    info = tmp_path / f"other-1.{suffix}"
    info.mkdir()
    for metadata in ("METADATA", "PKG-INFO"):
        (info / metadata).write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (info / name).write_text(text)
    owned()
    monkeypatch.syspath_prepend(tmp_path)
    if kind in ("none", "no list"):
        owned()
        return
    with pytest.raises(Shadowed, match="the import name 'service' also belongs to other; uninstall it first"):
        owned()
