"""A sandbox is started: its pipes, its files, its user."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

from verifiers.programs.sandbox import Pipes, Sandbox
from verifiers.programs.users import worn

MARK = b"--disable-userns"
Command = Callable[[Mapping[str, int]], Sequence[str]]
"""A command line, given the descriptors on the sandbox's side by their names."""


def made(command: Command, tier: str, user: int | None, files: Mapping[str, bytes], first: bytes = b"") -> Sandbox:
    """Start a sandbox. files: texts that the command reads from descriptors of these names. first: its first command.

    The process dies with the thread that calls this. Raises OSError.
    """
    inward = {name: os.pipe() for name in ("commands", "input")}
    outward = {name: os.pipe() for name in ("replies", "output", "errors", "info")}
    ours = {name: pair[1] for name, pair in inward.items()} | {name: pair[0] for name, pair in outward.items()}
    theirs = {name: pair[0] for name, pair in inward.items()} | {name: pair[1] for name, pair in outward.items()}
    try:
        for name, content in files.items():
            theirs[name] = os.memfd_create(name)
            os.write(theirs[name], content)
            os.lseek(theirs[name], 0, os.SEEK_SET)
        os.write(ours["commands"], first)
        passed = [theirs[name] for name in ("commands", "replies", *files, *(["info"] if files else []))]
        line = command(theirs)
        with worn(user):
            process = Popen(  # noqa: S603 - our own command line
                line,
                stdin=theirs["input"],
                stdout=theirs["output"],
                stderr=theirs["errors"],
                pass_fds=passed,
                env={},
                cwd="/",
                start_new_session=not files,  # bubblewrap does that itself
            )
    except BaseException:
        for end in ours.values():
            os.close(end)
        raise
    finally:
        for end in theirs.values():
            os.close(end)
    return Sandbox(process, Pipes(**ours), tier)


def orphans() -> list[int]:
    """Sandboxes that lost their bubblewrap in the moment before it let them go on; a killed worker may leave one.

    There is no program in them. They are children of init, and processes 1 of a namespace of their own.
    """
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, StopIteration):
            if not (said := (folder / "cmdline").read_bytes()).split(b"\0")[0].endswith(b"bwrap") or MARK not in said:
                continue
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            above = Path("/proc", status["PPid"], "cmdline")
            if len(status["NSpid"].split()) > 1 and b"bwrap" not in above.read_bytes():
                found.append(int(folder.name))
    return found


def swept() -> None:
    """End orphans."""
    for pid in orphans():
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
