"""What is counted of labelled rows: whole numbers only, so that the sum over parts is exact in any order."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Counts = dict[str, Any]  # whole numbers, and lists and dicts of them

CONFIDENCE_UNIT = 1_000_000  # confidences are summed in millionths
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def count_rows(batch: pa.RecordBatch, labels: tuple[str, ...], prefix: str, label_column: str | None) -> Counts:
    """The counts of one labelled batch; `confusion` is [true][predicted] over the rows that have both.

    `unknown_labels` counts rows whose true label is missing or not one of the model's.
    """
    predicted = batch.column(f"{prefix}predicted_label")
    confidence = pc.fill_null(batch.column(f"{prefix}confidence"), 0).to_numpy(zero_copy_only=False)
    status = _tally(batch.column(f"{prefix}status"))
    counts: Counts = {
        "rows_out": batch.num_rows,
        "scored": status.get("ok", 0),
        "empty": status.get("empty_text", 0),
        "null": status.get("null_text", 0),
        "nonfinite": status.get("nonfinite_score", 0),
        "truncated": pc.sum(batch.column(f"{prefix}truncated")).as_py() or 0,
        "tokens": pc.sum(batch.column(f"{prefix}n_tokens")).as_py() or 0,
        "confidence_millionths": int(np.rint(confidence.astype(np.float64) * CONFIDENCE_UNIT).sum()),
        "predicted": {label: _tally(predicted).get(label, 0) for label in labels},
    }
    if label_column is not None:
        true = positions(batch.column(label_column), labels)
        guess = positions(predicted, labels)
        both = (true >= 0) & (guess >= 0)
        counts["confusion"] = confusion(true[both], guess[both], len(labels))
        counts["unknown_labels"] = int((true < 0).sum())
    return counts


def confusion(true: np.ndarray, predicted: np.ndarray, labels: int) -> list[list[int]]:
    """The confusion matrix, [true][predicted], of labels by their numbers."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (true, predicted), 1)
    found: list[list[int]] = matrix.tolist()
    return found


def add(left: Any, right: Any) -> Any:
    """The sum of two counts of the same shape; a key that only one of them has counts as it is."""
    if isinstance(left, dict):
        return {
            key: add(left[key], right[key]) if key in left and key in right else (left | right)[key]
            for key in left | right
        }
    if isinstance(left, list):
        return [add(one, other) for one, other in zip(left, right, strict=True)]
    return left + right


def _tally(column: pa.Array) -> dict[str, int]:
    entries = pc.value_counts(column.drop_null()).to_pylist()
    return {str(entry["values"]): entry["counts"] for entry in entries}


def positions(column: pa.Array, labels: tuple[str, ...]) -> np.ndarray:
    """int64 [rows]: which of the labels each row has, or -1, as for bytes that are no UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_bytes = any(check(column.type) for check in _BYTES)
    kind = pa.binary() if is_bytes else pa.string()  # bytes that are no UTF-8 cannot be cast to strings
    found = pc.index_in(pc.cast(column, kind), pa.array(labels).cast(kind))
    numbers: np.ndarray = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
