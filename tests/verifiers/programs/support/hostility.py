"""The hostile set, and what it is let loose on: a file and a process of the very user that it runs as."""

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.ports import Score
from verifiers.programs import asserts, stdio, values
from verifiers.programs.candidate import program
from verifiers.programs.limits import Limits
from verifiers.programs.pool import Pool
from verifiers.programs.targets import AssertsTarget, Case, Run, StdioTarget, ValuesTarget

FOLDER = Path(__file__).parents[1] / "hostile"
USER = 0x50000000 + os.getpid() if os.geteuid() == 0 else os.geteuid()
"""Nobody else's: limits on threads count all that a user has."""
SHORT, LONG = Limits(call_seconds=0.6, total_seconds=0.8), Limits(call_seconds=100, total_seconds=150)

SQUARES = ValuesTarget(
    entry="square",
    cases=(Case(args=(2,), expected=4), Case(args=(3,), expected=9), Case(args=(1,), expected=1),
           Case(args=(7,), expected=49)),
)  # fmt: skip
LARGE = ValuesTarget(entry="square", cases=(*SQUARES.cases, Case(args=(11111,), expected=123454321)))
HELD = ValuesTarget(entry="attack", cases=(Case(expected=False),))
SUITE = AssertsTarget(
    entry="square",
    tests="""
def check(candidate):
    assert candidate(3) == 9
    assert [candidate(x) for x in range(5)] == [0, 1, 4, 9, 16]
    try:
        candidate("3")
    except TypeError:
        pass
""",
)
RUNS = StdioTarget(cases=(Run(stdin="3\n", stdout="9\n"), Run(stdin="5\n", stdout="25\n")))


@dataclass(frozen=True)
class Victim:
    """A file, a process and a port of this machine that listens."""

    file: Path
    process: int
    port: int

    def unharmed(self) -> bool:
        """As they were made."""
        found = self.file.stat()
        same = self.file.read_text() == "canary" and stat.S_IMODE(found.st_mode) == 0o666 and found.st_mtime == 1e9
        return same and Path(f"/proc/{self.process}").exists() and os.getpriority(os.PRIO_PROCESS, self.process) == 0


@contextmanager
def victim() -> Iterator[Victim]:
    folder = Path(tempfile.mkdtemp())
    who = {} if os.geteuid() == USER else {"user": USER, "group": USER, "extra_groups": []}
    process = subprocess.Popen(["/bin/sleep", "600"], cwd="/", **who)
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        file = folder / "canary"
        file.write_text("canary")
        folder.chmod(0o777)
        file.chmod(0o666)
        os.utime(file, (1e9, 1e9))
        for path in (folder, file):
            os.chown(path, USER, -1)
        yield Victim(file, process.pid, listener.getsockname()[1])
    finally:
        listener.close()
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Snippet:
    name: str
    code: str
    reasons: tuple[str, ...]
    verifier: str
    tier: str | None


def snippets(name: str) -> list[Snippet]:
    found = tomllib.loads((FOLDER / f"{name}.toml").read_text())["snippet"]
    return [
        Snippet(one["name"], one["code"], tuple(one["reasons"]), one.get("verifier", "values"), one.get("tier"))
        for one in found
    ]


def reason(score: Score) -> str:
    return (score.reason or "").split(":")[0]


def verdict(pool: Pool, one: Snippet, prey: Victim, attack: bool) -> Score:
    """What becomes of a snippet. attack: its function says whether it got out; else it is to give squares."""
    code = one.code.replace("@CANARY@", str(prey.file)).replace("@WORKER@", str(prey.process))
    code = code.replace("@PORT@", str(prey.port))
    limits = SHORT if "timeout" in one.reasons else LONG
    if one.verifier == "asserts":
        return asserts.judged(pool, SUITE, program(code), limits, 1)
    if one.verifier == "stdio":
        run = stdio.python(pool, code, limits)
        return stdio.judged(pool, run, RUNS, limits, "tokens", 1e-6, False)
    target = HELD if attack else LARGE if "gc" in code else SQUARES
    return values.judged(pool, target, program(code, "", target.entry), limits, "exact", 0.0, False)


def wrong(pool: Pool, name: str, prey: Victim) -> dict[str, str]:
    """Snippets of a file that did not end as they must, with how they did."""
    chosen = [one for one in snippets(name) if one.tier in (None, pool.tier)]
    attack = name in ("resources", "escapes")

    def one(snippet: Snippet) -> tuple[str, Score]:
        return snippet.name, verdict(pool, snippet, prey, attack)

    with ThreadPoolExecutor(4) as threads:
        found = dict(threads.map(one, chosen))
    return {one.name: str(found[one.name]) for one in chosen if reason(found[one.name]) not in one.reasons}
