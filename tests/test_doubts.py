"""Metrics of jobs that went well and should not be believed -> a warning."""

from typing import Any

import pytest

from sentiment_batch.measure.doubts import doubts, say_doubts

ROWS = {"in": 1_000, "out": 1_000, "scored": 1_000, "empty": 0, "null": 0, "truncated": 10}
REVIEW = "rahasia pelanggan nomor 4711, yang panjang sekali"


def metrics(predicted: dict[str, int] | None = None, evaluation: dict[str, Any] | None = None, **rows: int) -> Any:
    sections: dict[str, Any] = {
        "model": {"max_length": 64},
        "rows": {**ROWS, **rows},
        "predictions": {"counts": predicted or {"good": 999, "bad": 1}},
    }
    return {**sections, "evaluation": evaluation} if evaluation else sections


def test_an_ordinary_job_leaves_no_doubt(caplog: pytest.LogCaptureFixture) -> None:
    say_doubts(metrics(evaluation={"rows": 1}))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (metrics({"good": 1_000, "bad": 0}), "all 1,000 texts got the one label 'good' (are --text-column"),
        (metrics({REVIEW: 1_000, "bad": 0}), "all 1,000 texts got the one label (are --text-column"),
        (metrics(scored=50, empty=600, null=350), "950 of 1,000 texts are empty or null (is --text-column"),
        (metrics(truncated=901), "901 of 1,000 texts were cut to --max-length, 64 tokens"),
        (metrics(evaluation={"rows": 0}), "no row has a label that the model knows (is --label-column"),
    ],
)
def test_what_a_person_would_wonder_at_is_said(caplog: pytest.LogCaptureFixture, given: Any, said: str) -> None:
    say_doubts(given)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert said in record.getMessage()
    assert "rahasia" not in record.getMessage()


def test_all_doubts_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    say_doubts(metrics({"good": 1_000, "bad": 0}, {"rows": 0}, truncated=1_000))
    (record,) = caplog.records
    assert record.getMessage().count("; ") == 2


@pytest.mark.parametrize(
    "given",
    [
        metrics({"good": 99, "bad": 0}, {"rows": 0}, out=99, scored=99, truncated=99),
        metrics({"good": 0, "bad": 0}, out=99, scored=0, empty=99, truncated=0),
        metrics({"good": 0, "bad": 0}, out=0, scored=0, truncated=0),
        metrics({"the only one": 1_000}),
        metrics(scored=100, empty=900, truncated=90),
    ],
)
def test_few_rows_and_what_is_only_many_leave_no_doubt(given: Any) -> None:
    assert doubts(given) == []
