"""A sandbox is started: its pipes, its files, its user."""

import os
from collections.abc import Callable, Mapping, Sequence
from subprocess import Popen

from verifiers.programs.sandbox import Pipes, Sandbox

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
        process = Popen(  # noqa: S603 - our own command line
            command(theirs),
            stdin=theirs["input"],
            stdout=theirs["output"],
            stderr=theirs["errors"],
            pass_fds=passed,
            env={},
            cwd="/",
            start_new_session=not files,  # bubblewrap does that itself
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except BaseException:
        for end in ours.values():
            os.close(end)
        raise
    finally:
        for end in theirs.values():
            os.close(end)
    return Sandbox(process, Pipes(**ours), tier)
