"""Paths, globs and folders -> the list of input files, in a fixed order."""

import contextlib
import glob
import hashlib
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, TypeVar

import pyarrow as pa

from sentiment_batch import stop as stop_signal
from sentiment_batch.ahead import in_threads
from sentiment_batch.errors import InputError, SentimentBatchError, UsageError
from sentiment_batch.read.magic import LOOKED_AT, is_plain, looks_like
from sentiment_batch.read.objects import find_objects, first_few, is_data, object_version, say_left_out
from sentiment_batch.read.source import AHEAD_BYTES, changed_input, open_source, raise_if_short
from sentiment_batch.remote import is_url, real_paths

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_PACKED_AS = {"gzip": "gzip", "zstd": "Zstandard", "bz2": "bzip2"}
FORMATS = {".tsv": "tsv", ".tab": "tsv", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
SAMPLE_SPLITS = ("train", "valid", "test")
_EDGE_BYTES = 64 * 1024
_BLOCK_BYTES = 2**20
_GLOB_CHARACTERS = "*?["
MAX_RATIO = 200  # of a compressed file, behind the first bytes
_UNCHECKED_BYTES = 64 * 2**20
_AT_ONCE, _AT_ONCE_REMOTE = 8, 32  # files whose ends are looked at
_IN_TURN = 32  # of a disk, by one thread: to hand each over by itself would take as long as the look
Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the job was planned; a later difference means that the job is another one."""

    path: str
    format: str
    compression: str | None
    size: int
    mtime_ns: int  # 0 for an object, which has an etag
    edges_sha256: str  # of the first and the last 64 KiB
    etag: str = ""

    def identity(self) -> dict[str, str | int]:
        """What makes this file this file, apart from the folder where it lies."""
        version: dict[str, str | int] = {"etag": self.etag} if self.etag else {"mtime_ns": self.mtime_ns}
        return {
            "name": os.path.basename(self.path),
            "format": self.format,
            "size": self.size,
            **version,
            "edges_sha256": self.edges_sha256,
        }

    def open(self, ahead_bytes: int = AHEAD_BYTES) -> BinaryIO:
        """The file's bytes as they lie there; see `open_source`."""
        return open_source(self.path, self.etag, ahead_bytes, self.size)


def find_inputs(paths: Iterable[str], format: str = "auto") -> list[InputFile]:
    """The files behind the paths: in the order given, those of a glob or a folder sorted by name.

    A folder is searched to its bottom. In it and in a glob, names that begin with `_` or `.` are left out, as Spark and
    Hive do, because that is where tools put what is not data. `sample:train`, `sample:valid` and `sample:test` are the
    embedded reviews. Raises `InputError` for a path without a file, a file that is given twice, formats that are mixed,
    and `UsageError` for a format that the name does not tell.
    """
    try:
        found = [(given, _expand(given)) for given in paths]
    except PermissionError as error:
        where = f"{error.filename} cannot be read: {error.strerror}"
        raise InputError(f"{where}; let this user read it, or name inputs that leave it out") from None
    for given, expanded in found:
        _say_partitions(given, expanded)
    described = read_each(partial(_describe, format=format), [path for _, expanded in found for path in expanded])
    files = [file for _, file in described]
    seen: dict[object, str] = {}
    for file, real in zip(files, real_paths(file.path for file in files), strict=True):
        places = _places(file.path, real)
        for place in places:
            if place in seen:
                raise InputError(f"{file.path} is the same file as {seen[place]}; name every file once")
        seen.update(dict.fromkeys(places, file.path))
    formats = sorted({file.format for file in files})
    if len(formats) > 1:
        raise InputError(f"the inputs mix {' and '.join(formats)}: label each format into an output of its own")
    return files


def read_each(look: Callable[[Item], Result], files: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
    """Each of the files, or of their paths, with what the look at its ends finds, in their order: several at a time.

    With many files that is what a job begins with, and most of it is waiting for a disk or a store. A single one is
    looked at in the caller's thread. Raises what the look raises, of the first file of which it does, and `Stopped`.
    """
    url = any(is_url(str(getattr(file, "path", file))) for file in files[:1])
    threads = _AT_ONCE_REMOTE if url else _AT_ONCE
    some = 1 if url else max(1, min(_IN_TURN, len(files) // threads))
    pieces = [files[start : start + some] for start in range(0, len(files), some)]

    def look_at(piece: Sequence[Item]) -> list[Result]:
        return [look(file) for file in piece]

    with contextlib.closing(in_threads(look_at, pieces, max(1, min(threads, len(pieces))))) as found:
        for piece, results in found:
            stop_signal.check()
            yield from zip(piece, results, strict=True)


def _places(path: str, real: str) -> list[object]:
    """What two paths have in common if they are of one file: links of either kind, a folder mounted twice."""
    if is_url(path):
        return [path]
    found = os.stat(path)
    return [real, *([(found.st_dev, found.st_ino)] if found.st_ino else [])]


def check_unchanged(file: InputFile) -> None:
    """Raise `InputError` if the file is not the one that was planned."""
    if is_url(file.path):
        if object_version(file.path) != (file.size, file.etag):
            raise changed_input(file.path)
        return
    try:
        now = os.stat(file.path)
    except OSError as error:
        raise InputError(f"{file.path} went away during the run ({error.strerror}); nothing was published") from None
    if (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns):
        raise changed_input(file.path)


def range_sha256(file: InputFile, start: int, stop: int) -> str:
    """The SHA-256 of a range of the file's bytes as they lie on the disk."""
    digest = hashlib.sha256()
    with file.open() as stream:
        stream.seek(start)
        while start < stop and (block := stream.read(min(1 << 20, stop - start))):
            digest.update(block)
            start += len(block)
    return digest.hexdigest()


def byte_blocks(file: InputFile, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The uncompressed bytes of a file from `start` to `stop`, in blocks of at most 1 MiB; see `placed_blocks`."""
    for block, _ in placed_blocks(file, start, stop):
        yield block


def placed_blocks(file: InputFile, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int]]:
    """The uncompressed bytes of a file, in blocks of at most 1 MiB, each with how far the file was read for it.

    In a compressed file the bytes before `start` are unpacked and dropped. Raises `InputError` for a file that cannot
    be read and for a compressed stream that is cut short or damaged.
    """
    position = packed = 0
    try:
        with file.open() as source, pa.input_stream(source, compression=file.compression) as stream:
            try:
                if start and not file.compression:
                    position = stream.seek(start)
                while position < start and (skipped := stream.read(min(_BLOCK_BYTES, start - position))):
                    position += len(skipped)
                while stop is None or position < stop:
                    block = stream.read(_BLOCK_BYTES if stop is None else min(_BLOCK_BYTES, stop - position))
                    if not block:
                        return
                    position += len(block)
                    if file.compression:
                        _check_ratio(file, position, source.tell())
                    stop_signal.check()  # a large text file is read for minutes before its first row is labelled
                    yield block, source.tell()
            finally:
                packed = source.tell()
    except (OSError, pa.ArrowException) as error:
        raise_if_short(error)
        place = f"{packed} (behind byte {position} unpacked)" if file.compression else f"{position}"
        raise InputError(
            f"{file.path} cannot be read near byte {place}: {error}; nothing was published; "
            "write or copy the file again"
        ) from error


def check_is_text(file: InputFile) -> None:
    """Raise `InputError` for a text file that is plainly something else, packed or inside its archive."""
    if file.compression:
        if not file.size:
            raise InputError(f"{file.path} is empty, which is no archive: was its writer killed?")
        with file.open() as source:
            head = source.read(LOOKED_AT)
        if is_plain(head):
            ending = os.path.splitext(file.path)[1]
            raise InputError(f"{file.path} is plain text, not {_PACKED_AS[file.compression]}; name it without {ending}")
        found = looks_like(head)
        if found and found[0] != _PACKED_AS[file.compression]:
            raise InputError(f"{file.path} looks like {found[0]}, not {_PACKED_AS[file.compression]}; {found[1]}")
    if found := looks_like(b"".join(byte_blocks(file, 0, LOOKED_AT))):
        what = f"{_PACKED_AS[file.compression]} of UTF-8 text" if file.compression else "UTF-8 text"
        raise InputError(f"{file.path} looks like {found[0]}, not {what}; {found[1]}")


def _check_ratio(file: InputFile, unpacked: int, packed: int) -> None:
    """No dump of reviews packs so well; a file that is made to fill memory or days does."""
    if unpacked > _UNCHECKED_BYTES and unpacked > MAX_RATIO * max(packed, 1):
        raise InputError(
            f"{file.path} unpacks to more than {MAX_RATIO} times its size ({unpacked} bytes so far); "
            "nothing was published; unpack it yourself if it is what it should be"
        )


def _expand(given: str) -> list[str]:
    if given.startswith("sample:"):
        return [_sample(given)]
    if is_url(given):
        return find_objects(given)
    if os.path.isdir(given):
        hidden: list[str] = []
        found = sorted(str(path) for path in _data_files(Path(given), hidden))
        say_left_out(given, hidden)
        if not found:
            raise InputError(f"no data files in the folder {given} (names with a leading _ or . are left out)")
        return found
    if os.path.exists(given):
        return [given]
    if any(character in given for character in _GLOB_CHARACTERS):
        return _matching(given)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
        os.stat(given)  # a folder on its way may be closed, which is another thing to mend
    raise InputError(f"no such file: {given}")


def _matching(pattern: str) -> list[str]:
    """The files that a pattern names, sorted. What it matches besides is said."""
    _look_into_folders(pattern)
    matched = sorted(glob.glob(pattern, recursive=True))
    folders = [path for path in matched if os.path.isdir(path)]
    files = [path for path in matched if not os.path.isdir(path)]
    say_left_out(pattern, [path for path in files if _is_hidden(path, pattern)])
    found = [path for path in files if not _is_hidden(path, pattern)]
    if not found:
        what = "; what matches are folders, whose files a pattern has to name, too" if folders and not files else ""
        raise InputError(f"no file matches {pattern}{what}")
    left_out = [repr(path) for path in folders if not _is_hidden(path, pattern)]
    if left_out and "**" not in pattern:  # which goes to the bottom of every folder
        log.warning(
            "%s: matches folders, too, whose files are left out: %s; name those, if data", pattern, first_few(left_out)
        )
    return found


def _look_into_folders(pattern: str) -> None:
    """Raise `OSError` for a folder on the pattern's way that is closed: `glob` leaves it out in silence."""
    head = os.path.join(pattern, "") if os.path.basename(pattern) == "**" else pattern
    while glob.has_magic(head):
        head = os.path.dirname(head)
        for folder in glob.glob(os.path.join(head or ".", ""), recursive=True):
            if not (glob.has_magic(head) and _is_hidden(folder, pattern)):
                with os.scandir(folder) as entries:
                    deque(entries, maxlen=0)
                os.stat(os.path.join(folder, "."))  # one that may be listed, but not entered


def _say_partitions(given: str, paths: list[str]) -> None:
    """One line if folders below what was given have names like `day=2026-01-31`: a column to Hive, Spark and DuckDB."""
    spelt_out = given.split("/")
    folders = {name for path in paths for name in path.split("/")[:-1] if name not in spelt_out}
    if columns := sorted({name.partition("=")[0] for name in folders if "=" in name}):
        log.warning(
            "%s: the names of its folders are no columns here, so the rows do not get %s; label the folders one by one "
            "to keep them apart",
            given,
            ", ".join(map(repr, columns)),
        )


def _is_hidden(path: str, pattern: str) -> bool:
    """Whether a name that the pattern's stars stand for is not data, and the pattern does not spell one out."""
    folder = os.path.dirname(re.split(f"[{re.escape(_GLOB_CHARACTERS)}]", pattern)[0])
    below = pattern.removeprefix(folder).lstrip("/")
    return is_data(below) and not is_data(os.path.relpath(path, folder or "."))


def _sample(given: str) -> str:
    split = given.removeprefix("sample:")
    if split not in SAMPLE_SPLITS:
        raise InputError(f"no such sample: {given}; there are {', '.join('sample:' + name for name in SAMPLE_SPLITS)}")
    return str(resources.files("sentiment_batch") / "sample" / f"{split}.tsv")


def _data_files(folder: Path, hidden: list[str]) -> Iterator[Path]:
    """The files below the folder; `hidden` gets the names that are left out."""
    for entry in folder.iterdir():
        if not is_data(entry.name):
            hidden.append(entry.name)
        elif entry.is_dir():
            if entry.is_symlink() and folder.resolve().is_relative_to(entry.resolve()):
                raise InputError(f"{entry} is a link to a folder that it lies in; remove it, or name the files")
            yield from _data_files(entry, hidden)
        else:
            yield entry


def is_named_as_data(path: str) -> bool:
    """Whether `--format auto` would know the file's format by its name."""
    return _suffix_and_compression(path)[0] in FORMATS


def _suffix_and_compression(path: str) -> tuple[str, str | None]:
    """What the name says: its suffix, in small letters, without that of what it is packed with."""
    stem, suffix = os.path.splitext(path)
    compression = COMPRESSIONS.get(suffix.lower())
    return (os.path.splitext(stem)[1] if compression else suffix).lower(), compression


def _describe(path: str, format: str) -> InputFile:
    suffix, compression = _suffix_and_compression(path)
    if format == "auto":
        if suffix not in FORMATS:
            raise _no_format(path)
        format = FORMATS[suffix]
    if format == "parquet" and compression:
        raise InputError(f"{path}: a Parquet file is compressed inside; unpack it first")
    size, mtime_ns, etag = _version(path)
    try:
        with open_source(path, etag, _EDGE_BYTES, size) as stream:
            edges = hashlib.sha256(stream.read(_EDGE_BYTES))
            stream.seek(max(0, size - _EDGE_BYTES))
            edges.update(stream.read(_EDGE_BYTES))
    except OSError as error:
        raise_if_short(error)
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return InputFile(path, format, compression, size, mtime_ns, edges.hexdigest(), etag)


def _no_format(path: str) -> SentimentBatchError:
    """Of a file whose name tells no format: one that may be named anyhow is no bad input, a workbook is."""
    _, _, etag = _version(path)  # raises for a pipe, which would be waited for
    with open_source(path, etag) as stream:
        found = looks_like(stream.read(LOOKED_AT))
    if found and found[0] not in ("Parquet", *_PACKED_AS.values()):
        return InputError(f"{path} looks like {found[0]}, not TSV, CSV or Parquet; {found[1]}")
    return UsageError(
        f"cannot tell the format of {path} by its name; give --format tsv, csv or parquet if it is one of them, else "
        "leave it out, or write it as one of them"
    )


def _version(path: str) -> tuple[int, int, str]:
    """(bytes, time of change, etag); an object has no time that says anything, a file no etag."""
    if is_url(path):
        size, etag = object_version(path)
        return size, 0, etag
    try:
        stat = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not S_ISREG(stat.st_mode):
        raise InputError(f"{path} is not a file: a job reads its inputs more than once; write it to a file first")
    return stat.st_size, stat.st_mtime_ns, ""
