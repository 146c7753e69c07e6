"""measure/temperature.py: the temperature that is found is the one that was there, and the likeliest."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sentiment_batch.measure.temperature import HIGHEST, fit_temperature, log_loss


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def simulated(rows: int, labels: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [rows, labels], int64 [rows]): logits whose softmax is right when they are divided by `temperature`."""
    chance = np.random.default_rng(seed)
    right = chance.normal(0, 2, (rows, labels))
    true = (softmax(right).cumsum(axis=1) < chance.random((rows, 1))).sum(axis=1)
    return (right * temperature).astype(np.float32), np.minimum(true, labels - 1)


def standard_error(logits: np.ndarray, temperature: float) -> float:
    """Of the logarithm of the temperature, by the Fisher information."""
    scaled = logits.astype(np.float64) / temperature
    shares = softmax(scaled)
    variances = (shares * scaled**2).sum(axis=1) - (shares * scaled).sum(axis=1) ** 2
    return float(variances.sum() ** -0.5)


@pytest.mark.parametrize("labels", [2, 3, 50])
@pytest.mark.parametrize("temperature", [0.2, 0.9, 1.0, 1.7, 8.0])
def test_the_temperature_that_was_there_is_found(temperature: float, labels: int) -> None:
    errors = []
    for seed in range(40):
        logits, true = simulated(800, labels, temperature, seed)
        error = math.log(fit_temperature(logits, true) / temperature) / standard_error(logits, temperature)
        errors.append(error)
    assert max(map(abs, errors)) < 4.5
    assert 0.7 < np.std(errors) < 1.3, "it is as sure as it says"
    assert abs(np.mean(errors)) < 0.6


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_pytorch_finds(seed: int) -> None:
    """By LBFGS, as the code of the paper does."""
    import torch

    logits, true = simulated(500, 3, (0.4, 1.0, 1.6, 5.0)[seed], seed)
    scaled, targets = torch.from_numpy(logits).double(), torch.from_numpy(true)
    logarithm = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logarithm], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = torch.nn.functional.cross_entropy(scaled / logarithm.exp(), targets)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)
    found = fit_temperature(logits, true)
    assert found == pytest.approx(float(logarithm.detach().exp()), rel=1e-6)
    assert log_loss(logits, true, found) == pytest.approx(float(loss().detach()), rel=1e-12)


def test_no_other_temperature_is_likelier() -> None:
    logits, true = simulated(300, 4, 2.5, 9)
    grid = np.exp(np.linspace(math.log(0.05), math.log(HIGHEST), 4_001))
    losses = [log_loss(logits, true, each) for each in grid]
    found = fit_temperature(logits, true)
    assert log_loss(logits, true, found) <= min(losses)
    assert abs(math.log(found / grid[int(np.argmin(losses))])) <= math.log(grid[1] / grid[0])


def test_the_loss_is_scikit_learns() -> None:
    import sklearn.metrics

    logits, true = simulated(200, 3, 1.5, 1)
    for temperature in (0.5, 1.0, 3.0):
        theirs = sklearn.metrics.log_loss(true, softmax(logits.astype(np.float64) / temperature), labels=range(3))
        assert log_loss(logits, true, temperature) == pytest.approx(theirs, rel=1e-12)
    assert math.isnan(log_loss(np.empty((0, 3), np.float32), np.empty(0, np.int64)))


_LOGITS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, -1.0, 3e38, -3e38, 1e-40])
_SPLITS = st.tuples(st.integers(1, 12), st.integers(2, 5)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.float32, shape, elements=_LOGITS),
        arrays.arrays(np.int64, shape[0], elements=st.integers(0, 1)),
    )
)


@settings(max_examples=400, deadline=None)
@given(_SPLITS)
def test_it_is_never_worse_than_none(split: tuple[np.ndarray, np.ndarray]) -> None:
    """Whatever the logits are: ties, all alike, as large as they may be."""
    found = fit_temperature(*split)
    assert 0.05 <= found <= HIGHEST
    assert log_loss(*split, found) <= log_loss(*split) * (1 + 1e-12) + 1e-300


def test_the_ends() -> None:
    rows = np.arange(60)
    right = np.eye(3, dtype=np.float32)[rows % 3]
    assert fit_temperature(right, rows % 3) == 1, "all right: nothing says how sure is too sure"
    assert fit_temperature(right, (rows + 1) % 3) == HIGHEST, "all wrong"
    assert fit_temperature(right * 1e5, rows % 3) == 1, "as sure as can be"


def test_where_it_changes_nothing_it_is_one() -> None:
    assert fit_temperature(np.empty((0, 3), np.float32), np.empty(0, np.int64)) == 1
    assert fit_temperature(np.full((9, 3), 7.3, np.float32), np.arange(9) % 3) == 1
    assert fit_temperature(np.full((9, 3), np.nan, np.float32), np.arange(9) % 3) == 1
    assert fit_temperature(np.arange(9, dtype=np.float32)[:, None], np.zeros(9, np.int64)) == 1, "one label"


def test_a_split_of_one_class_has_one() -> None:
    """Its mistakes say how sure the model may be, as they do in others."""
    logits, _ = simulated(400, 3, 2.0, 4)
    found = fit_temperature(logits + np.float32([9, 0, 0]), np.zeros(400, np.int64))
    assert 0.05 < found < HIGHEST


def test_rows_that_are_not_finite_do_not_count() -> None:
    logits, true = simulated(300, 3, 1.8, 2)
    broken = logits.copy()
    broken[::3, 1], broken[1::9, 0] = np.nan, np.inf
    kept = np.isfinite(broken).all(axis=1)
    assert fit_temperature(broken, true) == fit_temperature(logits[kept], true[kept])
    assert log_loss(broken, true) == log_loss(logits[kept], true[kept])


def test_what_changes_no_probability_changes_nothing() -> None:
    logits, true = simulated(200, 3, 1.3, 3)
    moved = logits.astype(np.float64) + np.arange(200)[:, None]
    assert fit_temperature(moved, true) == pytest.approx(fit_temperature(logits, true), rel=1e-9)
