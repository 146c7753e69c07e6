"""What is counted of labelled rows: whole numbers only, so that the sum over parts is exact in any order."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentiment_batch.measure.calibration import MILLION, count_calibration
from sentiment_batch.measure.profile import count_profile

Counts = dict[str, Any]  # whole numbers, and lists and dicts of them

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def count_rows(
    batch: pa.RecordBatch, unknown: np.ndarray, labels: tuple[str, ...], prefix: str, label_column: str | None
) -> Counts:
    """The counts of one labelled batch, in which `unknown`, [rows], of the tokens are unknown to the vocabulary.

    `confusion` is [true][predicted] over the rows that have both. `unknown_labels` counts rows whose true label is
    missing or not one of the model's.
    """
    predicted = batch.column(f"{prefix}predicted_label")
    confidence = confidence_of(batch, prefix)
    tokens = batch.column(f"{prefix}n_tokens").to_numpy(zero_copy_only=False)
    status = _tally(batch.column(f"{prefix}status"))
    guess = positions(predicted, labels)
    scored = guess >= 0
    counts: Counts = {
        "rows_out": batch.num_rows,
        "scored": status.get("ok", 0),
        "empty": status.get("empty_text", 0),
        "null": status.get("null_text", 0),
        "nonfinite": status.get("nonfinite_score", 0),
        "truncated": pc.sum(batch.column(f"{prefix}truncated")).as_py() or 0,
        "tokens": pc.sum(batch.column(f"{prefix}n_tokens")).as_py() or 0,
        "confidence_millionths": int(np.rint(confidence * MILLION).sum()),
        "predicted": dict(zip(labels, np.bincount(guess[scored], minlength=len(labels)).tolist(), strict=True)),
        "profile": count_profile(tokens[scored], unknown[scored], confidence[scored]),
    }
    if label_column is not None:
        true = positions(batch.column(label_column), labels)
        both = (true >= 0) & scored
        columns = [batch.column(f"{prefix}prob_{label}").to_numpy(zero_copy_only=False)[both] for label in labels]
        counts["confusion"] = confusion(true[both], guess[both], len(labels))
        counts["calibration"] = count_calibration(np.stack(columns, axis=1), true[both], guess[both])
        counts["unknown_labels"] = int((true < 0).sum())
    return counts


def confidence_of(batch: pa.RecordBatch, prefix: str) -> np.ndarray:
    """float64 [rows]; 0 where there is no label."""
    column = pc.fill_null(batch.column(f"{prefix}confidence"), 0)
    confidence: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return confidence


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
