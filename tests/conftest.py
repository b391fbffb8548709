"""Workers of pytest-xdist share the tests folder by folder, as their fixtures do; examples are the same every time."""

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: processes that want all cores are slower
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before its library is imported: nothing is asked again and again
settings.register_profile(
    "steady", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")  # an example takes as long as the machine wants
FIRST = ("chaos", "service", "searches", "ended", "storing", "browser", "doors", "tuning")
"""Folders whose tests take seconds each: the process that had one of them last would be waited for."""


class Folders(LoadScopeScheduling):
    """A folder's tests run in one process, one after the other: its services and environment are its own."""

    def _split_scope(self, nodeid: str) -> str:
        return os.path.dirname(nodeid.partition("::")[0])

    def _assign_work_unit(self, node: WorkerController) -> None:
        """The longest first."""
        for name in FIRST:
            if scope := next((scope for scope in self.workqueue if os.path.basename(scope) == name), None):
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Folders:
    return Folders(config, log)
