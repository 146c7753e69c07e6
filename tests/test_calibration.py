"""measure/calibration.py: against scikit-learn and torchmetrics."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from sentiment_batch.measure.calibration import BINS, calibration_section, count_calibration
from sentiment_batch.measure.counts import add

ROWS = 4_000


def simulated(labels: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 probabilities [rows, labels] of a model that is too sure of itself, and the true labels."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(ROWS, labels))
    true = (logits + chance.gumbel(size=logits.shape)).argmax(axis=1)
    powers = np.exp(sharpness * logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), true


def exactly(probabilities: np.ndarray) -> np.ndarray:
    """They sum to one in float64, too, as scikit-learn wants it."""
    doubles = probabilities.astype(float)
    exact: np.ndarray = doubles / doubles.sum(axis=1, keepdims=True)
    return exact


def section_of(probabilities: np.ndarray, true: np.ndarray) -> Any:
    return calibration_section(count_calibration(probabilities, true, probabilities.argmax(axis=1)), None)


@pytest.mark.parametrize("labels", [2, 3, 20])
@pytest.mark.parametrize("sharpness", [0.3, 1, 6, 60])
def test_figures_are_those_of_the_libraries(labels: int, sharpness: float) -> None:
    probabilities, true = simulated(labels, sharpness)
    true[true == 1] = 0  # a class without rows
    found = section_of(probabilities, true)
    error = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(true), num_classes=labels, n_bins=BINS, norm="l1"
    )
    assert found["ece"] == pytest.approx(float(error), abs=2e-6)
    every = np.arange(labels)
    assert found["log_loss"] == pytest.approx(log_loss(true, probabilities, labels=every), rel=1e-5, abs=1e-6)
    exact = np.square(probabilities.astype(float) - np.eye(labels)[true]).sum(axis=1).mean()
    assert found["brier"] == pytest.approx(exact, abs=1e-6)
    scaled = brier_score_loss(true, exactly(probabilities), labels=every, scale_by_half=False)
    assert found["brier"] == pytest.approx(scaled, abs=1e-6)


def test_bins_are_those_of_a_reliability_diagram() -> None:
    probabilities, true = simulated(4, 2)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    accuracies, confidences = calibration_curve(right, confidence, n_bins=BINS)
    bins = section_of(probabilities, true)["bins"]
    some = [each for each in bins if each["rows"]]
    np.testing.assert_allclose([each["accuracy"] for each in some], accuracies)
    np.testing.assert_allclose([each["confidence"] for each in some], confidences, atol=1e-6)
    assert [each["rows"] for each in bins] == np.histogram(confidence, BINS, (0, 1))[0].tolist()
    for number, each in enumerate(bins):
        assert (each["low"], each["high"]) == (number / BINS, (number + 1) / BINS)
        assert each["rows"] or each["confidence"] is each["accuracy"] is None


def test_ties_go_to_the_label_that_was_predicted() -> None:
    tied = np.full((4, 2), 0.5, np.float32)
    counts = count_calibration(tied, np.array([0, 1, 1, 1]), np.array([1, 1, 0, 1]))
    assert sum(counts["right"]) == 2
    assert calibration_section(counts, None)["ece"] == 0  # type: ignore[index]


def test_a_probability_of_nothing_for_the_truth_is_a_large_loss_and_no_infinite_one() -> None:
    sure = np.array([[1, 0], [1, 0]], np.float32)
    found = section_of(sure, np.array([1, 0]))
    assert found["log_loss"] == pytest.approx(log_loss([1, 0], sure), abs=1e-6)
    assert (found["ece"], found["brier"]) == (0.5, 1)
    assert found["bins"][-1]["rows"] == 2, "a confidence of 1 is in the last bin"


def test_weights_are_rows_that_come_several_times() -> None:
    probabilities, true = simulated(3, 2)
    weights = np.random.default_rng(1).integers(0, 5, ROWS)
    found = section_of(probabilities.repeat(weights, axis=0), true.repeat(weights))
    assert found["log_loss"] == pytest.approx(log_loss(true, probabilities, sample_weight=weights), abs=1e-6)
    expected = brier_score_loss(true, exactly(probabilities), sample_weight=weights, scale_by_half=False)
    assert found["brier"] == pytest.approx(expected, abs=1e-6)


def test_counts_add_up_exactly_and_are_whole_numbers() -> None:
    probabilities, true = simulated(3, 2)
    guess = probabilities.argmax(axis=1)
    whole = count_calibration(probabilities, true, guess)
    total: dict[str, Any] = {}
    for part in (slice(0, 1), slice(1, 999), slice(999, 999), slice(999, ROWS)):
        total = add(total, count_calibration(probabilities[part], true[part], guess[part]))
    assert total == whole == json.loads(json.dumps(whole))


def test_no_rows_have_no_calibration() -> None:
    counts = count_calibration(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert calibration_section(counts, 1.5) is None


def test_the_temperature_is_told() -> None:
    probabilities, true = simulated(3, 2)
    counts = count_calibration(probabilities, true, probabilities.argmax(axis=1))
    assert [calibration_section(counts, each)["temperature"] for each in (None, 1.5)] == [None, 1.5]  # type: ignore[index]
