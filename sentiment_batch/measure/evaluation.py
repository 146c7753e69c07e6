"""A confusion matrix -> the figures of a classifier, and how far chance may have moved them.

The intervals are those of the bootstrap (Efron, 1979): rows drawn from the split with replacement. The confusion matrix
of such a draw is multinomial, with the shares of the cells as chances, so that the matrix alone is enough: memory and
time are those of its cells, however many rows it counts.

Of few rows it knows too little: ten that are all right are all right in every draw. So where fewer than ten rows are
right, or fewer than ten wrong, an interval is at least that of a closed form: Wilson's (1927) for a share of rows; for
F1, which is 2 J / (1 + J), that of the share J = right / (right + falsely predicted + missed); for a mean over classes,
one of which has so few, the one that theirs give (MOVER: Zou and Donner, 2008).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sentiment_batch.measure.calibration import calibration_section
from sentiment_batch.measure.counts import Counts
from sentiment_batch.measure.gates import LEVEL
from sentiment_batch.measure.metrics import Metrics

_RESAMPLES = 2_000  # by which the ends of an interval have two sure digits; fewer of a matrix of many cells
_DRAWN_CELLS = 2**28
_SEED = 0  # the same matrix has the same intervals
_CELLS_AT_A_TIME = 2**22
_FEW = 10
DEVIATIONS = 1.959963984540054  # of the normal distribution, within which is `LEVEL` of it
_MACRO = ("f1", "precision", "recall")
_BY_CLASS = ("precision", "recall", "f1")


class Figures(NamedTuple):
    """Of one matrix, or of many along the axes before the last, which is that of the classes."""

    accuracy: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def evaluation_section(matrix: list[list[int]], labels: tuple[str, ...]) -> Metrics:
    """Accuracy, and precision, recall and F1 by class and macro-averaged, from a confusion matrix [true][predicted].

    As scikit-learn counts them with `labels=` all of the model's: a class without rows or without predictions has 0
    for what is undefined, and is part of the macro average (macro F1 is the mean of the classes' F1, not the F1 of the
    means). Without rows there is no figure of all: None.
    """
    cells = np.asarray(matrix, np.int64)
    total, support = int(cells.sum()), cells.sum(axis=1)
    found = class_figures(np.diag(cells), cells.sum(axis=0), support)
    per_class = {
        label: {**{name: float(getattr(found, name)[number]) for name in _BY_CLASS}, "rows": int(support[number])}
        for number, label in enumerate(labels)
    }
    return {
        "rows": total,
        "accuracy": float(found.accuracy) if total else None,
        **{f"macro_{name}": float(getattr(found, name).mean()) if total else None for name in _MACRO},
        "per_class": per_class,
        "confusion": {"labels": list(labels), "matrix": matrix},
    }


def quality_section(counts: Counts, labels: tuple[str, ...], temperature: float | None = None) -> Metrics:
    """All figures that the counts of labelled rows give: `evaluation_section`, its intervals, and the calibration."""
    return {
        **evaluation_section(counts["confusion"], labels),
        "intervals": intervals_section(counts["confusion"], labels),
        "calibration": calibration_section(counts["calibration"], temperature),
    }


def intervals_section(matrix: list[list[int]], labels: tuple[str, ...]) -> Metrics | None:
    """{level, resamples, and for each figure of `evaluation_section` [low, high]}; None for no rows.

    A figure is within its ends. What the split says nothing of, such as the recall of a class without rows, is anywhere
    from 0 to 1; in the macro figures it is the 0 that it counts as.
    """
    cells = np.asarray(matrix, np.int64)
    if not cells.any():
        return None
    resamples = resamples_of(int(np.count_nonzero(cells)))
    right, guessed, support = np.diag(cells), cells.sum(axis=0), cells.sum(axis=1)
    figures = class_figures(right, guessed, support)
    drawn = _resampled(cells, resamples)
    either = guessed + support - right
    of_class, of_all = {}, {}
    for name, whole in (("precision", guessed), ("recall", support), ("f1", either)):
        value, share = getattr(figures, name), wilson(right, whole)
        share = 2 * share / (1 + share) if name == "f1" else share
        samples = np.where(np.isnan(getattr(drawn, name)), value, getattr(drawn, name))  # a draw without the class
        few = are_few(right, whole)
        of_class[name] = _widened(percentiles(samples), share, few)
        spread = np.sqrt(np.square(np.where(whole > 0, share - value, 0)).sum(axis=1)) / len(labels)
        of_all[name] = _widened(percentiles(samples.mean(axis=1)), value.mean() + spread * [-1, 1], few.any())
    all_right, rows = right.sum(), support.sum()
    accuracy = _widened(percentiles(drawn.accuracy), wilson(all_right, rows), are_few(all_right, rows))
    return {
        "level": LEVEL,
        "resamples": resamples,
        "accuracy": accuracy.tolist(),
        **{f"macro_{name}": of_all[name].tolist() for name in ("f1", "precision", "recall")},
        "per_class": {
            label: {name: of_class[name][:, number].tolist() for name in _BY_CLASS}
            for number, label in enumerate(labels)
        },
    }


def class_figures(right: Any, guessed: Any, support: Any, undefined: float = 0.0) -> Figures:
    """By class, [..., classes]: rows that are predicted right, predicted at all, and there."""

    def share(of: Any, part: Any) -> np.ndarray:
        return np.where(part > 0, of / np.maximum(part, 1), undefined)

    return Figures(
        accuracy=right.sum(axis=-1) / np.maximum(support.sum(axis=-1), 1),
        precision=share(right, guessed),
        recall=share(right, support),
        f1=share(2 * right, guessed + support),
    )


def percentiles(samples: np.ndarray) -> np.ndarray:
    """[2, ...]: between which `LEVEL` of the samples, [resamples, ...], are."""
    ends: np.ndarray = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


def wilson(part: Any, whole: Any) -> np.ndarray:
    """[2, ...]: the ends of Wilson's score interval of part / whole; 0 and 1 where the whole is none."""
    part, whole, square = np.asarray(part, float), np.asarray(whole, float), DEVIATIONS**2
    centre = part + square / 2
    half = DEVIATIONS * np.sqrt(np.maximum(part * (whole - part), 0) / np.maximum(whole, 1) + square / 4)
    ends: np.ndarray = np.clip(np.stack([centre - half, centre + half]) / (whole + square), 0, 1)
    return ends


def are_few(part: Any, whole: Any) -> Any:
    return np.minimum(part, whole - part) < _FEW


def _widened(ends: np.ndarray, others: np.ndarray, few: Any) -> np.ndarray:
    """[2, ...]: where rows are few, the smallest interval that has both in it, of figures that are shares."""
    both = np.stack([np.minimum(ends[0], others[0]), np.maximum(ends[1], others[1])])
    widened: np.ndarray = np.clip(np.where(few, both, ends), 0, 1)
    return widened


def _resampled(cells: np.ndarray, resamples: int) -> Figures:
    """The figures of so many draws of as many rows, [resamples, classes]; NaN where one is undefined.

    Cells without rows stay without.
    """
    true, predicted = np.nonzero(cells)
    right, labels = true == predicted, len(cells)
    found = []
    for drawn in draws(cells[true, predicted], resamples):
        sums = (
            class_sums(drawn[:, right], true[right], labels),
            class_sums(drawn, predicted, labels),
            class_sums(drawn, true, labels),
        )
        found.append(class_figures(*sums, undefined=np.nan))
    return Figures(*(np.concatenate(each) for each in zip(*found, strict=True)))


def resamples_of(cells: int) -> int:
    """How often so many cells are drawn."""
    return max(200, min(_RESAMPLES, _DRAWN_CELLS // cells))


def draws(rows: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """int64 [some of the resamples, cells]: as many rows as the cells have, drawn with replacement; always the same."""
    total, chance, block = int(rows.sum()), np.random.default_rng(_SEED), max(1, _CELLS_AT_A_TIME // len(rows))
    for first in range(0, resamples, block):
        yield chance.multinomial(total, rows / total, min(block, resamples - first))


def class_sums(drawn: np.ndarray, classes: np.ndarray, labels: int) -> np.ndarray:
    """int64 [resamples, labels]: the sum over the cells of each class."""
    order = np.argsort(classes, kind="stable")
    there, starts = np.unique(classes[order], return_index=True)
    sums = np.zeros((len(drawn), labels), np.int64)
    if there.size:
        sums[:, there] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return sums
