"""Everything that can go wrong, and the exit code that tells a scheduler what to do about it.

    SentimentBatchError      1    unexpected: a bug
    |-- UsageError           2    an option is missing, wrong or contradicts another
    |-- InputError           3    an input is missing, corrupt, changed or has the wrong shape
    |-- OutputConflict       4    the output belongs to another job
    |-- Busy                 5    another run holds the output
    |-- TooManyRejects       6    more rows were refused than the job allows
    |-- EnvironmentFailure   7    disk full, out of memory, no network, no device: worth a retry
    |   `-- AccessRefused    2    an object store that these credentials do not open: no retry helps
    |-- ModelRefused         8    the model folder is unsafe or inconsistent
    |-- GateFailed           9    a quality gate did not hold
    |-- DeadlineReached     10    stopped at the deadline; run again to go on
    `-- Stopped          128+n    stopped by signal n (130 SIGINT, 143 SIGTERM); run again to go on

A message says what is wrong, where, and what to do, in one line. `cli.main` turns it into `error: ...` and the code.
"""

import errno
from typing import Any

SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # what this machine has too little of just now
PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}  # what a disk or a file server may get over


def is_passing(error: BaseException) -> bool:
    """Whether an error is of the moment, and says nothing of the file that was read."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORT | PASSING)


class SentimentBatchError(Exception):
    exit_code = 1
    metrics: dict[str, Any] | None = None  # what was done before it, for the metrics JSON of the failure

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is the same error: `__init__` may take something else than the text that it makes of it."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[SentimentBatchError], args: tuple[Any, ...]) -> SentimentBatchError:
    return kind.__new__(kind, *args)


class UsageError(SentimentBatchError):
    exit_code = 2


class InputError(SentimentBatchError):
    exit_code = 3


class OutputConflict(SentimentBatchError):
    exit_code = 4


class Busy(SentimentBatchError):
    exit_code = 5


class TooManyRejects(SentimentBatchError):
    exit_code = 6


class EnvironmentFailure(SentimentBatchError):
    exit_code = 7


class AccessRefused(EnvironmentFailure):
    exit_code = UsageError.exit_code


class ModelRefused(SentimentBatchError):
    exit_code = 8


class GateFailed(SentimentBatchError):
    """Everything was written; `metrics` is what."""

    exit_code = 9

    def __init__(self, message: str, metrics: dict[str, Any]):
        super().__init__(message)
        self.metrics: dict[str, Any] = metrics


class DeadlineReached(SentimentBatchError):
    exit_code = 10


class Stopped(SentimentBatchError):
    def __init__(self, signal_number: int):
        super().__init__(f"stopped by signal {signal_number}: what is finished is kept; run the same command to go on")
        self.exit_code = 128 + signal_number
