"""The most confident mistakes of a model: where it fails, or where the labels of the split are wrong."""

import heapq
from collections.abc import Iterable
from typing import Any

import numpy as np

MISTAKES = 20  # that are kept: each names its row, none its text

Mistake = dict[str, Any]


def mistakes_of(
    first_row: int, true: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, labels: tuple[str, ...]
) -> list[Mistake]:
    """{row, true, predicted, confidence} of the most confident mistakes of some rows, the first with that number.

    Labels by their numbers, int64 [rows], -1 for none: such a row is no mistake.
    """
    wrong = np.flatnonzero((true >= 0) & (predicted >= 0) & (true != predicted))
    most = wrong[np.argsort(-confidence[wrong], kind="stable")[:MISTAKES]]
    return [
        {
            "row": first_row + row,
            "true": labels[true[row]],
            "predicted": labels[predicted[row]],
            "confidence": float(confidence[row]),
        }
        for row in most.tolist()
    ]


def most_confident(*found: Iterable[Mistake]) -> list[Mistake]:
    """The first of several lists that are each in their order; of equal confidence the earlier row is first."""
    merged = heapq.merge(*found, key=lambda mistake: (-mistake["confidence"], mistake["row"]))
    return [mistake for _, mistake in zip(range(MISTAKES), merged, strict=False)]
