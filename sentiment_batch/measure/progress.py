"""How far a long job is, for a person at a terminal or for a log that somebody reads in the morning."""

import contextlib
import logging
import sys
import time
from types import TracebackType
from typing import Protocol

from tqdm import tqdm

log = logging.getLogger(__name__)

_LOG_SECONDS = 30.0


class Tally(Protocol):
    """What is told of rows."""

    def add(self, count: int) -> None:
        """So many more are done."""


class Progress:
    """Counts rows; shows them as a bar on a terminal, or as a log line at the start and every 30 seconds."""

    def __init__(self, total: int, style: str, unit: str = "row", done: int = 0):
        if style == "auto":
            style = "bar" if sys.stderr.isatty() else "log"
        self.total, self.done, self.done_here, self.style, self.unit = total, done, 0, style, unit
        self.started = self.logged = time.perf_counter()
        self._bar = tqdm(disable=True)
        if style == "bar":
            with contextlib.suppress(OSError):  # nobody can look at it
                self._bar = tqdm(total=total, initial=done, unit=unit, unit_scale=True, file=sys.stderr, leave=False)
        if style == "log":
            log.info("%s", self._position())

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._bar.close()

    def add(self, count: int) -> None:
        self.done += count
        self.done_here += count
        try:
            self._bar.update(count)
        except OSError:
            self._bar.disable = True  # whoever looked at it has gone
        now = time.perf_counter()
        if self.style == "log" and now - self.logged >= _LOG_SECONDS:
            self.logged = now
            rate = self.done_here / (now - self.started)
            left = (self.total - self.done) / rate if rate else 0.0
            log.info("%s, %.0f %ss/s, %s left", self._position(), rate, self.unit, _duration(left))

    def _position(self) -> str:
        share = self.done / self.total if self.total else 1.0
        return f"{self.done} of {self.total} {self.unit}s ({100 * share:.0f} %)"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
