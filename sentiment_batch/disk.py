"""Files and names that a loss of power does not undo."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(scratch: Path, path: Path) -> None:
    """Give a finished scratch file a name, whatever had it before, in one step, and durably."""
    sync_file(scratch)
    os.replace(scratch, path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    with _descriptor(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, as fsync makes a file's bytes."""
    with _descriptor(folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


def sync_files(folder: Path) -> None:
    """Make every file in a folder durable, whoever wrote it, and their names."""
    for path in folder.iterdir():
        if path.is_file():
            sync_file(path)
    sync_folder(folder)


def make_folders(folder: Path, within: Path | None = None) -> None:
    """Make a folder and those on the way to it, each durable. Raises `FileNotFoundError` if `within` is not there."""
    missing = []
    while not folder.is_dir():
        if folder == within:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        try:
            os.mkdir(each)
        except FileExistsError:
            if not each.is_dir():
                raise
        sync_folder(each.parent)


@contextmanager
def _descriptor(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
