"""Whether a confidence of 80 % is right four times of five: expected calibration error, Brier score and log loss.

All from whole numbers, so that the sum over parts is exact in any order; sums are of millionths.
"""

from typing import Any

import numpy as np

MILLION = 1_000_000
BINS = 15  # of equal width, as Guo et al. (2017) have them; a confidence on an edge is of the upper one
_LEAST = float(np.finfo(np.float32).eps)  # a probability of 0 counts as this, as scikit-learn's log_loss has it


def count_calibration(probabilities: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """The whole-number counts of rows that have both labels: float [rows, labels], and twice int64 [rows].

    The confidence of a row is the probability of its predicted label.
    """
    chances, rows = probabilities.astype(np.float64), np.arange(len(true))
    confidence, of_true, right = chances[rows, predicted], chances[rows, true], predicted == true
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    squares = np.square(chances).sum(axis=1) - 2 * of_true + 1
    losses = -np.log(np.clip(of_true, _LEAST, 1))
    millionths = np.rint(confidence * MILLION)
    return {
        "rows": np.bincount(bins, minlength=BINS).tolist(),
        "right": np.bincount(bins[right], minlength=BINS).tolist(),
        "confidence_millionths": np.bincount(bins, millionths, BINS).astype(np.int64).tolist(),
        "brier_millionths": int(np.rint(squares * MILLION).sum()),
        "log_loss_millionths": int(np.rint(losses * MILLION).sum()),
    }


def calibration_section(counts: dict[str, Any], temperature: float | None) -> dict[str, Any] | None:
    """{bins, ece, brier, log_loss, temperature}; None for no rows. `temperature` is what the logits were divided by.

    `ece`: the mean of |accuracy - confidence| over the bins, each by its rows (Naeini et al., 2015). `brier`: the mean
    squared distance between the probabilities and the truth, summed over the labels, from 0 to 2 (Brier, 1950).
    `log_loss`: the mean of -ln of the true label's probability.
    """
    rows, right, sums = (np.array(counts[name], np.int64) for name in ("rows", "right", "confidence_millionths"))
    total = int(rows.sum())
    if not total:
        return None
    bins = [
        {
            "low": number / BINS,
            "high": (number + 1) / BINS,
            "rows": int(rows[number]),
            "confidence": float(sums[number] / MILLION / rows[number]) if rows[number] else None,
            "accuracy": float(right[number] / rows[number]) if rows[number] else None,
        }
        for number in range(BINS)
    ]
    return {
        "bins": bins,
        "ece": float(np.abs(right - sums / MILLION).sum() / total),
        "brier": counts["brier_millionths"] / MILLION / total,
        "log_loss": counts["log_loss_millionths"] / MILLION / total,
        "temperature": temperature,
    }
