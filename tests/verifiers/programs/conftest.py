"""Tests of programs need bubblewrap and namespaces; where these are missing they say so, and in CI they fail."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from hostility import USER, victim
from needing import needed

from verifiers.programs import pool


@pytest.fixture
def walls(request):
    """A pool at the tier that the test names: its sandboxes run as the victim's own user."""
    needed(request.param)
    with pytest.MonkeyPatch.context() as patch:
        if os.geteuid() == 0:
            patch.setattr(pool, "stranger", lambda: USER)
        made = pool.pooled(request.param, 4)
        yield made
        made.close()


@pytest.fixture
def prey():
    with victim() as found:
        yield found
