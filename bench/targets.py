"""What each rule really aims at: our searches and the rules of public implementations on problems with exact answers.

    python -m bench.targets [--runs 64] [--particles 1024] [--problems mixture bit odds guidance annealing]

For each rule the mean of its answers and log Z, with their errors and standard errors over the runs. log Z is that of
the mean of exp(log Z-hat), which is unbiased for a right rule. The public rules are written here in a few lines:

`public_max`, `public_sum`: weights exp(tilt m_t), m_t the maximum (from 0) or the sum of the rewards so far; at the end
exp(tilt m_T), not exp(tilt r), divided by all weights before. `public_difference`: telescoping, but at the last point
the weights are forgotten when their ESS is K/2 or more; `public_difference_adaptive` forgets so at every point.
`public_odds`: r / (1 - r) multiplied at every step. `public_argmax`: soft-value decoding that ignores alpha. `plain`:
guidance or annealing without weights. Problems are those of `generators/cards/toy-*.md`. Prints one JSON object.
"""

import argparse
import asyncio
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from generators.builtin import GENERATORS
from search import keys
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods import METHODS
from search.population import Population, ess, log_mean_exp, normalised
from search.ports import Floats, Item, Score, Task
from search.resampling import multinomial
from search.run import run
from search.scoring import Judge

Of = Callable[[Any], float]
"""A number of an answer."""


class Problem(NamedTuple):
    """A model and a reward r; the target is the model's own, weights included, times exp(r).

    f: what is averaged. mean, log_z: of the target, exact.
    """

    model: Any
    reward: Of
    f: Of
    mean: float
    log_z: float


class Rule(NamedTuple):
    """A public rule. statistic: m_t of m_(t-1) and r. log_weight: of a point, from m_(t-1), m_t and r."""

    statistic: Callable[[Floats, Floats], Floats]
    log_weight: Callable[[Floats, Floats, Floats], Floats]
    divides: bool = False
    forgets: Literal["never", "last", "always"] = "last"
    every: int = 4


def difference(before: Floats, m: Floats, r: Floats) -> Floats:
    """What the reward has grown by."""
    return m - before


PUBLIC = {
    "public_max": Rule(np.maximum, lambda before, m, r: m, divides=True),
    "public_sum": Rule(np.add, lambda before, m, r: m, divides=True),
    "public_difference": Rule(lambda m, r: r, difference),
    "public_difference_adaptive": Rule(lambda m, r: r, difference, forgets="always"),
}
ODDS = Rule(lambda m, r: r, lambda before, m, r: r - np.log1p(-np.exp(r)), forgets="never", every=1)
"""r: logarithm of a probability."""


class Estimate(NamedTuple):
    """One run's mean of f, and its log Z where there is one."""

    mean: float
    log_z: float | None


def public(problem: Problem, rule: Rule, particles: int, seed: int) -> Estimate:
    """One run of a public rule, with multinomial resampling, as they have it; its answers have equal weights."""
    model, last, log_z = problem.model, problem.model.steps, 0.0
    rows = model.start([Item()] * particles, keys.rows(keys.problem(seed, "public"), 0, particles))
    m, before = np.zeros((2, particles))  # before: logarithm of the product of all weights so far
    for step in range(1, last + 1):
        rows = model.advance(rows)
        if step < last and step % rule.every:
            continue
        r = np.array([problem.reward(x) for x in (model.preview(rows) if step < last else model.finish(rows))])
        now = rule.statistic(m, r)
        w = now - before if rule.divides and step == last else rule.log_weight(m, now, r)
        forgets = rule.forgets == "always" or (rule.forgets == "last" and step == last)
        if forgets and ess(w) >= particles / 2:
            m = now
            continue
        log_z += log_mean_exp(w)
        parents = multinomial(keys.choices(seed, "public", 0, step, particles), normalised(w), particles)
        rows, m, before = rows.fork(parents), now[parents], (before + w)[parents]
    return Estimate(float(np.mean([problem.f(x) for x in model.finish(rows)])), log_z)


def ours(problem: Problem, search: Mapping[str, Any], seeds: Iterable[int]) -> list[Estimate]:
    """Runs of one of our methods; only those with weights have a log Z."""
    method = METHODS.find(search["method"])
    config: Any = method.config.model_validate({name: value for name, value in search.items() if name != "method"})

    def verify(answers: Any) -> list[Score]:
        return [Score(problem.reward(answer.value)) for answer in answers]

    async def one(engine: Engine, seed: int) -> Population:
        task = Task(Item(id="targets"), seed, 0, config.samples)
        shared = Shared(engine, task, problem.model, [Judge("r", "r", verify)])
        tools = Metered(shared, problem.model, 1, Budget.model_validate({}), config.verdicts(problem.model.steps))
        outcome = await run(method.factory(task, tools, config), tools)
        if outcome.error or outcome.population is None:
            raise outcome.error or RuntimeError("the search found nothing")
        return outcome.population.found()

    async def main() -> list[Population]:
        return list(await asyncio.gather(*(one(Engine(), seed) for seed in seeds)))

    weighs = search["method"] == "feynman_kac"
    return [
        Estimate(
            float(found.weights @ np.array([problem.f(x) for x in found.verdicts.answers])),
            found.log_z + log_mean_exp(found.log_weights) if weighs else None,
        )
        for found in asyncio.run(main())
    ]


def model(name: str, exponents: tuple[float, ...] = (), **config: Any) -> Any:
    """A toy, aimed at a product of powers where exponents are given."""
    found = GENERATORS.find(name)
    made: Any = found.factory(found.config.model_validate(config))
    return made.toward(exponents) if exponents else made


def problems() -> dict[str, Problem]:
    """Exact values: closed forms, or for annealing a quadrature."""
    normal: dict[str, Any] = {"weights": (1.0,), "means": (0.0,), "variances": (1.0,)}
    guide = {"weights": (1.0,), "means": (1.0,), "variances": (0.64,)}
    b, m, v = np.array([-1.0, 2.0]), np.array([0.0, 1.0]), np.array([1.0, 0.64])  # guidance 2: q^-1 guide^2, normal
    P, h = (b / v).sum(), (b * m / v).sum()  # noqa: N806 - the precision
    z = (b * (-np.log(2 * np.pi * v) - m**2 / v)).sum() / 2 + (np.log(2 * np.pi / P) + h**2 / P) / 2
    stays: dict[str, Any] = {"initial": (0.5, 0.5), "transition": ((1.0, 0.0), (0.0, 1.0)), "length": 3}
    wide: dict[str, Any] = {"variances": (0.25, 0.64), "steps": 800}
    return {
        "mixture": Problem(model("toy/gaussian_mixture"), float, float, 1.437763, 0.530930),
        "bit": Problem(
            model("toy/bits", length=1),
            lambda x: 1.5 * x[0],
            lambda x: x[0],
            0.657619,
            math.log(0.7 + 0.3 * math.e**1.5),
        ),
        "odds": Problem(
            model("toy/markov", **stays), lambda x: math.log(0.6 if x[-1] else 0.4), lambda x: x[-1], 0.6, math.log(0.5)
        ),
        "guidance": Problem(
            model("toy/gaussian_mixture", (-1, 2), guide=guide, steps=800, **normal), lambda x: 0.0, float, h / P, z
        ),
        "annealing": Problem(model("toy/gaussian_mixture", (2,), **wide), lambda x: 0.0, float, -1.189123, -1.173379),
    }


def runs_of(name: str, problem: Problem, particles: int, runs: int) -> dict[str, list[Estimate]]:
    """Every rule's runs on one problem."""
    steered = {"method": "feynman_kac", "particles": particles}
    if name in ("guidance", "annealing"):  # 800 steps
        few = range(max(2, runs // 8))
        plain = {"method": "best_of_n", "n": particles}
        return {"ours": ours(problem, {**steered, "tilt": 0.0}, few), "plain": ours(problem, plain, few)}
    if name == "bit":
        chooses = {"method": "soft_value", "n": particles, "children": 8}
        return {
            "ours, 8 children": ours(problem, {**chooses, "alpha": 1.0}, range(runs)),
            "ours, 64 children": ours(problem, {**chooses, "alpha": 1.0, "children": 64}, range(runs)),
            "public_argmax, 8 children": ours(problem, {**chooses, "alpha": 0.0}, range(runs)),
        }
    if name == "odds":
        found = {"public_odds": [public(problem, ODDS, particles, seed) for seed in range(runs)]}
        return {"ours": ours(problem, steered, range(runs)), **found}
    every = {**steered, "every": 4, "begin": 4}
    found = {f"ours, {m}": ours(problem, {**every, "potential": m}, range(runs)) for m in ("difference", "max", "mean")}
    rules = {m: [public(problem, rule, particles, seed) for seed in range(runs)] for m, rule in PUBLIC.items()}
    return {**found, **rules}


def compared(estimates: list[Estimate], problem: Problem) -> dict[str, Any]:
    """Errors of one rule, each with its standard error over the runs."""
    n, means = len(estimates), np.array([one.mean for one in estimates])
    found = {
        "mean": means.mean(),
        "error": means.mean() - problem.mean,
        "standard error": means.std(ddof=1) / n**0.5,
    }
    if logs := [one.log_z for one in estimates if one.log_z is not None]:
        ratios = np.exp(np.array(logs) - problem.log_z)  # Z-hat / Z
        found |= {
            "log_z": problem.log_z + np.log(ratios.mean()),
            "log_z error": np.log(ratios.mean()),
            "log_z standard error": ratios.std(ddof=1) / ratios.mean() / n**0.5,
        }
    return {"runs": n, **{name: round(float(value), 4) for name, value in found.items()}}


def measure(names: Iterable[str], particles: int, runs: int) -> dict[str, Any]:
    """Every rule on each of the problems."""
    found: dict[str, Any] = {}
    for name in names:
        problem = problems()[name]
        rules = {rule: compared(some, problem) for rule, some in runs_of(name, problem, particles, runs).items()}
        found[name] = {"exact": {"mean": round(problem.mean, 6), "log_z": round(problem.log_z, 6)}, "rules": rules}
    return found


def main() -> None:
    """Command line."""
    every = list(problems())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=64, help="an eighth of them where a run has 800 steps")
    parser.add_argument("--particles", type=int, default=1024)
    parser.add_argument("--problems", nargs="+", choices=every, default=every)
    options = parser.parse_args()
    print(
        json.dumps({"bench": "targets", **vars(options), **measure(options.problems, options.particles, options.runs)})
    )


if __name__ == "__main__":
    main()
