"""Inputs -> rows that follow each other, from places all over them: what a dump is like, without reading all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from sentiment_batch.read import delimited
from sentiment_batch.read.chunk import Chunk, Shard
from sentiment_batch.read.framing import MAX_ROW_BYTES
from sentiment_batch.read.inputs import InputFile, byte_blocks, placed_blocks
from sentiment_batch.read.places import Place, places
from sentiment_batch.read.plan import Inputs, PlannedShard, read_chunks

UNPACKED_BYTES = 32 * 2**20  # of a compressed file that are looked at, from its beginning: it cannot be entered later
_PACKED_FILES = 8
_UNPACKED_GROUPS = 2**30  # bytes of row groups that are unpacked to come to the places in them, all together
_SAMPLE_BYTES = 256 * 2**20  # of Parquet rows at most
_FEWEST_PLACES = 8
_RECORD_TRIES = 20  # line feeds behind a place in a CSV, one of which ends a record
_ALL = 2**62


@dataclass(frozen=True)
class Excerpt:
    """Rows of one file that follow each other.

    Of text that was not read through, `rows` were counted in `bytes` of the file as it lies there; of a compressed one
    all of its beginning, once.
    """

    chunk: Chunk
    rows: int = 0
    bytes: int = 0
    packed: bool = False


def whole(inputs: Inputs, shards: Sequence[PlannedShard], columns: tuple[str, ...], rows: int) -> Iterator[Excerpt]:
    """All rows of the shards, as excerpts of so many; the text is the first of the columns."""
    for planned in shards:
        for chunk in read_chunks(inputs, planned, columns, columns[0], rows):
            yield Excerpt(chunk)


def excerpts(
    inputs: Inputs, shards: Sequence[PlannedShard] | None, columns: tuple[str, ...], count: int, size: tuple[int, int]
) -> Iterator[Excerpt]:
    """Rows from `count` places, each in its stretch of the inputs; fewer where it would take long to come to them.

    `size` is how many rows to take of a Parquet file, and the rows that begin in how many bytes of a text file: so many
    bytes whatever is in them, so that where rows are short, and more, more are taken. The text is the first of the
    columns. Without shards a text file was not read through, and every part of it may be looked at.

    Raises `InputError` for a file that is damaged there.
    """
    if inputs.files[0].format == "parquet":
        assert shards, "the shards of Parquet files are always known"
        yield from _of_parquet(inputs, shards, columns, count, size[0])
        return
    extents = _extents(inputs, shards)
    each = list(zip(inputs.files, extents, strict=True))
    packed = [file.size if file.compression and stop > start else 0 for file, (start, stop) in each]
    plain = [0 if file.compression else max(0, stop - start) for file, (start, stop) in each]
    of_packed = round(count * sum(packed) / max(1, sum(packed) + sum(plain)))
    yield from _of_packed(inputs, places(packed, of_packed), columns, size[1])
    length = max(1, min(size[1], sum(plain) // count))
    for number, start, stop in _stretches(places(plain, count - of_packed), plain, length):
        first = extents[number][0]
        yield _of_text(inputs, number, extents[number], columns, (first + start, first + stop))


def _extents(inputs: Inputs, shards: Sequence[PlannedShard] | None) -> list[tuple[int, int]]:
    """From where to where each text file has rows of the job, in bytes."""
    if shards is None:
        return [(start, file.size) for file, (_, start) in zip(inputs.files, inputs.headers, strict=True)]
    found: dict[int, tuple[int, int]] = {}
    for planned in shards:
        start, _ = found.get(planned.file, (planned.shard.start, 0))
        found[planned.file] = start, planned.shard.stop
    return [found.get(number, (0, 0)) for number in range(len(inputs.files))]


def _of_parquet(
    inputs: Inputs, shards: Sequence[PlannedShard], columns: tuple[str, ...], count: int, rows: int
) -> Iterator[Excerpt]:
    sizes, groups = inputs.rows_of(list(shards)), [group for groups in inputs.groups for group in groups]
    largest = max((group.bytes for group in groups), default=0)
    of_row = sum(group.bytes for group in groups) / max(1, sum(group.rows for group in groups))
    fewer = max(_FEWEST_PLACES, min(count, 2 * _UNPACKED_GROUPS // max(1, largest)))
    rows = max(1, min(rows * count // fewer, int(_SAMPLE_BYTES / max(1, fewer * of_row))))
    for file, start, stop in _stretches(places(sizes, fewer), sizes, rows):
        planned = PlannedShard(0, file, Shard(start, stop, start, stop - start))
        for chunk in read_chunks(inputs, planned, columns, columns[0], rows):
            yield Excerpt(chunk)
            if chunk.batch.nbytes > _SAMPLE_BYTES / fewer:
                break  # longer than the footer says, as values are that stand in many rows


def _stretches(found: list[Place], sizes: Sequence[int], length: int) -> Iterator[tuple[int, int, int]]:
    """(the piece, from where, to where) to take `length` at each place; what two of them would have is taken once."""
    taken: dict[int, int] = {}
    for piece, offset in found:
        start, stop = _stretch(offset, sizes[piece], length)
        start = max(start, taken.get(piece, 0))
        if start < stop:
            yield piece, start, stop
            taken[piece] = stop


def _stretch(offset: int, size: int, length: int) -> tuple[int, int]:
    """From where to where to take `length` of `size` for a place, so that every row is as likely to be in it.

    It may begin before the first and end behind the last, and what is left of it is taken; of little all is.
    """
    if size <= length:
        return 0, size
    start = offset * (size + length) // size - length + 1
    return max(0, start), min(size, start + length)


def _of_text(
    inputs: Inputs, number: int, extent: tuple[int, int], columns: tuple[str, ...], wanted: tuple[int, int]
) -> Excerpt:
    """The rows that begin in the bytes from the one to the other that are wanted.

    Whether a line feed of a CSV ends a record or stands in quotes nobody can tell at once: it does where least of what
    follows is no row. A text whose last line looks like a row may so come in as one.
    """
    file, names = inputs.files[number], inputs.headers[number][0]
    (first, last), (offset, stop) = extent, wanted
    begin = first if offset == first else _behind_line_feed(file, offset - 1, last)
    end = last if stop == last else _behind_line_feed(file, stop - 1, last)
    best = _chunk(file, Shard(begin, end, 0, _ALL), names, columns)
    for _ in range(_RECORD_TRIES if file.format == "csv" else 0):  # the line feed may have been inside quotes
        if not best.rejects or (begin := _behind_line_feed(file, begin, last)) >= end:
            break
        found = _chunk(file, Shard(begin, end, 0, _ALL), names, columns)
        best = found if found.batch.num_rows and len(found.rejects) < len(best.rejects) else best
    return Excerpt(best, best.rows, stop - offset)


def _of_packed(inputs: Inputs, wanted: list[Place], columns: tuple[str, ...], size: int) -> Iterator[Excerpt]:
    """Rows from places in the beginnings of compressed files, the largest of them if there are many."""
    by_file = [(number, len(list(group))) for number, group in groupby(wanted, lambda place: place.piece)]
    by_file = sorted(sorted(by_file, key=lambda each: -each[1])[:_PACKED_FILES])
    for number, count in by_file:
        file, (names, start) = inputs.files[number], inputs.headers[number]
        unpacked, packed = _beginning(file)
        chunk = _chunk(file, Shard(start, unpacked, 0, _ALL), names, columns)
        rows, counted = chunk.batch.num_rows, (chunk.rows, packed)
        length = max(1, rows * size // max(1, unpacked - start))
        many = count * len(wanted) // max(1, sum(each for _, each in by_file))
        for _, first, stop in _stretches(places([rows], many), [rows], length):
            rejects = [each for each in chunk.rejects if first <= each["row"] < stop]
            piece = Chunk(chunk.batch.slice(first, stop - first), rejects)
            yield Excerpt(piece, *counted, packed=True)
            counted = (0, 0)


def _beginning(file: InputFile) -> tuple[int, int]:
    """(bytes unpacked, bytes of the file that they are packed in) of the beginning that is looked at."""
    unpacked = packed = 0
    for block, at in placed_blocks(file):
        unpacked, packed = unpacked + len(block), at
        if unpacked >= UNPACKED_BYTES:
            return unpacked, packed
    return unpacked, file.size


def _behind_line_feed(file: InputFile, start: int, last: int) -> int:
    """Where the next line begins behind the first line feed from `start` on; `last` if there is none."""
    for block in byte_blocks(file, start, min(last, start + MAX_ROW_BYTES)):
        if (at := block.find(b"\n")) >= 0:
            return start + at + 1
        start += len(block)
    return last


def _chunk(file: InputFile, shard: Shard, names: tuple[str, ...], columns: tuple[str, ...]) -> Chunk:
    """All rows of the shard. Of its last one, which may be cut, nothing is said if it is a reject."""
    found = list(delimited.chunks(file, shard, names, columns, 65_536))
    schema = pa.schema([(name, pa.string()) for name in columns])
    table = pa.Table.from_batches([chunk.batch for chunk in found], schema).combine_chunks()
    rejects = [each for chunk in found for each in chunk.rejects]
    rows = table.num_rows + len(rejects)
    rejects = [each for each in rejects if each["row"] != rows - 1]
    return Chunk((table.to_batches() or [pa.RecordBatch.from_pylist([], schema)])[0], rejects)
