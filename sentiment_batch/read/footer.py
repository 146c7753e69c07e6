"""Parquet files, opened: their footers, held against what is on the disk before anything is read by them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.errors import InputError
from sentiment_batch.read.inputs import InputFile, check_unchanged
from sentiment_batch.read.magic import LOOKED_AT, is_plain, looks_like
from sentiment_batch.read.source import AHEAD_BYTES, raise_if_short

FOOTER_BYTES = 64 * 1024
MAX_ROWS_PER_BYTE = 1000  # behind the first rows: what needs less than a bit for a row says nothing
_UNCHECKED_ROWS = 10**7
_MAGIC = b"PAR1"
_END_BYTES = 8  # the length of the footer, "PAR1"
_LIMITS = {"thrift_string_size_limit": 100 * 2**20, "thrift_container_size_limit": 10**6}  # a forged length is no size
_ARROW_SCHEMA, _UNKNOWN = b"ARROW:schema", b"arrow-schema"


@contextmanager
def open_parquet(
    file: InputFile, arrow_schema: bool = True, int96_unit: str | None = None, ahead_bytes: int = AHEAD_BYTES
) -> Iterator[pq.ParquetFile]:
    """Raises `InputError` for what is not a whole Parquet file.

    Without the Arrow schema that its writer stored, types are those of Parquet: no column is a dictionary. INT96
    timestamps are of the unit, or nanoseconds. Who wants the footer alone reads `FOOTER_BYTES` ahead.
    """
    with file.open(ahead_bytes) as source:
        try:
            source.seek(max(0, file.size - FOOTER_BYTES))
            tail = source.read(FOOTER_BYTES)  # which Arrow reads first: one read for both
            parquet = pq.ParquetFile(
                source,
                metadata=None if arrow_schema else _parquet_schema_alone(source),
                pre_buffer=False,
                page_checksum_verification=True,
                arrow_extensions_enabled=False,
                coerce_int96_timestamp_unit=int96_unit,
                **_LIMITS,
            )
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise_if_short(error)
            source.seek(0)
            head = source.read(LOOKED_AT)
            if is_plain(head) and not _MAGIC.startswith(head[: len(_MAGIC)]):
                what = "is not a whole Parquet file but plain text; is its name, or --format, right?"
                raise InputError(f"{file.path} {what}") from error
            if (found := looks_like(head)) and found[0] != "Parquet":
                raise InputError(f"{file.path} looks like {found[0]}, not Parquet; {found[1]}") from error
            raise InputError(f"{file.path} is not a whole Parquet file: {error}; was its writer killed?") from error
        _check_rows(file, parquet.metadata)
        _check_plain(file, tail, parquet.metadata)
        yield parquet


def _parquet_schema_alone(source: BinaryIO) -> pq.FileMetaData:
    source.seek(-_END_BYTES, os.SEEK_END)
    length = int.from_bytes(source.read(4), "little")
    source.seek(-_END_BYTES - length, os.SEEK_END)
    footer = source.read().replace(_ARROW_SCHEMA, _UNKNOWN)
    return pq.ParquetFile(pa.BufferReader(footer), **_LIMITS).metadata


def _check_plain(file: InputFile, tail: bytes, metadata: pq.FileMetaData) -> None:
    """Refuse a footer that is signed, as that of a file with encrypted columns is: Arrow aborts at a look at these."""
    if int.from_bytes(tail[-_END_BYTES:-4], "little") != metadata.serialized_size:
        check_unchanged(file)  # or these bytes were not its last ones
        raise InputError(f"{file.path} has more in its footer than columns: it looks encrypted; decrypt it first")


def _check_rows(file: InputFile, metadata: pq.FileMetaData) -> None:
    """Rows that need no bytes are a bomb or a forgery: to plan them would already take all memory."""
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if min(rows, default=0) < 0 or sum(rows) != metadata.num_rows:
        raise InputError(f"{file.path}: its footer gives {metadata.num_rows} rows and {sum(rows)} in row groups")
    if metadata.num_rows > _UNCHECKED_ROWS + MAX_ROWS_PER_BYTE * file.size:
        raise InputError(
            f"{file.path} has {file.size} bytes for {metadata.num_rows} rows, more than {MAX_ROWS_PER_BYTE} a byte: "
            "these are no reviews"
        )
