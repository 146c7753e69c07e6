"""The quality of a model on parts of a split: by a column's values, by length, by whether a text was cut."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from sentiment_batch.measure.evaluation import evaluation_section, intervals_section
from sentiment_batch.measure.metrics import Metrics

Cells = dict[str, dict[str, dict[str, int]]]  # by column, by value: how many rows by the number of the cell

SLICES = 100  # of a column at most: more are no slices but rows
SLICE_CHARACTERS = 60  # of a value: a longer one may be a review
OWN = ("n_tokens", "truncated")  # the added columns by which every split is cut
_LENGTHS = (1, 8, 16, 32, 64, 128, 256)
_NAMES = (*(f"{low} to {high - 1}" for low, high in pairwise(_LENGTHS)), f"{_LENGTHS[-1]} up")
_CUT = ("no", "yes")


def own_slices(tokens: np.ndarray, truncated: np.ndarray) -> tuple[list[str], list[str]]:
    """The values of scored rows in the columns `OWN`, each [rows]."""
    lengths = np.searchsorted(_LENGTHS, tokens, side="right") - 1
    return [_NAMES[number] for number in lengths], [_CUT[int(cut)] for cut in truncated]


def slice_name(value: str | None) -> str:
    """The slice of a row with this value in a column."""
    return "(none)" if value is None else value


def count_slices(values: Mapping[str, Iterable[str]], true: np.ndarray, predicted: np.ndarray, labels: int) -> Cells:
    """The confusion matrix of each slice, without its empty cells; labels by their numbers, int64 [rows]."""
    cells = true * labels + predicted
    found: Cells = {}
    for column, of_rows in values.items():
        names: dict[str, int] = {}
        numbers = np.fromiter((names.setdefault(value, len(names)) for value in of_rows), np.int64, len(true))
        found[column] = {}
        for name, number in names.items():
            there, counts = np.unique(cells[numbers == number], return_counts=True)
            found[column][name] = dict(zip(map(str, there.tolist()), counts.tolist(), strict=True))
    return found


def slices_section(cells: Cells, labels: tuple[str, ...]) -> list[Metrics]:
    """{column, value, rows, accuracy, macro_f1, intervals} of each slice, columns in their order.

    Macro F1 is over the labels that the slice has rows or predictions of, as scikit-learn counts it by default: a
    country whose reviews are never neutral is not blamed for that.
    """
    return [
        _slice(column, value, cells[column][value], labels) for column in cells for value in _in_order(cells[column])
    ]


def _slice(column: str, value: str, cells: dict[str, int], labels: tuple[str, ...]) -> Metrics:
    matrix = np.zeros(len(labels) ** 2, np.int64)
    for cell, rows in cells.items():
        matrix[int(cell)] = rows
    square = matrix.reshape(len(labels), len(labels))
    there = np.flatnonzero(square.sum(axis=0) + square.sum(axis=1))
    names, small = tuple(labels[number] for number in there), square[np.ix_(there, there)].tolist()
    figures, ends = evaluation_section(small, names), intervals_section(small, names)
    assert ends, "a slice has rows"
    return {
        "column": column,
        "value": value,
        **{name: figures[name] for name in ("rows", "accuracy", "macro_f1")},
        "intervals": {name: ends[name] for name in ("accuracy", "macro_f1")},
    }


def _in_order(values: Mapping[str, Any]) -> list[str]:
    """Lengths as they grow, all else by name."""
    return sorted(values, key=lambda value: (_NAMES.index(value) if value in _NAMES else len(_NAMES), value))
