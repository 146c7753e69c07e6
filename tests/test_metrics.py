"""measure/metrics.py: scikit-learn's figures, and JSON that every reader takes."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from sentiment_batch.measure.metrics import (
    Clock,
    document,
    evaluation_section,
    failure,
    headline,
    peak_rss_bytes,
    performance_section,
    predictions_section,
    rows_section,
)

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


COUNTS = {
    "rows_in": 12,
    "rows_out": 10,
    "scored": 8,
    "empty": 1,
    "null": 1,
    "nonfinite": 0,
    "rejected": 2,
    "truncated": 3,
    "distinct_texts": 6,
    "cached_texts": 2,
    "confidence_millionths": 6_400_000,
    "predicted": {"positif": 6, "netral": 0, "negatif": 2},
}


def test_rows_by_what_became_of_them() -> None:
    names = ("scored", "empty", "null", "nonfinite", "rejected", "truncated", "distinct_texts", "cached_texts")
    assert rows_section(COUNTS) == {"in": 12, "out": 10, **{name: COUNTS[name] for name in names}}


def test_shares_are_of_the_scored_rows() -> None:
    assert predictions_section(COUNTS, LABELS) == {
        "counts": {"positif": 6, "netral": 0, "negatif": 2},
        "share": {"positif": 0.75, "netral": 0.0, "negatif": 0.25},
        "mean_confidence": pytest.approx(0.8),
    }


def test_shares_of_nothing_are_null() -> None:
    none = {**COUNTS, "scored": 0, "confidence_millionths": 0, "predicted": {"positif": 0}}
    section = predictions_section(none, ("positif",))
    assert section == {"counts": {"positif": 0}, "share": {"positif": None}, "mean_confidence": None}
    assert strict_json(section) == section


def test_performance_is_per_second_of_the_rows() -> None:
    section = performance_section(500, {"tokens": 900, "padded_tokens": 1000, "oom_retries": 2}, 4.0, 1.5)
    assert section.pop("peak_rss_bytes") > 2**20
    assert section == {
        "rows_per_second": 125.0,
        "tokens_per_second": 225.0,
        "padding_share": 0.1,
        "load_seconds": 1.5,
        "oom_retries": 2,
    }


def test_performance_of_a_run_that_found_all_done() -> None:
    section = performance_section(0, {"tokens": 0, "padded_tokens": 0, "oom_retries": 0}, 0.0, 0.0)
    assert (section["rows_per_second"], section["tokens_per_second"], section["padding_share"]) == (None, None, 0.0)
    assert strict_json(section) == section


def test_headline_is_flat_and_names_figures_as_indonlu_does() -> None:
    evaluation = evaluation_section([[3, 1], [0, 2]], ("positif", "negatif"))
    sections = {
        "rows": rows_section(COUNTS),
        "predictions": predictions_section(COUNTS, LABELS),
        "performance": {"rows_per_second": 125.0},
        "evaluation": evaluation,
    }
    assert headline(sections) == {
        "rows_in": 12,
        "rows_scored": 8,
        "rows_rejected": 2,
        "share_positif": 0.75,
        "share_netral": 0.0,
        "share_negatif": 0.25,
        "rows_per_second": 125.0,
        "ACC": evaluation["accuracy"],
        "F1": evaluation["macro_f1"],
        "REC": evaluation["macro_recall"],
        "PRE": evaluation["macro_precision"],
    }
    assert "F1" not in headline({**sections, "evaluation": None})
    assert headline({}) == {}


def test_a_document_says_what_ran_when_and_how_it_ended() -> None:
    clock = Clock()
    metrics = document("score", clock, resumed=True, rows={"in": 3})
    assert (metrics["schema_version"], metrics["command"], metrics["status"], metrics["exit_code"]) == (
        *(1, "score"),
        *("done", 0),
    )
    assert metrics["rows"] == {"in": 3}
    run = metrics["run"]
    assert run["id"] == clock.id
    assert run["resumed"] is True
    began, ended = datetime.fromisoformat(run["started_at"]), datetime.fromisoformat(run["ended_at"])
    assert began <= ended
    assert began.utcoffset() == ended.utcoffset() == datetime.fromisoformat("2026-01-01T00:00Z").utcoffset()
    assert 0 <= run["seconds"] < 60
    assert strict_json(metrics) == metrics


def test_every_run_has_an_id_of_its_own() -> None:
    assert Clock().id != Clock().id


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, "failed"),
        (3, "failed"),
        (7, "failed"),
        (9, "gate_failed"),
        (129, "stopped"),
        (130, "stopped"),
        (143, "stopped"),
    ],
)
def test_a_failure_is_enough_for_a_scheduler(code: int, status: str) -> None:
    metrics = failure("score", Clock(), code, "disk full")
    assert (metrics["status"], metrics["exit_code"], metrics["error"]) == (status, code, "disk full")
    assert metrics["command"] == "score"
    assert metrics["schema_version"] == 1
    assert strict_json(metrics) == metrics


def test_a_matrix_of_numpy_is_not_needed() -> None:
    """Counts come as lists out of a seal; the matrix goes into the JSON as it came."""
    matrix = np.eye(2, dtype=int).tolist()
    assert evaluation_section(matrix, ("a", "b"))["confusion"]["matrix"] is matrix


def test_the_memory_of_a_process_is_not_that_of_who_began_it() -> None:
    ours = bytearray(300 * 2**20)
    ours[:: 2**12] = b"x" * len(ours[:: 2**12])
    assert peak_rss_bytes() > len(ours)
    code = "from sentiment_batch.measure.metrics import peak_rss_bytes; print(peak_rss_bytes())"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 2**20 < int(told) < len(ours) / 2


def test_the_memory_of_workers_is_part_of_it() -> None:
    effort = {"tokens": 0, "padded_tokens": 0, "oom_retries": 0}
    alone, with_workers = (performance_section(0, effort, 1.0, 0.0, more)["peak_rss_bytes"] for more in (0, 2**40))
    assert 2**40 < with_workers < 2**40 + 2 * alone
