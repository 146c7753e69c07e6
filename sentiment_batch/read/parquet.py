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
    except (pa.ArrowException, OSError) as error:
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

    Raises `InputError` for pages that are damaged and for rows that end before the footer says.
    """
    with open_parquet(file) as parquet:
        groups = _groups(parquet.metadata, shard)
        row = groups[0][1] if groups else shard.start
        try:
            numbers = [number for number, _ in groups]
            for batch in parquet.iter_batches(chunk_rows, row_groups=numbers, columns=list(columns)):
                first = max(row, shard.start)
                wanted = batch.slice(first - row, max(0, min(row + batch.num_rows, shard.stop) - first))
                row += batch.num_rows
                if wanted.num_rows:
                    yield _chunk(file, wanted.select(list(columns)), groups, first, text_column)
                if row >= shard.stop:
                    return
        except (pa.ArrowException, OSError) as error:
            where = f"{file.path}, rows {shard.start} to {shard.stop}, row group {_group_of(groups, row)[0]}"
            raise InputError(f"{where}: {error}; the file is damaged; nothing was published") from error
    if row < shard.stop:
        raise InputError(f"{file.path} ends at row {row} where its footer says {shard.stop}; the file is damaged")


def _groups(metadata: pq.FileMetaData, shard: Shard) -> list[tuple[int, int]]:
    """(number, first row) of every row group that has rows of the shard."""
    found, row = [], 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if row < shard.stop and row + rows > shard.start:
            found.append((number, row))
        row += rows
    return found


def _group_of(groups: list[tuple[int, int]], row: int) -> tuple[int, int]:
    return max(((number, first) for number, first in groups if first <= row), default=(0, 0))


def _chunk(
    file: InputFile, batch: pa.RecordBatch, groups: list[tuple[int, int]], first_row: int, text_column: str
) -> Chunk:
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
            group, group_row = _group_of(groups, row)
            position = {"row_group": group, "row_in_group": row - group_row}
            sha256 = hashlib.sha256(value).hexdigest()
            rejects.append(reject(file.path, row, position, INVALID_UTF8, fault, sha256, value))
    return Chunk(batch.filter(pa.array(keep, pa.bool_())), rejects)


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
