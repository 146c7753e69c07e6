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

from sentiment_batch.comparable import exact_values, plain_values
from sentiment_batch.remote import is_url, open_remote

Row = list[Any] | None  # the values of the columns asked for; None for a row that no Parquet row can hold

# The limits that the README promises: a longer line, or a quoted field that is closed later, is a reject.
LINE_BYTES = 16 * 2**20
QUOTED_BYTES = 2**20

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
    if not _is_utf8(text):
        return None
    return [field.replace(carriage_return, "\r") for field in fields]


def _is_utf8(text: str) -> bool:
    """Whether the text came from UTF-8: of other bytes it has escapes, which no UTF-8 is made of."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet_rows(path: str, columns: list[str], text_column: str) -> Iterator[Row]:
    others = [name for name in columns if name != text_column]
    with open_input(path) as raw:
        stored, file = _text_file(raw), _parquet_file(raw)
        seconds = _parquet_file(raw, coerce_int96_timestamp_unit="s")
        int96 = [name for name in others if seconds.schema_arrow.field(name) != file.schema_arrow.field(name)]
        for number in range(file.num_row_groups):
            texts = plain_values(stored.read_row_group(number, columns=[text_column]).column(text_column))
            group = file.read_row_group(number, columns=others)
            values = {name: plain_values(group.column(name)) for name in others} | {text_column: texts}
            coarse = seconds.read_row_group(number, columns=int96)
            values |= {name: exact_values(group.column(name), coarse.column(name)) for name in int96}
            for row, text in enumerate(texts):
                yield [values[name][row] for name in columns] if _is_utf8(text or "") else None


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
