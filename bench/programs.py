"""What a sandbox costs, as ratios to a bare start of the same interpreter, in turns.

    python -m bench.programs [--rounds 60] [--graded 400] [--threads 2] [--out FILE]

bare: `python3 -I -c pass`. cold: a sandbox that is started for a program, from nothing to its end, walls and all;
added is what it takes beyond bare. pooled: the same with a sandbox that waits, whole and not what it adds: the start
was before. rate: graded candidates a second (`program/values`, one call; every sandbox is started in the time
measured) over bare starts a second, with as many threads, in short turns; `processor` is the same of the seconds of
processor time that each takes, which other work on the machine changes less. Prints one JSON object.
"""

import argparse
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.printed import printed
from verifiers.programs import tiers
from verifiers.programs.candidate import Candidate
from verifiers.programs.limits import Limits
from verifiers.programs.pool import Pool, pooled
from verifiers.programs.runtimes import python
from verifiers.programs.targets import Case, ValuesTarget
from verifiers.programs.values import judged

LIMITS = Limits(call_seconds=60, total_seconds=60, memory_mb=768)
SQUARE = ValuesTarget(entry="f", prefix="", cases=(Case(args=(3,), expected=9),))


def bare() -> None:
    """A start of the interpreter."""
    subprocess.run([python().argv[0], "-I", "-c", "pass"], check=True)  # noqa: S603


def walled(pool: Pool) -> None:
    """The same program in a sandbox."""
    with Candidate(pool, LIMITS, "pass"):
        pass


def graded(pool: Pool) -> None:
    """A candidate with its verdict."""
    score = judged(pool, SQUARE, "def f(x):\n    return x * x\n", LIMITS, "equal", 0.0, False)
    if not score.passed:
        raise RuntimeError(f"a right program is judged {score}")


def seconds(work: Callable[[], None]) -> float:
    """Of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def turns(tier: str, rounds: int) -> dict[str, float]:
    """Medians in milliseconds and their ratios."""
    cold, warm = pooled(tier), pooled(tier, 1)
    taken: dict[str, list[float]] = {"bare": [], "cold": [], "pooled": []}
    for turn in range(rounds + 5):
        found = {"bare": seconds(bare), "cold": seconds(lambda: walled(cold)), "pooled": seconds(lambda: walled(warm))}
        time.sleep(0.05)  # the next one starts meanwhile
        for name, value in found.items() if turn >= 5 else ():
            taken[name].append(1e3 * value)
    cold.close()
    warm.close()
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {
        **{f"{name}_ms": round(value, 2) for name, value in medians.items()},
        "cold_added": round(medians["cold"] / medians["bare"] - 1, 3),
        "pooled_whole": round(medians["pooled"] / medians["bare"], 3),
    }


def processor() -> float:
    """Seconds of processor time of this process and of those that it has buried."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def rates(tier: str, count: int, threads: int, turn: int = 20) -> dict[str, float]:
    """Candidates and bare starts a second, in turns of so many each, which of the two begins by turns as well."""
    pool = pooled(tier)  # none waits: each is started in its own turn
    works: dict[str, Callable[[], None]] = {"bare": bare, "graded": lambda: graded(pool)}
    wall, used = dict.fromkeys(works, 0.0), dict.fromkeys(works, 0.0)
    rounds = max(1, count // turn)
    with ThreadPoolExecutor(threads) as several:

        def all_of(work: Callable[[], None]) -> None:
            for done in [several.submit(work) for _ in range(turn)]:
                done.result()

        for number in range(-1, rounds):  # the first does not count
            for name in sorted(works, reverse=number % 2 == 0):
                before = processor()
                spent = seconds(lambda name=name: all_of(works[name]))
                time.sleep(0.02)  # the last ones are buried
                wall[name] += spent * (number >= 0)
                used[name] += (processor() - before) * (number >= 0)
    pool.close()
    rate = {f"{name}_per_s": round(rounds * turn / value, 1) for name, value in wall.items()}
    ratios = {"ratio": wall, "processor": used}
    return rate | {name: round(of["bare"] / of["graded"], 3) for name, of in ratios.items()}


def measured(rounds: int, count: int, threads: int) -> dict[str, Any]:
    """Of every tier that holds here."""
    found: dict[str, Any] = {}
    for tier in tiers.WALLS:
        if (why := tiers.tried(tier)) is not None:
            found[tier] = tiers.remedy(why)
            continue
        found[tier] = {"turns": turns(tier, rounds), "rate": rates(tier, count, threads)}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--graded", type=int, default=400)
    parser.add_argument("--threads", type=int, default=tiers.cores())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    shape = {"rounds": options.rounds, "graded": options.graded, "threads": options.threads}
    printed({"bench": "programs", **shape, **measured(options.rounds, options.graded, options.threads)}, options.out)


if __name__ == "__main__":
    main()
