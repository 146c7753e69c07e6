"""The texts of a Parquet file where they are a dictionary: one that is not UTF-8 must cost its own rows alone.

Arrow reads nothing of such a dictionary where its indices are not of 32 bits. But it is stored as plain strings, like
any text, and read as these if nobody tells Arrow that it was a dictionary once.
"""

from collections.abc import Iterator

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


def written_out(column: pa.Array) -> pa.Array:
    """The column with its values themselves, if it is a dictionary: Arrow casts to the type of these alone."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def as_strings(column: pa.Array) -> pa.Array:
    """The column as plain strings."""
    return column if pa.types.is_string(column.type) else pc.cast(written_out(column), pa.string())


def text_batches(
    file: InputFile, parquet: pq.ParquetFile, group: int, columns: tuple[str, ...], text_column: str, at_once: int
) -> Iterator[pa.RecordBatch]:
    """The columns of a row group, in any order. Where the dictionary of the texts is not UTF-8, these are strings."""
    done = 0
    try:
        for batch in parquet.iter_batches(at_once, row_groups=[group], columns=list(columns)):
            if pa.types.is_dictionary(batch.column(text_column).type):
                batch.column(text_column).validate(full=True)
            yield batch
            done += batch.num_rows
    except pa.ArrowInvalid:
        if not pa.types.is_dictionary(parquet.schema_arrow.field(text_column).type):
            raise
    else:
        return
    for batch in _plain_batches(file, parquet, group, columns, text_column, at_once):
        yield batch.slice(min(done, batch.num_rows))
        done = max(0, done - batch.num_rows)


def _plain_batches(
    file: InputFile, parquet: pq.ParquetFile, group: int, columns: tuple[str, ...], text_column: str, at_once: int
) -> Iterator[pa.RecordBatch]:
    others = [name for name in columns if name != text_column]
    with open_parquet(file, arrow_schema=False) as plain:
        texts = plain.iter_batches(at_once, row_groups=[group], columns=[text_column])
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
    if batch.column(field.name).type == field.type:
        return batch
    encoded = batch.column(field.name).dictionary_encode()
    indices, values = encoded.indices.cast(field.type.index_type), encoded.dictionary.cast(field.type.value_type)
    texts = pa.DictionaryArray.from_arrays(indices, values, ordered=field.type.ordered)
    return batch.set_column(batch.schema.names.index(field.name), field, texts)
