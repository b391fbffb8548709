"""What every answer of the API is."""

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True)


class Estimate(View):
    """A mean over items with its interval for another set of items like these."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, mean: float, low: float, high: float) -> "Estimate":
        """From numbers in this order."""
        return cls(mean=float(mean), low=float(low), high=float(high))


class Spread(View):
    """A mean over `items` items with its interval for another set of items like these; no interval is null."""

    mean: float
    low: float | None
    high: float | None
    items: int
