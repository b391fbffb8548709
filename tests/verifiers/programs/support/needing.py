"""A tier that a test needs: without it the test says that it did not run; in CI that is a failure."""

import os

import pytest

from verifiers.programs import tiers

STANDING = tiers.standing()
if STANDING.tier != "strict" and os.environ.get("CI"):
    raise RuntimeError(f"the tests of programs must run in CI: {STANDING.words}")


def needed(tier: str) -> None:
    """Skip, loudly, without a tier."""
    if why := tiers.tried(tier) if tier != STANDING.tier else None:
        pytest.skip(f"NOT TESTED: no tier {tier!r} here: {tiers.remedy(why)}")
