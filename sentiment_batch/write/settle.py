"""One name, one right content: made, found made by another run of the job, or put in the place of another job's."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sentiment_batch.remote import ChangedMeanwhile
from sentiment_batch.write.store import Store

Found = TypeVar("Found")


def settle(
    store: Store, name: str, scratch: Path, found: Callable[[], Found | None], check_held: Callable[[], None]
) -> Found | None:
    """Give the finished scratch file its name, and return None; or what `found` finds, if this job has made it already.

    What is there and is not this job's, or not whole, is swapped for the file, and only in the version that was looked
    at: of two runs that meet here one is first, and the other one finds what it made. `check_held` raises if the output
    is another job's by now.
    """
    while not store.create(name, scratch):
        version = store.version(name)
        try:
            there = found()
        except ChangedMeanwhile:  # another run swapped it just now
            continue
        if there is not None:
            return there
        check_held()
        if version is not None and store.swap(name, scratch, version):
            break
    return None
