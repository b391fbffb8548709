"""Advice on drawing until a verifier accepts: how many draws at most, what comes back, and what an audit would tell."""

from typing import NamedTuple

import numpy as np

from service.curves.extrapolate import BetaBinomial, fit_beta_binomial
from service.curves.imperfect import expected_utility, optimal_k, resample_from_pool, rogan_gladen
from service.curves.intervals import mean_interval
from service.curves.rates import ErrorRates, rates_from_audit, rates_from_pools
from service.evidence import Evidence, Floats
from service.views import Advice
from service.wording import percent

_LABELS = 100  # an audit to begin with: a rate of 5 % is then known to about 5 points
_NARROW = 1.5  # k is known well enough when its interval spans no more than this factor
_MOST_TIMES = 1024


class Known(NamedTuple):
    """A verifier's rates and how hard the problems are."""

    rates: ErrorRates
    beta: BetaBinomial
    source: str


class Limits(NamedTuple):
    """k* at the upper end of the false-positive rate, at the rate itself and at its lower end; None: no limit."""

    low: int | None
    estimate: int | None
    high: int | None

    @property
    def narrow(self) -> bool:
        """Whether k* is known to a factor."""
        low, high = self.low, self.high
        return bool(low) and high is not None and high <= max(_NARROW * low, low + 1)


class Outcomes(NamedTuple):
    """Right, wrong, abstain and draws at a budget; bounds where a pool gives them, by name."""

    right: float
    wrong: float
    abstain: float
    draws: float
    bounds: dict[str, float]


def verifier_advice(e: Evidence) -> list[Advice]:
    """Return optimal_k and outcome, or audit where the rates are unknown; nothing where nothing is accepted."""
    if not e.independent or e.accepted is None or not e.accepted.sum():
        return []
    known = _known(e)
    if known is None:
        return [] if e.graded else [_audit(e)]
    limits = _limits(e, known, 1)
    k = int(e.grid[-1]) if limits.low is None else limits.low
    if k == 0:
        return [_none(e, known, limits)]
    ends = _outcomes(e, known, k)
    return [_optimal(e, known, limits, ends), _outcome(e, k, ends)]


def _known(e: Evidence) -> Known | None:
    assert e.accepted is not None
    if e.audit is not None and sum(e.audit):
        rates = rates_from_audit(float(e.accepted.sum() / e.drawn.sum()), *e.audit, level=e.level)
        beta = fit_beta_binomial(e.drawn, e.right) if e.graded and e.right is not None else _corrected(e, rates)
        source = "labels"
    elif e.graded and e.right is not None and e.both is not None:
        rates = rates_from_pools(e.drawn, e.right, e.accepted, e.both, e.level)
        beta, source = fit_beta_binomial(e.drawn, e.right), f"answers graded by {e.judge}"
    else:
        return None
    return None if rates is None or beta is None else Known(rates, beta, source)


def _corrected(e: Evidence, rates: ErrorRates | None) -> BetaBinomial | None:
    """Return the Beta of p from that of the chance to be accepted, a = p t + (1-p) f, by its mean and variance."""
    accepts = fit_beta_binomial(e.drawn, np.asarray(e.accepted))
    if rates is None or accepts is None or rates.tpr <= rates.fpr:
        return None
    total = accepts.a + accepts.b
    variance = accepts.a * accepts.b / total**2 / (total + 1) / (rates.tpr - rates.fpr) ** 2
    mean = rogan_gladen(accepts.a / total, rates.tpr, rates.fpr)
    if not 0 < variance < mean * (1 - mean):
        return None
    spread = mean * (1 - mean) / variance - 1
    return BetaBinomial(mean * spread, (1 - mean) * spread)


def _limits(e: Evidence, known: Known, times: float) -> Limits:
    """Return k* over the interval that `times` the labels would give."""
    interval = known.rates.fpr_interval(times)

    def limit(fpr: float) -> int | None:
        return optimal_k(*known.beta, fpr, e.value, e.loss, e.cost, known.rates.tpr)

    return Limits(limit(interval.high), limit(known.rates.fpr), limit(interval.low))


def _narrower(e: Evidence, known: Known) -> tuple[int, Limits] | None:
    """Return how many more labels at the same rates make k* known to a factor, and its limits then."""
    times = 2
    while times <= _MOST_TIMES:
        limits = _limits(e, known, times)
        if limits.narrow:
            return int((times - 1) * known.rates.labels), limits
        times *= 2
    return None


def _outcomes(e: Evidence, known: Known, k: int) -> Outcomes:
    """Return what drawing at most k gives: from the pools where a grader saw them all, else by the model."""
    if e.both is not None and e.accepted is not None and k <= e.drawn.min():
        found = resample_from_pool(e.drawn, e.accepted, e.both, k)
        shares = {"right": found.correct, "wrong": found.wrong, "abstain": found.abstain}
        bounds: dict[str, float] = {}
        for name, values in shares.items():
            interval = mean_interval(np.asarray(values, np.float64), e.level)
            bounds |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        right, wrong, abstain, draws = (float(np.mean(values)) for values in found)
        return Outcomes(right, wrong, abstain, draws, bounds)
    a, b = known.beta

    def mean(value: float, loss: float, cost: float) -> float:
        return abs(expected_utility(a, b, k, known.rates.fpr, value, loss, cost, known.rates.tpr))

    right, wrong, draws = mean(1, 0, 0), mean(0, 1, 0), mean(0, 0, 1)
    return Outcomes(right, wrong, max(0.0, 1 - right - wrong), draws, {})


def _rates_numbers(e: Evidence, known: Known, limits: Limits) -> dict[str, float | int | str | None]:
    interval = known.rates.fpr_interval(1)
    return {
        "k": limits.low,
        "k_estimate": limits.estimate,
        "k_high": limits.high,
        "fpr": known.rates.fpr,
        "fpr_low": interval.low,
        "fpr_high": interval.high,
        "tpr": known.rates.tpr,
        "labels": known.rates.labels,
        "alpha": known.beta.a,
        "beta": known.beta.b,
        "value": e.value,
        "loss": e.loss,
        "cost": e.cost,
        "level": e.level,
    }


def _rates_text(e: Evidence, known: Known) -> str:
    interval = known.rates.fpr_interval(1)
    return (
        f"{e.verifier} accepts {percent(known.rates.fpr)} of wrong answers ({percent(interval.low)} to "
        f"{percent(interval.high)}, from {known.rates.labels} {known.source}) and {percent(known.rates.tpr)} of "
        f"right ones."
    )


def _none(e: Evidence, known: Known, limits: Limits) -> Advice:
    better = f" At the measured rate itself k = {limits.estimate} would be best." if limits.estimate else ""
    text = (
        f"Even one sample may lower expected value: abstain, or use a better verifier. {_rates_text(e, known)} "
        f"This is for "
        f"the upper end of that interval, a right answer worth {e.value:g}, a wrong one -{e.loss:g}, a sample "
        f"{e.cost:g}."
    )
    return Advice(kind="optimal_k", text=text + better, numbers=dict(_rates_numbers(e, known, limits)))


def _optimal(e: Evidence, known: Known, limits: Limits, ends: Outcomes) -> Advice:
    returned = ends.right + ends.wrong
    share = f"Returned answers are right {percent(ends.right / returned)} of the time." if returned else ""
    numbers = _rates_numbers(e, known, limits)
    numbers["right_if_returned"] = ends.right / returned if returned else None
    if limits.low is None:
        text = f"No number of samples is too many: one more costs nothing that counts here. {share}"
    else:
        text = f"More than k = {limits.low} samples lowers expected value; after that, abstain. {share}"
        text += (
            f" This k is for the upper end of the verifier's false-positive rate; over its interval {_span(limits)}."
        )
    text += (
        f" {_rates_text(e, known)} A right answer is worth {e.value:g}, a wrong one -{e.loss:g}, a sample costs "
        f"{e.cost:g}."
        " Assumed: wrong answers of every problem are accepted alike, and new problems are like these."
    )
    narrow = (
        limits.low is not None and limits.high is not None and limits.high <= max(_NARROW * limits.low, limits.low + 1)
    )
    more = None if narrow or limits.low is None else _narrower(e, known)
    if more is not None:
        what = "labelled answers" if known.source == "labels" else "graded answers"
        text += f" About {more[0]} more {what} at the same rates would leave {_span(more[1])}."
        numbers |= {"more_labels": more[0], "k_then": more[1].low, "k_high_then": more[1].high}
    return Advice(kind="optimal_k", text=text, numbers=dict(numbers))


def _span(limits: Limits) -> str:
    if limits.low == limits.high:
        return f"k = {limits.low} throughout"
    return f"k = {limits.low} and no limit" if limits.high is None else f"k = {limits.low} to {limits.high}"


def _outcome(e: Evidence, k: int, ends: Outcomes) -> Advice:
    origin = "measured on the pools" if ends.bounds else "by the model, not measured"
    text = (
        f"Drawing until {e.verifier} accepts, at most k = {k} times, returns a right answer for "
        f"{percent(ends.right)} of "
        f"problems, a wrong one for {percent(ends.wrong)} and none for {percent(ends.abstain)}, with "
        f"{ends.draws:.3g} draws "
        f"a problem ({origin})."
    )
    shares = {"k": k, "right": ends.right, "wrong": ends.wrong, "abstain": ends.abstain, "draws": ends.draws}
    return Advice(kind="outcome", text=text, numbers={**shares, **ends.bounds})


def _audit(e: Evidence) -> Advice:
    given = e.audit is not None and sum(e.audit) > 0
    why = (
        "the labels so far do not show its rates: label both accepted and rejected answers, until right and "
        "wrong ones are "
        "among them"
        if given
        else f"label about {_LABELS} answers, half of them accepted and half rejected, or add a grader"
    )
    text = (
        f"How often {e.verifier} accepts a wrong answer is unknown, so no best number of samples can be given: {why}."
    )
    return Advice(kind="audit", text=text, numbers={"labels": sum(e.audit) if e.audit else 0, "wanted": _LABELS})


def checked(e: Evidence) -> None:
    """Raise ValueError for a value, cost, level or target that no advice can be given for."""
    if not 0 < e.target < 1:
        raise ValueError(f"target must be between 0 and 1, such as 0.9; got {e.target!r}")
    if not all(0 <= x < np.inf for x in (e.value, e.loss, e.cost)):
        raise ValueError(f"value, loss and cost must be finite and >= 0; got {e.value!r}, {e.loss!r} and {e.cost!r}")


__all__ = ["Floats", "checked", "verifier_advice"]
