"""Child processes that outlive nobody."""

import ctypes
import signal
import subprocess
import sys


def follow_parent() -> None:
    """In a child: end with the parent, even if it is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def end(child: subprocess.Popen[bytes], patience: float = 10) -> None:
    """Terminate a child; kill it when it does not end within so many seconds."""
    child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stderr is not None:
        child.stderr.close()
