"""measure/changes.py: which rows changed most, whatever pieces they come in."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.measure.changes import changes_schema, flips_of, largest

LABELS = ("a", "b", "c")

row = st.tuples(
    st.sampled_from([-1, 0, 1, 2]),
    st.sampled_from([-1, 0, 1, 2]),
    st.lists(st.floats(0, 1, width=16), min_size=6, max_size=6),
)


def batch_of(rows: list[Any], first: int = 0) -> tuple[pa.RecordBatch, dict[str, np.ndarray]]:
    """Rows of (old label, new label, three probabilities of each); the confidence is that of the first label."""
    columns: dict[str, Any] = {"row": pa.array(range(first, first + len(rows)), pa.int64())}
    for side, start in (("old_", 0), ("new_", 3)):
        columns[f"{side}confidence"] = pa.array([each[2][start] for each in rows], pa.float32())
        for place, label in enumerate(LABELS):
            columns[f"{side}prob_{label}"] = pa.array([each[2][start + place] for each in rows], pa.float32())
    columns["text"] = pa.array([f"text {first + number}" for number in range(len(rows))])
    numbers = {name: np.array([each[place] for each in rows], int) for place, name in enumerate(("old", "new"))}
    return pa.RecordBatch.from_pydict(columns), numbers


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=30), st.integers(1, 10), st.integers(0, 8))
def test_the_largest_are_those_of_sorting_all(rows: list[Any], piece: int, limit: int) -> None:
    expected = [
        {
            "row": number,
            "old": LABELS[old],
            "new": LABELS[new],
            "old_confidence": values[0],
            "new_confidence": values[3],
            "change": max(abs(values[place] - values[3 + place]) for place in range(3)),
        }
        for number, (old, new, values) in enumerate(rows)
        if old >= 0 and new >= 0 and old != new
    ]
    expected.sort(key=lambda each: (-each["change"], each["row"]))
    found = changes_schema(is_labelled=False, has_texts=False).empty_table()
    for first in range(0, len(rows), piece):
        batch, numbers = batch_of(rows[first : first + piece], first)
        found = largest(found, flips_of(batch, numbers, LABELS, LABELS), limit)
    assert found.to_pylist() == expected[:limit]


def test_where_the_labels_are_others_it_is_the_confidence_that_changed() -> None:
    batch, numbers = batch_of([(0, 1, [0.5, 0.25, 0.25, 0.75, 0.0, 0.25])])
    schema = changes_schema(is_labelled=True, has_texts=True)
    for compared, change in (((), 0.25), (("b",), 0.25), (("c",), 0.0), (LABELS, 0.25)):
        flips = flips_of(batch, {**numbers, "true": np.array([-1])}, LABELS, compared)
        assert largest(schema.empty_table(), flips, 1).to_pylist()[0]["change"] == change
    assert largest(schema.empty_table(), flips, 1).to_pylist()[0] == {
        **{"row": 0, "old": "a", "new": "b", "old_confidence": 0.5, "new_confidence": 0.75, "change": 0.25},
        **{"true": None, "text": "text 0"},
    }


def test_texts_of_any_string_type_are_taken() -> None:
    batch, numbers = batch_of([(0, 1, [0.5] * 6), (1, 0, [0.25] * 6)])
    for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        column = batch.column("text").cast(kind)
        other = batch.set_column(batch.schema.names.index("text"), "text", column)
        flips = flips_of(other, numbers, LABELS, LABELS)
        found = largest(changes_schema(is_labelled=False, has_texts=True).empty_table(), flips, 5)
        assert found["text"].to_pylist() == ["text 0", "text 1"]


@pytest.mark.parametrize("limit", [0, 3])
def test_memory_is_that_of_the_largest_alone(limit: int) -> None:
    """What is kept is a copy: a slice would hold on to all that it was cut from."""
    batch, numbers = batch_of([(0, 1, [each / 1_000, 0, 0, 0, 0, 0]) for each in range(1_000)])
    found = changes_schema(is_labelled=False, has_texts=True).empty_table()
    for _ in range(5):
        found = largest(found, flips_of(batch, numbers, LABELS, LABELS), limit)
    assert found.num_rows == limit
    assert found.get_total_buffer_size() < 1_000
