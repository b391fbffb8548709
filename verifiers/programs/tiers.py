"""Which walls this machine gives: looked at once, by building them and pushing against them."""

import os
import threading
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import Literal

from verifiers.programs import lite
from verifiers.programs.limits import Fault, Limits
from verifiers.programs.pool import Pool, pooled
from verifiers.programs.seccomp import Unsupported
from verifiers.programs.starting import swept

Tier = Literal["strict", "lite", "refuse"]
WALLS: tuple[Tier, ...] = ("strict", "lite")
SETTING = "WINNOW_PROGRAMS"
CHECK = """
def held(strict):
    import os, sys
    def tried(what, attempt):
        try:
            attempt()
        except (OSError, ValueError):
            return []
        return [what]
    def network():
        import socket
        socket.socket()
    broken = tried("files of the machine can be read", lambda: open("/etc/hostname").close())
    broken += tried("files can be written", lambda: open("/usr/winnow-probe", "w").close())
    broken += tried("there is a network", network)
    broken += tried("processes can be made", lambda: os.fork() or os._exit(0))
    if set(os.environ) - {"LC_CTYPE", "PWD"}:
        broken.append("there is an environment")
    if strict and (os.getpid(), os.getuid()) != (1, 1000):
        broken.append("it is not alone")
    return broken
"""
REMEDIES = {
    "not on the PATH": "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)",
    "namespace": "let ordinary users make namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for bwrap (Ubuntu); in Docker "
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined",
    "landlock": "Linux 6.2 or newer with `landlock` among the security modules (kernel parameter lsm=)",
    "may enter": "install the system's python3 (apt-get install python3-minimal), or have Winnow's under /usr or /opt",
    "table": "run programs on x86_64 or aarch64",
}


@dataclass(frozen=True)
class Standing:
    """What was found. missing: for each better tier why it is not there, and the remedy."""

    tier: Tier
    missing: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """One sentence for people."""
        return "; ".join(
            [f"programs run at tier {self.tier!r}" if self.tier != "refuse" else "programs are refused", *self.missing]
        )


def remedy(why: str) -> str:
    """What to do about a reason."""
    said = why.lower().replace("uid map", "namespace").replace("ns failed", "namespace").replace("sysctl", "namespace")
    known = [text for word, text in REMEDIES.items() if word.lower() in said]
    return f"{why}; remedy: {known[0]}" if known else why


def tried(tier: Tier) -> str | None:
    """Why a tier does not hold here; None when it does."""
    if tier == "lite" and lite.version() < lite.LEAST:
        return f"the kernel has Landlock {lite.version()}; {lite.LEAST} or newer is needed"
    try:
        pool = pooled(tier)
    except (LookupError, Unsupported, OSError) as error:
        return str(error)
    try:
        with pool.take() as sandbox:
            sandbox.limit(Limits.model_validate({}))
            end = monotonic() + 60  # a machine that is busy at this moment has its walls all the same
            sandbox.ask("define", CHECK, deadline=end)
            kind, *said = sandbox.ask("call", "held", (tier == "strict",), {}, deadline=end)
    except Fault as fault:
        return fault.detail or fault.reason
    finally:
        pool.close()
    if kind != "value" or said != [[]]:
        return f"its walls do not hold: {said!s:.200}"
    return None


def looked(wanted: str) -> Standing:
    """What this machine gives to one who wants `auto`, `strict` or `lite`."""
    allowed = {"auto": WALLS, "strict": WALLS[:1], "lite": WALLS[1:]}.get(wanted)
    if allowed is None:
        return Standing("refuse", (f"{SETTING}={wanted!r} is not known; valid: auto, strict, lite",))
    missing: list[str] = []
    for tier in allowed:
        if (why := tried(tier)) is None:
            return Standing(tier, tuple(missing))
        missing.append(f"no {tier}: {remedy(why)}")
    return Standing("refuse", tuple(missing))


_LOCK = threading.RLock()


@cache
def _standing() -> Standing:
    swept()  # what a killed worker may have left
    return looked(os.environ.get(SETTING, "auto"))


def standing() -> Standing:
    """What this machine gives, looked at once in a process; at most some tenths of a second the first time."""
    with _LOCK:
        return _standing()


def cores() -> int:
    """Programs that run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> Pool:
    return pooled(standing().tier, 2 * cores())


def pool() -> Pool:
    """This process's sandboxes. Raises Fault sandbox_error where programs are refused."""
    if (found := standing()).tier == "refuse":
        raise Fault("sandbox_error", found.words)
    with _LOCK:
        return _pool()
