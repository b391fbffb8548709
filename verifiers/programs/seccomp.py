"""The filter of system calls, as a program of classic BPF: a list of what is refused, for threads and single processes.

Refused calls fail with EPERM; what libc knows how to do without fails with ENOSYS; another instruction set kills.
"""

import errno
import platform
import struct
from collections.abc import Iterable

from verifiers.programs.syscalls import LAST, LOOKED_AT, REFUSED, REFUSED_LITE, Numbers

_LOAD, _EQUAL, _ABOVE, _AND, _RETURN = 0x20, 0x15, 0x25, 0x54, 0x06  # ld abs, jeq, jgt, and, ret
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; low halves of arguments
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_THREAD = 0x00010000  # CLONE_THREAD
_NEW = 0x7E020080  # CLONE_NEW*: namespaces
_PDEATHSIG, _AF_UNIX = 1, 1
_TERMINAL = (0x5412, 0x541C, 0x8901, 0x8902)  # TIOCSTI, TIOCLINUX; FIOSETOWN, SIOCSPGRP
_OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: a file that is ready signals whomever it is told to

Instruction = tuple[int, int, int, int]


class Unsupported(RuntimeError):
    """No table of system calls for this machine."""


def _refuse(error: int = errno.EPERM) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    """`body` for one system call; it ends by returning. The accumulator holds the call's number around it."""
    return [(_EQUAL, 0, len(body), number), *body]


def _but(second: Iterable[int]) -> list[Instruction]:
    """Allow, unless the second argument is one of these."""
    refused = [line for value in second for line in ((_EQUAL, 0, 1, value), _refuse())]
    return [(_LOAD, 0, 0, _SECOND), *refused, (_RETURN, 0, 0, _ALLOW)]


def _looked_at(index: int) -> list[Instruction]:
    """Calls whose arguments decide."""
    number = {name: pair[index] for name, pair in LOOKED_AT.items()}
    allow: Instruction = (_RETURN, 0, 0, _ALLOW)
    threads: list[Instruction] = [(_LOAD, 0, 0, _FIRST), (_AND, 0, 0, _THREAD | _NEW), (_EQUAL, 0, 1, _THREAD), allow]
    own: list[Instruction] = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 0, 1, 0), allow, _refuse()]
    pairs: list[Instruction] = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 0, 1, _AF_UNIX), allow, _refuse()]
    # Without its death signal a program would outlive the worker.
    controls: list[Instruction] = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 1, 0, _PDEATHSIG), allow, _refuse()]
    return [
        *_when(number["clone"], [*threads, _refuse()]),
        *_when(number["clone3"], [_refuse(errno.ENOSYS)]),
        *_when(number["prlimit64"], own),
        *_when(number["socketpair"], pairs),
        *_when(number["prctl"], controls),
        *_when(number["ioctl"], _but(_TERMINAL)),
        *_when(number["fcntl"], _but(_OWNERS)),
    ]


def _refused(tables: Iterable[Numbers], index: int) -> list[Instruction]:
    numbers = sorted({n for table in tables for pair in table.values() if (n := pair[index]) is not None})
    return [line for n in numbers for line in _when(n, [_refuse()])]


def compiled(lite: bool = False, machine: str | None = None) -> bytes:
    """The filter as an array of struct sock_filter. lite: for a program without namespaces. Raises Unsupported."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        raise Unsupported(f"no table of system calls for {machine!r}; there is one for {', '.join(_MACHINES)}")
    index, arch = _MACHINES[machine]
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_ABOVE, 0, 1, LAST),  # also x32, whose numbers start at 2^30
        _refuse(errno.ENOSYS),
        *_looked_at(index),
        *_refused([REFUSED, *([REFUSED_LITE] if lite else [])], index),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
