"""The bytes of an input, from a disk or an object store, through one kind of file."""

import io
import logging
from typing import Any, BinaryIO, cast

from sentiment_batch.errors import PASSING, SHORT, EnvironmentFailure, InputError
from sentiment_batch.remote import RemoteFile, is_url

AHEAD_BYTES = 2**20
_TRIES = 3

log = logging.getLogger(__name__)


def open_source(path: str, etag: str = "", ahead_bytes: int = AHEAD_BYTES, size: int | None = None) -> BinaryIO:
    """The file as it was planned: in an object store the version with the `etag`. It is read in such blocks, or larger.

    Of an object whose `size` is known, too, nothing is asked before it is read. Raises `InputError` if it may not be
    read. Reading raises it once the object is another one, and `EnvironmentFailure` for a disk that fails three times
    at the same place.
    """
    try:
        raw = RemoteInput(path, etag or None, size) if is_url(path) else LocalInput(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return cast(BinaryIO, io.BufferedReader(raw, ahead_bytes))


def changed_input(path: str) -> InputError:
    """What is said of a file that is another one than was planned: by its new content it is of another job."""
    return InputError(
        f"{path} changed during the run; nothing was published; run again when nobody writes to it, with --overwrite "
        "if parts were finished, which are of what it was"
    )


def raise_if_short(error: Exception) -> None:
    """Raise the error again if memory or descriptors ran out: that is no fault of the file that was read."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORT):
        raise error


class LocalInput(io.FileIO):
    """A file that is read again where the disk failed."""

    def read(self, size: int | None = -1) -> bytes:
        return io.RawIOBase.read(self, -1 if size is None else size) or b""  # by way of `readinto`

    def readall(self) -> bytes:
        return io.RawIOBase.readall(self) or b""

    def readinto(self, buffer: Any) -> int:
        for tries in range(1, _TRIES + 1):
            try:
                return cast(int, super().readinto(buffer))
            except OSError as error:
                if error.errno not in PASSING:
                    raise
                log.warning("%s, byte %d: %s; try %d of %d", self.name, self.tell(), error.strerror, tries, _TRIES)
        raise EnvironmentFailure(
            f"{self.name!s} cannot be read at byte {self.tell()}: the disk failed {_TRIES} times; run again to go on"
        )


class RemoteInput(RemoteFile):
    """An object that must stay the one it was."""

    def changed(self) -> Exception:
        return changed_input(self.url)
