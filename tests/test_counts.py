"""measure/counts.py: against a count in plain Python, and exact however the rows are cut."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.measure import counts as module
from sentiment_batch.measure.counts import Counts, add
from sentiment_batch.measure.profile import CONFIDENCE, TOKENS, UNKNOWN_SHARE

LABELS = ("positif", "netral", "negatif")
Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("truth", pa.string()),
        ("predicted_label", pa.string()),
        ("confidence", pa.float32()),
        ("n_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("status", pa.string()),
    ]
)

labels = st.sampled_from(LABELS)
truths = st.none() | labels | st.sampled_from(["", "POSITIF", "mixed"])
confidences = st.floats(0.375, 1, width=32)
scored_rows = st.fixed_dictionaries(
    {
        "truth": truths,
        "predicted_label": labels,
        "confidence": confidences,
        "chances": st.permutations([0.0, 0.25, 0.75]),
        "n_tokens": st.integers(2, 512),
        "unknown": st.integers(0, 2),
        "truncated": st.booleans(),
        "status": st.just("ok"),
    }
)
other_rows = st.fixed_dictionaries(
    {
        "truth": truths,
        "predicted_label": st.none(),
        "confidence": st.none(),
        "chances": st.just([None] * 3),
        "n_tokens": st.just(0),
        "unknown": st.just(0),
        "truncated": st.just(False),
        "status": st.sampled_from(["empty_text", "null_text", "nonfinite_score"]),
    }
)
some_rows = st.lists(scored_rows | other_rows, max_size=30)


def batch_of(rows: list[Row], prefix: str = "", labels: tuple[str, ...] = LABELS) -> pa.RecordBatch:
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    batch = batch.rename_columns([name if name == "truth" else prefix + name for name in SCHEMA.names])
    for number, label in enumerate(labels):
        chances = pa.array([row["chances"][number] for row in rows], pa.float32())
        batch = batch.append_column(f"{prefix}prob_{label}", chances)
    return batch


def count_rows(
    rows: list[Row], labels: tuple[str, ...] = LABELS, prefix: str = "", label_column: str | None = "truth"
) -> Counts:
    return of_batch(batch_of(rows, prefix, labels), rows, labels, prefix, label_column)


def of_batch(
    batch: pa.RecordBatch,
    rows: list[Row],
    labels: tuple[str, ...] = LABELS,
    prefix: str = "",
    label_column: str | None = "truth",
) -> Counts:
    unknown = np.array([row["unknown"] for row in rows], np.int32)
    return module.count_rows(batch, unknown, labels, prefix, label_column)


def naive(rows: list[Row], labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    status = Counter(row["status"] for row in rows)
    predicted = Counter(row["predicted_label"] for row in rows)
    pairs = Counter((row["truth"], row["predicted_label"]) for row in rows)
    return {
        "rows_out": len(rows),
        "scored": status["ok"],
        "empty": status["empty_text"],
        "null": status["null_text"],
        "nonfinite": status["nonfinite_score"],
        "truncated": sum(row["truncated"] for row in rows),
        "tokens": sum(row["n_tokens"] for row in rows),
        "confidence_millionths": sum(round((row["confidence"] or 0) * 1_000_000) for row in rows),
        "predicted": {label: predicted[label] for label in labels},
        "profile": naive_profile([row for row in rows if row["status"] == "ok"]),
        "confusion": [[pairs[true, guess] for guess in labels] for true in labels],
        "calibration": naive_calibration(
            [row for row in rows if row["status"] == "ok" and row["truth"] in labels], labels
        ),
        "unknown_labels": sum(row["truth"] not in labels for row in rows),
    }


def naive_profile(rows: list[Row]) -> dict[str, Any]:
    def histogram(values: list[float], edges: tuple[float, ...]) -> list[int]:
        ends = (*edges[1:], float("inf"))
        return [sum(low <= value < high for value in values) for low, high in zip(edges, ends, strict=True)]

    return {
        "tokens": histogram([row["n_tokens"] for row in rows], TOKENS),
        "unknown_share": histogram([row["unknown"] / row["n_tokens"] for row in rows], UNKNOWN_SHARE),
        "confidence": histogram([row["confidence"] for row in rows], CONFIDENCE),
        "unknown_tokens": sum(row["unknown"] for row in rows),
        "all_tokens": sum(row["n_tokens"] for row in rows),
    }


def naive_calibration(rows: list[Row], labels: tuple[str, ...]) -> dict[str, Any]:
    """Row by row, in Python: fifteen bins of the predicted label's probability."""
    found: dict[str, Any] = {name: [0] * 15 for name in ("rows", "right", "confidence_millionths")}
    found |= {"brier_millionths": 0, "log_loss_millionths": 0}
    for row in rows:
        chances = dict(zip(labels, row["chances"], strict=False))
        chance, right = chances[row["predicted_label"]], row["predicted_label"] == row["truth"]
        place = min(14, int(chance * 15))
        found["rows"][place] += 1
        found["right"][place] += right
        found["confidence_millionths"][place] += round(chance * 1_000_000)
        distance = sum((other - (label == row["truth"])) ** 2 for label, other in chances.items())
        found["brier_millionths"] += round(distance * 1_000_000)
        found["log_loss_millionths"] += round(-math.log(max(chances[row["truth"]], 2**-23)) * 1_000_000)
    return found


@settings(max_examples=40, deadline=None)
@given(some_rows)
def test_counts_are_those_of_a_plain_count(rows: list[Row]) -> None:
    assert count_rows(rows) == naive(rows)


@settings(max_examples=30, deadline=None)
@given(some_rows, st.lists(st.integers(0, 30), max_size=4))
def test_counts_of_pieces_add_up_to_those_of_the_whole(rows: list[Row], cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    total: dict[str, Any] = {}
    for first, last in pairwise(bounds):
        total = add(total, of_batch(batch_of(rows).slice(first, last - first), rows[first:last]))
    assert total == count_rows(rows)


def row(truth: str | None, predicted: str | None, status: str = "ok") -> Row:
    scored = predicted is not None
    return {
        "truth": truth,
        "predicted_label": predicted,
        "confidence": 0.5 if scored else None,
        "chances": [0.5, 0.25, 0.25] if scored else [None] * 3,
        "n_tokens": 4 if scored else 0,
        "unknown": int(scored),
        "truncated": False,
        "status": status,
    }


ROWS = [
    row("negatif", "positif"),
    row("positif", "positif"),
    row(None, "netral"),
    row("positif", None, "empty_text"),
    row("negatif", "positif"),
    row("mixed", None, "null_text"),
]


def test_rows_are_true_and_columns_predicted() -> None:
    counts = count_rows(ROWS)
    assert counts["confusion"] == [[1, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert counts["unknown_labels"] == 2
    assert counts["predicted"] == {"positif": 3, "netral": 1, "negatif": 0}


def test_counts_are_whole_numbers_of_python() -> None:
    def kinds(value: Any) -> set[type]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return set().union(*map(kinds, inner)) if isinstance(value, dict | list) else {type(value)}

    assert kinds(count_rows(ROWS)) == {int}


def test_without_a_label_column_nothing_is_compared() -> None:
    counts = count_rows(ROWS, label_column=None)
    expected = naive(ROWS)
    del expected["confusion"], expected["calibration"], expected["unknown_labels"]
    assert counts == expected


def test_added_columns_are_found_by_their_prefix() -> None:
    assert count_rows(ROWS, prefix="sb_") == naive(ROWS)


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_label_columns_of_every_kind_of_text(kind: pa.DataType) -> None:
    batch = batch_of(ROWS)
    truth = batch.column("truth").cast(kind)
    assert of_batch(batch.set_column(0, "truth", truth), ROWS) == naive(ROWS)


def test_a_null_inside_a_dictionary_is_no_label() -> None:
    truth = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0, 1]), ["netral", None])
    counts = of_batch(batch_of(ROWS).set_column(0, "truth", truth), ROWS)
    assert counts["unknown_labels"] == 4
    assert counts["confusion"] == [[0, 0, 0], [2, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16()], ids=str)
def test_labels_that_are_numbers(kind: pa.DataType) -> None:
    rows = [row(None, "1"), row(None, "0"), row(None, "1")]
    truth = pa.array([1, 1, None], kind)
    counts = of_batch(batch_of(rows, labels=("0", "1")).set_column(0, "truth", truth), rows, ("0", "1"))
    assert counts["confusion"] == [[0, 0], [1, 1]]
    assert counts["unknown_labels"] == 1


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.binary())], ids=str)
def test_labels_that_are_bytes(kind: pa.DataType) -> None:
    """A dump's labels are not what is asked for: bytes that are no UTF-8 are no reason to stop."""
    truth = pa.array([b"netral", b"\xff\xfe", None, b"netral", b"positif", b""]).cast(kind)
    counts = of_batch(batch_of(ROWS).set_column(0, "truth", truth), ROWS)
    assert counts["unknown_labels"] == 3
    assert counts["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_a_label_named_none_is_not_the_absence_of_one() -> None:
    rows = [row("None", "None"), row("Some", None, "empty_text"), row("None", None, "null_text")]
    assert count_rows(rows, ("Some", "None")) == naive(rows, ("Some", "None"))


def test_no_rows_count_nothing() -> None:
    assert count_rows([]) == naive([])


def test_a_key_that_one_side_lacks_counts_as_it_is() -> None:
    left = {"rows": 1, "predicted": {"a": 2}, "confusion": [[1, 2], [3, 4]]}
    right = {"predicted": {"a": 1, "b": 5}, "confusion": [[10, 20], [30, 40]], "rejected": 7}
    total = {"rows": 1, "predicted": {"a": 3, "b": 5}, "confusion": [[11, 22], [33, 44]], "rejected": 7}
    assert add(left, right) == total
    assert add(right, left) == total
    assert add({}, left) == left
    assert left["predicted"] == {"a": 2}  # neither side is changed


def test_matrices_of_different_sizes_have_no_sum() -> None:
    with pytest.raises(ValueError, match="shorter"):
        add({"confusion": [[1, 2], [3, 4]]}, {"confusion": [[1]]})
