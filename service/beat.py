"""What a worker says of itself every few seconds, for whoever watches."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Batches(BaseModel):
    """What the networks of one model have done on a worker. room: rows that all calls could have held at `limit`."""

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    rows: int = 0
    room: int = 0
    limit: int = 0

    @property
    def fill(self) -> float | None:
        """Mean rows of a call over its limit; None before the first call."""
        return self.rows / self.room if self.room else None

    def beside(self, other: Self) -> Self:
        """Both together; the limit is the larger one."""
        calls, rows, room = self.calls + other.calls, self.rows + other.rows, self.room + other.room
        return type(self)(calls=calls, rows=rows, room=room, limit=max(self.limit, other.limit))


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
