"""What a full curve costs: pass@k and best of k, both with intervals, at the budgets 1, 2, 4, ... of one pool.

    python -m bench.curves [--rounds 5] [--out docs/bench/curves.json]

Single-threaded, 10^3 problems of 10^3 and of 10^4 samples; the least of the rounds. `ratio` is to sorting the scores
once, which any best-of-k needs. Scores are continuous, or one of ten values (many ties). Prints one JSON object.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.printed import printed
from service.curves.coverage import pass_at_k
from service.curves.intervals import Interval, mean_interval
from service.curves.selection import selected_at_k

PROBLEMS = 1000
LIMITS = {1000: 0.1, 10_000: 1.0}
"""Samples a problem, and the seconds that a curve over them may take."""


def pools(samples: int, ties: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and right answers, [problem, sample], with p ~ Beta(0.3, 2)."""
    rng = np.random.default_rng(samples)
    right = rng.random((PROBLEMS, samples)) < rng.beta(0.3, 2, PROBLEMS)[:, None]
    scores = rng.standard_normal(right.shape) + right
    return (np.round(scores * 2) if ties else scores), right


def curve(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> list[tuple[int, float, Interval, float, Interval]]:
    """(k, coverage, its interval, best of k, its interval) for each budget."""
    samples = right.shape[1]
    budgets = [2**i for i in range(samples.bit_length()) if 2**i <= samples]
    picked = np.asarray(selected_at_k(scores, right, budgets)).T
    solved = np.asarray(pass_at_k(samples, right.sum(1), np.array(budgets)[:, None]))
    return [
        (k, float(s.mean()), mean_interval(s, 0.95), float(p.mean()), mean_interval(p, 0.95))
        for k, s, p in zip(budgets, solved, picked, strict=True)
    ]


def least(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds after a first one."""
    work()
    seconds: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measured(samples: int, ties: bool, rounds: int) -> dict[str, Any]:
    """One line of the result."""
    scores, right = pools(samples, ties)
    seconds = least(rounds, lambda: curve(scores, right))
    sort = least(rounds, lambda: np.argsort(scores, axis=1))
    limit = LIMITS[samples]
    line = {"samples": PROBLEMS * samples, "ties": ties, "limit": limit, "holds": seconds < limit}
    return line | {"seconds": round(seconds, 4), "ratio": round(seconds / sort, 2)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with threadpool_limits(1):
        lines = [measured(samples, ties, options.rounds) for samples in LIMITS for ties in (False, True)]
    result = {"bench": "curves", "problems": PROBLEMS, "threads": 1, "curves": lines}
    printed(result, options.out)


if __name__ == "__main__":
    main()
