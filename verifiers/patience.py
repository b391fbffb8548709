"""A limit on the processor time of one judgement: what else would stop a hostile pattern?"""

import multiprocessing
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from verifiers.each import Unreadable


def finalizing(frame: FrameType | None) -> bool:
    """Whether a destructor runs here, which swallows what is raised; the next signal finds it gone."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@contextmanager
def patience(seconds: float = 1.0) -> Generator[None]:
    """Raise Unreadable inside the block once it has used `seconds` of processor time.

    A signal does it, which `re` looks for as it backtracks. Signals reach only the main thread, where the tasks of a
    pool process run; that is why verifiers that use this are marked `place="process"`. In any other thread, and on
    systems without SIGVTALRM, there is no limit.

    Libraries that catch every exception catch this one too; so it comes again, and is raised at the end in any case.
    Code that hears no signal, such as arithmetic of huge integers, ends with its pool process after twice that time:
    a second timer keeps its default, which is to kill. The answer is then unscored, and no other.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGVTALRM"):
        yield
        return

    late = Unreadable(f"not decided within {seconds:g} s of processor time")
    fired = False

    def stop(_: int, frame: FrameType | None) -> None:
        nonlocal fired
        fired = True
        if not finalizing(frame):
            raise late

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.1)
    if multiprocessing.parent_process() is not None:
        signal.setitimer(signal.ITIMER_PROF, 2 * seconds + 1)
    try:
        yield
        if fired:
            raise late
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGVTALRM, before)
