"""Which walls there are: with namespaces and without, and that nothing runs without any."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needing import needed

from verifiers.programs import lite, seccomp, tiers
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.pool import pooled, starter
from verifiers.programs.runtimes import python
from verifiers.programs.starting import orphans, swept

DOCKER = """
import ctypes, json, os, struct, sys
sys.path.insert(0, sys.argv[1])
from verifiers.programs import seccomp
# What Docker's default profile refuses of what bubblewrap needs: namespaces and mounts; with "all", Landlock too.
numbers = [272, 165, 155] + ([444] if sys.argv[2] == "all" else [])
lines = [(0x20, 0, 0, 0)] + [x for n in numbers for x in ((0x15, 0, 1, n), (6, 0, 0, 0x50001))]
lines += [(0x15, 0, 4, 56), (0x20, 0, 0, 16), (0x54, 0, 0, 0x7E020000), (0x15, 1, 0, 0), (6, 0, 0, 0x50001)]
lines += [(6, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("=HBBI", *line) for line in lines)
held = ctypes.create_string_buffer(code, len(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, struct.pack("@HP", len(lines), ctypes.addressof(held)), 0, 0) == 0
from search.ports import Answer, Item
from verifiers.program import ProgramValues, values
from verifiers.programs import tiers
target = {"entry": "f", "cases": [{"args": [2], "expected": 4}]}
score = values(ProgramValues())([Answer("def f(x): return x * x", Item(target=target))])[0]
found = tiers.standing()
print(json.dumps({"tier": found.tier, "words": found.words, "score": score}))
"""


def in_docker(what: str, **environment: str):
    """The standing and a verdict in a process that may make no namespaces."""
    needed("lite")
    root = os.path.dirname(os.path.dirname(seccomp.__file__))
    command = [sys.executable, "-c", DOCKER, os.path.dirname(root), what]
    made = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}, timeout=200
    )
    return json.loads(made.stdout)


def test_without_namespaces_it_is_lite_and_says_so():
    found = in_docker("namespaces")
    assert found["tier"] == "lite"
    assert "no strict" in found["words"]
    assert "let ordinary users make namespaces" in found["words"]
    assert found["score"] == [1.0, True, "pass: 1 calls [lite]", None]


@pytest.mark.parametrize(("what", "wanted"), [("all", "auto"), ("namespaces", "strict"), ("namespaces", "none")])
def test_without_walls_nothing_runs(what, wanted):
    found = in_docker(what, WINNOW_PROGRAMS=wanted)
    assert found["tier"] == "refuse"
    assert found["words"].startswith("programs are refused; ")
    value, passed, reason, _ = found["score"]
    assert (value, passed) == (None, None)
    assert reason.startswith("sandbox_error: programs are refused")


def test_without_bubblewrap_the_remedy_names_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt-get install bubblewrap" in tiers.looked("strict").words


def test_an_old_kernel_has_no_lite(monkeypatch):
    monkeypatch.setattr(lite, "version", lambda: 2)
    assert "Linux 6.2 or newer" in tiers.looked("lite").words


def test_walls_that_do_not_hold_are_no_walls(monkeypatch):
    """The probe pushes against every wall: a filter that allows everything is found out."""
    needed("strict")
    from verifiers.programs import pool

    monkeypatch.setattr(pool, "compiled", lambda: struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
    found = tiers.looked("strict")
    assert found.tier == "refuse"
    assert "there is a network" in found.words


WORKER = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from verifiers.programs import pool, strict
from verifiers.programs.candidate import Candidate
from verifiers.programs.limits import Limits
whole = strict.layers
strict.layers = lambda *a: {k: v for k, v in whole(*a).items() if k != sys.argv[3]}
made = pool.pooled(sys.argv[2], 2)
source = "import ctypes, signal, os\\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\\ndef f():\\n    for n in range(1, 65):\\n"
source += "        try: signal.signal(n, signal.SIG_IGN)\\n        except Exception: pass\\n    while True: pass\\n"
one = Candidate(made, Limits(call_seconds=100, total_seconds=100), source)
threading.Thread(target=one.call, args=("f", (), {}), daemon=True).start()
while made._made.qsize() < 1:
    time.sleep(0.01)
print("one runs, one waits", flush=True)
time.sleep(100)
"""


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in found.splitlines()]
    out = [pid]
    for one in out:
        out += [child for child, parent in pairs if parent == one]
    return out


def deaf(pid: int) -> bool:
    """Whether a process ignores a signal that only the program in its call does."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return bool(int(status.partition("SigIgn:")[2].split()[0], 16) >> (signal.SIGUSR2 - 1) & 1)


def survivors(tier: str, without: str, seconds: float) -> list[int]:
    """Processes that are left when a worker was killed with programs running and waiting, which ignore all signals."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(seccomp.__file__)))
    command = [sys.executable, "-c", WORKER, root, tier, without]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout.readline()
            least = 4 if tier == "strict" else 2  # one that runs and one that waits, or more
            end = time.monotonic() + 60
            while len(below := family(worker.pid)[1:]) < least or not any(map(deaf, below)):
                assert time.monotonic() < end, below
                time.sleep(0.01)
        finally:
            worker.kill()
    end = time.monotonic() + seconds
    while (alive := [pid for pid in below if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < end:
        time.sleep(0.005)
    return alive


def left(before: set[int], seconds: float) -> set[int]:
    """Orphans that were not there before and stay; one that is killed takes a moment to be gone."""
    end = time.monotonic() + seconds
    while (found := set(orphans()) - before) and time.monotonic() < end:
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("tier", ["strict", "lite"])
def test_nothing_survives_the_worker(tier):
    needed(tier)
    assert survivors(tier, "", 60) == []


def test_a_sandbox_that_is_closed_while_it_starts_leaves_nothing():
    needed("strict")
    start = starter("strict", python())
    before = set(orphans())
    for turn in range(40):
        sandbox = start()
        time.sleep(turn * 0.0003)
        sandbox.close()
    assert not left(before, 60)


def test_an_orphan_is_found_and_ended():
    """One of bubblewrap's own, killed between its clone and its word to the child."""
    needed("strict")
    start = starter("strict", python())
    for turn in range(400):
        sandbox = start()
        time.sleep(turn % 40 * 0.0003)
        sandbox.process.kill()
        sandbox.process.wait()
        sandbox.close()
        if orphans():
            break
    swept()
    assert not left(set(), 60)


def test_without_its_layer_something_survives():
    needed("strict")
    alive = survivors("strict", "dies with the worker", 1)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    assert alive


def test_processor_time_is_bounded_where_no_clock_looks():
    needed("strict")
    with pooled("strict").take() as sandbox:
        sandbox.limit(Limits(total_seconds=0.1))
        with pytest.raises(Fault, match="timeout: killed by the kernel"):
            sandbox.ask("define", "while True: pass", deadline=time.monotonic() + 100)


def test_the_filter_is_for_known_machines():
    with pytest.raises(seccomp.Unsupported, match=r"riscv64.*x86_64, aarch64"):
        seccomp.compiled(machine="riscv64")
    assert len(seccomp.compiled(machine="aarch64")) < len(seccomp.compiled(machine="x86_64"))


def test_numbers_are_those_of_the_headers():
    headers = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
    if not os.path.exists(headers):
        pytest.skip("NOT TESTED: no kernel headers (linux-libc-dev)")
    from verifiers.programs.syscalls import LOOKED_AT, REFUSED, REFUSED_LITE

    with open(headers) as file:
        known = {w[1][5:]: int(w[2]) for line in file if len(w := line.split()) == 3 and w[1].startswith("__NR_")}
    ours = {name: pair[0] for table in (REFUSED, REFUSED_LITE, LOOKED_AT) for name, pair in table.items()}
    assert {
        name: number for name, number in ours.items() if number is not None and known.get(name, number) != number
    } == {}
