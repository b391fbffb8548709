"""`run` drives one search to its end."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from search.metering import BudgetSpent, Metered, Spent
from search.population import Population


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a search ended. stop_reason None: everything that was asked for was drawn."""

    population: Population | None
    stop_reason: str | None
    spent: Spent


async def run(
    states: AsyncGenerator[Population], tools: Metered, stopped: Callable[[], str | None] = lambda: None
) -> Outcome:
    """Drive a method to its end, its budget's end, or until `stopped()` names a reason; keeps the last state."""
    last: Population | None = None
    reason: str | None = None
    try:
        async for state in states:
            last = state
            if reason := stopped():
                break
    except BudgetSpent as spent:
        reason = "deadline" if spent.currency == "seconds" else "budget"
    finally:
        await states.aclose()
    return Outcome(last, reason, tools.spent)
