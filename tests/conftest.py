"""Two workers of pytest-xdist share the tests folder by folder, as their fixtures do."""

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: two processes that want two cores each are slower


class Folders(LoadScopeScheduling):
    """A folder's tests run in one process, one after the other: its services and environment are its own."""

    def _split_scope(self, nodeid: str) -> str:
        return os.path.dirname(nodeid.partition("::")[0])

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Few tests that take long come first: last, one process would wait for the other."""
        for scope in self.workqueue:
            if scope.endswith("chaos"):
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Folders:
    return Folders(config, log)
