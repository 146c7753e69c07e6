"""Labelled files -> texts with their labels, in memory: a split to learn from or to choose by."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sentiment_batch.errors import InputError
from sentiment_batch.read.chunk import Reject
from sentiment_batch.read.parquet import as_strings
from sentiment_batch.read.plan import open_inputs, plan, read_chunks

_CHUNK_ROWS = 32_768


@dataclass(frozen=True)
class Split:
    """Labelled texts, in the order of the files."""

    texts: list[str]
    labels: list[str]
    blank: int  # rows that were left out because their text is blank or null


def read_split(
    paths: tuple[str, ...],
    format: str,
    columns: tuple[str, ...],
    text_column: str,
    label_column: str,
    limit_rows: int | None = None,
) -> Split:
    """Raises `InputError` for a row that cannot be read or has no label, naming file and row, and for no rows."""
    inputs = open_inputs(paths, format, columns, (text_column, label_column))
    texts: list[str] = []
    labels: list[str] = []
    blank = 0
    for planned in plan(inputs, _CHUNK_ROWS, 2**30, limit_rows):
        path, row = inputs.files[planned.file].path, planned.shard.first_row
        for chunk in read_chunks(inputs, planned, (text_column, label_column), text_column, _CHUNK_ROWS):
            if chunk.rejects:
                raise InputError(describe(chunk.rejects[0]) + "; mend it: training takes every row or none")
            names = label_names(chunk.batch.column(label_column)).to_pylist()
            for text, label in zip(as_strings(chunk.batch.column(text_column)).to_pylist(), names, strict=True):
                if text is None or not text.strip():
                    blank += 1
                elif not label:
                    raise InputError(f"{path}, row {row}: no label in the column {label_column!r}")
                else:
                    texts.append(text)
                    labels.append(label)
                row += 1
    if not texts:
        raise InputError(f"{', '.join(paths)}: no rows with a text")
    return Split(texts, labels, blank)


def describe(reject: Reject) -> str:
    """Where a reject is and why, in words; nothing of its text."""
    return f"{reject['file']}, row {reject['row']}: {reject['reason']} ({reject['detail']})"


def label_names(column: pa.Array) -> pa.Array:
    """A label column as strings, whatever it holds: `1` is the label "1"."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.cast(column, pa.string())
