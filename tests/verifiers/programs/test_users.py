"""A sandbox's user: what is started has it and nothing else; the thread gets its own back, and no other changes."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from verifiers.programs.users import worn

if os.geteuid() != 0:
    pytest.skip("NOT TESTED: only root may choose a user", allow_module_level=True)

USER = 0x51000000
FIELDS = ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapInh", "CapAmb")


def who(task: str = "/proc/thread-self") -> dict[str, str]:
    lines = Path(task, "status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines) if name in FIELDS}


def started() -> dict[str, str]:
    """Of a process that this thread starts."""
    found = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True, cwd="/")
    pairs = (line.split(":", 1) for line in found.stdout.splitlines())
    return {name: value.strip() for name, value in pairs if name in FIELDS}


def test_what_is_started_cannot_be_root_again():
    with worn(USER):
        found = started()
    assert found["Uid"].split() == found["Gid"].split() == [str(USER)] * 4
    assert found["Groups"] == ""
    assert {int(found[name], 16) for name in FIELDS if name.startswith("Cap")} == {0}


def test_the_thread_is_itself_again_also_after_an_error():
    before, core = who(), os.getgroups()
    with worn(USER):
        inside = who()
    with pytest.raises(ZeroDivisionError), worn(USER):
        _ = 1 / 0
    assert inside["Uid"].split() == [str(USER), str(USER), "0", str(USER)]
    assert (who(), os.getgroups()) == (before, core)
    assert started()["Uid"].split() == ["0"] * 4
    with worn(None):
        assert who() == before


def test_no_other_thread_changes():
    go, seen = threading.Event(), []
    other = threading.Thread(target=lambda: (go.wait(60), seen.append(who())))
    other.start()
    before = who()
    with worn(USER):
        go.set()
        other.join()
    assert seen == [before]


@pytest.mark.parametrize("user", [0, -1, 2**32 - 1])
def test_a_number_that_means_no_change_is_no_user(user):
    with pytest.raises(ValueError, match=f"no user to start a program as: {user}"), worn(user):
        pytest.fail("it went on as root")


ROOT_THAT_MAY_NOT = """
import subprocess
from verifiers.programs.users import worn
try:
    with worn(0x51000000):
        subprocess.run(["/bin/echo", "started"], check=True)
except OSError as error:
    print(error)
"""


def test_where_the_user_cannot_be_changed_nothing_is_started():
    if (setpriv := shutil.which("setpriv")) is None:
        pytest.skip("NOT TESTED: no setpriv (util-linux)")
    command = [setpriv, "--bounding-set=-setuid", sys.executable, "-c", ROOT_THAT_MAY_NOT]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Operation not permitted" in found.stdout
    assert "started" not in found.stdout


def test_threads_that_start_at_once_leave_the_process_as_it_was():
    libc = ctypes.CDLL(None)
    before = libc.prctl(3, 0, 0, 0, 0)

    def starts(number):
        with worn(USER + number):
            return started()["Uid"].split()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(starts, range(12)))
    assert found == [[str(USER + number)] * 4 for number in range(12)]
    assert libc.prctl(3, 0, 0, 0, 0) == before
    users = set[str]()
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread of another test that has just ended
            users.add(who(f"/proc/self/task/{task}")["Uid"])
    assert users == {"0\t0\t0\t0"}
