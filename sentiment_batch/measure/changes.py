"""Rows with what two sides say of them -> those whose label flipped, and of these the ones that changed most."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROW, TRUE, TEXT = "row", "true", "text"
OLD, NEW = "old_", "new_"  # before the name of a column of the one side and of the other
_ORDER = [("change", "descending"), (ROW, "ascending")]


def changes_schema(is_labelled: bool, has_texts: bool) -> pa.Schema:
    """The columns of `changes.parquet`."""
    fields = [
        (ROW, pa.int64()),
        ("old", pa.string()),
        ("new", pa.string()),
        ("old_confidence", pa.float32()),
        ("new_confidence", pa.float32()),
        ("change", pa.float64()),
        *([(TRUE, pa.string())] if is_labelled else []),
        *([(TEXT, pa.string())] if has_texts else []),
    ]
    return pa.schema(fields)


def flips_of(
    batch: pa.RecordBatch, numbers: dict[str, np.ndarray], labels: tuple[str, ...], compared: tuple[str, ...]
) -> dict[str, Any]:
    """The rows of the batch whose label flipped, as columns of `changes_schema`.

    `numbers` are the labels' numbers of each row under `old`, `new` and, if they are known, `true`; -1 is none. A
    `change` is the largest difference of a probability, over the labels `compared`; without any that of the confidence.
    """
    flipped = np.flatnonzero((numbers["old"] >= 0) & (numbers["new"] >= 0) & (numbers["old"] != numbers["new"]))

    def column(name: str) -> Any:
        return batch.column(name).take(pa.array(flipped))

    def floats(name: str) -> np.ndarray:
        found: np.ndarray = column(name).to_numpy(zero_copy_only=False).astype(np.float64)
        return found

    pairs = [f"prob_{label}" for label in compared] or ["confidence"]
    change = np.max([np.abs(floats(OLD + name) - floats(NEW + name)) for name in pairs], axis=0)
    columns = {
        ROW: column(ROW),
        "old_confidence": column(f"{OLD}confidence"),
        "new_confidence": column(f"{NEW}confidence"),
        "change": pa.array(change),
    }
    if TEXT in batch.schema.names:
        columns[TEXT] = pc.cast(column(TEXT), pa.string())
    named = pa.array(labels, pa.string())
    for name, each in numbers.items():
        at = each[flipped]
        columns[name] = named.take(pa.array(at, mask=at < 0))
    return columns


def largest(changes: pa.Table, more: dict[str, Any], limit: int) -> pa.Table:
    """The `limit` largest changes of both, in their order: the largest first, of the same size the first row first."""
    added = pa.table({name: more[name] for name in changes.schema.names}, schema=changes.schema)
    both = pa.concat_tables([changes, added])
    order = pc.sort_indices(both, sort_keys=_ORDER)[:limit]
    return both.take(order).combine_chunks()
