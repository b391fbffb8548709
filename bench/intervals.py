"""How often intervals hold what they should, and the table of imperfect verifiers, from simulated pools.

    python -m bench.intervals [--sets 1500] [--out docs/bench/intervals.json]

Each line draws `--sets` sets from a known law and counts those whose nominal 95 % interval holds the truth; with 1500
sets the share itself has a standard error of 0.6 points. `sure` lines are guarantees: they should hold at least 95 %.
Prints one JSON object; about twenty seconds on one core.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.printed import printed
from service.curve_points import exact
from service.curves.coverage import coverage_interval, sup_t_band
from service.curves.extrapolate import beta_binomial_coverage
from service.curves.imperfect import clopper_pearson, optimal_k, resample_from_pool, resample_outcome, wilson
from service.curves.paired import paired_proportions, paired_t
from service.curves.rates import rates_from_audit, rates_from_pools

LEVEL = 0.95
WANTED = (0.93, 0.97)
GRID = np.array([1, 2, 4, 8, 16, 32])
Floats = NDArray[np.float64]
Case = tuple[str, dict[str, Any], Callable[[np.random.Generator], bool], bool]


def another_set() -> Iterator[Case]:
    """Coverage over new problems, each with new samples."""
    for a, b in ((0.3, 2.0), (1.0, 1.0), (2.0, 5.0)):
        for problems in (30, 100, 300):
            for k in (1, 4, 16, 40):
                truth = float(beta_binomial_coverage(a, b, k))

                def holds(
                    rng: np.random.Generator,
                    truth: float = truth,
                    law: tuple[float, float, int, int] = (a, b, problems, k),
                ) -> bool:
                    a, b, problems, k = law
                    c = rng.binomial(100, rng.beta(a, b, problems))
                    low, high = coverage_interval(np.full(problems, 100), c, k, LEVEL)
                    return low <= truth <= high

                named = {"beta": [a, b], "problems": problems, "samples": 100, "k": k, "truth": round(truth, 4)}
                yield "another set, anchored logit", named, holds, False


def this_set() -> Iterator[Case]:
    """Coverage of fixed problems under new samples."""
    for a, b in ((0.3, 2.0), (1.0, 1.0)):
        for k in (1, 4, 16, 60):
            p = np.random.default_rng(7).beta(a, b, 60)

            def holds(rng: np.random.Generator, p: Floats = p, k: int = k) -> bool:
                found = exact(np.full(60, 100), rng.binomial(100, p), k, LEVEL)
                return found is not None and found.low <= float(np.mean(1 - (1 - p) ** k)) <= found.high

            yield "exactly these items", {"beta": [a, b], "problems": 60, "samples": 100, "k": k}, holds, False


def whole_curve() -> Iterator[Case]:
    """The band holds coverage at every budget at once."""
    for a, b in ((0.3, 2.0), (1.0, 1.0)):
        truth = np.asarray(beta_binomial_coverage(a, b, GRID))

        def holds(rng: np.random.Generator, law: tuple[float, float] = (a, b), truth: Floats = truth) -> bool:
            c = rng.binomial(100, rng.beta(*law, 100))
            band = sup_t_band(np.full(100, 100), c, GRID, LEVEL, draws=4000)
            return bool(((band.low <= truth) & (truth <= band.high)).all())

        yield "whole curve, sup-t", {"beta": [a, b], "problems": 100, "samples": 100, "k": GRID.tolist()}, holds, False


def proportions() -> Iterator[Case]:
    """A share from independent answers."""
    for p in (0.1, 0.3, 0.5):
        for n in (100, 400):

            def score(rng: np.random.Generator, p: float = p, n: int = n) -> bool:
                low, high = wilson(int(rng.binomial(n, p)), n, LEVEL)
                return low <= p <= high

            def sure(rng: np.random.Generator, p: float = p, n: int = n) -> bool:
                low, high = clopper_pearson(int(rng.binomial(n, p)), n, LEVEL)
                return low <= p <= high

            yield "Wilson", {"p": p, "n": n}, score, False
            yield "Clopper-Pearson", {"p": p, "n": n}, sure, True


def differences() -> Iterator[Case]:
    """Two methods on the same items."""
    for shift in (0.0, 0.15):

        def values(rng: np.random.Generator, shift: float = shift) -> bool:
            hard = rng.normal(0, 1, 60)
            first, second = (hard + rng.normal(by, 0.5, 60) for by in (shift, 0.0))
            found = paired_t(first, second, LEVEL)
            return found.low <= shift <= found.high

        def passes(rng: np.random.Generator, shift: float = shift) -> bool:
            p = np.clip(rng.beta(2, 2, 150), 0, 1 - shift)
            first, second = rng.random(150) < p + shift, rng.random(150) < p
            cells = (first & second, first & ~second, ~first & second, ~first & ~second)
            found = paired_proportions(*(int(cell.sum()) for cell in cells), level=LEVEL)
            return found.low <= shift <= found.high

        yield "paired values, t", {"items": 60, "difference": shift}, values, False
        yield "paired passes", {"items": 150, "difference": shift}, passes, False


def verifier_rates() -> Iterator[Case]:
    """A false-positive rate that itself differs between problems (graded) or is one number (labels by verdict)."""

    def graded(rng: np.random.Generator) -> bool:
        n, f = np.full(200, 40), rng.beta(2, 18, 200)  # mean .1
        c = rng.binomial(n, rng.beta(0.5, 2, 200))
        both = rng.binomial(c, 0.9)
        found = rates_from_pools(n, c, both + rng.binomial(n - c, f), both, LEVEL)
        assert found is not None
        low, high = found.fpr_interval(1)
        return low <= 0.1 <= high

    def labelled(rng: np.random.Generator) -> bool:
        p, t, f = 0.3, 0.9, 0.1
        q = p * t + (1 - p) * f
        yes, no = int(rng.binomial(150, p * t / q)), int(rng.binomial(150, (1 - p) * (1 - f) / (1 - q)))
        found = rates_from_audit(q, yes, 150 - yes, no, 150 - no, LEVEL)
        assert found is not None
        low, high = found.fpr_interval(1)
        return low <= f <= high

    yield "false-positive rate, graded pools", {"problems": 200, "samples": 40}, graded, False
    yield "false-positive rate, labels by verdict", {"labels": 300}, labelled, False


def imperfect_verifiers() -> dict[str, Any]:
    """Stroebl et al. 2024 from pools: p ~ Beta(.3, 2), every right answer accepted and 5 % of the wrong ones."""
    rng = np.random.default_rng(0)
    problems, n = 20_000, 256
    right = rng.binomial(n, rng.beta(0.3, 2, problems))
    accepted = right + rng.binomial(n - right, 0.05)
    ks = np.arange(1, 65)
    ends = [resample_from_pool(n, accepted, right, int(k)) for k in ks]
    correct, wrong = (np.array([np.mean(getattr(end, name)) for end in ends]) for name in ("correct", "wrong"))
    table = [
        {
            "loss": loss,
            "best k": int(ks[np.argmax(correct - loss * wrong)]) if (correct - loss * wrong).max() > 0 else 0,
            "best k by the formula": optimal_k(0.3, 2, 0.05, 1, loss),
            "utility there": round(float((correct - loss * wrong).max()), 4),
            "utility at 64": round(float(correct[-1] - loss * wrong[-1]), 4),
        }
        for loss in (0.25, 0.5, 1.0, 2.0, 4.0)
    ]
    one = [resample_outcome(0.3, 0.9, 0.1, int(k)) for k in (1, 8, 64, 4096)]
    pools = rng.binomial(n, 0.3, problems)
    passed = rng.binomial(pools, 0.9)
    some = resample_from_pool(n, passed + rng.binomial(n - pools, 0.1), passed, n)
    ceiling = {
        "precision p t/(p t + (1-p) f)": 0.27 / 0.34,
        "right of returned, k = 1, 8, 64, 4096": [float(e.correct) / (float(e.correct) + float(e.wrong)) for e in one],
        "right of returned, pools, k = 256": float(np.mean(some.correct)),
    }
    return {"problems": problems, "samples": n, "table": table, "ceiling": ceiling}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1500)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for cases in (another_set, this_set, whole_curve, proportions, differences, verifier_rates):
        for number, (what, law, holds, sure) in enumerate(cases()):
            rng = np.random.default_rng([len(lines), number])
            share = float(np.mean([holds(rng) for _ in range(options.sets)]))
            within = share >= WANTED[0] and (sure or share <= WANTED[1])
            lines.append({"interval": what, **law, "holds": round(share, 4), "within": within, "sure": sure})
    result = {
        "bench": "intervals",
        "sets": options.sets,
        "level": LEVEL,
        "wanted": WANTED,
        "outside": [line for line in lines if not line["within"]],
        "lines": lines,
        "imperfect verifiers": imperfect_verifiers(),
    }
    printed(result, options.out)


if __name__ == "__main__":
    main()
