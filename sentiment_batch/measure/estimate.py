"""Figures of a whole from a part of it that was drawn by chance, with how far they may be off."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sentiment_batch.measure.evaluation import DEVIATIONS


class Estimate(NamedTuple):
    """A figure, and between which ends it is sure to 95 %; the ends are the figure where nothing was left to chance."""

    value: float
    low: float
    high: float

    def times(self, other: "Estimate") -> "Estimate":
        """The product, if both are not below 0: at its ends where both are at theirs."""
        return Estimate(self.value * other.value, self.low * other.low, self.high * other.high)


def exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def ratio(over: Sequence[float], under: Sequence[float], drawn: bool = True) -> Estimate:
    """The sum of the one over the sum of the other, of clusters that were drawn by chance.

    The error is that of the ratio estimator (Cochran, Sampling Techniques, 6.4): the variance between the clusters,
    which is larger than it is where they were drawn one from each stretch of a sorted whole. With few clusters it is
    taken with Student's t. Of what was not `drawn`, but is all there is, the ends are the figure itself.
    """
    y, x = np.asarray(over, float), np.asarray(under, float)
    if not x.sum():
        return exactly(0.0)
    value = float(y.sum() / x.sum())
    if not drawn:
        return exactly(value)
    if len(x) < 2:
        return Estimate(value, 0.0, math.inf)
    variance = float(((y - value * x) ** 2).sum() / (len(x) * (len(x) - 1) * x.mean() ** 2))
    error = students_t(len(x) - 1) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - error), value + error)


def students_t(freedom: int) -> float:
    """The .975 quantile of Student's t, by its expansion from the normal one (Abramowitz and Stegun, 26.7.5).

    Within 2 % from 4 degrees of freedom on; for fewer it is as the tables have it.
    """
    known = {1: 12.706, 2: 4.303, 3: 3.182}
    if freedom in known:
        return known[freedom]
    normal = DEVIATIONS
    first = (normal**3 + normal) / 4
    second = (5 * normal**5 + 16 * normal**3 + 3 * normal) / 96
    return normal + first / freedom + second / freedom**2


def of_pieces(amounts: Sequence[float], seconds: Sequence[float]) -> Estimate:
    """A pace from pieces of work one behind the other; its ends are the slowest and the fastest of them.

    On a machine that others use, too, these are nearer to the truth than what chance alone would explain.
    """
    paces = [amount / time for amount, time in zip(amounts, seconds, strict=True)]
    return Estimate(sum(amounts) / sum(seconds), min(paces), max(paces))
