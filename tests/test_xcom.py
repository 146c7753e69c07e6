"""measure/xcom.py: one small JSON object, whatever the job and however it ended."""

import json
from typing import Any

from conftest import strict_json
from hypothesis import given
from hypothesis import strategies as st
from test_schema import failure

from sentiment_batch.measure.metrics import headline
from sentiment_batch.measure.xcom import xcom_text

PREDICTIONS = {"share": {"positive": 0.75, "negative": 0.25}}
EVALUATION = {"accuracy": 0.9, "macro_f1": 0.8, "macro_recall": 0.7, "macro_precision": 0.6}


def done(**sections: Any) -> dict[str, Any]:
    metrics = {**failure(), "status": "done", "exit_code": 0, "job_id": "f00", **sections}
    del metrics["error"]
    return {**metrics, "headline": headline(metrics)}


def test_a_finished_job() -> None:
    metrics = done(rows={"in": 3, "scored": 2, "rejected": 1}, predictions=PREDICTIONS, evaluation=EVALUATION)
    assert strict_json(xcom_text(metrics, "labelled")) == {
        **{"command": "score", "status": "done", "exit_code": 0},
        **{"started_at": "2026-01-31T02:00:00+00:00", "ended_at": "2026-01-31T02:00:01+00:00"},
        **{"job_id": "f00", "output": "labelled"},
        **{"rows_in": 3, "rows_scored": 2, "rows_rejected": 1},
        **{"ACC": 0.9, "F1": 0.8, "REC": 0.7, "PRE": 0.6},
        **{"share_positive": 0.75, "share_negative": 0.25},
    }
    assert strict_json(xcom_text({**metrics, "already_done": True}, None))["already_done"] is True


def test_a_failure() -> None:
    told = strict_json(xcom_text(failure(error="no such file: a.tsv"), "labelled"))
    assert (told["status"], told["exit_code"], told["error"]) == ("failed", 3, "no such file: a.tsv")
    assert told["output"] == "labelled"
    long = strict_json(xcom_text(failure(error="x" * 9_000 + "\n"), None))
    assert len(long["error"]) == 1_000
    assert long["error"].endswith("x...")


def test_the_steps_of_a_run() -> None:
    steps = {"train": done(command="train"), "optimize": {**done(), "job_id": None}}
    del steps["optimize"]["job_id"]
    run = failure(command="run", steps=steps, outputs={"train": "model"}, failed_step="score", headline={"train_F1": 1})
    told = strict_json(xcom_text(run, None))
    assert told["job_ids"] == {"train": "f00"}
    assert told["outputs"] == {"train": "model"}
    assert (told["failed_step"], told["train_F1"]) == ("score", 1)


def test_a_hundred_labels_are_not_too_many() -> None:
    labels = [f"label number {number}" for number in range(100)]
    score = done(rows={"in": 3}, predictions={"share": dict.fromkeys(labels, 1 / 3)}, evaluation=EVALUATION)
    text = xcom_text(score, "labelled")
    assert len(text.encode()) < 10_000
    assert sum(name.startswith("share_") for name in strict_json(text)) == 100
    figures = {f"{step}_{name}": value for step in ("evaluate", "score") for name, value in score["headline"].items()}
    text = xcom_text({**score, "command": "run", "headline": figures}, "labelled")
    told = strict_json(text)
    assert len(text.encode()) < 10_000
    assert (told["evaluate_F1"], told["score_F1"]) == (0.8, 0.8), "figures before shares"
    assert told["left_out"] == len(figures) - sum(name in told for name in figures) > 0


def test_no_review_is_in_it() -> None:
    review = "pelayanannya sangat lambat dan makanannya dingin sekali"
    text = xcom_text(done(predictions={"share": {"a": 0.5, review: 0.5}}), None)
    assert "lambat" not in text
    assert strict_json(text)["left_out"] == 1


@given(st.dictionaries(st.text(max_size=60), st.floats(0, 1), max_size=120), st.text(max_size=2_000), st.text())
def test_it_is_small_and_whole_whatever_labels_are(share: dict[str, float], error: str, output: str) -> None:
    metrics = done(predictions={"share": share}) | {"error": error}
    text = xcom_text(metrics, output)
    assert text.count("\n") == 1
    assert len(text.encode(errors="backslashreplace")) < 10_000
    told = strict_json(text)
    assert told["exit_code"] == 0
    assert all(told[f"share_{label}"] == value for label, value in share.items() if f"share_{label}" in told)


def test_a_path_that_is_not_utf8() -> None:
    text = xcom_text(done(), "labelled\udcff").encode(errors="backslashreplace").decode()
    assert json.loads(text)["output"] == "labelled\udcff"
