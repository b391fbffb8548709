"""Another user for what one thread starts, without a fork of the whole process.

`subprocess` forks where it is told a user, and copies the tables of a large process; without one it starts by vfork.
Linux keeps a user for every thread, and libc's own functions change all of them: so these are the bare system calls.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Generator
from contextlib import contextmanager

from verifiers.programs.seccomp import Unsupported

_NUMBERS = {"x86_64": (117, 119, 116), "aarch64": (147, 149, 159)}
"""setresuid, setresgid, setgroups."""
_DUMPABLE, _SET_DUMPABLE = 3, 4  # of prctl
_TURN = threading.Lock()


@contextmanager
def worn(user: int | None) -> Generator[None]:
    """As this user, and the group of its number alone, in this thread; what is started here stays so. None: no change.

    Needs root, which waits as the thread's saved user; a started program has none, for exec saves the effective one.
    The kernel then has the process leave no core, and be no one's to trace: that is put back. Raises OSError.
    """
    if user is None:
        yield
        return
    if not 0 < user < 2**32 - 1:
        raise ValueError(f"no user to start a program as: {user}")  # -1 is the kernel's word for no change
    if platform.machine() not in _NUMBERS:
        raise Unsupported(f"no numbers of system calls for {platform.machine()!r}")
    setresuid, setresgid, setgroups = _NUMBERS[platform.machine()]
    with _TURN:  # to leave a core or not is the whole process's
        groups, group, dumpable = os.getgroups(), os.getegid(), _libc().prctl(_DUMPABLE, 0, 0, 0, 0)
        try:
            _must(setgroups, 0, None)
            _must(setresgid, user, user, group)
            _must(setresuid, user, user, 0)
            yield
        finally:
            _must(setresuid, 0, 0, 0)
            _must(setresgid, group, group, group)
            _must(setgroups, len(groups), (ctypes.c_uint32 * len(groups))(*groups))
            _libc().prctl(_SET_DUMPABLE, dumpable, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _must(number: int, *arguments: "int | ctypes.Array[ctypes.c_uint32] | None") -> None:
    given = [ctypes.c_uint(value) if isinstance(value, int) else value for value in arguments]
    if _libc().syscall(number, *given) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"system call {number}{arguments}: {os.strerror(error)}")
