"""Two workers of pytest-xdist share the tests folder by folder, as their fixtures do."""

import os
from collections.abc import Sequence

import pytest

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: two processes that want two cores each are slower


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """A folder's tests run in one process, one after the other: its services and environment are its own."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(os.path.dirname(item.nodeid)))
