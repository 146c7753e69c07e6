"""What is wrong with one published part: held against its seal, its entry in the manifest and the rows of its input.

It shares no counting code with `score`: values are looked at one by one, in Python.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.errors import is_passing
from sentiment_batch.logs import shown
from sentiment_batch.published import SEAL_SHAPE, misfits, read_rejects
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.split import shown_label
from sentiment_batch.recount import Row, plain_values
from sentiment_batch.write.claim import JOB_ID, turn_of
from sentiment_batch.write.manifest import MARKER
from sentiment_batch.write.part import Seal, hashed, part_name, read_part
from sentiment_batch.write.store import Store

_SEALED = ("file", "range", "input_sha256", "rows_in", "rows_out", "rejected", "rejects")
_KINDS = {"ok": "scored", "empty_text": "empty", "null_text": "null", "nonfinite_score": "nonfinite"}
ROWS = ("rows_in", "rows_out", "rejected")
_COUNTED = (*_KINDS.values(), "truncated", "tokens", "confidence_millionths")
_SUM_ERROR = 1e-5
_MILLION = 1_000_000
_HOW: dict[str, Any] = {"arrow_extensions_enabled": False}  # of reading: an extension type is its storage


@dataclass
class Expected:
    """What all parts of an output have in common."""

    job_id: str
    prefix: str
    labels: list[str]
    max_length: int
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


def wrong_part(
    store: Store,
    part: dict[str, Any],
    expected: Expected,
    input_name: str,
    rows: Iterator[Row] | None,
    total: Counts,
) -> Iterator[str]:
    """What is wrong with the part, in words; `total` gets what it has.

    `rows` are those of the input that it was made from, each with its text behind the kept columns; None if they are
    not looked at.
    """
    name, shard, counts = part["name"], Shard(*part["range"]), Counts()
    whole = read_part(store, name)
    if whole is None or hashed(store, whole) is None:
        yield f"{name}: its seal is missing, or not true of its bytes"
        return
    if fault := next(misfits(whole.seal, SEAL_SHAPE), None):
        yield f"{name}: its seal is none: {fault}"
        return
    yield from _wrong_seal(whole.seal, part, expected.job_id)
    rejected, faults = read_rejects(store, part, input_name)
    yield from faults
    try:
        with store.open(name) as raw, pq.ParquetFile(pa.PythonFile(raw, mode="r"), **_HOW) as file:
            if fault := _wrong_schema(file.schema_arrow, expected):
                yield f"{name}: {fault}"
                return
            groups = (file.read_row_group(number) for number in range(file.num_row_groups))
            yield from _wrong_rows(name, groups, shard.first_row, expected, rows, rejected, counts)
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_passing(error):
            raise
        yield f"{name} cannot be read: {error}"
        return
    out = counts.rows["rows_out"]
    if out + len(rejected) != shard.rows:
        yield f"{name}: {out} rows and {len(rejected)} rejects of a shard of {shard.rows}"
    counts.rows.update({"rows_in": shard.rows, "rejected": len(rejected)})
    yield from wrong_counts(f"{MARKER} of {name}", part, counts.rows, ROWS)
    sealed = whole.seal["counts"]
    yield from wrong_counts(f"the seal of {name}", sealed, counts.rows, (*ROWS, *_COUNTED))
    yield from wrong_counts(f"the seal of {name}", sealed["predicted"], counts.predicted, expected.labels)
    total.rows.update(counts.rows)
    total.predicted.update(counts.predicted)


def wrong_counts(
    where: str, told: Mapping[str, int], counted: Mapping[str, int], names: Iterable[str]
) -> Iterator[str]:
    """The counts of these names that are not what was counted."""
    for name in names:
        if told.get(name) != counted[name]:
            yield f"{where} says {told.get(name)} {shown(name)}, {counted[name]} were counted"


def _wrong_seal(seal: Seal, part: dict[str, Any], job_id: str) -> Iterator[str]:
    name = part["name"]
    for key in _SEALED:
        if seal[key] != part[key]:
            yield f"{name}: its seal has {key} = {shown(seal[key])}, {MARKER} has {shown(part[key])}"
    if (seal["job_id"], part_name(seal["shard"], turn_of({JOB_ID: job_id})[1])) != (job_id, name):
        yield f"{name}: its seal is of another job or shard"


def _wrong_schema(schema: pa.Schema, expected: Expected) -> str | None:
    """Which column is not what it should be."""
    added = expected.added()
    if expected.kept is None:
        expected.kept = pa.schema(list(schema)[: max(0, len(schema) - len(added))])
    wanted = [*expected.kept, *added]
    for place, column in enumerate(wanted):
        if place >= len(schema) or schema.field(place).name != column.name:
            return f"its column {place} is not {shown(column.name)!r}"
        if schema.field(place).type != column.type:
            return f"the column {shown(column.name)!r} holds {schema.field(place).type}, not {column.type}"
    return f"it has {len(schema)} columns, not {len(wanted)}" if len(schema) != len(wanted) else None


def _wrong_rows(
    name: str,
    groups: Iterable[pa.Table],
    row: int,
    expected: Expected,
    rows: Iterator[Row] | None,
    rejected: set[int],
    counts: Counts,
) -> Iterator[str]:
    """What is wrong with the rows of the row groups; `row` is the number of the first row of the input."""
    added = len(expected.added())
    for group in groups:
        first = counts.rows["rows_out"]
        kept, labelled = _split(group, group.num_columns - added)
        found = _wrong_labels(labelled, expected, counts)
        yield from (f"{name}, row {first + number}: {fault}" for number, fault in found)
        if rows is not None:
            status = labelled.column(added - 1).to_pylist()
            differs, row = _difference(kept, status, rows, rejected, row)
            yield from (f"{name}, row {first + number}: {fault}" for number, fault in differs)
        counts.rows["rows_out"] += len(group)
    for number, values in enumerate(rows or (), row):
        if values is not None or number not in rejected:
            yield f"{name}: row {number} of the input is neither in it nor among its rejects"


def _split(group: pa.Table, place: int) -> tuple[pa.Table, pa.Table]:
    """The columns before the place, and those from it on."""
    return group.select(list(range(place))), group.select(list(range(place, group.num_columns)))


def _difference(
    group: pa.Table, status: list[str], rows: Iterator[Row], rejected: set[int], row: int
) -> tuple[list[tuple[int, str]], int]:
    """What differs first between a row group and the next rows of the input, and the row of the input behind them.

    `row` is the number of the next row of the input.
    """
    expected: list[list[Any]] = []
    while len(expected) < len(group):
        following = list(islice(rows, 1))
        if not following:
            return [(len(expected), f"the input ends at row {row}")], row
        [values] = following
        if (values is None) != (row in rejected):
            what = "cannot be read, but is not" if values is None else "can be read, but is"
            return [(len(expected), f"row {row} of the input {what} among the rejects")], row
        row += 1
        if values is not None:
            expected.append(values)
    for position, column in enumerate(group.schema.names):
        found = plain_values(group.column(position))
        for number, values in enumerate(expected):
            if found[number] != values[position]:
                return [(number, f"the column {shown(column)!r} is not that of the input's row")], row
    for number, values in enumerate(expected):
        if status[number] not in _possible(values[-1]):
            return [(number, f"the status is {shown(status[number])}, which the input's text is not")], row
    return [], row


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
        counts.rows[_KINDS.get(status, "")] += 1
        counts.rows["truncated"] += truncated is True
        counts.rows["tokens"] += tokens or 0
        if status not in _KINDS or tokens is None or truncated is None:
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
            if confidence is not None and isfinite(confidence):
                counts.rows["confidence_millionths"] += round(confidence * _MILLION)


def _wrong_label(label: str, confidence: float | None, chances: np.ndarray, names: list[str]) -> Iterator[str]:
    highest = chances.max()
    if label not in names or chances[names.index(label)] != highest or confidence != highest:
        yield f"the label {shown_label(label)} is not that of the highest probability"
    elif not (abs(chances.sum() - 1) < _SUM_ERROR and chances.min() >= 0):
        yield f"the probabilities sum to {chances.sum():.6f}, the lowest is {chances.min():.6f}"
