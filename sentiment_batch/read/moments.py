"""INT96 timestamps: days and nanoseconds of a day in 12 bytes, of which Arrow makes nanoseconds in 64 bits.

Spark and Impala write them. Moments before 1677 and after 2262 have no place in 64 bits, and Arrow makes other ones of
them in silence: 9999-12-31, which stands for "never" in many a table, comes out as 1816. Seconds hold them all.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.read.footer import open_parquet
from sentiment_batch.read.inputs import InputFile

_SECOND = 10**9
_AT_ONCE = 65_536


def is_int96(chunk: pq.ColumnChunkMetaData) -> bool:
    """Asked of a row group's column: the schema of a footer and the footer hold each other in memory, in pyarrow."""
    return bool(chunk.physical_type == "INT96")


def column_that_wraps(file: InputFile, exact: pq.ParquetFile, group: int, columns: list[str]) -> str | None:
    """The first of the INT96 columns with a value in the row group that nanoseconds cannot hold.

    `exact` is the file, with these columns read as nanoseconds; `columns` are paths in its schema.
    """
    with open_parquet(file, int96_unit="s") as seconds:
        for path in columns:
            batches = (each.iter_batches(_AT_ONCE, row_groups=[group], columns=[path]) for each in (exact, seconds))
            for one, other in zip(*batches, strict=True):
                for fine, coarse in zip(one.columns, other.columns, strict=True):
                    if (_numbers(fine) // _SECOND != _numbers(coarse)).any():
                        return path
    return None


def _numbers(column: pa.Array) -> np.ndarray:
    """int64: what is in the column or, where it is a list or a struct of one field, in it; without the nulls."""
    while pa.types.is_nested(column.type):
        flat = column.flatten()
        column = flat[0] if isinstance(flat, list) else flat
    return np.asarray(column.drop_null().cast(pa.int64()))
