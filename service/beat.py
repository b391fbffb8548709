"""What a worker says of itself every few seconds, for whoever watches."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Batches(BaseModel):
    """What the networks of one model have done on a worker.

    room: rows that all calls could have held at `limit`. padded: rows that the model filled its calls up with, for
    nobody, beside `rows`. evaluations: rows times the price of one. seconds: how long
    the worker has held a shard of the model, from its claim to its end.
    """

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    rows: int = 0
    room: int = 0
    padded: int = 0
    limit: int = 0
    evaluations: int = 0
    seconds: float = 0.0

    @property
    def fill(self) -> float | None:
        """Mean rows of a call over its limit; None before the first call."""
        return self.rows / self.room if self.room else None

    def beside(self, other: Self) -> Self:
        """Both together; limit and seconds are the larger ones."""
        counts = ("calls", "rows", "room", "padded", "evaluations")
        added = {name: getattr(self, name) + getattr(other, name) for name in counts}
        limit, seconds = max(self.limit, other.limit), max(self.seconds, other.seconds)
        return type(self)(**added, limit=limit, seconds=seconds)


class Beat(BaseModel):
    """How a worker fares. at: seconds since 1970 by its clock. resident: bytes of memory, None if not known.

    programs: the tier of its walls around programs; None before it has looked.
    """

    model_config = ConfigDict(frozen=True)

    worker: str
    at: float
    resident: int | None
    models: dict[str, Batches]
    programs: str | None = None
