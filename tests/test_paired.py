"""measure/paired.py: statsmodels' test, and intervals that hold the truth as often as they say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from sentiment_batch.measure import evaluation, paired
from sentiment_batch.measure.paired import mcnemar, paired_intervals, tango


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_that_of_statsmodels(only_old: int, only_new: int) -> None:
    found = mcnemar(only_old, only_new)
    assert found["exact"] is (only_old + only_new < 25)
    assert (found["only_old_right"], found["only_new_right"]) == (only_old, only_new)
    theirs = mcnemar_of_statsmodels([[7, only_old], [only_new, 9]], exact=found["exact"], correction=True)
    if only_old + only_new and (found["exact"] or only_old != only_new):
        assert found["p_value"] == pytest.approx(min(1, theirs.pvalue), rel=1e-9, abs=1e-300)
        assert found["statistic"] == (None if found["exact"] else pytest.approx(theirs.statistic))
    else:  # statsmodels divides by zero, or corrects a difference of none to one of one
        assert found["p_value"] == 1


def score(difference: float, gains: int, losses: int, rows: int) -> float:
    """How many standard deviations what was seen is from that difference; the chance of a loss is the likeliest."""

    def unlikely(loss: float) -> float:
        chances = np.array([loss + difference, loss, 1 - 2 * loss - difference])
        return -float(np.array([gains, losses, rows - gains - losses]) @ np.log(np.maximum(chances, 1e-300)))

    low, high = max(0, -difference), (1 - difference) / 2
    loss = minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = (2 * loss + difference - difference**2) / rows
    return float(((gains - losses) / rows - difference) / np.sqrt(variance))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 100))
def test_tangos_ends_are_where_the_score_is_two_deviations(gains: int, losses: int, others: int) -> None:
    rows = gains + losses + others
    low, high = tango(gains, losses, rows)
    assert -1 < low < (gains - losses) / rows < high < 1
    assert score(low, gains, losses, rows) == pytest.approx(1.96, abs=0.01)
    assert score(high, gains, losses, rows) == pytest.approx(-1.96, abs=0.01)
    assert tango(losses, gains, rows) == pytest.approx(-np.array([high, low]), abs=1e-9)


def test_tangos_interval_by_hand() -> None:
    """Without a difference its ends are those of z^2 / (n + z^2)."""
    assert tango(0, 0, 100) == pytest.approx([-3.8415 / 103.8415, 3.8415 / 103.8415], abs=1e-4)
    assert tango([0, 10, 0], [0, 0, 10], [0, 10, 10])[:, 0].tolist() == [-1, 1], "no rows say nothing"
    assert tango(10, 0, 10)[1] == 1
    assert tango(0, 10, 10)[0] == -1


def cells_of(cube: np.ndarray) -> tuple[Any, ...]:
    true, old, new = np.nonzero(cube)
    return true, old, new, cube[true, old, new]


def chances(shares: list[float], right: list[float], alike: float, better: float) -> np.ndarray:
    """[true, old, new]: NEW says what OLD says in a share of the rows, and elsewhere is right by so much more."""
    labels = len(shares)
    by_old = np.full((labels, labels), 0.0)
    by_new = by_old.copy()
    for true in range(labels):
        for guess, accuracy in ((by_old, right[true]), (by_new, right[true] + better)):
            guess[true] = (1 - accuracy) / (labels - 1)
            guess[true, true] = accuracy
    apart = by_old[:, :, None] * ((1 - alike) * by_new[:, None, :] + alike * np.eye(labels)[None])
    return np.array(shares)[:, None, None] * apart


def truth_of(cube: np.ndarray) -> dict[str, float]:
    def f1(matrix: np.ndarray) -> float:
        return float((2 * np.diag(matrix) / (matrix.sum(axis=0) + matrix.sum(axis=1))).mean())

    old, new = cube.sum(axis=2), cube.sum(axis=1)
    return {"accuracy": float(np.trace(new) - np.trace(old)), "macro_f1": f1(new) - f1(old)}


@pytest.mark.parametrize(
    ("cube", "rows", "most"),
    [
        (chances([0.5, 0.15, 0.35], [0.9, 0.6, 0.85], 0.6, 0.04), 1_000, 0.985),
        (chances([0.5, 0.2, 0.3], [0.9, 0.6, 0.8], 0.95, 0.05), 100, 1),  # the bootstrap alone holds it in the half
        (chances([0.6, 0.393, 0.007], [0.95, 0.9, 0.7], 0.8, 0.02), 450, 1),  # of the last class three rows
    ],
    ids=["common", "alike", "rare"],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    cube: np.ndarray, rows: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_RESAMPLES", 300)
    truth, drawn = truth_of(cube), np.random.default_rng(5).multinomial(rows, cube.ravel() / cube.sum(), 250)
    found = [paired_intervals(*cells_of(each.reshape(cube.shape)), len(cube)) for each in drawn]
    for name, value in truth.items():
        held = np.mean([each[name][0] <= value <= each[name][1] for each in found])
        assert 0.925 <= held <= most, name


def test_intervals_are_those_of_drawing_rows() -> None:
    """The ends of scikit-learn's figures of drawn rows are the same but for chance."""
    cube = np.random.default_rng(2).multinomial(900, chances([0.5, 0.2, 0.3], [0.8, 0.6, 0.7], 0.3, 0.05).ravel())
    true, old, new, rows = cells_of(cube.reshape(3, 3, 3))
    of_rows = [np.repeat(each, rows) for each in (true, old, new)]
    chance, samples = np.random.default_rng(5), []
    for _ in range(250):
        drawn = chance.integers(0, len(of_rows[0]), len(of_rows[0]))
        truth, by_old, by_new = (each[drawn] for each in of_rows)
        accuracy = accuracy_score(truth, by_new) - accuracy_score(truth, by_old)
        samples.append((accuracy, f1_score(truth, by_new, average="macro") - f1_score(truth, by_old, average="macro")))
    expected = np.quantile(samples, [0.025, 0.975], axis=0)
    found = paired_intervals(true, old, new, rows, 3)
    np.testing.assert_allclose(np.transpose([found["accuracy"], found["macro_f1"]]), expected, atol=0.012)
    assert (found["level"], found["resamples"]) == (0.95, 2_000)
    assert paired_intervals(true, old, new, rows, 3) == found


def test_pairs_are_surer_than_two_splits() -> None:
    """Of 1,000 rows both have 800 right, and each 10 more: as two splits, they would be sure to four points."""
    cells = ([0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 0], [800, 180, 10, 10])  # true, old, new, rows
    low, high = paired_intervals(*map(np.array, cells), 2)["accuracy"]
    assert (low, high) == (pytest.approx(-0.009, abs=0.001), pytest.approx(0.009, abs=0.001))


def test_ten_rows_on_which_both_agree_are_no_proof() -> None:
    found = paired_intervals(np.array([0, 1]), np.array([0, 1]), np.array([0, 1]), np.array([6, 4]), 2)
    assert found["accuracy"] == pytest.approx([-0.2775, 0.2775], abs=1e-3)
    assert found["macro_f1"][0] < -0.1
    assert found["macro_f1"][1] > 0.1


@st.composite
def cubes(draw: st.DrawFn) -> np.ndarray:
    labels = draw(st.integers(2, 4))
    cell = st.sampled_from([0, 0, 0, 0, 1, 2, 7, 30])
    cube = np.array(draw(st.lists(cell, min_size=labels**3, max_size=labels**3))).reshape((labels,) * 3)
    cube[draw(st.integers(0, labels - 1)), 0, draw(st.integers(0, labels - 1))] += 1
    return cube


@settings(max_examples=30, deadline=None)
@given(cubes())
def test_the_figure_is_within_its_interval_and_its_mirror_too(cube: np.ndarray) -> None:
    true, old, new, rows = cells_of(cube)
    labels = range(len(cube))
    of_rows = [np.repeat(each, rows) for each in (true, old, new)]
    scores = [f1_score(of_rows[0], each, labels=labels, average="macro", zero_division=0) for each in of_rows[1:]]
    right = [np.mean(each == of_rows[0]) for each in of_rows[1:]]
    value = {"macro_f1": scores[1] - scores[0], "accuracy": right[1] - right[0]}
    found, mirrored = (paired_intervals(true, *each, rows, len(cube)) for each in ((old, new), (new, old)))
    for name, each in value.items():
        low, high = found[name]
        assert -1 <= low <= each + 1e-9
        assert each - 1e-9 <= high <= 1
        assert mirrored[name] == pytest.approx([-high, -low], abs=0.05)


def test_many_cells_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = np.random.default_rng(3).integers(0, 3, (9, 9, 9))
    whole = paired_intervals(*cells_of(cube), 9)
    monkeypatch.setattr(evaluation, "_CELLS_AT_A_TIME", 100_000)
    assert paired_intervals(*cells_of(cube), 9) == whole
    monkeypatch.setattr(paired, "_FEW", -1)
    assert paired_intervals(*cells_of(cube), 9)["accuracy"] == whole["accuracy"], "of many it is the bootstrap alone"
