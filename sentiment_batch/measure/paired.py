"""Two classifiers on the same rows -> whether one is better, and how far chance may have moved what is between them.

The rows are cells: `true`, `old` and `new` are the labels' numbers, and `rows` says how many rows have the three. The
intervals are those of the bootstrap over rows, which draws the cells (evaluation.py): what both classifiers say of a
row stays together, so that a difference of one point can be sure where either figure alone is sure to three.

Of few differences it knows too little: two classifiers that agree on all of ten rows agree in every draw. So where
fewer than ten rows speak for the one, or fewer than ten for the other, an interval is at least that of a closed form:
of the accuracies Tango's score interval (1998) of two shares of the same rows; of a class's F1 = 2 J / (1 + J) as much
as Tango's interval moves J, over the rows that are of the class or are said to be; of macro F1 the one that those of
the classes give (MOVER: Zou and Donner, 2008).
"""

from math import comb, erfc, hypot, sqrt
from typing import Any

import numpy as np

from sentiment_batch.measure.evaluation import (
    DEVIATIONS,
    class_figures,
    class_sums,
    draws,
    percentiles,
    resamples_of,
)
from sentiment_batch.measure.gates import LEVEL
from sentiment_batch.measure.metrics import Metrics

_FEW = 10
_EXACT_BELOW = 25  # rows about which the two differ
_HALVINGS = 60


def mcnemar(only_old: int, only_new: int) -> Metrics:
    """McNemar's test (1947) of whether one is right as often as the other, by the rows that only one has right.

    Exact, by the binomial distribution, where these are fewer than 25; else chi-square with Edwards' correction.
    """
    both = only_old + only_new
    exact, statistic = both < _EXACT_BELOW, None
    if exact:
        p_value = min(1.0, 2 * sum(comb(both, each) for each in range(min(only_old, only_new) + 1)) / 2**both)
    else:
        statistic = max(0, abs(only_old - only_new) - 1) ** 2 / both
        p_value = erfc(sqrt(statistic / 2))  # of chi-square with one degree of freedom
    found: dict[str, Any] = {"only_old_right": only_old, "only_new_right": only_new}
    return {**found, "statistic": statistic, "p_value": p_value, "exact": exact}


def paired_intervals(true: np.ndarray, old: np.ndarray, new: np.ndarray, rows: np.ndarray, labels: int) -> Metrics:
    """{level, resamples, accuracy, macro_f1}: [low, high] of what the new one has more, each from -1 to 1.

    Macro F1 is over all labels; one without a row is the 0 that it counts as.
    """
    resamples = resamples_of(len(rows))
    f1 = [_f1(rows[None], true, guess, labels, 0.0)[0] for guess in (old, new)]
    samples = []
    for drawn in draws(rows, resamples):
        accuracy = (drawn @ (new == true) - drawn @ (old == true)) / rows.sum()
        of_draws = [_f1(drawn, true, guess, labels, np.nan) for guess in (old, new)]
        there = [np.where(np.isnan(each), whole, each) for each, whole in zip(of_draws, f1, strict=True)]
        samples.append(np.stack([accuracy, there[1].mean(axis=1) - there[0].mean(axis=1)], axis=1))
    ends = percentiles(np.concatenate(samples))
    gains, losses = rows[(new == true) & (old != true)].sum(), rows[(old == true) & (new != true)].sum()
    if min(gains, losses) < _FEW:
        ends[:, 0] = _wider(ends[:, 0], tango(gains, losses, rows.sum()))
    spread, few = _spread(true, old, new, rows, labels)
    if few:
        ends[:, 1] = _wider(ends[:, 1], (f1[1] - f1[0]).mean() + spread)
    ends = np.clip(ends, -1, 1)
    return {"level": LEVEL, "resamples": resamples, "accuracy": ends[:, 0].tolist(), "macro_f1": ends[:, 1].tolist()}


def unpaired_intervals(old: Metrics, new: Metrics) -> Metrics:
    """{level, accuracy, macro_f1}: [low, high] of what one evaluation has more than another, of other rows.

    From the intervals of both, which know nothing of each other (MOVER: Zou and Donner, 2008).
    """
    found: Metrics = {"level": LEVEL}
    for name in ("accuracy", "macro_f1"):
        was, value, ends = old[name], new[name], (old["intervals"][name], new["intervals"][name])
        down, up = hypot(value - ends[1][0], ends[0][1] - was), hypot(ends[1][1] - value, was - ends[0][0])
        found[name] = [max(-1.0, value - was - down), min(1.0, value - was + up)]
    return found


def tango(gains: Any, losses: Any, rows: Any) -> np.ndarray:
    """[2, ...]: the ends of Tango's interval of (gains - losses) / rows; -1 and 1 where there are no rows.

    At an end, the score statistic of that difference is as many standard deviations as `LEVEL` leaves within.
    """
    gains, losses, rows = (np.asarray(each, float) for each in (gains, losses, rows))
    observed = np.divide(gains - losses, rows, out=np.zeros_like(gains), where=rows > 0)

    def is_beyond(difference: np.ndarray) -> np.ndarray:
        half = ((2 * rows - gains + losses) * difference - gains - losses) / 2
        product = -2 * rows * losses * difference * (1 - difference)
        chance = (np.sqrt(np.maximum(half**2 - product, 0)) - half) / np.maximum(2 * rows, 1)  # of a loss, if it is so
        variance = np.maximum(rows * (2 * chance + difference * (1 - difference)), 0)
        beyond: np.ndarray = (gains - losses - rows * difference) ** 2 > DEVIATIONS**2 * variance
        return beyond

    ends = []
    for end in (-1.0, 1.0):
        inside, outside = observed, np.full_like(observed, end)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            beyond = is_beyond(middle)
            inside, outside = np.where(beyond, inside, middle), np.where(beyond, middle, outside)
        ends.append(np.where(rows > 0, outside, end))
    return np.stack(ends)


def _f1(drawn: np.ndarray, true: np.ndarray, guess: np.ndarray, labels: int, undefined: float) -> np.ndarray:
    """[resamples, labels]: F1 of each class in each draw of the cells."""
    right = guess == true
    sums = (
        class_sums(drawn[:, right], true[right], labels),
        class_sums(drawn, guess, labels),
        class_sums(drawn, true, labels),
    )
    return class_figures(*sums, undefined=undefined).f1


def _spread(
    true: np.ndarray, old: np.ndarray, new: np.ndarray, rows: np.ndarray, labels: int
) -> tuple[np.ndarray, bool]:
    """How far the ends of macro F1's closed form are from it, [2], and whether the rows of a class are so few."""
    classes = np.arange(labels)[:, None]
    is_true, by_old, by_new = (each == classes for each in (true, old, new))
    whole = (is_true | by_old | by_new) @ rows
    gains = ((by_old != is_true) & (by_new == is_true)) @ rows
    losses = ((by_old == is_true) & (by_new != is_true)) @ rows
    shares = [((is_true & by) @ rows) / np.maximum((is_true | by) @ rows, 1) for by in (by_old, by_new)]
    slope = 2 / np.square(1 + np.minimum(*shares))  # of F1 by J
    moved = slope * (tango(gains, losses, whole) - (gains - losses) / np.maximum(whole, 1))
    there = whole > 0
    spread = np.sqrt(np.square(np.where(there, moved, 0)).sum(axis=1)) / labels * [-1, 1]
    return spread, bool((np.minimum(gains, losses) < _FEW)[there].any())


def _wider(ends: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.array([min(ends[0], others[0]), max(ends[1], others[1])])
