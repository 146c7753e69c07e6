"""Labelled files -> texts with their labels, in memory: splits to learn from and to choose by."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sentiment_batch.config import ReadOptions
from sentiment_batch.errors import InputError
from sentiment_batch.read.chunk import Reject
from sentiment_batch.read.plan import open_inputs, plan, read_chunks
from sentiment_batch.read.texts import as_strings

_CHUNK_ROWS = 32_768
_LABELS, _LABEL_CHARACTERS = 20, 30  # at most, in a message
MAX_LABELS = 100
_NO_NAMES = (pa.ArrowException, UnicodeDecodeError)
POLARITY = ("positive", "neutral", "negative")  # IndoNLU's order; other labels are sorted


@dataclass(frozen=True)
class Split:
    """Labelled texts, in the order of the files."""

    texts: list[str]
    labels: list[str]
    blank: int  # rows that were left out because their text is blank or null


@dataclass(frozen=True)
class Splits:
    """What to learn from, what to choose the best epoch by, and the labels that the first of them has."""

    train: Split
    valid: Split
    labels: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """What to know of the splits before hours are spent on them."""
        train, valid = self.train, self.valid
        seen: dict[str, set[str]] = {}
        for text, label in zip(train.texts, train.labels, strict=True):
            seen.setdefault(text, set()).add(label)
        return {
            "train_rows": len(train.texts),
            "valid_rows": len(valid.texts),
            "train_blank": train.blank,
            "valid_blank": valid.blank,
            "train_duplicates": len(train.texts) - len(seen),
            "train_contradictions": sum(len(labels) > 1 for labels in seen.values()),
            "shared_texts": len(set(valid.texts) & set(seen)),
            "train_labels": {label: Counter(train.labels)[label] for label in self.labels},
            "valid_labels": {label: Counter(valid.labels)[label] for label in self.labels},
        }


def label_order(labels: list[str]) -> tuple[str, ...]:
    """The labels in the order of the logits: positive, neutral, negative where they are no others, else sorted."""
    found = set(labels)
    if found <= set(POLARITY):
        return tuple(label for label in POLARITY if label in found)
    return tuple(sorted(found))


def same_but_for_case(names: Iterable[str]) -> tuple[str, str] | None:
    """Two of the names, if there are two, that are one name to a reader that knows no case."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.lower(), name)) != name:
            return other, name
    return None


def read_splits(train: tuple[str, ...], valid: str, label_column: str, how: ReadOptions) -> Splits:
    """Raises `InputError` for rows that cannot be read and for labels that cannot be learnt."""
    learnt = read_split(train, label_column, how)
    labels = label_order(learnt.labels)
    where = ", ".join(train)
    if len(labels) < 2:
        raise InputError(f"{where}: every row has the label {shown_label(labels[0])}; there is nothing to learn")
    if len(labels) > MAX_LABELS:
        raise InputError(
            f"{where}: {len(labels)} labels in the column {label_column!r}, at most {MAX_LABELS} can be learnt"
        )
    if pair := same_but_for_case(labels):
        raise InputError(
            f"{where}: the labels {' and '.join(map(shown_label, pair))} differ in case alone, and so would the "
            "columns of their probabilities, which DuckDB and Spark take for one; write them alike if they are one"
        )
    return Splits(learnt, read_split((valid,), label_column, how, labels), labels)


def read_split(
    paths: tuple[str, ...], label_column: str, how: ReadOptions, known: Collection[str] | None = None
) -> Split:
    """Raises `InputError` for a row that cannot be read or has no label, or none that is known, and for no rows."""
    text_column = how.text_column
    inputs = open_inputs(paths, how.format, how.columns, (text_column, label_column))
    texts: list[str] = []
    labels: list[str] = []
    blank = 0
    for planned in plan(inputs, _CHUNK_ROWS, 2**30, how.limit_rows):
        path, row = inputs.files[planned.file].path, planned.shard.first_row
        for chunk in read_chunks(inputs, planned, (text_column, label_column), text_column, _CHUNK_ROWS):
            if chunk.rejects:
                raise InputError(describe(chunk.rejects[0]) + "; mend it: training takes every row or none")
            names = label_names(chunk.batch.column(label_column), path, row, label_column)
            found = as_strings(chunk.batch.column(text_column)).to_pylist()
            if how.columns and row == 0 and (found[:1], names[:1]) == ([text_column], [label_column]):
                raise InputError(f"{path}: its first line is a header line, which is no row; leave --columns out")
            for text, label in zip(found, names, strict=True):
                if text is None or not text.strip():
                    blank += 1
                elif not label:
                    raise InputError(f"{path}, row {row}: no label in the column {label_column!r}; give it one")
                elif known is not None and label not in known:
                    raise InputError(
                        f"{path}, row {row}: the label {shown_label(label)} is not in the training data; mend it, or "
                        "train with texts that have it"
                    )
                else:
                    texts.append(text)
                    labels.append(label)
                row += 1
    if not texts:
        raise InputError(f"{', '.join(paths)}: no rows with a text")
    return Split(texts, labels, blank)


def describe(reject: Reject) -> str:
    """Where a reject is and why, in words; nothing of its text."""
    return f"{reject['file']}, row {reject['row']}: {reject['reason']} ({reject['detail']})"


def label_names(column: pa.Array, path: str, row: int, name: str, option: str = "--label-column") -> list[str | None]:
    """A label column as strings, whatever it holds: 1 is the label "1". `row` is the number of its first row.

    Raises `InputError` for lists and the like, and for bytes that are not UTF-8 with the row that has them.
    """
    try:
        return _names(column)
    except _NO_NAMES as error:
        fault = error
    for number in range(len(column)):
        try:
            _names(column.slice(number, 1))
        except _NO_NAMES as error:
            row, fault = row + number, error
            break
    raise InputError(
        f"{path}, row {row}: the column {name!r} holds no label name: {fault}; mend it, or name another {option}"
    ) from fault


def _names(column: pa.Array) -> list[str | None]:
    return list(as_strings(column).to_pylist())


def shown_label(label: str | None) -> str:
    """The label for a message; not if it is as long as a review, which may have come into the column by mistake."""
    return repr(label) if label is not None and are_labels([label]) else "(a long text)"


def are_labels(names: Collection[str]) -> bool:
    """Whether these look like labels, which a message may list, and not like the reviews of a swapped column."""
    return len(names) <= _LABELS and all(len(name) <= _LABEL_CHARACTERS for name in names)
