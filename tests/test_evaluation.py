"""measure/evaluation.py: scikit-learn's figures, and intervals that hold the truth as often as they say."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

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
    assert all(evaluation[name] is None for name in SHARES)
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


COMMON = [[0.42, 0.03, 0.05], [0.02, 0.08, 0.03], [0.04, 0.05, 0.28]]  # the chance of a row to be in each cell
RARE = [[0.6, 0.02, 0.002], [0.03, 0.34, 0.001], [0.001, 0.001, 0.005]]  # of the last class three rows of 450
SHARES = ("accuracy", "macro_f1", "macro_precision", "macro_recall")


@pytest.mark.parametrize(("chances", "rows", "most"), [(COMMON, 600, 970), (RARE, 450, 1_000)], ids=["common", "rare"])
def test_intervals_hold_the_truth_as_often_as_they_say(chances: list[list[float]], rows: int, most: int) -> None:
    """Of 1,000 simulated splits: 95 % of the time. Of a handful of rows more often, never less."""
    truth = flat(evaluation_section(np.rint(np.array(chances) * 1e9).astype(int).tolist(), LABELS))
    drawn = np.random.default_rng(7).multinomial(rows, np.ravel(chances), 1_000).reshape(-1, 3, 3)
    ends = [flat(intervals_section(matrix, LABELS)) for matrix in drawn.tolist()]
    held = {name: sum(each[name][0] <= truth[name] <= each[name][1] for each in ends) for name in truth}
    assert len(held) == 13
    assert all(930 <= count <= most for count in held.values()), held


def flat(section: Any) -> dict[str, Any]:
    """The figures, or their ends, under one name each."""
    of_class = {
        f"{name}[{label}]": figures[name]
        for label, figures in section["per_class"].items()
        for name in ("precision", "recall", "f1")
    }
    return {**{name: section[name] for name in SHARES}, **of_class}


def test_few_rows_that_are_all_right_are_no_proof() -> None:
    """Wilson's interval of 10 of 10 is from .722, of 1 of 1 from .207."""
    found = flat(intervals_section([[6, 0], [0, 4]], ("a", "b")))
    assert found["accuracy"] == [pytest.approx(0.7225, abs=1e-4), 1]
    assert found["recall[b]"] == [pytest.approx(0.5101, abs=1e-4), 1]
    assert found["f1[b]"][0] == pytest.approx(2 * 0.5101 / 1.5101, abs=1e-4)
    assert 0.5 < found["macro_recall"][0] < 0.8
    wrong = flat(intervals_section([[0, 6], [4, 0]], ("a", "b")))
    assert wrong["accuracy"] == [0, pytest.approx(0.2775, abs=1e-4)]
    many = flat(intervals_section(np.eye(100, dtype=int).tolist(), tuple(map(str, range(100)))))
    assert many["recall[7]"] == [pytest.approx(0.2065, abs=1e-4), 1]
    assert 0.5 < many["macro_recall"][0] < 0.95
    assert many["macro_recall"][1] == 1


@pytest.mark.parametrize(("right", "wrong"), [(0, 3), (3, 0), (9, 2_000), (1_500, 4), (200, 9)])
def test_few_rows_have_the_interval_of_wilson_at_least(right: int, wrong: int) -> None:
    """And it is that of statsmodels."""
    low, high = proportion_confint(right, right + wrong, method="wilson")
    found = flat(intervals_section([[right, wrong], [0, 0]], ("a", "b")))
    for name in ("accuracy", "recall[a]"):
        assert found[name][0] <= low + 1e-12
        assert found[name][1] >= high - 1e-12
        assert np.ptp(found[name]) < np.ptp([low, high]) + 0.05
    only = found["accuracy"]
    assert min(right, wrong) > 0 or only == pytest.approx([low, high])


def test_what_the_split_says_nothing_of_may_be_anything() -> None:
    found = flat(intervals_section([[5, 0, 1], [0, 0, 0], [2, 0, 7]], LABELS))
    for name in ("precision", "recall", "f1"):
        assert found[f"{name}[netral]"] == [0, 1]
    assert found["macro_recall"][1] < 0.7, "it counts as 0"


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
    for name, value in flat(figures).items():
        low, high = flat(found)[name]
        assert 0 <= low <= value + 1e-12
        assert value - 1e-12 <= high <= 1


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
    assert whole["resamples"] == 2_000
    monkeypatch.setattr(module, "_DRAWN_CELLS", 600_000)
    fewer = intervals_section(matrix.tolist(), labels)
    assert fewer
    assert 200 <= fewer["resamples"] == 600_000 // np.count_nonzero(matrix) < 2_000
    np.testing.assert_allclose(fewer["accuracy"], whole["accuracy"], atol=0.01)
