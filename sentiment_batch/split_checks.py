"""Whether a labelled split can measure a model: looked at as a whole, before the model runs."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from sentiment_batch.config import EvaluateOptions
from sentiment_batch.errors import InputError
from sentiment_batch.labelling import CHUNK_ROWS
from sentiment_batch.measure.slices import SLICE_CHARACTERS, SLICES, slice_name
from sentiment_batch.read.plan import Inputs, PlannedShard, read_chunks
from sentiment_batch.read.split import are_labels, describe, label_names, shown_label


def check_split(options: EvaluateOptions, inputs: Inputs, shards: list[PlannedShard], known: tuple[str, ...]) -> None:
    """Refuse a split whose figures would mean nothing, before the model runs: raise `InputError`.

    Also one of whose columns to slice by has more values than there can be slices.
    """
    found: Counter[str] = Counter()
    values: dict[str, set[str]] = {column: set() for column in options.slice}
    for planned in shards:
        path = inputs.files[planned.file].path
        for batch, row in _batches(options, inputs, planned, path):
            names = label_names(batch.column(options.label_column), path, row, options.label_column)
            found.update(_known(names, known, path, row, options.label_column))
            for column, seen in values.items():
                seen.update(_slices(label_names(batch.column(column), path, row, column, "--slice"), path, row, column))
                if len(seen) > SLICES:
                    raise InputError(
                        f"{path}: the column {column!r} has more than {SLICES} values, the most that --slice takes; "
                        "slice by one with fewer, such as groups of them"
                    )
    where = ", ".join(options.data)
    if not found:
        raise InputError(f"{where}: no rows to measure the model on")
    if len(found) == 1:
        label, rows = next(iter(found.items()))
        raise InputError(
            f"{where}: all {rows} rows are labelled {shown_label(label)}; a split with one class cannot measure a "
            "model (are the labels masked, as in the public SmSA test split? take a split with its true labels)"
        )


def _batches(
    options: EvaluateOptions, inputs: Inputs, planned: PlannedShard, path: str
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The rows of a shard, each batch with the number of its first row. Raises `InputError` for a reject."""
    columns = tuple(dict.fromkeys((options.text_column, options.label_column, *options.slice)))
    row = planned.shard.first_row
    for chunk in read_chunks(inputs, planned, columns, options.text_column, CHUNK_ROWS):
        if chunk.rejects:
            raise InputError(f"{describe(chunk.rejects[0])}; mend it: a split is measured whole or not at all")
        yield chunk.batch, row
        row += chunk.batch.num_rows


def _known(names: list[str | None], known: tuple[str, ...], path: str, row: int, column: str) -> Iterator[str]:
    """The labels, the first of them that of the row. Raises `InputError` for one that the model does not know."""
    for number, name in enumerate(names, row):
        if name not in known:
            what = f"the label {shown_label(name)}" if name else "no label"
            ours = ", ".join(known) if are_labels(known) else f"{len(known)} others"
            raise InputError(f"{path}, row {number}: {what} in {column!r}; the model knows {ours}")
        yield name


def _slices(values: list[str | None], path: str, row: int, column: str) -> Iterator[str]:
    """The slice of each row, the first of them that with the number. Raises `InputError` for what may be a review."""
    for number, name in enumerate(map(slice_name, values), row):
        if len(name) > SLICE_CHARACTERS:
            raise InputError(
                f"{path}, row {number}: {column!r} has {len(name):,} characters, as a text has, and slices are named "
                f"in reports; slice by a column of at most {SLICE_CHARACTERS}"
            )
        yield name
