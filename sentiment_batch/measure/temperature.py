"""Logits of a labelled split -> the one number to divide them by, so that the softmax is as sure as it is right."""

import math

import numpy as np

_LOWEST, HIGHEST = 0.05, 20.0
_PRECISION = 1e-9  # of the logarithm; with 1,000 rows its standard error is some .05


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """Temperature scaling (Guo et al., 2017): the T for which softmax(logits / T) gives the true labels most likely.

    `logits` are [rows, labels], `true` the numbers of the labels, [rows]. The negative log-likelihood is convex in
    1 / T: T is where its slope is 0, and the loss with T is never above that without. Where the model is no better than
    chance it falls as T rises, and T ends at 20. Where all rows are right it falls for ever as T does: such a split
    does not say how sure is too sure, and T is 1. So it is where it changes nothing: without rows, or of a model that
    says the same of all labels. Rows with a logit that is not finite have no probabilities, and do not count.
    """
    from scipy.optimize import brentq  # takes 0.4 s to load

    scaled, of_true = _below_highest(logits, true)

    def slope(logarithm: float) -> float:
        """Of the loss by 1 / T, at the logarithm of T: the logit that the softmax expects, less that of the label."""
        powers = np.exp(scaled * np.exp(-logarithm))
        expected = (powers * scaled).sum(axis=1) / powers.sum(axis=1)
        return float((expected - of_true).sum())

    too_sure = slope(0.0)
    if too_sure == 0:
        return 1.0
    end = HIGHEST if too_sure > 0 else _LOWEST
    if slope(np.log(end)) * too_sure >= 0:
        return HIGHEST if too_sure > 0 else 1.0
    return float(np.exp(brentq(slope, 0.0, np.log(end), xtol=_PRECISION)))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """float64 [texts, labels]; each row sums to 1, and none of it is above that of the highest logit."""
    powers = np.exp((logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature)
    exact: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return exact


def log_loss(logits: np.ndarray, true: np.ndarray, temperature: float = 1.0) -> float:
    """The mean negative log-likelihood of the true labels; NaN without rows. Rows count as in `fit_temperature`."""
    scaled, of_true = _below_highest(logits, true)
    losses = np.log(np.exp(scaled / temperature).sum(axis=1)) - of_true / temperature
    return float(losses.mean()) if len(losses) else math.nan


def _below_highest(logits: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [rows, labels], [rows]): logits less the highest of their row, and those of the true labels.

    That changes no softmax. Only of the rows that are finite.
    """
    finite = np.isfinite(logits).all(axis=1)
    exact = logits[finite].astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return exact, exact[np.arange(len(exact)), true[finite]]
