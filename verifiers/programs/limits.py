"""What a program may use, and the ways in which it may fail."""

from typing import Literal

from pydantic import Field

from search.ports import Frozen

Reason = Literal[
    "pass", "wrong_answer", "error", "timeout", "memory", "output_limit", "protocol_error", "sandbox_error"
]

KEPT, MOST_OUTPUT = 64 * 2**10, 4 * 2**20
"""Bytes of output that are kept, and that end a program."""
TEMPORARY = 32 * 2**20
"""Bytes of /tmp."""


class Fault(Exception):
    """A program that has no result: why, in one word and in some. `sandbox_error` is the service's own."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class Limits(Frozen):
    """Limits of one program."""

    call_seconds: float = Field(2.0, gt=0, le=600, description="Wall seconds of one call, from its start.")
    total_seconds: float = Field(10.0, gt=0, le=3600, description="Wall seconds of all its calls and of loading it.")
    memory_mb: int = Field(768, ge=64, le=65536, description="MiB of address space.")

    @property
    def kernel(self) -> dict[str, int]:
        """Limits that the kernel keeps, by the name that `resource` has for each."""
        return {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_FSIZE": 8 * 2**20,
            "RLIMIT_NPROC": 24,
            "RLIMIT_CPU": int(self.total_seconds) + 2,
            "RLIMIT_AS": self.memory_mb * 2**20,
        }
