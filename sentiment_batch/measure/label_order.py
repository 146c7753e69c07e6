"""A confusion matrix -> whether the labels of the model look swapped: the commonest way to be confidently wrong.

A head that was trained with other numbers for the labels, or a configuration that was edited, gives a model that knows
the classes and calls them by each other's names. Then another reading of its labels fits far better than their own.
"""

import math
from typing import Any

import numpy as np

from sentiment_batch.measure.gates import IN_ORDER

_DEVIATIONS = 4.0  # by which the other reading must be better than chance explains


def label_order_section(matrix: list[list[int]], labels: tuple[str, ...]) -> dict[str, Any]:
    """{suspicious, reading, accuracy}: `reading` is what each label of the model seems to mean, with its accuracy.

    The reading with the most rows right is found by the Hungarian method (Kuhn, 1955). It is suspicious if of every
    label that it renames most rows are the other's, and most of the other's rows are called so, and the rows that it
    puts right outnumber those that it puts wrong by four standard deviations of chance (as McNemar's test counts). A
    model that is merely bad, or says the same of everything, has no such reading.
    """
    from scipy.optimize import linear_sum_assignment

    cells, size = np.asarray(matrix, np.int64), len(matrix)
    own_first = cells.T * (size + 1) + np.eye(size)  # of two readings that fit alike, the one that renames less
    columns, meanings = linear_sum_assignment(own_first, maximize=True)  # label as predicted -> label that it means
    moved = columns != meanings
    wins = int(cells[meanings[moved], columns[moved]].sum())
    losses = int(cells[columns[moved], columns[moved]].sum())
    clear = wins > losses and (wins - losses) / math.sqrt(wins + losses) > _DEVIATIONS
    for label, meaning in zip(columns[moved], meanings[moved], strict=True):
        clear = clear and 2 * cells[meaning, label] > max(cells[:, label].sum(), cells[meaning].sum())
    if not clear:
        return {"suspicious": False, "reading": None, "accuracy": None}
    return {
        "suspicious": True,
        "reading": {labels[label]: labels[meaning] for label, meaning in zip(columns, meanings, strict=True)},
        "accuracy": float(cells[meanings, columns].sum() / cells.sum()),
    }


def out_of_order() -> dict[str, Any]:
    """The outcome of the condition that labels are in order, where they are not."""
    return {"condition": IN_ORDER, "value": None, "interval": None, "verdict": "fails", "holds": False}
