"""The nouns of reading: a shard of the input, a chunk of its rows, and a row that cannot be used."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Reject = dict[str, Any]

_PREVIEW_BYTES = 256


@dataclass(frozen=True)
class Shard:
    """A piece of one file: rows of a Parquet file, bytes of a text file; known before its rows are read."""

    start: int
    stop: int
    first_row: int  # in the file, from 0, without the header
    rows: int


@dataclass(frozen=True)
class Chunk:
    """Rows that are labelled together, and those among them that cannot be: together every row, once."""

    batch: pa.RecordBatch
    rejects: list[Reject]

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows) + len(self.rejects)


def reject(file: str, row: int, position: dict[str, int], reason: str, detail: str, sha256: str, data: bytes) -> Reject:
    """A row that no Parquet row can hold: where it is, why, and enough to find and mend it.

    `row` counts from 0 without the header; `position` is its place in bytes or row groups; `sha256` is of the raw
    bytes; `data` is shown up to 256 bytes, with what is not UTF-8 escaped.
    """
    preview = data[:_PREVIEW_BYTES].decode(errors="backslashreplace")
    why = {"reason": reason, "detail": detail, "sha256": sha256, "preview": preview}
    return {"file": file, "row": row, **position, **why}
