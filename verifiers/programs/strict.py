"""Tier `strict`: bubblewrap. Every layer is named, so that a test can take one away and see what it was for."""

import os
import shutil
from collections.abc import Mapping

from verifiers.programs.limits import TEMPORARY
from verifiers.programs.runtimes import Runtime

PROGRAM = "/program"
"""Where a program of another language lies."""
DEVICES = ("null", "zero", "urandom", "random")


def layers(runtime: Runtime, program: int | None = None) -> dict[str, list[str]]:
    """Arguments of bubblewrap, by what they are for. program: a descriptor of the program's text, for its file."""
    files = [argument for path in runtime.binds for argument in ("--ro-bind", path, path)]
    if program is not None:
        files += ["--perms", "0444", "--file", str(program), PROGRAM]
    return {
        "namespaces": ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"],
        "user": ["--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"],
        "no more users": ["--disable-userns"],
        "no terminal": ["--new-session"],
        "dies with the worker": ["--die-with-parent"],
        "no reaper": ["--as-pid-1"],
        "environment": ["--clearenv"],
        "system": ["--ro-bind", "/usr", "/usr", *_links(), *files],
        "devices": [argument for name in DEVICES for argument in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")],
        "temporary files": ["--size", str(TEMPORARY), "--tmpfs", "/tmp"],  # noqa: S108 - inside
        "read-only root": ["--remount-ro", "/"],
    }


def _links() -> list[str]:
    """/lib and the like, as links into /usr or as the folders that they are."""
    out: list[str] = []
    for name in ("lib", "lib64", "lib32", "bin"):
        path = f"/{name}"
        if os.path.islink(path):
            out += ["--symlink", os.readlink(path).lstrip("/"), path]
        elif os.path.isdir(path):
            out += ["--ro-bind", path, path]
    return out


def walls(runtime: Runtime, program: int | None = None) -> list[str]:
    """The command line up to what differs from start to start. Raises FileNotFoundError without bubblewrap."""
    if (bwrap := shutil.which("bwrap")) is None:
        raise FileNotFoundError("bubblewrap (`bwrap`) is not on the PATH")
    return [bwrap, *(argument for layer in layers(runtime, program).values() for argument in layer)]


def ended(ends: Mapping[str, int]) -> list[str]:
    """The rest of it, up to the interpreter's. ends: the descriptors of `info` and `seccomp`."""
    return ["--info-fd", str(ends["info"]), "--seccomp", str(ends["seccomp"]), "--"]
