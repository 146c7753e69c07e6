"""measure/evaluation.py: scikit-learn's figures, and intervals that hold the truth as often as they say."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from sentiment_batch.measure import evaluation as module
from sentiment_batch.measure.evaluation import evaluation_section, intervals_section

LABELS = ("positif", "netral", "negatif")


def strict_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@st.composite
def matrices(draw: st.DrawFn) -> list[list[int]]:
    """Square, with at least one row counted; empty classes, classes never predicted and ties are common."""
    size = draw(st.integers(2, 5))
    cell = st.sampled_from([0, 0, 0, 1, 1, 2, 7, 30])
    matrix = draw(st.lists(st.lists(cell, min_size=size, max_size=size), min_size=size, max_size=size))
    if not any(map(any, matrix)):
        matrix[draw(st.integers(0, size - 1))][draw(st.integers(0, size - 1))] = 1
    return matrix


@settings(max_examples=50, deadline=None)
@given(matrices())
def test_figures_are_those_of_scikit_learn_on_the_rows(matrix: list[list[int]]) -> None:
    numbers = range(len(matrix))
    labels = tuple(f"label{number}" for number in numbers)
    pairs = [(true, guess) for true in numbers for guess in numbers for _ in range(matrix[true][guess])]
    true, guess = (list(each) for each in zip(*pairs, strict=True))
    evaluation = evaluation_section(matrix, labels)

    def scores(average: str | None) -> tuple[Any, ...]:
        return precision_recall_fscore_support(true, guess, labels=numbers, average=average, zero_division=0)

    close = pytest.approx
    assert evaluation["rows"] == len(pairs)
    assert evaluation["accuracy"] == close(accuracy_score(true, guess), abs=1e-12)
    macro = [evaluation[f"macro_{name}"] for name in ("precision", "recall", "f1")]
    assert macro == close(scores("macro")[:3], abs=1e-12)
    assert list(evaluation["per_class"]) == list(labels)
    for number, row in enumerate(zip(*scores(None), strict=True)):
        found = evaluation["per_class"][labels[number]]
        assert [found[name] for name in ("precision", "recall", "f1", "rows")] == close(row, abs=1e-12)
    assert evaluation["confusion"] == {"labels": list(labels), "matrix": matrix}
    assert strict_json(evaluation) == evaluation


def test_figures_by_hand() -> None:
    evaluation = evaluation_section([[3, 1, 0], [1, 2, 0], [0, 1, 0]], LABELS)
    assert evaluation["rows"] == 8
    assert evaluation["accuracy"] == 5 / 8
    expected = {"precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4, "rows": 4}
    assert evaluation["per_class"]["positif"] == pytest.approx(expected)
    expected = {"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7, "rows": 3}
    assert evaluation["per_class"]["netral"] == pytest.approx(expected)
    assert evaluation["per_class"]["negatif"] == {"precision": 0, "recall": 0, "f1": 0, "rows": 1}
    assert evaluation["macro_f1"] == pytest.approx((3 / 4 + 4 / 7) / 3)


def test_figures_of_no_rows_are_valid_json() -> None:
    """A dump may have no rows, or none whose label the model knows."""
    evaluation = evaluation_section([[0, 0], [0, 0]], ("a", "b"))
    assert evaluation["rows"] == 0
    assert evaluation["accuracy"] is None
    assert evaluation["macro_f1"] == evaluation["macro_precision"] == evaluation["macro_recall"] == 0
    assert evaluation["per_class"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "rows": 0}
    assert strict_json(evaluation) == evaluation


def test_counts_beyond_32_bits_are_exact() -> None:
    many = 3_000_000_000
    evaluation = evaluation_section([[many, 1], [0, many]], ("a", "b"))
    assert evaluation["rows"] == 2 * many + 1
    assert evaluation["per_class"]["a"]["rows"] == many + 1
    assert evaluation["per_class"]["a"]["recall"] == many / (many + 1)


def test_a_matrix_of_numpy_is_not_needed() -> None:
    """Counts come as lists out of a seal; the matrix goes into the JSON as it came."""
    matrix = np.eye(2, dtype=int).tolist()
    assert evaluation_section(matrix, ("a", "b"))["confusion"]["matrix"] is matrix


CHANCES = np.array([[0.42, 0.03, 0.05], [0.02, 0.08, 0.03], [0.04, 0.05, 0.28]])  # of a row to be in each cell


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 1,000 simulated splits of 600 rows: 95 % of the time, and so each end is missed about as often."""
    truth = evaluation_section(np.rint(CHANCES * 1e9).astype(int).tolist(), LABELS)
    drawn = np.random.default_rng(7).multinomial(600, CHANCES.ravel(), 1_000).reshape(-1, 3, 3)
    held = dict.fromkeys(("accuracy", "macro_f1", "macro_precision", "macro_recall", *LABELS), 0)
    for matrix in drawn.tolist():
        found = intervals_section(matrix, LABELS)
        assert found
        for name in held:
            place, true = (found["per_class"][name], truth["per_class"][name]) if name in LABELS else (found, truth)
            low, high = place["f1" if name in LABELS else name]
            held[name] += low <= true["f1" if name in LABELS else name] <= high
    assert all(930 <= count <= 970 for count in held.values()), held


def test_intervals_are_those_of_drawing_rows() -> None:
    """The ends of scikit-learn's figures of drawn rows are the same but for chance."""
    matrix = [[40, 6, 4], [3, 12, 5], [2, 4, 24]]
    true, guess = (
        np.array(each)
        for each in zip(*((t, g) for t in range(3) for g in range(3) for _ in range(matrix[t][g])), strict=True)
    )
    chance = np.random.default_rng(5)
    drawn = (chance.integers(0, len(true), len(true)) for _ in range(1_000))
    samples = [(f1_score(true[rows], guess[rows], average="macro"), (true == guess)[rows].mean()) for rows in drawn]
    expected = np.quantile(samples, [0.025, 0.975], axis=0)
    found = intervals_section(matrix, LABELS)
    assert found
    np.testing.assert_allclose(np.transpose([found["macro_f1"], found["accuracy"]]), expected, atol=0.015)


@settings(max_examples=50, deadline=None)
@given(matrices())
def test_intervals_hold_the_figures_and_are_always_the_same(matrix: list[list[int]]) -> None:
    labels = tuple(f"label{number}" for number in range(len(matrix)))
    found, figures = intervals_section(matrix, labels), evaluation_section(matrix, labels)
    assert found
    assert (found["level"], found["resamples"]) == (0.95, 2_000)
    assert intervals_section(matrix, labels) == found == strict_json(found)
    low, high = found["accuracy"]
    assert 0 <= low <= figures["accuracy"] <= high <= 1
    for label in labels:
        for name in ("precision", "recall", "f1"):
            low, high = found["per_class"][label][name]
            assert 0 <= low <= high <= 1
            if figures["per_class"][label]["rows"] == 0:
                assert low == high == 0


def test_there_are_no_intervals_of_no_rows() -> None:
    assert intervals_section([[0, 0], [0, 0]], ("a", "b")) is None


def test_a_split_that_is_ten_times_as_large_is_three_times_as_sure() -> None:
    widths = []
    for rows in (1, 10, 10**8):
        found = intervals_section([[rows * 80, rows * 20], [rows * 30, rows * 70]], ("a", "b"))
        assert found
        widths.append(found["accuracy"][1] - found["accuracy"][0])
    assert widths[0] / widths[1] == pytest.approx(10**0.5, rel=0.1)
    assert widths[0] / widths[2] == pytest.approx(10**4, rel=0.1)


def test_many_labels_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(3).integers(0, 3, (40, 40))
    matrix[4], matrix[:, 7] = 0, 0
    labels = tuple(map(str, range(40)))
    whole = intervals_section(matrix.tolist(), labels)
    monkeypatch.setattr(module, "_CELLS_AT_A_TIME", 10_000)
    parts = intervals_section(matrix.tolist(), labels)
    assert whole
    assert parts == whole
    assert whole["per_class"]["4"]["recall"] == whole["per_class"]["7"]["precision"] == [0, 0]
