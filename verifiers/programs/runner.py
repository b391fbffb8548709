"""What runs inside a sandbox: the other end of the frames. Its text is given to a bare interpreter; nothing imports it.

Commands: a kind, an id, limits to take on first ({} for those in force), and what the kind needs. It is not trusted:
a program shares its memory, and may read and write all that it can. So there is nothing here to find but the
arguments of the call in hand, and nothing to forge but that call's result, which a program may choose anyway.
Commands are Python literals, written by the worker; replies are typed JSON, read by it with suspicion. Only modules
that are built into the interpreter are loaded, or as good as: every run pays for them.
"""

from __future__ import annotations

import builtins
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # these two would double what a start costs
    from collections.abc import Callable
    from typing import Any

MOST, DEEPEST = 200_000, 100  # parts of a value; levels
ESCAPED = {n: f"\\u{n:04x}" for n in range(32)} | {34: '\\"', 92: "\\\\"}


class Unplain(Exception):
    """A value that is not made of Python's own types."""


def quote(text: str) -> str:
    """Text as JSON."""
    return '"' + text.translate(ESCAPED) + '"'


def written(value: Any) -> str:
    """A value as typed JSON. Exact types alone: what an object of a subclass says of itself proves nothing."""
    left = [MOST]

    def many(values: Any, depth: int) -> str:
        return "[" + ",".join([one(x, depth) for x in values]) + "]"

    def one(x: Any, depth: int) -> str:
        left[0] -= 1
        kind = type(x)
        if left[0] < 0 or depth > DEEPEST:
            raise Unplain(f"more than {MOST} parts or {DEEPEST} levels")
        if x is None:
            return "null"
        if kind is bool:
            return "true" if x else "false"
        if kind is str:
            return quote(x)
        if kind is int:
            return int.__repr__(x) if -(2**63) <= x < 2**63 else '{"i":"' + hex(x) + '"}'
        if kind is float:
            return '{"f":"' + x.hex() + '"}'
        if kind is list:
            return many(x, depth + 1)
        if kind is dict:
            return '{"d":' + many(list(x.items()), depth + 1) + "}"
        if kind in (tuple, set, frozenset):
            letter = {tuple: "t", set: "s", frozenset: "z"}[kind]
            return '{"' + letter + '":' + many(x, depth + 1) + "}"
        if kind in (bytes, bytearray):
            return ('{"b":"' if kind is bytes else '{"B":"') + x.hex() + '"}'
        if kind is complex:
            return '{"c":["' + x.real.hex() + '","' + x.imag.hex() + '"]}'
        if kind is range:
            return '{"r":' + many((x.start, x.stop, x.step), depth + 1) + "}"
        raise Unplain(f"a value of type {kind.__name__[:100]}")

    return one(value, 0)


class Link:
    """Frames over two pipes: four bytes of length, then the text."""

    def __init__(self, commands: int, replies: int) -> None:
        self.commands, self.replies = commands, replies

    def read(self) -> Any:
        """The next command; the process ends with the worker's end of the pipe."""
        return eval(self.bytes(int.from_bytes(self.bytes(4), "big")).decode())  # noqa: S307 - the worker wrote it

    def bytes(self, count: int) -> bytes:
        """So many of them."""
        found = b""
        while len(found) < count:
            some = posix.read(self.commands, min(count - len(found), 65536))
            if not some:
                posix._exit(0)  # pyright: ignore[reportPrivateUsage]
            found += some
        return found

    def reply(self, *parts: str) -> None:
        """One frame, of parts that are JSON already."""
        body = ("[" + ",".join(parts) + "]").encode("utf-8", "surrogatepass")
        body = len(body).to_bytes(4, "big") + body
        while body:
            body = body[posix.write(self.replies, body) :]

    def raised(self, name: str, error: BaseException) -> None:
        """That a call ended with an exception: its type, and what it says, as far as it can."""
        known = next(kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
        try:
            said = str(error)[:300]
        except BaseException:
            said = ""
        line, trace = 0, error.__traceback__
        while trace:
            if trace.tb_frame.f_code.co_filename == "<program>":
                line = trace.tb_lineno
            trace = trace.tb_next
        self.reply(name, '"raised"', *map(quote, (type(error).__name__[:100], known, said)), str(line))


def limited(limits: dict[str, int]) -> None:
    """Limits of this process that it cannot raise again."""
    import resource  # already loaded

    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))


def module(name: str) -> dict[str, Any]:
    """A module for the program; its namespace."""
    made = type(sys)(name)
    sys.modules[name] = made
    return made.__dict__


def proxy(link: Link, name: str) -> Callable[..., Any]:
    """In a suite's sandbox: the program's function, which runs in another one."""

    class CandidateError(Exception):
        """The program raised something that is none of Python's own exceptions."""

    def candidate(*args: Any, **kwargs: Any) -> Any:
        try:
            asked = written(args), written(kwargs)
        except Unplain as error:
            raise TypeError(f"the suite calls the program with {error}") from None
        link.reply(name, '"ask"', *asked)
        kind, *found = link.read()
        if kind == "value":
            return found[0]
        raised = getattr(builtins, found[0], CandidateError)
        raise raised(found[1])

    return candidate


def main(commands: int, replies: int) -> str:
    """Obey commands until there are no more, or until one is to run a whole program: its source."""

    link = Link(commands, replies)
    builtins.exit = builtins.quit = sys.exit  # `site`, which has them, is not loaded
    link.reply('"ready"')
    space: dict[str, Any] = {}
    while True:
        kind, name, limits, *given = link.read()
        name = quote(name)
        try:
            limited(limits)
        except Exception as error:
            link.reply(name, '"unlimited"', quote(str(error)))
            continue
        try:
            if kind == "define":
                space = module("program")
                exec(compile(given[0], "<program>", "exec"), space)  # noqa: S102 - what this process is for
                result = "null"
            elif kind == "call":
                function, args, kwargs = given
                result = written(space[function](*args, **kwargs))
            elif kind == "suite":
                suite(link, name, *given)
                result = "null"
            else:
                link.reply(name, '"value"', "null")
                posix.close(replies)
                return given[0]
        except Unplain as error:
            link.reply(name, '"unplain"', quote(str(error)))
        except BaseException as error:
            link.raised(name, error)
        else:
            link.reply(name, '"value"', result)


def suite(link: Link, name: str, entry: str, prefix: str, tests: str) -> None:
    """Run a suite of assertions against the program behind a proxy; raises where it does not hold."""
    space = module("suite")
    exec(compile(prefix, "<prefix>", "exec"), space)  # noqa: S102 - the item's own helpers
    candidate = space[entry] = proxy(link, name)
    exec(compile(tests, "<program>", "exec"), space)  # noqa: S102
    if "check" in space:
        space["check"](candidate)


def started(source: str) -> None:
    """Run a whole program on this process's own input and output."""
    sys.argv = ["program"]
    space = sys.modules["__main__"].__dict__
    for name in [name for name in space if not name.startswith("__")]:
        del space[name]
    exec(compile(source, "<program>", "exec"), space)  # noqa: S102


if __name__ == "__main__":
    started(main(int(sys.argv[1]), int(sys.argv[2])))
