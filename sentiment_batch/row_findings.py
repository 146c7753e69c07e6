"""What is wrong with the rows of a published part: held against the rows of its input, and against themselves.

It shares no counting code with `score`: values are looked at one by one, in Python.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch.comparable import plain_values
from sentiment_batch.logs import shown
from sentiment_batch.measure.profile import CONFIDENCE, TOKENS
from sentiment_batch.read.split import shown_label
from sentiment_batch.recount import Row

KINDS = {"ok": "scored", "empty_text": "empty", "null_text": "null", "nonfinite_score": "nonfinite"}
_SUM_ERROR = 1e-5
_MILLION = 1_000_000


@dataclass
class Expected:
    """What all parts of an output have in common."""

    job_id: str
    prefix: str
    labels: list[str]
    max_length: int
    compute: dict[str, Any]
    kept: pa.Schema | None = None  # the columns that come from the inputs; those of the first part if nobody says

    def added(self) -> pa.Schema:
        """The columns that the README promises behind those of the input."""
        probabilities = [(f"prob_{label}", pa.float32()) for label in self.labels]
        first = [("predicted_label", pa.string()), ("confidence", pa.float32())]
        last = [("n_tokens", pa.int32()), ("truncated", pa.bool_()), ("status", pa.string())]
        return pa.schema([(self.prefix + name, type) for name, type in (*first, *probabilities, *last)])


@dataclass
class Counts:
    """What was counted of a part, or of all of them; labels apart from the rest, which they might be called like."""

    rows: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)  # bins of the profile's histograms, by their number
    confidence: Counter[int] = field(default_factory=Counter)


def wrong_rows(
    groups: Iterable[pa.Table],
    expected: Expected,
    rows: Iterator[Row] | None,
    first_row: int,
    rejected: set[int],
    counts: Counts,
) -> Iterator[str]:
    """What is wrong with the rows of a part, row group by row group; `counts` gets what is in them.

    `rows` are those of the input, from `first_row` on, each with its text behind the kept columns; None if they are
    not looked at. Of what differs between a row group and them, the first place is told.
    """
    added, faults = len(expected.added()), list[str]()
    kept_rows = _kept_rows(rows or iter(()), first_row, rejected, faults)
    for group in groups:
        first = counts.rows["rows_out"]
        kept, labelled = _split(group, group.num_columns - added)
        found = list(_wrong_labels(labelled, expected, counts))
        if rows is not None:
            wanted = [values for _, values in islice(kept_rows, len(group))]
            found += islice(_differences(kept, labelled.column(added - 1).to_pylist(), wanted), 1)
        counts.rows["rows_out"] += len(group)
        yield from (f"row {first + number}: {fault}" for number, fault in found)
        yield from faults
        faults.clear()
    for number, _ in kept_rows:
        yield f"row {number} of the input is neither in it nor among its rejects"
    yield from faults


def _split(group: pa.Table, place: int) -> tuple[pa.Table, pa.Table]:
    """The columns before the place, and those from it on."""
    return group.select(list(range(place))), group.select(list(range(place, group.num_columns)))


def _kept_rows(
    rows: Iterator[Row], first_row: int, rejected: set[int], faults: list[str]
) -> Iterator[tuple[int, list[Any]]]:
    """The rows of the input that must be in the part, with their numbers.

    `faults`, if it is empty, gets the next contradiction between them and the rejects.
    """
    for number, values in enumerate(rows, first_row):
        if (values is None) != (number in rejected) and not faults:
            what = "cannot be read, but is not" if values is None else "can be read, but is"
            faults.append(f"row {number} of the input {what} among the rejects")
        if values is not None and number not in rejected:
            yield number, values


def _differences(group: pa.Table, status: list[str], wanted: list[list[Any]]) -> Iterator[tuple[int, str]]:
    """What differs between a row group and the rows of the input that it should be, each by its number in the group."""
    for position, column in enumerate(group.schema.names):
        found = plain_values(group.column(position))
        for number, values in enumerate(wanted):
            if found[number] != values[position]:
                yield number, f"the column {shown(column)!r} is not that of the input's row"
    for number, values in enumerate(wanted):
        if status[number] not in _possible(values[-1]):
            yield number, f"the status is {shown(status[number])}, which the input's text is not"
    if len(wanted) < len(group):
        yield len(wanted), "the rows of its input end before it"


def _possible(text: str | None) -> tuple[str, ...]:
    """What a row with this text may be."""
    if text is None:
        return ("null_text",)
    return ("ok", "nonfinite_score") if text.strip() else ("empty_text",)


def _wrong_labels(group: pa.Table, expected: Expected, counts: Counts) -> Iterator[tuple[int, str]]:
    """Rows whose added columns contradict each other, by their number in the group; all of them are counted."""
    names, stop = expected.labels, 2 + len(expected.labels)
    labels, confidences = group.column(0).to_pylist(), group.column(1).to_pylist()
    shape = (len(group), len(names))
    chances = np.array([group.column(place).to_numpy() for place in range(2, stop)], np.float64).T.reshape(shape)
    absent = np.array([group.column(place).is_null() for place in range(2, stop)], bool).T.reshape(shape)
    rest = (group.column(place).to_pylist() for place in range(stop, stop + 3))
    for number, (tokens, truncated, status) in enumerate(zip(*rest, strict=True)):
        label, confidence = labels[number], confidences[number]
        counts.rows[KINDS.get(status, "")] += 1
        counts.rows["truncated"] += truncated is True
        counts.rows["tokens"] += tokens or 0
        if status not in KINDS or tokens is None or truncated is None:
            yield number, f"the status is {shown(status)}, with {tokens} tokens"
        elif (status == "ok") != (label is not None):
            yield number, f"the status is {status} and the label {shown_label(label) if label else 'null'}"
        elif label is None:
            if confidence is not None or not absent[number].all():
                yield number, f"the status is {status}, but there are probabilities"
            if status != "nonfinite_score" and (tokens or truncated):
                yield number, f"the status is {status}, but there are {tokens} tokens"
        else:
            counts.predicted[label] += 1
            yield from ((number, fault) for fault in _wrong_label(label, confidence, chances[number], names))
            if not 0 < tokens <= expected.max_length:
                yield number, f"{tokens} tokens, where there are 1 to {expected.max_length}"
            counts.tokens[bisect_right(TOKENS, tokens) - 1] += 1
            if confidence is not None and isfinite(confidence):
                counts.rows["confidence_millionths"] += round(confidence * _MILLION)
                counts.confidence[bisect_right(CONFIDENCE, confidence) - 1] += 1


def _wrong_label(label: str, confidence: float | None, chances: np.ndarray, names: list[str]) -> Iterator[str]:
    highest = chances.max()
    if label not in names or chances[names.index(label)] != highest or confidence != highest:
        yield f"the label {shown_label(label)} is not that of the highest probability"
    elif not (abs(chances.sum() - 1) < _SUM_ERROR and chances.min() >= 0):
        yield f"the probabilities sum to {chances.sum():.6f}, the lowest is {chances.min():.6f}"
