"""Every layer is there for something: without it, a snippet of the hostile set gets through."""

import os
import struct

import pytest
from hostility import USER, snippets, wrong

from verifiers.programs import limits, lite, pool, sandbox, seccomp, starting, strict, wire

NOTHING = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
"""A filter that allows everything."""


def without(layer):
    """Bubblewrap's arguments without one layer."""

    def take(patch):
        whole = strict.layers
        patch.setattr(strict, "layers", lambda *a: {k: v for k, v in whole(*a).items() if k != layer})

    return take


def option(layer, *gone):
    """Without some of the arguments of a layer."""

    def take(patch):
        whole = strict.layers
        patch.setattr(
            strict,
            "layers",
            lambda *a: {k: [x for x in v if k != layer or x not in gone] for k, v in whole(*a).items()},
        )

    return take


def unlimited(name):
    """Without one of the kernel's limits."""

    def take(patch):
        whole = limits.Limits.kernel.fget
        patch.setattr(limits.Limits, "kernel", property(lambda s: {k: v for k, v in whole(s).items() if k != name}))

    return take


def unfiltered(patch):
    patch.setattr(pool, "compiled", lambda: NOTHING)
    patch.setattr(lite, "compiled", lambda lite: NOTHING)


def refusing_all_but(*names):
    """The filter without some system calls."""

    def take(patch):
        for table in ("REFUSED", "REFUSED_LITE"):
            kept = {k: v for k, v in getattr(seccomp, table).items() if k not in names}
            patch.setattr(seccomp, table, kept)
        looked = {k: v if k not in names else (9999, 9999) for k, v in seccomp.LOOKED_AT.items()}
        patch.setattr(seccomp, "LOOKED_AT", looked)

    return take


def both(*takes):
    def take(patch):
        for one in takes:
            one(patch)

    return take


def with_environment(patch):
    real = starting.Popen
    patch.setattr(starting, "Popen", lambda *a, env, **more: real(*a, env={"SECRET": "x", "PATH": "/usr/bin"}, **more))


def unlocked(patch):
    patch.setattr(lite, "ENTER", lite.ENTER.replace('must(libc.syscall(446, rules, 0), "landlock")', "pass"))


def any_id(patch):
    def tell(self, *parts, deadline, answer):
        self.unsent["commands"] += wire.frame(*parts)
        return self._frame(deadline)[1:]

    patch.setattr(sandbox.Sandbox, "tell", tell)


LAYERS = {
    "process namespace": ("strict", option("namespaces", "--unshare-pid"), "escapes", "is not alone"),
    "network namespace, where the filter lets sockets be": (
        "strict",
        both(refusing_all_but("socket", "connect"), option("namespaces", "--unshare-net")),
        "escapes",
        "leaves by the network",
    ),
    "no users of its own, where the filter lets namespaces be": (
        "strict",
        both(refusing_all_but("unshare", "clone"), without("no more users")),
        "escapes",
        "namespaces of its own",
    ),
    "session": ("strict", without("no terminal"), "escapes", "shares a session"),
    "no reaper": ("strict", without("no reaper"), "escapes", "is not alone"),
    "environment": ("strict", both(with_environment, without("environment")), "escapes", "the service's environment"),
    "bounded /tmp": (
        "strict",
        option("temporary files", "--size", str(limits.TEMPORARY)),
        "resources",
        "fills the disk",
    ),
    "read-only root": ("strict", without("read-only root"), "escapes", "writes into the system"),
    "filter": ("strict", unfiltered, "escapes", "sockets of every kind"),
    "filter: processes": ("strict", refusing_all_but("fork", "vfork", "clone"), "resources", "fork bomb"),
    "filter: shared memory": ("strict", refusing_all_but("shmget"), "resources", "System V shared memory"),
    "filter: death signal": ("strict", refusing_all_but("prctl"), "escapes", "outlives the worker"),
    "address space": ("strict", unlimited("RLIMIT_AS"), "resources", "maps a gigabyte"),
    "number of threads": ("strict", unlimited("RLIMIT_NPROC"), "resources", "thread bomb"),
    "size of files": ("strict", unlimited("RLIMIT_FSIZE"), "resources", "one large file"),
    "open files": ("strict", unlimited("RLIMIT_NOFILE"), "resources", "many open files"),
    "no cores": ("lite", unlimited("RLIMIT_CORE"), "resources", "leaves a core"),
    "cap on output": (
        "strict",
        lambda patch: patch.setattr(sandbox, "MOST_OUTPUT", 2**60),
        "resources",
        "floods its output",
    ),
    "cap on results": ("strict", lambda patch: patch.setattr(wire, "LARGEST", 2**60), "resources", "a result of 2 MiB"),
    "keys of one hash": (
        "strict",
        lambda patch: patch.setattr(wire, "COLLIDING", 2**60),
        "resources",
        "keys that share one hash",
    ),
    "random ids": ("strict", any_id, "cheats", "replies before it is asked"),
    "Landlock": ("lite", unlocked, "escapes", "writes the secret file"),
    "filter of lite": ("lite", unfiltered, "escapes", "changes the secret file's mode, owner and times"),
    "filter: signals of files": ("lite", refusing_all_but("fcntl"), "escapes", "has a file signal others"),
    "filter of lite: signals": ("lite", refusing_all_but("kill"), "escapes", "signals others"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_without_it_something_gets_through(layer, prey, monkeypatch):
    tier, take, file, name = LAYERS[layer]
    if os.geteuid() == 0:
        monkeypatch.setattr(pool, "stranger", lambda: USER)
    only = [one for one in snippets(file) if one.name == name]
    assert only, f"no snippet {name!r}"
    monkeypatch.setattr("hostility.snippets", lambda _: only)
    for taken in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if taken:
                take(patch)
                if layer == "cap on output":  # then it has no end of its own
                    patch.setattr("hostility.LONG", limits.Limits(call_seconds=0.5, total_seconds=0.5))
            made = pool.pooled(tier)
            got = wrong(made, file, prey)
            made.close()
        assert bool(got) is taken, f"{name!r} ends as {got}"
