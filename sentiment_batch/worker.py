"""What a process does that labels shards for another one, or that begins such a process, whatever carries it."""

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sentiment_batch.errors import ModelRefused, SentimentBatchError
from sentiment_batch.job import Job
from sentiment_batch.logs import message_of, traceback_of
from sentiment_batch.write.commit import Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Tells somebody of rows: a `Tally`."""

    add: Callable[[int], None]


@contextmanager
def variables_kept(*names: str) -> Iterator[None]:
    """What becomes of these variables of the environment in the block is undone behind it."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def check_same(
    job: Job, work: Work, what: str = " changed while it was loaded; run again when nobody writes to it"
) -> None:
    """The job came with its options, its inputs and the path of its model, which is read anew.

    Raises `ModelRefused` if it is another one; `what` says of the model why that may be.
    """
    if job.identity() != work.claim.identity:
        raise ModelRefused(f"{job.labeller.folder.path}{what}")


def sendable(error: BaseException) -> tuple[BaseException, str]:
    """The error, to be raised by the other process, and its traceback.

    In the place of what cannot be sent (a panic of a library in Rust) there is its text.
    """
    at = traceback_of(error)
    try:
        same = pickle.loads(pickle.dumps(error))  # noqa: S301 - ours
        if (type(same), str(same)) == (type(error), str(error)):
            return error, at
    except Exception:
        log.debug("%s cannot be sent", type(error).__name__)
    return SentimentBatchError(f"unexpected: {message_of(error)}"), at
