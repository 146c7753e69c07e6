"""Where an output grows: a folder, or a prefix in a bucket (bucket.py), with the same few operations.

Safety rests on two of them: `create` gives a name to a finished file only if the name is free, and `swap` only if it
still stands for the very version that was looked at. All of them are durable when they return. Names are relative, with
`/` between their segments.
"""

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from sentiment_batch.disk import make_folders, replace_file, sync_file, sync_folder
from sentiment_batch.errors import UsageError
from sentiment_batch.remote import is_url
from sentiment_batch.write.claim import SCRATCH, Claim
from sentiment_batch.write.scratch import disk_errors, write_scratch

_JSON_BYTES = 256 * 2**20
_LOOKED_AT = 4096  # bytes of a file that is to be replaced
_NOT_OURS = "lost+found"  # of the file system itself, at the top of a volume

Version = tuple[Any, ...]  # what tells two contents of one name apart


class Store(Protocol):
    """What is asked of a place. `url` is how messages name it."""

    url: str

    def create(self, name: str, scratch: Path) -> bool:
        """Give a finished scratch file its name if nothing has it, and take the file away; False if something has."""

    def swap(self, name: str, scratch: Path, version: Version) -> bool:
        """Give a finished scratch file the name, in one step, and take the file away.

        False if the name stands for another version by now, or for nothing.
        """

    def version(self, name: str) -> Version | None:
        """Which version of the file is there, or None if there is none."""

    def sizes(self) -> dict[str, int]:
        """Every file with its bytes, but for what is in a folder whose name begins with a dot."""

    def read(self, name: str, start: int = 0) -> bytes | None:
        """The bytes from `start` on, or None if there is no such file."""

    def open(self, name: str) -> BinaryIO:
        """A file to read from. Raises `FileNotFoundError`."""

    def delete(self, name: str) -> None:
        """Take a file away; nothing happens if there is none."""


class Folder:
    """A folder of a file system: durable by fsync of file and folder, create-if-absent by `link`."""

    def __init__(self, path: Path):
        self.path = path
        self.url = str(path)

    def create(self, name: str, scratch: Path) -> bool:
        path = self.path / name
        with disk_errors(path, 0):
            sync_file(scratch)
            make_folders(path.parent, within=self.path)  # moved away meanwhile, it would be there again without a claim
            try:
                os.link(scratch, path)
                created = True
            except FileExistsError:
                created = os.path.samefile(scratch, path)  # NFS may do the work and answer "exists" to a repeated call
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    raise
                raise UsageError(f"{path}: this file system has no hard links; give --output on another one") from None
            if created:
                os.unlink(scratch)
            sync_folder(path.parent)  # what another run created is durable then, too
        return created

    def swap(self, name: str, scratch: Path, version: Version) -> bool:
        """Between the look at the version and the rename only the lock keeps other runs away (lock.py)."""
        if self.version(name) != version:
            return False
        with disk_errors(self.path / name, 0):
            replace_file(scratch, self.path / name)
        return True

    def version(self, name: str) -> Version | None:
        try:
            found = os.lstat(self.path / name)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def sizes(self) -> dict[str, int]:
        sizes = {}
        for path in _files(self.path):
            with suppress(FileNotFoundError):  # the lock of a run that published just now
                sizes[str(path.relative_to(self.path))] = path.lstat().st_size
        return sizes

    def read(self, name: str, start: int = 0) -> bytes | None:
        try:
            with self.open(name) as file:
                file.seek(start)
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, name: str) -> BinaryIO:
        return open(self.path / name, "rb")

    def own_scratch(self, alone: bool) -> Path:
        """A new scratch folder for this run. If it is alone here, what killed runs left in theirs is taken away.

        A name with the process in it would not do: on a file system that hosts share two runs may have one number.
        """
        shared = self.path / SCRATCH
        if alone:
            with suppress(OSError):  # a worker on another host, whose run was killed just now, may still write there
                self.delete(SCRATCH)
        shared.mkdir(mode=0o700, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=shared))

    def delete(self, name: str) -> None:
        path = self.path / name
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else os.unlink(path)
        except FileNotFoundError:
            return
        sync_folder(path.parent)


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.is_symlink():
            yield entry
        elif not entry.name.startswith(".") and entry.name != _NOT_OURS:
            yield from _files(entry)


def create_json(store: Store, scratch: Path, name: str, value: Any) -> bool:
    """Create a JSON file whole or not at all; False if there is a file of that name.

    Raises `ValueError` for a number that JSON has no word for (NaN).
    """
    with json_scratch(scratch, name, value) as path:
        return store.create(name, path)


def json_scratch(scratch: Path, name: str, value: Any) -> AbstractContextManager[Path]:
    """A scratch file with the JSON that is to have the name, for the block to give away. Raises as `create_json`.

    `scratch` is a folder that no other run has.
    """
    return scratch_file(scratch / name.lstrip("."), json_bytes(value))


@contextmanager
def scratch_file(path: Path, content: bytes) -> Iterator[Path]:
    """A file for the block to give away. It is gone behind the block, whoever has it."""
    write_scratch(path, content)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def read_json(store: Store, name: str) -> Any:
    """The value in a JSON file of at most 256 MiB, or None if there is no such file or it is not JSON."""
    return parsed(store.read(name))


def parsed(data: bytes | None) -> Any:
    """What `read_json` gives for these bytes of a file."""
    try:
        return json.loads(data) if data is not None and len(data) <= _JSON_BYTES else None
    except (ValueError, RecursionError):
        return None


class Recognised:
    """Knows the claim of a job again by its bytes: with thousands of inputs it takes a moment to read as JSON."""

    def __init__(self, claim: Claim):
        self.claim = claim
        self.data: bytes | None = None

    def is_ours(self, data: bytes | None) -> bool:
        """Whether what was read is the job's claim."""
        if data is None or data != self.data:
            if not self.claim.is_of(parsed(data)):
                return False
            self.data = data
        return True


def write_metrics_copy(path: str | None, metrics: Any) -> None:
    """Write the metrics where the user asked for a copy, if they did, in place of an older one; folders are made."""
    if path is None:
        return
    if is_url(path):
        raise UsageError(f"--metrics {path}: only a local file can be written")
    write_file(path, json_bytes(metrics))


def write_file(path: str, data: bytes) -> None:
    """Give the local file these bytes, whole, in place of an older one; folders are made.

    Raises `UsageError` for a device, a pipe or a socket, which would be gone.
    """
    target = Path(path).absolute()
    if special := why_not_replaced(path):
        raise UsageError(f"{path} {special}")
    make_folders(target.parent)
    with scratch_file(target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp"), data) as scratch:
        replace_file(scratch, target)


def why_not_replaced(path: str) -> str | None:
    """What is said of a path whose device, pipe or socket `write_file` would take away."""
    if os.path.exists(path) and not os.path.isfile(path):
        return "is no ordinary file, and one would be put in its place; name another"
    return None


def is_earlier(path: str, mark: bytes) -> bool:
    """Whether no file is there, or one with nothing in it or with the mark, a regular expression, near its start."""
    if not os.path.isfile(path):
        return True
    with open(path, "rb") as file:
        begin = file.read(_LOOKED_AT)
    return not begin.strip() or re.search(mark, begin) is not None


def json_bytes(value: Any) -> bytes:
    """What `create_json` writes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    return text.encode(errors="backslashreplace")  # file names that are not UTF-8 come back as they were
