"""Files that are being written: hashed as they grow, without a name that anybody would take for a result."""

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sentiment_batch.errors import EnvironmentFailure

_BUFFER_BYTES = 2**20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ScratchFile(io.RawIOBase):
    """A new file, and the SHA-256 of what was written to it. Raises `FileExistsError` if there is one of that name.

    `bytes` and `sha256` are of all that was written, though the last of it may not be in the file before `close`.
    """

    def __init__(self, path: Path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self.path = path
        self.bytes = 0
        self.sha256 = hashlib.sha256()
        self._buffer = bytearray()
        self._held: bytearray | None = None
        self._discarded = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.bytes + len(self._held or b"")

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._held is not None:
            self._held += view
        elif not self._discarded:
            self.sha256.update(view)
            self.bytes += len(view)
            self._buffer += view
            if len(self._buffer) >= _BUFFER_BYTES:
                self._empty_buffer()
        return len(view)

    def hold(self) -> None:
        """Keep in memory what is written from now on."""
        self._held = bytearray()

    def held(self) -> bytes:
        """What was kept in memory, to be written by the caller; nothing is kept any more."""
        held, self._held = bytes(self._held or b""), None
        return held

    def discard(self) -> None:
        """Take the file away. What is written from now on goes nowhere: a `ParquetWriter` cannot be stopped."""
        self._discarded, self._held = True, None
        self._buffer = bytearray()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(self) -> None:
        """Raises `EnvironmentFailure` if the disk is full; the file is closed all the same."""
        if self.closed:
            return
        super().close()
        try:
            self._empty_buffer()
        finally:
            with disk_errors(self.path, 0):
                os.close(self._descriptor)

    def _empty_buffer(self) -> None:
        left, self._buffer = memoryview(bytes(self._buffer)), bytearray()
        with disk_errors(self.path, len(left)):
            while left:
                left = left[os.write(self._descriptor, left) :]


def write_scratch(path: Path, data: bytes) -> None:
    """A new scratch file with these bytes; none if that fails."""
    file = ScratchFile(path)
    try:
        file.write(data)
        file.close()
    except BaseException:
        file.discard()
        file.close()
        raise


@contextmanager
def disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Turn a full disk into an error that says where, how much was to be written, and how much room there is."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        remedy = "raise the limit on the size of a file (ulimit -f)" if error.errno == errno.EFBIG else "make room"
        raise EnvironmentFailure(
            f"{path}: {error.strerror}: {needed} bytes were to be written, {free} are free there; "
            f"{remedy} and run again: what is finished is kept"
        ) from error
