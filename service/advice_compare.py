"""Advice on several searches of the same items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.evidence import Floats
from service.views import Advice


@dataclass(frozen=True, eq=False)
class Method:
    """One job of a comparison. scores: float64 [M] by item, 1 passed and 0 not, or the judge's value; nan for none."""

    job: str
    label: str
    evaluations: float
    scores: Floats


def advise_compare(
    methods: Sequence[Method], decides: bool, equal: Callable[[float, float], bool], level: float = 0.95
) -> list[Advice]:
    """Return which job did best at each budget, with its paired interval against the next.

    decides: scores are passes. equal: whether two jobs' evaluations count as the same budget. Kinds: best_method,
    cheapest.
    """
    return []
