"""Parquet files -> chunks, one row group at a time, so that memory does not grow with the file."""

import hashlib
import math
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sentiment_batch.errors import InputError
from sentiment_batch.read.chunk import Chunk, Reject, Shard, reject
from sentiment_batch.read.inputs import InputFile

INVALID_UTF8 = "invalid_utf8"


def open_parquet(file: InputFile) -> pq.ParquetFile:
    """Raises `InputError` for what is not a whole Parquet file."""
    try:
        return pq.ParquetFile(
            file.path, pre_buffer=False, page_checksum_verification=True, arrow_extensions_enabled=False
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file.path} is not a whole Parquet file: {error}; was its writer killed?") from error


def schema(file: InputFile) -> pa.Schema:
    """The file's Arrow schema; two columns of one name are refused."""
    with open_parquet(file) as parquet:
        found = parquet.schema_arrow
    twice = sorted({name for name in found.names if found.names.count(name) > 1})
    if twice:
        raise InputError(f"{file.path} has the column {twice[0]!r} twice; rename one")
    return found


def shards(file: InputFile, shard_rows: int, shard_bytes: int) -> Iterator[Shard]:
    """Row ranges of whole row groups, or of equal pieces of one that is too large: from the footer alone."""
    with open_parquet(file) as parquet:
        groups = [parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups)]
    begin = end = held = 0
    for group in groups:
        for rows in _pieces(group.num_rows, group.total_byte_size, shard_rows, shard_bytes):
            size = group.total_byte_size * rows // group.num_rows
            if end > begin and (end - begin + rows > shard_rows or held + size > shard_bytes):
                yield Shard(begin, end, begin, end - begin)
                begin, held = end, 0
            end += rows
            held += size
    if end > begin:
        yield Shard(begin, end, begin, end - begin)


def _pieces(rows: int, size: int, shard_rows: int, shard_bytes: int) -> list[int]:
    """The rows of each piece of a row group that is to be cut so that no piece is larger than a shard."""
    count = min(rows, max(math.ceil(rows / shard_rows), math.ceil(size / shard_bytes)))
    return [rows * (piece + 1) // count - rows * piece // count for piece in range(count)]


def byte_range(file: InputFile, shard: Shard) -> tuple[int, int]:
    """Where in the file the row groups of the shard lie: (first byte, byte behind the last)."""
    with open_parquet(file) as parquet:
        groups = [parquet.metadata.row_group(number) for number, _ in _groups(parquet.metadata, shard)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    starts = [min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset) for chunk in chunks]
    ends = [start + chunk.total_compressed_size for start, chunk in zip(starts, chunks, strict=True)]
    return min(starts, default=0), max(ends, default=0)


def chunks(
    file: InputFile, shard: Shard, columns: tuple[str, ...], text_column: str, chunk_rows: int
) -> Iterator[Chunk]:
    """The shard's rows in order, at most `chunk_rows` at a time. A row whose text is not UTF-8 is in `rejects`.

    Row groups are read one by one, each held to the rows that the footer gives it: a reader that goes over their ends
    makes up what one lacks from the next. Small ones are joined again.

    Raises `InputError` for pages that are damaged and for rows that end before the footer says.
    """
    held: list[Chunk] = []
    for chunk in _group_chunks(file, shard, columns, text_column, chunk_rows):
        if held and sum(each.rows for each in held) + chunk.rows > chunk_rows:
            yield _joined(held)
            held = []
        held.append(chunk)
    if held:
        yield _joined(held)


def _group_chunks(
    file: InputFile, shard: Shard, columns: tuple[str, ...], text_column: str, chunk_rows: int
) -> Iterator[Chunk]:
    wanted = shard.start
    with open_parquet(file) as parquet:
        for number, first in _groups(parquet.metadata, shard):
            row = first
            wanted = min(shard.stop, first + parquet.metadata.row_group(number).num_rows)
            where = f"{file.path}, rows {shard.start} to {shard.stop}, row group {number}"
            try:
                for batch in parquet.iter_batches(chunk_rows, row_groups=[number], columns=list(columns)):
                    start = max(row, shard.start)
                    stop = min(row + batch.num_rows, wanted)
                    if start < stop:
                        rows = batch.slice(start - row, stop - start).select(list(columns))
                        yield _chunk(file, rows, (number, first), start, text_column)
                    row += batch.num_rows
                    if row >= wanted:
                        break
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"{where}: {error}; the file is damaged; nothing was published") from error
            if row < wanted:
                raise InputError(f"{where}: ends at row {row} where its footer says {wanted}; the file is damaged")
    if wanted < shard.stop:
        raise InputError(f"{file.path} ends at row {wanted} where the plan says {shard.stop}; the file is damaged")


def _groups(metadata: pq.FileMetaData, shard: Shard) -> list[tuple[int, int]]:
    """(number, first row) of every row group that has rows of the shard."""
    found, row = [], 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if row < shard.stop and row + rows > shard.start:
            found.append((number, row))
        row += rows
    return found


def _chunk(file: InputFile, batch: pa.RecordBatch, group: tuple[int, int], first_row: int, text_column: str) -> Chunk:
    try:
        batch.validate(full=True)
        return Chunk(batch, [])
    except pa.ArrowInvalid:
        for column in batch.columns:  # text that is not UTF-8 is a row's fault; all else is the file's
            column.validate(full=not is_text(column.type) or pa.types.is_dictionary(column.type))
    rejects: list[Reject] = []
    keep = []
    for row, value in enumerate(as_strings(batch.column(text_column)).cast(pa.binary()).to_pylist(), first_row):
        fault = None if value is None else _utf8_fault(value)
        keep.append(fault is None)
        if value is not None and fault is not None:
            position = {"row_group": group[0], "row_in_group": row - group[1]}
            sha256 = hashlib.sha256(value).hexdigest()
            rejects.append(reject(file.path, row, position, INVALID_UTF8, fault, sha256, value))
    return Chunk(_kept(batch, keep), rejects)


def _kept(batch: pa.RecordBatch, keep: list[bool]) -> pa.RecordBatch:
    """The rows that are kept. Slices, because `filter` knows no string_view."""
    return _one_batch([batch.slice(row, 1) for row, kept in enumerate(keep) if kept] or [batch.slice(0, 0)])


def _joined(chunks: list[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    rejects = [reject for chunk in chunks for reject in chunk.rejects]
    return Chunk(_one_batch([chunk.batch for chunk in chunks]), rejects)


def _one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return next(iter(table.to_batches()), batches[0])


def _utf8_fault(data: bytes) -> str | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the text: {error.reason}"
    return None


def is_text(type: pa.DataType) -> bool:
    """Whether a column of this type can hold the texts: any string type, or a dictionary of one."""
    if pa.types.is_dictionary(type):
        type = type.value_type
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type))


def as_strings(column: pa.Array) -> pa.Array:
    """The column as plain strings."""
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
