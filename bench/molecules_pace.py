"""Whether RDKit, in its pool of processes, keeps up with the network of `molecules`.

    python -m bench.molecules_pace [--answers 48] [--company 16] [--out FOLDER]

`soft_value` with 8 children, whose every preview is scored, and the same without a verifier; network and processes are
started before. Shares of the wall time of a run (all searches, to the last one's end):

network: at least one call of the network was at work. late: none was, though rows waited for one: the engine's fault.
starved: none was and no row waited: every search that was left waited for its judge. Cores: processor time of all
processes over wall time and cores; where it is near that of the run without a verifier, nothing stood idle, and a
network that is at work less shares the cores with RDKit and does not wait for it.
alone: rows a second of the network by itself and answers a second of the pool by itself, each with the machine's cores.
"""

import argparse
import asyncio
import os
import resource
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.molecules import REWARDS, Watch, found, searches, warm
from bench.printed import printed
from search import keys
from search.engine import Engine, Shared
from search.ports import Answer, Bools, Item, Rows
from search.scoring import Awaited
from service import catalog
from service.settings import core_count
from service.spec import JobSpec

FREE = "any"
JOB: dict[str, Any] = {"model": "molecules", "items": [{}]}
Hours = list[tuple[float, float]]


PID, TICKS = os.getpid(), os.sysconf("SC_CLK_TCK")


def processor() -> float:
    """Seconds of processor time of this process and of those that it has started."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += (int(fields[11]) + int(fields[12])) * (int(fields[1]) == PID)
    return own.ru_utime + own.ru_stime + ticks / TICKS


@dataclass
class Log:
    """(begin, end) of the network's calls, and of the waits for them; processor time at the first."""

    network: Hours = field(default_factory=Hours)
    waits: Hours = field(default_factory=Hours)
    before: float | None = None

    @contextmanager
    def during(self, hours: Hours) -> Generator[None]:
        """Write down one span."""
        began = time.perf_counter()
        yield
        hours.append((began, time.perf_counter()))


@dataclass(frozen=True, eq=False)
class Watched:
    """A generator whose network writes its hours down."""

    inner: Any
    log: Log

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def advance(self, rows: Rows) -> Rows:
        """One step."""
        with self.log.during(self.log.network):
            return self.inner.advance(rows)


@dataclass
class Timed(Shared):
    """Tools that write down when their rows wait for the network, or are in it."""

    log: Log = field(default_factory=Log)

    async def advance(self, rows: Rows) -> Rows:
        """One step."""
        if self.log.before is None:
            self.log.before = processor()
        with self.log.during(self.log.waits):
            return await super().advance(rows)


def shares(network: Hours, waits: Hours, began: float, ended: float) -> dict[str, float]:
    """How the time from `began` to `ended` divides: see above."""
    times = [began, ended, *(t for span in network + waits for t in span if began < t < ended)]
    edges = np.unique(times)
    middles, lengths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)

    def within(hours: Hours) -> Bools:
        change = np.zeros(len(middles) + 1, np.int64)
        np.add.at(change, np.searchsorted(middles, [a for a, _ in hours]), 1)
        np.add.at(change, np.searchsorted(middles, [b for _, b in hours]), -1)
        return np.cumsum(change)[:-1] > 0

    work, asked = within(network), within(waits)
    parts = {"network": work, "late": ~work & asked, "starved": ~work & ~asked}
    return {name: float(lengths[part].sum() / (ended - began)) for name, part in parts.items()}


def paced(verifier: Any, answers: int, company: int) -> dict[str, float]:
    """One run."""
    log = Log()
    watch = Watch(lambda generator: Watched(generator, log), partial(Timed, log=log))
    result = asyncio.run(found(verifier, searches(8)["soft_value alpha 0"], answers, company, watch))
    began, wall = min(log.waits)[0], result["seconds"] * answers
    used = processor() - (log.before or 0.0)
    log.network = [span for span in log.network if span[0] >= began]  # those before loaded and measured it
    return {
        **shares(log.network, log.waits, began, began + wall),
        "cores": used / wall / core_count(),
        "rows a call": result["evaluations"] * answers / len(log.network),
        "rows a second": result["evaluations"] / result["seconds"],
        "scored a second": result["verifier_calls"] / result["seconds"],
    }


async def pool_alone(rows: int) -> float:
    """Previews a second that RDKit rates, when there is nothing else to do."""
    ready = catalog.prepare(JobSpec.model_validate({**JOB, "verifiers": [REWARDS["qed"]]}))
    generator, judge = catalog.generator(ready.model), catalog.judge(ready.of("verifier")[0])
    await warm(Engine(), generator, judge)
    started = generator.start([Item()] * rows, keys.rows(keys.problem(1, "pace"), 0, rows))
    answers = [Answer(one, Item()) for one in generator.preview(generator.advance(generator.advance(started)))]
    began = time.perf_counter()
    await cast("Awaited", judge.verifier)(answers)
    return rows / (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=48)
    parser.add_argument("--company", type=int, default=16)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    free, scored = (paced(verifier, options.answers, options.company) for verifier in (FREE, REWARDS["qed"]))
    alone = {"rows a second": free["rows a second"], "scored a second": asyncio.run(pool_alone(256))}
    shape = {"answers": options.answers, "company": options.company, "cores": core_count()}
    result = {"bench": "molecules_pace", **shape, "with qed": scored, "without a verifier": free, "alone": alone}
    printed(result, options.out and options.out / "molecules_pace.json")


if __name__ == "__main__":
    main()
