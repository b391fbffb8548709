"""The hostile set: no breach, no cheat that passes, and honest programs judged right."""

import pytest
from hostility import snippets, wrong

FILES = ("resources", "escapes", "cheats", "controls")


def test_the_set_is_whole():
    names = [one.name for name in FILES for one in snippets(name)]
    assert len(names) == len(set(names)) >= 60
    assert not any("pass" in one.reasons for one in snippets("cheats"))


@pytest.mark.parametrize("walls", ["strict", "lite"], indirect=True)
@pytest.mark.parametrize("name", FILES)
def test_every_snippet_ends_as_it_must(walls, name, prey):
    assert wrong(walls, name, prey) == {}
    assert prey.unharmed()
