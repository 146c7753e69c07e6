"""A stop that is asked for by a signal and taken at a safe place.

The handler only notes the signal. Loops call `check()` between two batches, which raises `Stopped`; everything that is
open is then dropped on the way out, as after any other error. A second signal ends the process at once, and so does a
stop that was not taken within 8 seconds (a large batch, a disk that does not answer). Both are safe too: nothing
half-done is ever visible (write/commit.py).
"""

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sentiment_batch.errors import Stopped
from sentiment_batch.logs import say_error

PATIENCE_SECONDS = 8.0
_SAYING_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_noted: int | None = None


def install(tell_overdue: Callable[[Stopped], None] | None = None) -> None:
    """Note SIGINT, SIGTERM and SIGHUP from now on, but for those that nohup or `&` told us to ignore.

    Call it from the main thread, once. `tell_overdue` is called before the process is ended for a stop that was not
    taken, in a thread of its own, and has a second.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written by the system, however busy this process is
    _thread.start_new_thread(
        _end_when_overdue, (reader, tell_overdue)
    )  # Thread.start would wait for ever where memory is short


def check() -> None:
    """Raise `Stopped` if a signal has been noted."""
    if _noted is not None:
        raise Stopped(_noted)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """A process that is begun in the block never gets these signals: who began it says when it ends.

    A Ctrl-C goes to every process of a terminal. What comes for this one meanwhile comes behind the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _note(number: int, _frame: FrameType | None) -> None:
    global _noted
    if _noted is not None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    _noted = number


def _end_when_overdue(reader: int, tell: Callable[[Stopped], None] | None) -> None:
    """Wait for a signal, then for the process to end; and end it if it takes too long."""
    while (number := os.read(reader, 1)[0]) not in _SIGNALS:
        continue
    time.sleep(PATIENCE_SECONDS)
    overdue = Stopped(number)
    last = [threading.Thread(target=say_error, args=(str(overdue), overdue.exit_code), daemon=True)]
    if tell:
        last.append(threading.Thread(target=tell, args=(overdue,), daemon=True))
    for each in last:
        each.start()
    for each in last:
        each.join(_SAYING_SECONDS)  # standard error, or a disk, may be what does not answer
    os._exit(overdue.exit_code)
