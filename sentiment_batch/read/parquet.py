"""Parquet files -> chunks, one row group at a time, so that memory does not grow with the file."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sentiment_batch.errors import InputError
from sentiment_batch.read.chunk import Chunk, Reject, Shard, reject
from sentiment_batch.read.columns import shown_columns
from sentiment_batch.read.footer import FOOTER_BYTES, open_parquet
from sentiment_batch.read.inputs import MAX_RATIO, InputFile
from sentiment_batch.read.moments import column_that_wraps, is_int96
from sentiment_batch.read.pages import BadPage, count_values, dictionary_bytes
from sentiment_batch.read.source import raise_if_short
from sentiment_batch.read.texts import as_strings, is_text, text_batches, with_type

INVALID_UTF8 = "invalid_utf8"
MAX_GROUP_BYTES = 2 * 2**30  # of one row group in memory, as its footer declares it
MAX_CHUNK_BYTES = 256 * 2**20  # of one chunk's values, written out, where a chunk has more than one row
_HEADER_BYTES = 4096  # of a page, more or less: they lie a mebibyte apart


class RowGroup(NamedTuple):
    """What the footer says of a row group; `bytes` unpacked."""

    rows: int
    bytes: int


def schema(file: InputFile) -> pa.Schema:
    """The file's Arrow schema; two columns of one name are refused."""
    return outline(file)[0]


def outline(file: InputFile) -> tuple[pa.Schema, list[RowGroup]]:
    """The file's Arrow schema and its row groups: what a job is planned by, from one look at the footer.

    Two columns of one name are refused.
    """
    with open_parquet(file, ahead_bytes=FOOTER_BYTES) as parquet:
        found, metadata = parquet.schema_arrow, parquet.metadata
        groups = [_row_group(metadata.row_group(number)) for number in range(metadata.num_row_groups)]
    twice = sorted({name for name in found.names if found.names.count(name) > 1})
    if twice:
        raise InputError(f"{file.path} has the column {twice[0]!r} twice; rename one")
    return found, groups


def _row_group(group: pq.RowGroupMetaData) -> RowGroup:
    return RowGroup(group.num_rows, group.total_byte_size)


def shards(
    file: InputFile, shard_rows: int, shard_bytes: int, groups: Sequence[RowGroup] | None = None
) -> Iterator[Shard]:
    """Row ranges of whole row groups, or of equal pieces of one that is too large: from the footer alone.

    It is read again if its `groups` are not given, or if one of them has no rows.
    """
    groups = outline(file)[1] if groups is None else groups
    if any(not group.rows for group in groups):
        _check_empty_groups(file)
    unpacked = _believable([group.bytes for group in groups], file.size)
    begin = end = held = 0
    for group, group_bytes in zip(groups, unpacked, strict=True):
        for rows in _pieces(group.rows, group_bytes, shard_rows, shard_bytes):
            size = group_bytes * rows // group.rows
            if end > begin and (end - begin + rows > shard_rows or held + size > shard_bytes):
                yield Shard(begin, end, begin, end - begin)
                begin, held = end, 0
            end += rows
            held += size
    if end > begin:
        yield Shard(begin, end, begin, end - begin)


def _believable(sizes: list[int], file_bytes: int) -> list[int]:
    """The sizes of the row groups, made smaller where the file cannot hold so much: a forged one would make a part of
    every row.
    """
    sizes = [max(0, size) for size in sizes]
    total, most = sum(sizes), MAX_RATIO * file_bytes
    return sizes if total <= most else [size * most // total for size in sizes]


def _pieces(rows: int, size: int, shard_rows: int, shard_bytes: int) -> list[int]:
    """The rows of each piece of a row group that is to be cut so that no piece is larger than a shard."""
    count = min(rows, max(math.ceil(rows / shard_rows), math.ceil(size / shard_bytes)))
    return [rows * (piece + 1) // count - rows * piece // count for piece in range(count)]


def byte_range(file: InputFile, shard: Shard) -> tuple[int, int]:
    """Where in the file the row groups of the shard lie: (first byte, byte behind the last)."""
    with open_parquet(file, ahead_bytes=FOOTER_BYTES) as parquet:
        groups = [parquet.metadata.row_group(number) for number, _ in _groups(parquet.metadata, shard)]
    try:
        ranges = [_page_range(chunk) for group in groups for chunk in _read_columns(group, ())]
    except BadPage as error:
        raise InputError(f"{file.path}: {error}; the file is damaged; nothing was published") from error
    return min((start for start, _ in ranges), default=0), max((stop for _, stop in ranges), default=0)


def chunks(
    file: InputFile, shard: Shard, columns: tuple[str, ...], text_column: str, chunk_rows: int
) -> Iterator[Chunk]:
    """The shard's rows in order, at most `chunk_rows` at a time. A row whose text is not UTF-8 is in `rejects`.

    Row groups are read one by one, each held to the rows that the footer gives it: a reader that goes over their ends
    makes up what one lacks from the next. Small ones are joined again.

    Raises `InputError` for pages that are damaged and for rows that end before the footer says.
    """
    held: list[Chunk] = []
    rows = size = 0
    for chunk in _group_chunks(file, shard, columns, text_column, chunk_rows):
        more = sum(map(_value_bytes, chunk.batch.columns))
        if held and (rows + chunk.rows > chunk_rows or size + more > MAX_CHUNK_BYTES):
            yield from joined(held)
            held, rows, size = [], 0, 0
        held.append(chunk)
        rows, size = rows + chunk.rows, size + more
    yield from joined(held)


def _value_bytes(column: pa.Array) -> int:
    """What the values take when each is written out, whatever they have in common."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    if not is_text(column.type):
        return int(column.indices.nbytes + column.dictionary.nbytes)
    lengths = pc.binary_length(as_strings(column.dictionary).cast(pa.binary()).cast(pa.large_binary()))
    return int(pc.sum(lengths.cast(pa.int64()).take(column.indices)).as_py() or 0)


def _group_chunks(
    file: InputFile, shard: Shard, columns: tuple[str, ...], text_column: str, chunk_rows: int
) -> Iterator[Chunk]:
    wanted = shard.start
    with open_parquet(file) as parquet, file.open(_HEADER_BYTES) as pages:
        if lacking := [name for name in columns if name not in parquet.schema_arrow.names]:
            raise InputError(f"{file.path} has no column {lacking[0]!r} any more: it changed; nothing was published")
        for number, first in _groups(parquet.metadata, shard):
            row = first
            wanted = min(shard.stop, first + parquet.metadata.row_group(number).num_rows)
            where = f"{file.path}, rows {shard.start} to {shard.stop}, row group {number}"
            try:
                _check_size(parquet.metadata.row_group(number), columns, where)
                if row >= shard.start:  # once for each group
                    _check_pages(pages, parquet.metadata.row_group(number), columns, where)
                    _check_moments(file, parquet, number, columns, where)
                at_once = min(chunk_rows, _safe_rows(pages, parquet.metadata.row_group(number), columns))
                for batch in text_batches(file, parquet, number, columns, text_column, at_once):
                    start = max(row, shard.start)
                    stop = min(row + batch.num_rows, wanted)
                    if start < stop:
                        rows = batch.slice(start - row, stop - start).select(list(columns))
                        chunk = _chunk(file, rows, (number, first), start, text_column)
                        yield replace(chunk, batch=with_type(chunk.batch, parquet.schema_arrow.field(text_column)))
                    row += batch.num_rows
                    if row >= wanted:
                        break
            except (pa.ArrowException, OSError, BadPage, UnicodeDecodeError) as error:
                raise_if_short(error)
                fault = _not_utf8(error, parquet.schema_arrow, columns, text_column) or f"{error}; the file is damaged"
                raise InputError(f"{where}: {fault}; nothing was published") from error
            if row < wanted:
                raise InputError(f"{where}: ends at row {row} where its footer says {wanted}; the file is damaged")
    if wanted < shard.stop:
        raise InputError(f"{file.path} ends at row {wanted} where the plan says {shard.stop}; the file is damaged")


def _not_utf8(error: Exception, schema: pa.Schema, columns: tuple[str, ...], text_column: str) -> str | None:
    """What to say of bytes that are no UTF-8 beside the texts. A column of plain strings keeps them; a dictionary that
    did would be a part that Arrow itself cannot read, unless its indices are of 32 bits.
    """
    names = [name for name in columns if name != text_column and not _is_plain(schema.field(name).type)]
    if "UTF8" not in str(error) or not names:
        return None
    return (
        f"bytes that are no UTF-8 in a dictionary or a nested column ({shown_columns(names, sure=True)}): write it as "
        "plain strings, or leave it out with --keep-columns"
    )


def _is_plain(type: pa.DataType) -> bool:
    return not (pa.types.is_dictionary(type) or pa.types.is_nested(type))


def _check_moments(file: InputFile, parquet: pq.ParquetFile, number: int, columns: tuple[str, ...], where: str) -> None:
    """No value may change on its way, and a column of the output has one type, whatever file its rows are from."""
    group = parquet.metadata.row_group(number)
    paths = [chunk.path_in_schema for chunk in _read_columns(group, columns) if is_int96(chunk)]
    if paths and (path := column_that_wraps(file, parquet, number, paths)):
        raise InputError(
            f"{where}, column {path!r}: an INT96 timestamp before 1677 or after 2262, which nanoseconds cannot hold; "
            "write the column again as TIMESTAMP_MICROS, or leave it out with --keep-columns"
        )


def _check_size(group: pq.RowGroupMetaData, columns: tuple[str, ...], where: str) -> None:
    """A row group is unpacked as a whole, so one that is too large is refused before it is read."""
    size = sum(chunk.total_uncompressed_size for chunk in _read_columns(group, columns))
    if size > MAX_GROUP_BYTES:
        raise InputError(
            f"{where}: unpacks to {size} bytes, more than the {MAX_GROUP_BYTES} that are read at once; "
            "write the file again with smaller row groups, or keep fewer columns with --keep-columns"
        )


def _read_columns(group: pq.RowGroupMetaData, columns: tuple[str, ...]) -> list[pq.ColumnChunkMetaData]:
    """The chunks of the columns; of all, if none is given."""
    chunks = [group.column(number) for number in range(group.num_columns)]
    if not columns:
        return chunks
    return [chunk for chunk in chunks if {chunk.path_in_schema, chunk.path_in_schema.partition(".")[0]} & set(columns)]


def _safe_rows(pages: BinaryIO, group: pq.RowGroupMetaData, columns: tuple[str, ...]) -> int:
    """How many rows of the group fit into `MAX_CHUNK_BYTES` at worst, but at least one.

    One value of a dictionary may stand in every row: a mebibyte then is 32 GiB in a chunk. No value is longer than the
    page of the dictionary; where values share their beginnings, none is longer than all that is stored.
    """
    longest = 1
    for chunk in _read_columns(group, columns):
        if chunk.physical_type != "BYTE_ARRAY":
            continue
        if "DELTA_BYTE_ARRAY" in chunk.encodings:
            longest += chunk.total_uncompressed_size
        elif {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(chunk.encodings):
            longest += dictionary_bytes(pages, _page_range(chunk)[0])
    return max(1, MAX_CHUNK_BYTES // longest)


def _page_range(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where in the file the pages lie: (first byte, byte behind the last)."""
    start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
    if start < 0 or chunk.total_compressed_size < 0:
        lies = f"at byte {start} with {chunk.total_compressed_size} bytes"
        raise BadPage(f"the column {chunk.path_in_schema!r} lies {lies}, as the footer has it")
    return start, start + chunk.total_compressed_size


def _check_pages(pages: BinaryIO, group: pq.RowGroupMetaData, columns: tuple[str, ...], where: str) -> None:
    """Raise `InputError` if there are not as many values as the footer has rows: Arrow would leave the last ones out.

    Raises `BadPage` for pages that contradict the footer otherwise.
    """
    for chunk in _read_columns(group, columns):
        expected = group.num_rows if chunk.path_in_schema in columns else chunk.num_values  # lists have more than rows
        values = count_values(pages, *_page_range(chunk), expected, chunk.encodings)
        if values != expected:
            raise InputError(
                f"{where}, column {chunk.path_in_schema!r}: has {values} values where its footer says {expected}; "
                "the file is damaged"
            )


def _check_empty_groups(file: InputFile) -> None:
    """Raise `InputError` if there are rows in a group that has none: it is in no shard, so nobody reads it."""
    with open_parquet(file, ahead_bytes=FOOTER_BYTES) as parquet, file.open(_HEADER_BYTES) as pages:
        for number in range(parquet.metadata.num_row_groups):
            group = parquet.metadata.row_group(number)
            for chunk in _read_columns(group, ())[: 0 if group.num_rows else 1]:
                try:
                    values = count_values(pages, *_page_range(chunk), 0, chunk.encodings)
                except BadPage:
                    continue  # an empty group may lie anywhere
                if values:
                    where = f"{file.path}, row group {number}"
                    raise InputError(f"{where}: has {values} values where its footer says 0; the file is damaged")


def _groups(metadata: pq.FileMetaData, shard: Shard) -> list[tuple[int, int]]:
    """(number, first row) of every row group that has rows of the shard."""
    found, row = [], 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if rows and row < shard.stop and row + rows > shard.start:
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


def joined(chunks: list[Chunk]) -> list[Chunk]:
    """One chunk of them all; each as it is if they have no common dictionary: indices of 8 bits know 127 values."""
    if len(chunks) < 2:
        return chunks
    rejects = [reject for chunk in chunks for reject in chunk.rejects]
    try:
        return [Chunk(_one_batch([chunk.batch for chunk in chunks]), rejects)]
    except pa.ArrowInvalid:
        return chunks


def _one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return next(iter(table.to_batches()), batches[0])


def _utf8_fault(data: bytes) -> str | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the text: {error.reason}"
    return None
