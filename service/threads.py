"""Threads beside the API and beside a worker's searches."""

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(kw_only=True)
class Background(ABC):
    """One thread that ends with the process, or when it is asked to."""

    called: ClassVar[str]
    """The thread's name."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        """Run until `stop`."""
        thread = threading.Thread(target=self._run, name=self.called, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()

    @abstractmethod
    def _run(self) -> None:
        """All that the thread does, until `stopping`."""
