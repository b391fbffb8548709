"""Advice on how many samples to draw and how to choose among them, from what the pools of a job show."""

from collections.abc import Callable

import numpy as np

from service.curves.coverage import coverage
from service.curves.extrapolate import (
    beta_binomial_coverage,
    fit_beta_binomial,
    fit_power_law,
    fit_zero_inflated,
    power_law,
    solved_later,
)
from service.curves.paired import Difference, paired_t
from service.curves.selection import best_of_n_kl
from service.evidence import Evidence, Floats, Ints
from service.views import Advice
from service.wording import bound, costs, percent, points, tenths

REACH = 10
"""Models are believed up to so many times the samples drawn, at most."""
NAMED = 20
"""Items named in an advice, at most."""
Model = Callable[[int], float]


def unsolved(e: Evidence) -> list[Advice]:
    """Draw more where nothing is solved: by the Beta of the items' difficulty, how many of them that would solve."""
    if e.right is None:
        return []
    open_ = np.flatnonzero(e.right == 0)
    if not len(open_) or len(open_) == len(e.right):
        return []
    more = int(np.median(e.drawn[open_]))
    names = [str(e.ids[i]) for i in open_[:NAMED].tolist()]
    numbers: dict[str, int | float | str | list[str] | None] = {
        "items": len(open_),
        "of": len(e.right),
        "more": more,
        "expected": None,
        "ids": names,
    }
    text = f"Draw more on the {len(open_)} unsolved of {len(e.right)} items only: the others gain no coverage."
    if beta := fit_beta_binomial(e.drawn, e.right):
        chances = np.asarray(solved_later(beta.a, beta.b, e.drawn[open_], np.zeros(len(open_)), more))
        numbers["expected"] = float(chances.sum())
        text += (
            f" {more} more samples of each are expected to solve {chances.sum():.1f} of them, if the chance of a right "
            f"answer is Beta({beta.a:.3g}, {beta.b:.3g}) over items."
        )
    return [Advice(kind="unsolved", text=text, numbers=dict(numbers))]


def verifier_gap(e: Evidence) -> list[Advice]:
    """What is lost in choosing: coverage against the verifier's choice at the largest budget of all items."""
    place = _last(e.solved)
    if not e.graded or e.selected is None or place is None:
        return []
    k, solved, picked = int(e.grid[place]), e.solved[place], e.selected[place]
    gap = paired_t(solved, picked, e.level)
    numbers = {"k": k, "coverage": float(solved.mean()), "selected": float(picked.mean()), **_ends("gap", gap)}
    if gap.mean <= 0.5 / len(solved) / 100:
        text = f"At k = {k} {e.verifier} picks a right answer wherever one was drawn ({percent(float(picked.mean()))})."
        return [Advice(kind="verifier_gap", text=text + " Only more or better samples help.", numbers=dict(numbers))]
    text = (
        f"At k = {k} a right answer was drawn for {tenths(float(solved.mean()))} of items and {e.verifier} "
        f"picks one for {tenths(float(picked.mean()))}: {points(gap)} are lost to the verifier."
    )
    rise = paired_t(picked, e.selected[max(0, place - 1)], e.level) if place else gap
    if not rise.mean > 0.25 * gap.mean:
        text += " A better verifier helps more than more samples do."
    return [Advice(kind="verifier_gap", text=text, numbers=dict(numbers))]


def passless(e: Evidence) -> list[Advice]:
    """Say so where nothing can count as right: a coverage of 0 would read as a model that fails."""
    if e.right is not None:
        return []
    text = (
        f"{e.judge} gives values and no passes, so nothing counts as right here and every share is 0. Give it a "
        "`threshold` that makes a value a pass or a fail, or name a grader that passes; answers that are there can be "
        "judged again (rescore)."
    )
    return [Advice(kind="passless", text=text, numbers={})]


def voting(e: Evidence) -> list[Advice]:
    """Whether the majority beats one sample, and the verifier's choice."""
    place = _last(e.majority)
    if e.right is None or e.majority is None or place is None or not place:
        return []
    k, voted, single = int(e.grid[place]), e.majority[place], e.solved[0]
    gain = paired_t(voted, single, e.level)
    numbers = {"k": k, "majority": float(voted.mean()), "single": float(single.mean()), **_ends("gain", gain)}
    verdict = {1: "helps", -1: "hurts", 0: "makes no difference that these items show"}[_sign(gain)]
    text = (
        f"Voting {verdict}: the majority of {k} is right for {tenths(float(voted.mean()))} of items, one sample for "
        f"{tenths(float(single.mean()))}, a difference of {points(gain)}."
    )
    if e.selected is not None:
        versus = paired_t(voted, e.selected[place], e.level)
        numbers |= {"selected": float(e.selected[place].mean()), **_ends("versus_selected", versus)}
        than = {1: "better than", -1: "worse than", 0: "not distinguishable from"}[_sign(versus)]
        text += f" It is {than} the choice of {e.verifier} ({points(versus)})."
    return [Advice(kind="voting", text=text, numbers=dict(numbers))]


def over_optimisation(e: Evidence) -> list[Advice]:
    """Where choosing by the verifier gets worse with more samples."""
    place = _last(e.selected)
    if not e.graded or e.selected is None or place is None:
        return []
    means = e.selected[: place + 1].mean(axis=1)
    peak = int(means.argmax())
    fall = paired_t(e.selected[peak], e.selected[place], e.level)
    if peak == place or not fall.low > 0:
        return []
    k, last = int(e.grid[peak]), int(e.grid[place])
    text = (
        f"Select among at most k = {k} by {e.verifier}: its choice is right for {tenths(float(means[peak]))} "
        f"there and for {tenths(float(means[place]))} at k = {last}, {points(fall)} less. The verifier is "
        f"over-optimised (KL to one sample at most {best_of_n_kl(k):.2f} nats at k = {k}, {best_of_n_kl(last):.2f} "
        f"at {last})."
    )
    numbers = {"k": k, "last": last, "peak": float(means[peak]), "end": float(means[place]), **_ends("fall", fall)}
    return [Advice(kind="over_optimisation", text=text, numbers=dict(numbers))]


def target_cost(e: Evidence) -> list[Advice]:
    """Samples that reach the wanted coverage: from the pools where they do, else by models, labelled so."""
    if e.right is None:
        return []
    n, right = int(e.drawn.min()), e.right
    reached = _first(lambda k: coverage(e.drawn, right, k) >= e.target, n)
    numbers: dict[str, float | int | str | None] = {"target": e.target, "k": reached, "samples": n}
    if reached is not None:
        text = f"Coverage of {percent(e.target)} is reached at k = {reached}: {costs(e.each, reached)} an item."
        numbers |= {name: cost * reached for name, cost in e.each.items() if name != "samples"}
        return [Advice(kind="target_cost", text=text, numbers=dict(numbers))]
    ks = {name: _first(lambda k, of=of: of(k) >= e.target, REACH * n) for name, of in _models(e, n).items()}
    known = [k for k in ks.values() if k is not None]
    now = percent(coverage(e.drawn, right, n))
    text = f"Coverage of {percent(e.target)} is not reached with {n} samples ({now})."
    if known:
        low, high = min(known), max(known)
        some = "" if len(known) == len(ks) else f", and {len(ks) - len(known)} of {len(ks)} models never reach it"
        between = f"at k = {low}" if low == high else f"between k = {low} and k = {high}"
        text += (
            f" By models it is {between} ({costs(e.each, high)} an item at most){some}: a model range, not an interval."
        )
    else:
        text += f" No model reaches it within {REACH} times as many: better samples are needed, not more."
    return [Advice(kind="target_cost", text=text, numbers={**numbers, **ks})]


def unscored(e: Evidence) -> list[Advice]:
    """Answers without a verdict."""
    if not e.unscored:
        return []
    text = (
        f"{percent(e.unscored)} of answers have no verdict of {e.judge} and count as failures. Their reasons "
        f"stand with the "
        "answers; the curve that leaves them out is shown beside."
    )
    return [Advice(kind="unscored", text=text, numbers={"unscored": e.unscored})]


def _models(e: Evidence, n: int) -> dict[str, Model]:
    """Coverage at k by each model that can be fitted."""
    assert e.right is not None
    beta, zero = fit_beta_binomial(e.drawn, e.right), fit_zero_inflated(e.drawn, e.right)
    grid = [int(k) for k in e.grid if k <= n]
    law = fit_power_law(grid, coverage(e.drawn, e.right, grid))
    found: dict[str, Model] = {}
    if beta:
        found["beta_binomial"] = lambda k: float(beta_binomial_coverage(beta.a, beta.b, k))
    if zero:
        found["zero_inflated"] = lambda k: float(beta_binomial_coverage(zero.a, zero.b, k, zero.zero))
    if law:
        found["power_law"] = lambda k: float(power_law(law.a, law.b, k))
    return found


def _first(reached: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest k up to `most` from which on it is reached; coverage does not fall."""
    if most < 1 or not reached(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _last(rows: Floats | None) -> int | None:
    """Return the place of the largest budget that all items have."""
    if rows is None or not rows.size:
        return None
    whole: Ints = np.flatnonzero(np.isfinite(rows).all(axis=1))
    return int(whole[-1]) if len(whole) else None


def _sign(difference: Difference) -> int:
    """Return 1 or -1 where the interval excludes zero, else 0."""
    return 1 if difference.low > 0 else -1 if difference.high < 0 else 0


def _ends(name: str, difference: Difference) -> dict[str, float | None]:
    return {
        name: difference.mean,
        f"{name}_low": bound(difference.low),
        f"{name}_high": bound(difference.high),
    }
