"""What two sides say of the same rows -> how many labels flipped, which, and which side is nearer to the truth.

All figures follow from cells: [true, old, new, rows], the labels by their numbers among those of both sides, -1 where a
row has none, and how many rows have the three. There are as many as differ, however many rows they count.
"""

from collections import Counter

import numpy as np

from sentiment_batch.measure.evaluation import evaluation_section, wilson
from sentiment_batch.measure.gates import LEVEL
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.paired import mcnemar, paired_intervals

Cells = Counter[tuple[int, ...]]  # (true, old, new) -> rows

SHOWN_CHANGES = 20


def labels_of_both(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """OLD's labels in their order, and behind them those that NEW alone has."""
    return tuple(dict.fromkeys((*old, *new)))


def count_cells(true: np.ndarray, old: np.ndarray, new: np.ndarray, labels: int) -> Cells:
    """The cells of some rows; Counters of several pieces add up."""
    shape = (labels + 1,) * 3
    codes = np.ravel_multi_index((true + 1, old + 1, new + 1), shape)
    there, rows = np.unique(codes, return_counts=True)
    cells = np.stack(np.unravel_index(there, shape), axis=1) - 1
    return Counter(dict(zip(map(tuple, cells.tolist()), rows.tolist(), strict=True)))


def listed(cells: Cells) -> list[list[int]]:
    """The cells as a seal has them, in an order of their own."""
    return [[*cell, rows] for cell, rows in sorted(cells.items())]


def comparison_section(cells: list[list[int]], labels: tuple[str, ...], is_labelled: bool) -> Metrics:
    """The `comparison` of the metrics JSON, but for its `changed`.

    `rows` are those that both sides have given a label; `without_label` counts those that the one has not, and those
    that the other has not, which are in no other figure. `matrix` is [old][new]. A flip rate has Wilson's interval.
    """
    table = np.array(cells, np.int64).reshape(-1, 4)
    _, old, new, rows = table.T
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    both = (old >= 0) & (new >= 0)
    np.add.at(matrix, (old[both], new[both]), rows[both])
    of_old = matrix.sum(axis=1)
    flips = of_old - np.diag(matrix)
    total, flipped = int(of_old.sum()), int(flips.sum())
    return {
        "rows": total,
        "without_label": {"old": int(rows[old < 0].sum()), "new": int(rows[new < 0].sum())},
        "flips": flipped,
        "flip_rate": flipped / total if total else None,
        "intervals": {"level": LEVEL, "flip_rate": wilson(flipped, total).tolist()} if total else None,
        "labels": list(labels),
        "matrix": matrix.tolist(),
        "by_label": {
            label: _flips(int(count), int(whole)) for label, count, whole in zip(labels, flips, of_old, strict=True)
        },
        "quality": _quality(table[both], labels) if is_labelled else None,
    }


def _flips(flips: int, rows: int) -> Metrics:
    rate, interval = (flips / rows, wilson(flips, rows).tolist()) if rows else (None, None)
    return {"rows": rows, "flips": flips, "flip_rate": rate, "interval": interval}


def _quality(table: np.ndarray, labels: tuple[str, ...]) -> Metrics:
    """How often each side is right, over the rows whose true label one of them knows; macro F1 over the labels of both.

    A label that one side cannot give counts as 0 for it, so that both are measured by the same yardstick.
    """
    known = table[table[:, 0] >= 0]
    true, old, new, rows = known.T
    matrices = [np.zeros((len(labels), len(labels)), np.int64) for _ in range(2)]
    for matrix, guess in zip(matrices, (old, new), strict=True):
        np.add.at(matrix, (true, guess), rows)
    found = [evaluation_section(matrix.tolist(), labels) for matrix in matrices]
    sides = [{name: each[name] for name in ("accuracy", "macro_f1")} for each in found]
    total = int(rows.sum())
    return {
        "rows": total,
        "rows_without_known_label": int(table[:, 3].sum()) - total,
        "old": sides[0],
        "new": sides[1],
        "difference": {name: sides[1][name] - sides[0][name] if total else None for name in sides[0]},
        "intervals": paired_intervals(true, old, new, rows, len(labels)) if total else None,
        "mcnemar": mcnemar(
            int(rows[(old == true) & (new != true)].sum()), int(rows[(new == true) & (old != true)].sum())
        ),
    }


def gate_figures(comparison: Metrics) -> Metrics:
    """The figures that gates are on, and their intervals, as `Gate.outcome` looks for them."""
    quality, by_label = comparison["quality"], comparison["by_label"]
    figures = {"rows": comparison["rows"], "flip_rate": comparison["flip_rate"]}
    intervals = dict(comparison["intervals"] or {})
    for name in ("accuracy", "macro_f1"):
        figures[f"{name}_difference"] = quality and quality["difference"][name]
        intervals[f"{name}_difference"] = quality and quality["intervals"] and quality["intervals"][name]
    return {
        **figures,
        "per_class": {label: {"flip_rate": each["flip_rate"]} for label, each in by_label.items()},
        "intervals": {
            **intervals,
            "flip_rate": intervals.get("flip_rate"),
            "per_class": {label: {"flip_rate": each["interval"]} for label, each in by_label.items()},
        },
    }


def comparison_headline(comparison: Metrics) -> Metrics:
    """The few figures of a comparison that dashboards want, flat."""
    figures = gate_figures(comparison)
    names = ("rows", "flip_rate", "accuracy_difference", "macro_f1_difference")
    quality = comparison["quality"]
    return {
        **{name: figures[name] for name in names},
        "flips": comparison["flips"],
        "mcnemar_p_value": quality and quality["mcnemar"]["p_value"],
    }
