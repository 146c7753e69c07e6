"""What an earlier output says of its rows, on the disk, by the hash of each: for as many rows as there is disk.

The hashes are cut into ranges of equal width, each in a file of its own: `NNNN` has the hashes of its range, sorted,
and behind them what is said of each. To make it, rows are appended to the range that they belong to, and then range
after range is sorted in memory. To look something up, one file is mapped into memory at a time, and searched by halves.
So neither takes more memory than a few times a range (8 MiB, up to a billion rows) or a buffer. A row takes 20 bytes
and 4 more for each label; while it is made, a range more.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sentiment_batch import stop
from sentiment_batch.model.cache import said_type
from sentiment_batch.pair_hashes import HASH
from sentiment_batch.write.scratch import disk_errors

_RANGE_BYTES = 8 * 2**20
_MOST_BITS = 12
_BUFFER_BYTES = 16 * 2**20
_HEAD_BITS = 16  # of a hash, by which it is told which range it belongs to


class Rows(NamedTuple):
    """Rows of an earlier output, in its order."""

    hashes: np.ndarray
    said: np.ndarray  # as `said_type` has it


@dataclass(frozen=True)
class Known:
    """The finished index. Of rows with one hash it has the first."""

    folder: Path
    labels: int
    bits: int  # of a hash, that are the number of its range

    @property
    def said(self) -> np.dtype[np.void]:
        return said_type(self.labels)

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(int64 [found], rising: which of the hashes are there, [found]: what is said of each)."""
        order = np.argsort(hashes, kind="stable")
        looked_for = hashes[order]
        found, said = [np.zeros(0, np.int64)], [np.zeros(0, self.said)]
        for number, begin, end in _ranges(looked_for, self.bits):
            there, of_them = self._find_in(number, looked_for[begin:end])
            found.append(order[begin:end][there])
            said.append(of_them)
        places = np.concatenate(found)
        rising = np.argsort(places)
        return places[rising], np.concatenate(said)[rising]

    def _find_in(self, number: int, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Copies alone are given out: the file is not mapped any more behind this."""
        path = _path(self.folder, number)
        if not path.exists():
            return np.zeros(0, np.int64), np.zeros(0, self.said)
        content = np.memmap(path, np.uint8, mode="r")
        rows = len(content) // (HASH.itemsize + self.said.itemsize)
        keys = content[: rows * HASH.itemsize].view(HASH)
        places = np.minimum(np.searchsorted(keys, hashes), rows - 1)
        there = np.flatnonzero(keys[places] == hashes)
        return there, np.array(content[rows * HASH.itemsize :].view(self.said)[places[there]])


def build(folder: Path, batches: Iterable[Rows], rows: int, labels: int) -> Known:
    """Make the index of at most so many rows in an empty folder, or raise and leave there what there is of it.

    Raises `EnvironmentFailure` if the disk is full, and `Stopped`.
    """
    record = np.dtype([("hash", HASH), ("said", said_type(labels))])
    needed = rows * record.itemsize
    bits = min(_MOST_BITS, max(0, (needed // _RANGE_BYTES).bit_length()))
    for buffer in _buffers(batches, record):
        for number, begin, end in _ranges(buffer["hash"], bits):
            path = _path(folder, number)
            with disk_errors(path, needed), open(path, "ab") as file:
                file.write(buffer[begin:end].data)
    for path in sorted(folder.iterdir()):
        stop.check()
        _sort(path, record, needed)
    return Known(folder, labels, bits)


def _buffers(batches: Iterable[Rows], record: np.dtype[np.void]) -> Iterator[np.ndarray]:
    """The rows as records, as many as a buffer has room for at a time, sorted by their hashes, each hash once."""
    waiting: list[np.ndarray] = []
    for batch in batches:
        stop.check()
        records = np.empty(len(batch.hashes), record)
        records["hash"], records["said"] = batch
        waiting.append(records)
        if sum(each.nbytes for each in waiting) >= _BUFFER_BYTES:
            yield _firsts(waiting)
            waiting = []
    if waiting:
        yield _firsts(waiting)


def _firsts(pieces: list[np.ndarray]) -> np.ndarray:
    """The records in the order of their hashes; of those with one hash the first."""
    records = np.concatenate(pieces)
    firsts: np.ndarray = records[np.unique(records["hash"], return_index=True)[1]]
    return firsts


def _sort(path: Path, record: np.dtype[np.void], needed: int) -> None:
    """Put a range in order: what was appended later comes behind what was before it."""
    records = _firsts([np.fromfile(path, record)])
    sorted_path = path.with_suffix(".sorted")
    with disk_errors(path, needed), open(sorted_path, "xb") as file:
        file.write(np.ascontiguousarray(records["hash"]).data)
        file.write(np.ascontiguousarray(records["said"]).data)
    sorted_path.replace(path)


def _ranges(hashes: np.ndarray, bits: int) -> Iterator[tuple[int, int, int]]:
    """(number of the range, where its hashes begin, where they end) of sorted hashes, for each range that has some."""
    heads = (
        np.ascontiguousarray(hashes)
        .view(np.uint8)
        .reshape(-1, HASH.itemsize)[:, : _HEAD_BITS // 8]
        .copy()
        .view(">u2")[:, 0]
    )
    numbers = heads.astype(np.int64) >> (_HEAD_BITS - bits)
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for begin, end in pairwise(edges):
        if end > begin:
            yield int(numbers[begin]), begin, end


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:04x}"
