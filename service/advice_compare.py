"""Advice on several searches of the same items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.curves.paired import Difference, paired_proportions, paired_t
from service.evidence import Floats
from service.views import Advice
from service.wording import bound, points, tenths

Number = int | float | str | list[int] | list[float] | list[str] | None
CHEAPER = 0.95
"""A budget below this share of another is a smaller one."""


@dataclass(frozen=True, eq=False)
class Method:
    """One job of a comparison. scores: float64 [M] by item, 1 passed and 0 not, or the judge's value; nan for none."""

    job: str
    label: str
    evaluations: float
    scores: Floats

    @property
    def mean(self) -> float:
        """Over the items that have a score; nan when none has."""
        known = self.scores[np.isfinite(self.scores)]
        return float(known.mean()) if len(known) else np.nan


def advise_compare(
    methods: Sequence[Method], decides: bool, equal: Callable[[float, float], bool], level: float = 0.95
) -> list[Advice]:
    """Return which job did best at each budget, with its paired interval against the next.

    decides: scores are passes. equal: whether two jobs' evaluations count as the same budget. Kinds: best_method at
    each budget of several jobs, cheapest where a smaller budget did as well as the best of all.
    """
    known = [method for method in methods if np.isfinite(method.mean)]
    found = [_best(peers, decides, level) for peers in _budgets(known, equal) if len(peers) > 1]
    return found + _cheapest(known, decides, level)


def _budgets(methods: Sequence[Method], equal: Callable[[float, float], bool]) -> list[list[Method]]:
    """Return jobs of equal budgets together, cheapest first: each is equal to the first of its group."""
    groups: list[list[Method]] = []
    for method in sorted(methods, key=lambda m: m.evaluations):
        if groups and equal(method.evaluations, groups[-1][0].evaluations):
            groups[-1].append(method)
        else:
            groups.append([method])
    return groups


def _versus(one: Method, other: Method, decides: bool, level: float) -> Difference | None:
    """Return the paired difference over the items that both have; None without any."""
    both = np.isfinite(one.scores) & np.isfinite(other.scores)
    if not both.any():
        return None
    if not decides:
        return paired_t(one.scores[both], other.scores[both], level)
    here, there = one.scores[both] > 0, other.scores[both] > 0
    cells = ((here & there), (here & ~there), (~here & there), (~here & ~there))
    return paired_proportions(*(int(cell.sum()) for cell in cells), level=level)


def _best(peers: Sequence[Method], decides: bool, level: float) -> Advice:
    best, second = sorted(peers, key=lambda m: -m.mean)[:2]
    gap = _versus(best, second, decides, level)
    text = f"At about {best.evaluations:.4g} evaluations an item {best.label} did best: {_said(best, decides)}"
    if gap is None:
        text += f"; it shares no scored item with {second.label}."
    elif gap.low > 0:
        text += f", {_gap(gap, decides)} more than {second.label}."
    else:
        text += f", which {len(best.scores)} items cannot tell from {second.label} ({_gap(gap, decides)} difference)."
    return Advice(kind="best_method", text=text, numbers=_numbers(best, second, gap))


def _cheapest(methods: Sequence[Method], decides: bool, level: float) -> list[Advice]:
    """Return the cheapest job that the items cannot tell from the best of all, if it costs less."""
    if not methods:
        return []
    best = max(methods, key=lambda m: m.mean)
    for method in sorted(methods, key=lambda m: m.evaluations):
        if method.evaluations >= CHEAPER * best.evaluations:
            break
        gap = _versus(best, method, decides, level)
        if gap is not None and not gap.low > 0:
            text = (
                f"{method.label} with {method.evaluations:.4g} evaluations an item cannot be told from the best, "
                f"{best.label} with {best.evaluations:.4g}: {_gap(gap, decides)} difference."
            )
            return [Advice(kind="cheapest", text=text, numbers=_numbers(method, best, gap))]
    return []


def _said(method: Method, decides: bool) -> str:
    return f"{tenths(method.mean)} of items passed" if decides else f"a mean value of {method.mean:.4g}"


def _gap(gap: Difference, decides: bool) -> str:
    if decides:
        return points(gap)
    return f"{gap.mean:.3g} ({gap.low:.3g} to {gap.high:.3g})" if np.isfinite(gap.low) else f"{gap.mean:.3g}"


def _numbers(one: Method, other: Method, gap: Difference | None) -> dict[str, Number]:
    ends = (None, None, None) if gap is None else (gap.mean, bound(gap.low), bound(gap.high))
    return {
        "job": one.job,
        "evaluations": one.evaluations,
        "mean": one.mean,
        "other": other.job,
        "other_evaluations": other.evaluations,
        "other_mean": other.mean,
        "difference": ends[0],
        "low": ends[1],
        "high": ends[2],
    }
