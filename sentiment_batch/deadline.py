"""--deadline: when a job is to stop, and which pieces of its work it may still begin."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

from sentiment_batch.errors import UsageError

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_LONGEST = 366 * 24 * 3600.0


def seconds_until(deadline: str, now: datetime) -> float:
    """From `now`, local time, to when the clock next shows `HH:MM`; or of a duration: 90m, 2h30m, 45s.

    Raises `UsageError` for anything else.
    """
    form = f"--deadline {deadline!r}: write it as the time of a clock, 05:30, or as a duration, 90m, 2h30m or 45s"
    if clock := _CLOCK.fullmatch(deadline):
        try:
            end = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        except ValueError:
            raise UsageError(form) from None
        return (end if end > now else end + timedelta(days=1)).timestamp() - now.timestamp()
    parts = _DURATION.fullmatch(deadline)
    if not deadline or parts is None:
        raise UsageError(form)
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    total = 3600.0 * hours + 60.0 * minutes + seconds
    if not 0 < total <= _LONGEST:
        raise UsageError(form)
    return total


@dataclass
class Deadline:
    """The end of a job's time, by a clock that nobody sets back. Without an end there is always time."""

    seconds: float | None
    started: float = field(default_factory=lambda: monotonic())

    def has_time(self, done: Callable[[], int], at_once: int) -> Callable[[int], bool]:
        """What says, when a piece of the work can be begun, whether there is time for its rows.

        There is if it will be done before the end at the pace of the rows that are `done` by then; so many pieces are
        done at once. As long as no row is done nobody knows the pace: then there is until the end itself, so that a run
        which is short of time does something. Once there is none, there is none for any.
        """
        begun, is_over = monotonic(), False

        def is_time_for(rows: int) -> bool:
            nonlocal is_over
            now, count = monotonic(), done()
            pace = (now - begun) / count if count else 0.0
            is_over |= self.seconds is not None and now + rows * pace * at_once > self.started + self.seconds
            return not is_over

        return is_time_for


def deadline_of(text: str | None, clock: Callable[[], datetime] = datetime.now) -> Deadline:
    """The deadline that an option names, from now on."""
    return Deadline(None if text is None else seconds_until(text, clock()))
