"""The rows of an input file, read once more in another way than the scorer's: slowly, by Python's own modules.

`verify` holds an output against this. It shares no code with read/ on purpose: a fault there must not hide itself.
"""

import bz2
import csv
import gzip
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.remote import is_url, open_remote

Row = list[Any] | None  # the values of the columns asked for; None for a row that no Parquet row can hold

# The limits that the README promises: a longer line, or a quoted field that is closed later, is a reject.
LINE_BYTES = 16 * 2**20
QUOTED_BYTES = 2**20
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)

csv.field_size_limit(2**31 - 1)


def recount(path: str, format: str, names: tuple[str, ...], columns: list[str], text_column: str) -> Iterator[Row]:
    """Every row of the file, in order. `names` are the fields of a text file without a header line."""
    if format == "parquet":
        yield from _parquet_rows(path, columns, text_column)
        return
    rows = _csv_rows(_lines(path)) if format == "csv" else _tsv_rows(_lines(path))
    if not names:
        header = next(rows, None)
        names = tuple(header or ())
    positions = [names.index(column) for column in columns]
    for row in rows:
        yield [row[position] for position in positions] if row and len(row) == len(names) else None


def open_input(path: str) -> BinaryIO:
    """The file's bytes as they lie there."""
    return open_remote(path) if is_url(path) else open(path, "rb")


def _lines(path: str) -> Iterator[bytes]:
    """The lines without their line feeds, and without a byte order mark."""
    raw = open_input(path)
    suffix = path.lower().rpartition(".")[2]
    source: Any = raw
    if suffix == "gz":
        source = gzip.GzipFile(fileobj=raw)
    elif suffix == "bz2":
        source = bz2.BZ2File(raw)
    elif suffix == "zst":
        source = io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    with raw, source:
        for number, line in enumerate(source):
            yield line.removeprefix(b"\xef\xbb\xbf" if number == 0 else b"").removesuffix(b"\n")


def _tsv_rows(lines: Iterator[bytes]) -> Iterator[list[str] | None]:
    for line in lines:
        text = _text(line)
        yield text.split("\t") if text is not None else None


def _text(line: bytes) -> str | None:
    if len(line) > LINE_BYTES:
        return None
    try:
        return str(line.removesuffix(b"\r"), "utf-8", "strict")
    except UnicodeDecodeError:
        return None


def _csv_rows(lines: Iterator[bytes]) -> Iterator[list[str] | None]:
    waiting: list[bytes] = []  # lines that were looked at for the end of a quoted field that has none
    while True:
        if not waiting:
            if (line := next(lines, None)) is None:
                return
            waiting.append(line)
        used, row = 1, _csv_fields(waiting[0]) if len(waiting[0]) <= LINE_BYTES else None
        while row == "open" and sum(map(len, waiting[:used])) + used - 1 <= QUOTED_BYTES:
            if used == len(waiting):
                if (line := next(lines, None)) is None:
                    break
                waiting.append(line)
            used += 1
            if len(waiting[used - 1]) > LINE_BYTES:
                break
            if b'"' in waiting[used - 1]:
                row = _csv_fields(b"\n".join(waiting[:used]))
        yield row if isinstance(row, list) else None
        del waiting[: used if row is None or isinstance(row, list) else 1]


def _csv_fields(record: bytes) -> list[str] | str | None:
    """The fields; "open" or "bad" for quotes that are not closed or wrongly so; None for what is no UTF-8."""
    text = str(record.removesuffix(b"\r"), "utf-8", "surrogateescape")
    if not text:
        return [""]
    carriage_return = next(mark for mark in map(chr, range(0xE000, 0xF8FF)) if mark not in text)
    plain = text.replace("\r", carriage_return)  # the module takes it for the end of a row
    try:
        fields = next(csv.reader(io.StringIO(plain, newline="\n"), strict=True))
    except csv.Error as error:
        return "open" if "unexpected end of data" in str(error) else "bad"
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return None
    return [field.replace(carriage_return, "\r") for field in fields]


def _parquet_rows(path: str, columns: list[str], text_column: str) -> Iterator[Row]:
    others = [name for name in columns if name != text_column]
    with open_input(path) as raw:
        stored, file = _text_file(raw), _parquet_file(raw)
        seconds = _parquet_file(raw, coerce_int96_timestamp_unit="s")
        int96 = [name for name in others if seconds.schema_arrow.field(name) != file.schema_arrow.field(name)]
        for number in range(file.num_row_groups):
            texts = stored.read_row_group(number, columns=[text_column]).column(text_column)
            raw_texts = texts.cast(pa.large_binary()).to_pylist()
            group = file.read_row_group(number, columns=others)
            values = {name: plain_values(group.column(name)) for name in others} | {text_column: _shown(raw_texts)}
            coarse = seconds.read_row_group(number, columns=int96)
            values |= {name: _exact_values(group.column(name), coarse.column(name)) for name in int96}
            for row, text in enumerate(raw_texts):
                yield [values[name][row] for name in columns] if _is_utf8(text) else None


def _parquet_file(raw: BinaryIO, **how: Any) -> pq.ParquetFile:
    checked = {"page_checksum_verification": True, "arrow_extensions_enabled": False}
    return pq.ParquetFile(pa.PythonFile(raw, mode="r"), **checked, **how)


def _text_file(raw: BinaryIO) -> pq.ParquetFile:
    """The file as if there were no Arrow schema in it, by which Arrow reads nothing of some dictionaries."""
    size = raw.seek(0, io.SEEK_END)
    raw.seek(size - 8)
    raw.seek(size - 8 - int.from_bytes(raw.read(4), "little"))
    footer = raw.read().replace(b"ARROW:schema", b"no schema...")
    return _parquet_file(raw, metadata=pq.read_metadata(pa.BufferReader(footer)))


def _is_utf8(value: bytes | None) -> bool:
    try:
        str(value or b"", "utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


def _shown(values: list[bytes | None]) -> list[str | None]:
    """Strings, UTF-8 or not: other ones for other bytes."""
    return [None if value is None else str(value, "utf-8", "surrogateescape") for value in values]


def plain_values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """The column as Python values that can be compared: points in time as whole numbers, not a number as a word."""
    return _comparable(column.type, _python_values(column))


def _exact_values(column: pa.ChunkedArray, coarse: pa.ChunkedArray) -> list[Any]:
    """As `plain_values`, with INT96 timestamps as they are; in `coarse` these are seconds, which hold them all."""
    pairs = zip(_python_values(column), _python_values(coarse), strict=True)
    return _comparable(column.type, [_exact(coarse.type, *pair) for pair in pairs])


def _exact(type: pa.DataType, fine: Any, seconds: Any) -> Any:
    """The value with its INT96 timestamps in nanoseconds, however many; `fine` has them modulo 2 ** 64."""
    if fine is None:
        return None
    if pa.types.is_timestamp(type) and type.unit == "s":  # Parquet itself knows no seconds
        return seconds * 10**9 + (fine - seconds * 10**9) % 2**64
    if pa.types.is_struct(type):
        return {field.name: _exact(field.type, fine[field.name], seconds[field.name]) for field in type}
    if pa.types.is_map(type):
        kinds = (type.key_type, type.item_type)
        return [tuple(map(_exact, kinds, *entries)) for entries in zip(fine, seconds, strict=True)]
    if pa.types.is_nested(type):
        return [_exact(type.value_type, *pair) for pair in zip(fine, seconds, strict=True)]
    return fine


def _python_values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    return list(column.cast(_plain_type(column.type)).to_pylist())


def _comparable(type: pa.DataType, values: list[Any]) -> list[Any]:
    if pa.types.is_nested(type):
        return list(map(repr, values))
    if pa.types.is_large_binary(_plain_type(type)):
        return list(_shown(values))
    return ["nan" if value != value else value for value in values]


def _plain_type(type: pa.DataType) -> pa.DataType:
    """The type that says the same in numbers and bytes: Python has no nanoseconds, and strings may be no UTF-8."""
    if isinstance(type, pa.BaseExtensionType):
        return _plain_type(type.storage_type)
    if pa.types.is_dictionary(type):
        return _plain_type(type.value_type)
    if pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type):
        return pa.large_binary()
    if pa.types.is_temporal(type) and not pa.types.is_interval(type):
        return pa.int32() if pa.types.is_date32(type) or pa.types.is_time32(type) else pa.int64()
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in type])
    if pa.types.is_map(type):
        return pa.map_(type.key_field.with_type(_plain_type(type.key_type)), _plain_type(type.item_type))
    if pa.types.is_fixed_size_list(type):
        return pa.list_(_plain_type(type.value_type), type.list_size)
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        make = pa.list_ if pa.types.is_list(type) else pa.large_list
        return make(type.value_field.with_type(_plain_type(type.value_type)))
    return type
