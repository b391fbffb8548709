"""Advice from numbers: sentences a user can act on, each with the figures and the assumption behind it."""

from service.advice_compare import Method, advise_compare
from service.advice_search import over_optimisation, passless, target_cost, unscored, unsolved, verifier_gap, voting
from service.advice_verifier import checked, verifier_advice
from service.evidence import Audit, Evidence
from service.views import Advice

__all__ = ["Advice", "Audit", "Evidence", "Method", "advise", "advise_compare"]


def advise(evidence: Evidence) -> list[Advice]:
    """Return what the evidence supports, most useful first; nothing where it supports nothing.

    Kinds: passless, optimal_k, outcome, audit, verifier_gap, voting, over_optimisation, unsolved, target_cost,
    unscored. Raises ValueError for values, costs, a level or a target out of range.
    """
    checked(evidence)
    of_samples = [unsolved, target_cost] if evidence.independent else []
    rules = [passless, verifier_advice, verifier_gap, voting, over_optimisation, *of_samples, unscored]
    return [advice for rule in rules for advice in rule(evidence)]
