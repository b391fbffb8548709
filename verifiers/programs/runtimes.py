"""How a language is run: an interpreter's command line, and the files that it needs to see."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RUNNER = Path(__file__).with_name("runner.py")
COMPILE = """
import __future__, marshal, sys
text = sys.stdin.read().replace("from __future__ import annotations\\n", "\\n")  # as a flag: nothing is imported inside
code = compile(text, "r", "exec", __future__.annotations.compiler_flag)
sys.stdout.buffer.write(marshal.dumps(code))
"""


@dataclass(frozen=True)
class Runtime:
    """A language. argv: its command line, in which `{file}` stands for the program's path.

    binds: folders that must be seen besides /usr. frames: its process is the runner, which serves calls of functions
    and can be started before there is a program; else whole programs alone, each with its own start.
    """

    name: str
    argv: tuple[str, ...]
    binds: tuple[str, ...] = ()
    frames: bool = False

    def compiled(self, source: str) -> bytes:
        """Source text as code of this very interpreter. Raises OSError."""
        command = [*self.argv, "-c", COMPILE]
        return subprocess.run(command, input=source.encode(), capture_output=True, check=True, cwd="/", env={}).stdout  # noqa: S603


def reachable(path: Path) -> bool:
    """Whether a stranger may go there: every folder above lets him through. A home of mode 0700 does not."""
    return all(part.stat().st_mode & 0o001 for part in [path, *path.parents] if part.exists())


@cache
def python() -> Runtime:
    """Python: this service's own interpreter where a program's user can reach it, else the system's.

    Raises LookupError when there is none.
    """
    own = Path(os.path.realpath(sys.executable))
    prefix = Path(sys.base_prefix)
    if own.exists() and (reachable(own) or os.getuid() != 0):
        inside = prefix == Path("/usr") or Path("/usr") in prefix.parents
        return Runtime("python", (str(own), "-I", "-S"), () if inside else (str(prefix),), frames=True)
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if found is None:
        raise LookupError(
            f"the interpreter {str(own)!r} is in a folder that only its owner may enter, and there is no other"
        )
    return Runtime("python", (os.path.realpath(found), "-I", "-S"), frames=True)


PERL = Runtime("perl", ("/usr/bin/perl", "{file}"))
"""A second language, for whole programs; Debian always has it."""
