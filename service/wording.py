"""How advice writes its numbers."""

from collections.abc import Mapping
from math import isfinite

from service.curves.paired import Difference


def percent(share: float) -> str:
    """A share in per cent, two digits below ten: 67 %, 3.4 %, 0.12 %."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.2g} %"


def tenths(share: float) -> str:
    """A share that stands beside a difference, with as many digits: 66.7 %."""
    return f"{round(100 * share, 6):.1f} %"  # equal ones that summing has parted at the last bit stay equal


def points(difference: Difference) -> str:
    """A difference of shares in percentage points with its interval."""
    ends = f" ({100 * difference.low:z.1f} to {100 * difference.high:z.1f})" if isfinite(difference.low) else ""
    return f"{100 * difference.mean:z.1f} points{ends}"


def costs(each: Mapping[str, float], samples: float) -> str:
    """What that many samples cost, in every currency that is spent: `12 samples, 120 evaluations`."""
    spent = {"samples": samples, **{name: cost * samples for name, cost in each.items() if name != "samples"}}
    return ", ".join(f"{value:.4g} {name.replace('_', ' ')}" for name, value in spent.items() if value)


def bound(value: float) -> float | None:
    """An interval's end as JSON has it: None where there is none."""
    return float(value) if isfinite(value) else None
