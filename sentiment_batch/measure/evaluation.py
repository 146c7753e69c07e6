"""A confusion matrix -> the figures of a classifier, and how far chance may have moved them.

The intervals are those of the bootstrap (Efron, 1979): rows drawn from the split with replacement. The confusion matrix
of such a draw is multinomial, with the shares of the cells as chances, so that the matrix alone is enough: memory and
time are those of its cells, however many rows it counts.
"""

from typing import Any, NamedTuple

import numpy as np

from sentiment_batch.measure.gates import LEVEL
from sentiment_batch.measure.metrics import Metrics

_RESAMPLES = 2_000  # by which the ends of an interval have two sure digits
_SEED = 0  # the same matrix has the same intervals
_CELLS_AT_A_TIME = 2**22
_BY_CLASS = ("precision", "recall", "f1")


class _Figures(NamedTuple):
    """Of one matrix, or of many along the axes before the last, which is that of the classes."""

    accuracy: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def evaluation_section(matrix: list[list[int]], labels: tuple[str, ...]) -> Metrics:
    """Accuracy, and precision, recall and F1 by class and macro-averaged, from a confusion matrix [true][predicted].

    As scikit-learn counts them with `labels=` all of the model's: a class without rows or without predictions has 0
    for what is undefined, and is part of the macro average (macro F1 is the mean of the classes' F1, not the F1 of the
    means).
    """
    cells = np.asarray(matrix, np.int64)
    total, support = int(cells.sum()), cells.sum(axis=1)
    found = _figures(np.diag(cells), cells.sum(axis=0), support)
    per_class = {
        label: {**{name: float(getattr(found, name)[number]) for name in _BY_CLASS}, "rows": int(support[number])}
        for number, label in enumerate(labels)
    }
    return {
        "rows": total,
        "accuracy": float(found.accuracy) if total else None,
        **{f"macro_{name}": float(getattr(found, name).mean()) for name in ("f1", "precision", "recall")},
        "per_class": per_class,
        "confusion": {"labels": list(labels), "matrix": matrix},
    }


def intervals_section(matrix: list[list[int]], labels: tuple[str, ...]) -> Metrics | None:
    """{level, resamples, and for each figure of `evaluation_section` [low, high]}; None for no rows.

    The ends are the percentiles of the figures of the resampled matrices; a figure that is undefined in one of them is
    0 there, as it is in the section.
    """
    cells = np.asarray(matrix, np.int64)
    if not cells.any():
        return None
    found = _resampled(cells)

    def ends(samples: np.ndarray) -> list[float]:
        return [float(end) for end in np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]

    return {
        "level": LEVEL,
        "resamples": _RESAMPLES,
        "accuracy": ends(found.accuracy),
        **{f"macro_{name}": ends(getattr(found, name).mean(axis=1)) for name in ("f1", "precision", "recall")},
        "per_class": {
            label: {name: ends(getattr(found, name)[:, number]) for name in _BY_CLASS}
            for number, label in enumerate(labels)
        },
    }


def _figures(right: Any, guessed: Any, support: Any) -> _Figures:
    """By class, [..., classes]: rows that are predicted right, predicted at all, and there."""
    return _Figures(
        accuracy=right.sum(axis=-1) / np.maximum(support.sum(axis=-1), 1),
        precision=right / np.maximum(guessed, 1),
        recall=right / np.maximum(support, 1),
        f1=2 * right / np.maximum(guessed + support, 1),
    )


def _resampled(cells: np.ndarray) -> _Figures:
    """The figures of `_RESAMPLES` draws of as many rows, [resamples, classes]. Cells without rows stay without."""
    true, predicted = np.nonzero(cells)
    rows, right, labels = cells[true, predicted], true == predicted, len(cells)
    total, chance, block = int(rows.sum()), np.random.default_rng(_SEED), max(1, _CELLS_AT_A_TIME // len(rows))
    found = []
    for first in range(0, _RESAMPLES, block):
        drawn = chance.multinomial(total, rows / total, min(block, _RESAMPLES - first))
        sums = (
            _sums(drawn[:, right], true[right], labels),
            _sums(drawn, predicted, labels),
            _sums(drawn, true, labels),
        )
        found.append(_figures(*sums))
    return _Figures(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _sums(drawn: np.ndarray, classes: np.ndarray, labels: int) -> np.ndarray:
    """int64 [resamples, labels]: the sum over the cells of each class."""
    order = np.argsort(classes, kind="stable")
    there, starts = np.unique(classes[order], return_index=True)
    sums = np.zeros((len(drawn), labels), np.int64)
    if there.size:
        sums[:, there] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return sums
