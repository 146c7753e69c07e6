"""The texts of a Parquet file as strings, and back as the type that their column has.

In a dictionary one text that is not UTF-8 stands for any number of rows, and Arrow reads none of them where the indices
are not of 32 bits. So the texts of such a column are read as what they are stored as, strings.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sentiment_batch.read.footer import open_parquet
from sentiment_batch.read.inputs import InputFile


def is_text(type: pa.DataType) -> bool:
    """Whether a column of this type can hold the texts: any string type, or a dictionary of one."""
    if pa.types.is_dictionary(type):
        type = type.value_type
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type))


def as_strings(column: pa.Array) -> pa.Array:
    """The column as plain strings."""
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def open_for_texts(
    file: InputFile, parquet: pq.ParquetFile, text_column: str
) -> AbstractContextManager[pq.ParquetFile]:
    """The file to read the texts from: the one that is open, unless they are a dictionary there."""
    if pa.types.is_dictionary(parquet.schema_arrow.field(text_column).type):
        return open_parquet(file, arrow_schema=False)
    return nullcontext(parquet)


def text_batches(
    parquet: pq.ParquetFile,
    plain: pq.ParquetFile,
    group: int,
    columns: tuple[str, ...],
    text_column: str,
    at_once: int,
) -> Iterator[pa.RecordBatch]:
    """The columns of a row group, the texts as strings; they may be in another order."""
    if plain is parquet:
        yield from parquet.iter_batches(at_once, row_groups=[group], columns=list(columns))
        return
    texts = plain.iter_batches(at_once, row_groups=[group], columns=[text_column])
    others = [name for name in columns if name != text_column]
    if not others:
        yield from texts
        return
    for left, right in _aligned(parquet.iter_batches(at_once, row_groups=[group], columns=others), texts):
        yield left.append_column(text_column, right.column(text_column))


def _aligned(
    left: Iterator[pa.RecordBatch], right: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The same rows of both, as long as both have any, whatever pieces they come in."""
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        rows = min(one.num_rows, other.num_rows)
        yield one.slice(0, rows), other.slice(0, rows)
        one = one.slice(rows) if rows < one.num_rows else next(left, None)
        other = other.slice(rows) if rows < other.num_rows else next(right, None)


def with_type(batch: pa.RecordBatch, field: pa.Field) -> pa.RecordBatch:
    """The batch with its texts in a dictionary again, if that is what the field has."""
    if not pa.types.is_dictionary(field.type):
        return batch
    encoded = batch.column(field.name).dictionary_encode()
    indices, values = encoded.indices.cast(field.type.index_type), encoded.dictionary.cast(field.type.value_type)
    texts = pa.DictionaryArray.from_arrays(indices, values, ordered=field.type.ordered)
    return batch.set_column(batch.schema.names.index(field.name), field, texts)
