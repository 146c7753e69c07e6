"""Whatever ends a piece of work before its time -> what to say of it, and the exit code."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import click

from sentiment_batch.errors import EnvironmentFailure, SentimentBatchError
from sentiment_batch.logs import message_of

Result = TypeVar("Result")

_NO_MEMORY = "out of memory; give smaller --chunk-rows or --batch-tokens, or more memory, and run again"
_SHORT = {  # what Python and the loader say where memory or threads are short -> what to say of it
    "can't start new thread": "the system allows this process no more threads; raise the limit and run again",
    "cannot allocate memory": _NO_MEMORY,
    "failed to map segment": _NO_MEMORY,
}


@dataclass(frozen=True)
class Failure:
    """Why a command did not do what it was asked for."""

    error: BaseException
    code: int
    text: str


def attempt(work: Callable[[], Result]) -> Result | Failure:
    """What the work returns, or why it did not. The command line's own errors pass as they are."""
    try:
        return work()
    except (click.ClickException, click.Abort, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        return failure_of(error)


def failure_of(error: BaseException) -> Failure:
    """What the error comes to: any that is not of errors.py is a bug, or the machine's."""
    code = EnvironmentFailure.exit_code
    if isinstance(error, SentimentBatchError):
        return Failure(error, error.exit_code, str(error))
    if isinstance(error, MemoryError):
        return Failure(error, code, _NO_MEMORY)
    if isinstance(error, OSError):
        return Failure(error, code, f"{_where_and_why(error)}; mend it and run again: what is finished is kept")
    for said, text in _SHORT.items():
        if isinstance(error, RuntimeError | ImportError) and said in str(error).lower():
            return Failure(error, code, text)
    return Failure(error, SentimentBatchError.exit_code, f"unexpected: {message_of(error)}")


def _where_and_why(error: OSError) -> str:
    """`path: reason`, without the number and the quotes that Python adds."""
    paths = [os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)]
    return f"{' -> '.join(paths)}: {error.strerror}" if paths and error.strerror else str(error)
