"""For how long a worker has held work of each model: what it did in that time is its rate."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Busy:
    """Seconds during which at least one shard of a model was held. now: a clock that never goes back."""

    now: Callable[[], float] = time.monotonic
    held: Counter[str] = field(default_factory=Counter[str])
    spent: dict[str, float] = field(default_factory=dict[str, float])
    since: dict[str, float] = field(default_factory=dict[str, float])

    def take(self, model: str) -> None:
        """One shard more."""
        if not self.held[model]:
            self.since[model] = self.now()
        self.held[model] += 1

    def let_go(self, model: str) -> None:
        """One shard less."""
        self.held[model] -= 1
        if not self.held[model]:
            self.spent[model] = self.spent.get(model, 0.0) + self.now() - self.since.pop(model)

    def seconds(self, model: str) -> float:
        """Until now; safe in any thread."""
        since = self.since.get(model)
        return self.spent.get(model, 0.0) + (0.0 if since is None else self.now() - since)
