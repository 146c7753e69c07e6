"""What happens in a worker before each chunk (faults/stub.py): in a module that the nodes of the cluster find, too."""

import os
import signal
import time
from pathlib import Path

from sentiment_batch import errors

_PATIENCE_SECONDS = 60


def count(folder: str, seconds: float = 0.0) -> None:
    """Have the chunks of each process counted, by its number, and take some time."""
    with (Path(folder) / str(os.getpid())).open("a") as file:
        file.write(".")
    time.sleep(seconds)


def together(folder: str, workers: float) -> None:
    """None goes on before so many of them have begun."""
    count(folder)
    until = time.monotonic() + _PATIENCE_SECONDS
    while len(os.listdir(folder)) < workers and time.monotonic() < until:
        time.sleep(0.02)


def kill(folder: str, chunks: int) -> None:
    """The process dies in its chunk of that number, as by the system where memory is short; so does each after it."""
    count(folder)
    if len((Path(folder) / str(os.getpid())).read_text()) > chunks:
        os.kill(os.getpid(), signal.SIGKILL)


def fail(kind: str) -> None:
    if kind == "OSError":
        raise OSError(30, "Read-only file system", "/a/file")
    raise getattr(errors, kind, KeyError)("the worker says so")
