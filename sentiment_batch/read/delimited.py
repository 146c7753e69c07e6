"""TSV and CSV files -> chunks of string columns. Nothing is guessed: every value stays the text that it was."""

import hashlib
from collections.abc import Iterable, Iterator

import pyarrow as pa

from sentiment_batch.errors import InputError
from sentiment_batch.read.chunk import Chunk, Reject, Shard, reject
from sentiment_batch.read.columns import is_name
from sentiment_batch.read.framing import Record, lines, quoted_records, split_quoted, without_bom
from sentiment_batch.read.inputs import InputFile, byte_blocks, check_is_text

MAX_CHUNK_BYTES = 64 * 2**20
FIELD_COUNT = "field_count"
INVALID_UTF8 = "invalid_utf8"


def header(file: InputFile, columns: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """The file's column names and the offset of its first row. With `columns` given, the file has no header line.

    Raises `InputError` for a file without the header that it should have, or with two columns of one name, for
    carriage returns in it, and for UTF-16 and archives, which would otherwise be millions of rejects.
    """
    check_is_text(file)
    if columns:
        return columns, 0
    first = next(_records(file, 0, None), None)
    if first is None:
        raise InputError(f"{file.path} is empty: no header line; name the columns with --columns if it has none")
    fields = _fields(first, file.format)
    if isinstance(fields, str):
        why = f"{first.reason}, {fields}" if first.reason else fields
        raise InputError(
            f"{file.path}: the header line cannot be read: {why}; mend it; is it {file.format.upper()} at all?"
        )
    if any("\r" in name for name in fields) and (file.format == "tsv" or b'"' not in first.data):
        raise InputError(f"{file.path}: the header has carriage returns; let line feeds end lines: tr '\\r' '\\n'")
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if twice:
        shown = f"the column {twice[0]!r}" if is_name(twice[0]) else "a column"
        raise InputError(
            f"{file.path}: the header has {shown} twice; rename one, or, if it is no header, name the columns with "
            "--columns"
        )
    return tuple(fields), first.offset + first.length + 1


def begins_with_names(file: InputFile, columns: tuple[str, ...]) -> bool:
    """Whether the first row of a file without a header is the names of its columns, in any order and case."""
    first = next(_records(file, 0, None), None)
    fields = _fields(first, file.format) if first else ""
    return not isinstance(fields, str) and _folded(fields) == _folded(columns)


def _folded(names: Iterable[str]) -> list[str]:
    return sorted(name.strip().casefold() for name in names)


def shards(file: InputFile, start: int, shard_rows: int, shard_bytes: int) -> Iterator[Shard]:
    """Byte ranges that begin and end between records, with the rows in each; one for a compressed file.

    The file is read through once for this, so that every shard knows its rows, the progress its end, a reject its
    row number, and a damaged archive is found before hours of work on its beginning.
    """
    begin, first_row, row = start, 0, 0
    for record in _records(file, start, None):
        full = row - first_row == shard_rows or (record.offset - begin >= shard_bytes and row > first_row)
        if full and not file.compression:
            yield Shard(begin, record.offset, first_row, row - first_row)
            begin, first_row = record.offset, row
        row += 1
        end = record.offset + record.length + 1
    if row > first_row:
        yield Shard(begin, end, first_row, row - first_row)


def chunks(
    file: InputFile, shard: Shard, names: tuple[str, ...], columns: tuple[str, ...], chunk_rows: int
) -> Iterator[Chunk]:
    """The shard's rows in order, `chunk_rows` at a time, as string columns; `names` are those of the file's fields.

    Rows of more than `MAX_CHUNK_BYTES` together make a chunk of fewer: an archive is one shard, however long its lines.
    A row whose number of fields is not that of `names`, or that is not UTF-8, is in `rejects` instead.
    """
    positions = [names.index(column) for column in columns]
    schema = pa.schema([(column, pa.string()) for column in columns])
    rows: list[list[str]] = []
    rejects: list[Reject] = []
    size = 0

    def chunk() -> Chunk:
        values = [pa.array([row[position] for row in rows], pa.string()) for position in positions]
        return Chunk(pa.RecordBatch.from_arrays(values, schema=schema), rejects)

    for number, record in enumerate(_records(file, shard.start, shard.stop), shard.first_row):
        if number == shard.first_row + shard.rows:
            break  # --limit-rows ends inside the byte range
        fields = _fields(record, file.format)
        if isinstance(fields, str):
            rejects.append(_reject(file, number, record, record.reason or INVALID_UTF8, fields))
        elif len(fields) != len(names):
            detail = f"{len(fields)} fields, expected {len(names)}"
            rejects.append(_reject(file, number, record, FIELD_COUNT, detail))
        else:
            rows.append(fields)
        size += len(record.data)
        if len(rows) + len(rejects) == chunk_rows or size >= MAX_CHUNK_BYTES:
            yield chunk()
            rows, rejects, size = [], [], 0
    if rows or rejects:
        yield chunk()


def _records(file: InputFile, start: int, stop: int | None) -> Iterator[Record]:
    records = lines(byte_blocks(file, start, stop), start)
    if file.format == "csv":
        return quoted_records(records)
    return records


def _fields(record: Record, format: str) -> list[str] | str:
    """The record's fields, or why it has none."""
    if record.reason:
        return f"{record.length} bytes"
    try:
        text = without_bom(record).removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the row: {error.reason}"
    return split_quoted(text) if format == "csv" else text.split("\t")


def _reject(file: InputFile, row: int, record: Record, reason: str, detail: str) -> Reject:
    position: dict[str, int] = {"byte_offset": record.offset, "byte_length": record.length}
    sha256 = record.sha256 or hashlib.sha256(record.data).hexdigest()
    return reject(file.path, row, position, reason, detail, sha256, record.data)
