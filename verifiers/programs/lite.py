"""Tier `lite`, for machines without namespaces: the text in front of the runner's, which locks its own process up.

Landlock: files of the system can be read, four devices written, nothing else; no TCP, no signals to others. seccomp:
the list of `strict`, and what a PID namespace and Landlock leave open. What stays: a program sees that files and
processes exist (names, sizes, owners), and its processor time is bounded by limits alone.
"""

import ctypes
import os

from verifiers.programs.runtimes import Runtime
from verifiers.programs.seccomp import compiled

LEAST = 3
"""Landlock's version that handles truncation (Linux 6.2)."""
_NUMBERS = (444, 445, 446)  # landlock_create_ruleset, _add_rule, _restrict_self; equal on every machine

ENTER = """
import ctypes, os, struct, sys
def lock(parent, binds, devices, filter):
    libc = ctypes.CDLL(None, use_errno=True)
    def must(result, what):
        if result < 0:
            os.write(2, (what + ": " + os.strerror(ctypes.get_errno())).encode())
            os._exit(1)
        return result
    libc.prctl(1, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    must(libc.prctl(38, 1, 0, 0, 0), "no new privileges")
    version = must(libc.syscall(444, None, ctypes.c_size_t(0), 1), "landlock")
    files = (1 << 13) - 1 | 1 << 13 | 1 << 14 | (1 << 15 if version >= 5 else 0)
    attributes = struct.pack("=QQQ", files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    attributes = attributes[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = must(libc.syscall(444, attributes, ctypes.c_size_t(len(attributes)), 0), "landlock rules")
    for path, allowed in [(path, 1 << 2 | 1 << 3) for path in binds] + [(path, 1 << 1 | 1 << 2) for path in devices]:
        if os.path.exists(path):
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
            must(libc.syscall(445, rules, 1, struct.pack("=Qi", allowed, file), 0), "landlock rule")
            os.close(file)
    must(libc.syscall(446, rules, 0), "landlock")
    os.close(rules)
    held = ctypes.create_string_buffer(filter, len(filter))
    program = struct.pack("@HP", len(filter) // 8, ctypes.addressof(held))
    must(libc.prctl(22, 2, program, 0, 0), "seccomp")
lock(%(parent)d, %(binds)r, %(devices)r, bytes.fromhex(%(filter)r))
del lock
"""


def version() -> int:
    """Landlock's version here; 0 where there is none."""
    found = ctypes.CDLL(None, use_errno=True).syscall(_NUMBERS[0], None, ctypes.c_size_t(0), 1)
    return max(0, found)


def entrance(runtime: Runtime) -> str:
    """Source text that runs before the runner, in its process."""
    return ENTER % {
        "parent": os.getpid(),
        "binds": ["/usr", "/lib", "/lib64", *runtime.binds],
        "devices": ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"],
        "filter": compiled(lite=True).hex(),
    }
