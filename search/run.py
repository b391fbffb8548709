"""`run` drives one search to its end."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from search.batching import OutOfMemory
from search.engine import Stopped
from search.metering import BudgetSpent, Metered, Spent
from search.population import Population


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a search ended. stop_reason None: everything that was asked for was drawn. error: what ended it too early."""

    population: Population | None
    stop_reason: str | None
    spent: Spent
    error: Exception | None = None


async def run(
    states: AsyncGenerator[Population],
    tools: Metered,
    stopped: Callable[[], str | None] = lambda: None,
    seen: Callable[[Population], None] = lambda state: None,
) -> Outcome:
    """Drive a method to its end, its budget's end, an error, or until `stopped()` names a reason; keeps the last state.

    seen: told every state, each of which the method can resume from. Faults of the machine (OSError, OutOfMemory) are
    raised: the same search may succeed elsewhere.
    """
    last: Population | None = None
    reason: str | None = None
    fault: Exception | None = None
    try:
        async for state in states:
            last = state
            seen(state)
            if reason := stopped():
                break
    except BudgetSpent as spent:
        reason = "deadline" if spent.currency == "seconds" else "budget"
    except Stopped:
        reason = stopped()
    except (OSError, OutOfMemory):
        raise
    except Exception as error:  # the same seeds would raise again; what was found stays found
        reason, fault = "error", error
    finally:
        await states.aclose()
    return Outcome(last, reason, tools.spent, fault)
