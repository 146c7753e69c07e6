"""INT96 timestamps: days and nanoseconds of a day in 12 bytes, of which Arrow makes nanoseconds in 64 bits.

Spark and Impala write them. Moments before 1677 and after 2262 have no place in 64 bits, and Arrow makes other ones of
them in silence: 9999-12-31, which stands for "never" in many a table, comes out as 1816. Seconds hold them all.
"""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.read.footer import open_parquet
from sentiment_batch.read.inputs import InputFile

_SECOND = 10**9
_AT_ONCE = 65_536


def open_in_seconds(file: InputFile, parquet: pq.ParquetFile) -> AbstractContextManager[pq.ParquetFile]:
    """The file with its INT96 columns read as seconds; the one that is open if it has none."""
    leaves = map(parquet.schema.column, range(len(parquet.schema)))
    return open_parquet(file, int96_unit="s") if any(map(is_int96, leaves)) else nullcontext(parquet)


def is_int96(leaf: pq.ColumnSchema | pq.ColumnChunkMetaData) -> bool:
    return bool(leaf.physical_type == "INT96")


def column_that_wraps(exact: pq.ParquetFile, seconds: pq.ParquetFile, group: int, columns: list[str]) -> str | None:
    """The first of the INT96 columns with a value in the row group that nanoseconds cannot hold.

    The two are one file, with its INT96 columns read as nanoseconds and as seconds; `columns` are paths in its schema.
    """
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
