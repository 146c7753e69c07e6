"""A stop that is asked for by a signal and taken at a safe place.

The handler only notes the signal. Loops call `check()` between two batches, which raises `Stopped`; everything that is
open is then dropped on the way out, as after any other error. A second signal ends the process at once, which is
safe too: nothing half-done is ever visible (write/commit.py).
"""

import os
import signal
from types import FrameType

from sentiment_batch.errors import Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_noted: int | None = None


def install() -> None:
    """Note SIGINT, SIGTERM and SIGHUP from now on, but for those that nohup or `&` told us to ignore.

    Call it from the main thread.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)


def check() -> None:
    """Raise `Stopped` if a signal has been noted."""
    if _noted is not None:
        raise Stopped(_noted)


def _note(number: int, _frame: FrameType | None) -> None:
    global _noted
    if _noted is not None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    _noted = number
