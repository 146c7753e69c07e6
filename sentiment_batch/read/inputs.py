"""Paths, globs and folders -> the list of input files, in a fixed order."""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pyarrow as pa

from sentiment_batch import stop as stop_signal
from sentiment_batch.errors import InputError, UsageError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
FORMATS = {".tsv": "tsv", ".tab": "tsv", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
SAMPLE_SPLITS = ("train", "valid", "test")
_EDGE_BYTES = 64 * 1024
_BLOCK_BYTES = 2**20
_GLOB_CHARACTERS = "*?["


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the job was planned; a later difference means that the job is another one."""

    path: str
    format: str
    compression: str | None
    size: int
    mtime_ns: int
    edges_sha256: str  # of the first and the last 64 KiB

    def identity(self) -> dict[str, str | int]:
        """What makes this file this file, apart from the folder where it lies."""
        return {
            "name": os.path.basename(self.path),
            "format": self.format,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "edges_sha256": self.edges_sha256,
        }


def find_inputs(paths: Iterable[str], format: str = "auto") -> list[InputFile]:
    """The files behind the paths: in the order given, those of a glob or a folder sorted by name.

    A folder is searched to its bottom. In it and in a glob, names that begin with `_` or `.` are left out, as Spark and
    Hive do, because that is where tools put what is not data. `sample:train`, `sample:valid` and `sample:test` are the
    embedded reviews. Raises `InputError` for a path without a file, a file that is given twice, formats that are mixed,
    and `UsageError` for a format that the name does not tell.
    """
    files = [_describe(path, format) for given in paths for path in _expand(given)]
    seen: dict[str, str] = {}
    for file in files:
        real = os.path.realpath(file.path)
        if real in seen:
            raise InputError(f"{file.path} is the same file as {seen[real]}: every file is read once; name it once")
        seen[real] = file.path
    formats = sorted({file.format for file in files})
    if len(formats) > 1:
        raise InputError(f"the inputs mix {' and '.join(formats)}: label each format into an output of its own")
    return files


def check_unchanged(file: InputFile) -> None:
    """Raise `InputError` if the file is not the one that was planned."""
    try:
        now = os.stat(file.path)
    except OSError as error:
        raise InputError(f"{file.path} went away during the run ({error.strerror}); nothing was published") from None
    if (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns):
        raise InputError(f"{file.path} changed during the run; nothing was published; run again on a file at rest")


def range_sha256(file: InputFile, start: int, stop: int) -> str:
    """The SHA-256 of a range of the file's bytes as they lie on the disk."""
    digest = hashlib.sha256()
    with open(file.path, "rb") as stream:
        stream.seek(start)
        while start < stop and (block := stream.read(min(1 << 20, stop - start))):
            digest.update(block)
            start += len(block)
    return digest.hexdigest()


def byte_blocks(file: InputFile, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The uncompressed bytes of a file from `start` to `stop`, in blocks of at most 1 MiB.

    In a compressed file the bytes before `start` are unpacked and dropped. Raises `InputError` for a file that cannot
    be read and for a compressed stream that is cut short or damaged.
    """
    position = 0
    try:
        with pa.input_stream(file.path, compression=file.compression) as stream:
            if start and not file.compression:
                position = stream.seek(start)
            while position < start and (skipped := stream.read(min(_BLOCK_BYTES, start - position))):
                position += len(skipped)
            while stop is None or position < stop:
                block = stream.read(_BLOCK_BYTES if stop is None else min(_BLOCK_BYTES, stop - position))
                if not block:
                    return
                position += len(block)
                stop_signal.check()  # a large text file is read for minutes before its first row is labelled
                yield block
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file.path} cannot be read near byte {position}: {error}; nothing was published") from error


def _expand(given: str) -> list[str]:
    if given.startswith("sample:"):
        return [_sample(given)]
    if os.path.isdir(given):
        found = sorted(str(path) for path in _data_files(Path(given)))
        if not found:
            raise InputError(f"no data files in the folder {given} (names with a leading _ or . are left out)")
        return found
    if os.path.exists(given):
        return [given]
    if any(character in given for character in _GLOB_CHARACTERS):
        hidden = os.path.basename(given).startswith("_")
        matches = (path for path in glob.glob(given, recursive=True) if os.path.isfile(path))
        found = sorted(path for path in matches if hidden or not os.path.basename(path).startswith("_"))
        if not found:
            raise InputError(f"no file matches {given}")
        return found
    if "://" in given:
        raise InputError(f"{given}: only local files are read; copy it here, or mount it")
    raise InputError(f"no such file: {given}")


def _sample(given: str) -> str:
    split = given.removeprefix("sample:")
    if split not in SAMPLE_SPLITS:
        raise InputError(f"no such sample: {given}; there are {', '.join('sample:' + name for name in SAMPLE_SPLITS)}")
    return str(resources.files("sentiment_batch") / "sample" / f"{split}.tsv")


def _data_files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(("_", ".")):
            continue
        if entry.is_dir():
            yield from _data_files(entry)
        else:
            yield entry


def _describe(path: str, format: str) -> InputFile:
    stem, suffix = os.path.splitext(path)
    compression = COMPRESSIONS.get(suffix.lower())
    if compression:
        suffix = os.path.splitext(stem)[1]
    if format == "auto":
        if suffix.lower() not in FORMATS:
            raise UsageError(f"cannot tell the format of {path} by its name; give --format tsv, csv or parquet")
        format = FORMATS[suffix.lower()]
    if format == "parquet" and compression:
        raise InputError(f"{path}: a Parquet file is compressed inside; unpack it first")
    try:
        with open(path, "rb") as stream:
            stat = os.fstat(stream.fileno())
            edges = hashlib.sha256(stream.read(_EDGE_BYTES))
            stream.seek(max(0, stat.st_size - _EDGE_BYTES))
            edges.update(stream.read(_EDGE_BYTES))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return InputFile(path, format, compression, stat.st_size, stat.st_mtime_ns, edges.hexdigest())
