"""measure/summary.py: the lines at the end of a run, for every metrics JSON that a run can end with."""

import json
from typing import Any

import pytest

from sentiment_batch.measure.evaluation import evaluation_section
from sentiment_batch.measure.metrics import Clock, document, failure, predictions_section
from sentiment_batch.measure.summary import in_one_line, summary, unheld

ROWS = {"in": 12_345, "out": 12_340, "rejected": 5, "empty": 0, "null": 0, "nonfinite": 0}
PREDICTIONS = {"share": {"positif": 0.625, "negatif": 0.375}}
DONE = {"already_done": True, "run": {"ended_at": "2026-01-31T02:13:45+00:00"}}
MODEL = {"engine": "openvino", "device": "cpu", "dtype": "int8"}
PERFORMANCE = {"rows_per_second": 1234.6, "peak_rss_bytes": 512 * 2**20}


def test_a_scored_dump() -> None:
    metrics = {"status": "done", "rows": ROWS, "predictions": PREDICTIONS, "model": MODEL, "performance": PERFORMANCE}
    assert summary(metrics, "labelled/2026-01-31").split("\n") == [
        "status    done: labelled/2026-01-31",
        "rows      12,345 in = 12,340 out + 5 rejected",
        "labels    positif 62.5%, negatif 37.5%",
        "speed     1,235 rows/s with openvino in int8 on cpu, peak memory 512 MiB",
    ]


def test_all_of_it_in_one_line() -> None:
    metrics = {"status": "done", "rows": ROWS, "predictions": PREDICTIONS, "run": {"seconds": 1234.6}}
    line = "done: out; rows 12,345 in = 12,340 out + 5 rejected; labels positif 62.5%, negatif 37.5%; 1,235 s"
    assert in_one_line(summary, metrics, "out") == line
    steps = {"train": {"status": "done"}, "score": {**metrics, "run": {"seconds": 1}}}
    run = {"steps": steps, "outputs": {"train": "model", "score": "out"}, "run": {"seconds": 1234.6}}
    assert in_one_line(summary, run, None) == line, "that of the last step, and the time of all"
    assert in_one_line(lambda *_: "verified  out\nrows      1", metrics, "out") == "verified out; rows 1; 1,235 s"


def test_rows_without_a_label_are_named_by_their_reason() -> None:
    metrics = {"status": "done", "rows": {**ROWS, "empty": 1_000, "nonfinite": 2}}
    assert summary(metrics, None).split("\n")[2:] == ["no label  1,000 empty, 2 nonfinite"]


UNDECIDED = {"value": 0.62, "interval": [0.5, 0.7], "verdict": "undecidable"}


def test_an_evaluation_with_gates() -> None:
    metrics = {
        "status": "gate_failed",
        "rows": {**ROWS, "in": 1_000},
        "evaluation": {
            **{"macro_f1": 0.81239, "accuracy": 0.9, "rows": 990},
            "intervals": {"level": 0.95, "macro_f1": [0.78, 0.84444], "accuracy": [0.88, 0.92]},
        },
        "gates": [
            {"condition": "accuracy>=0.85", "value": 0.9, "holds": True},
            {"condition": "macro_f1>=0.85", "value": 0.81239, "holds": False},
            {**UNDECIDED, "condition": "f1[a]>=0.6", "holds": True},
            {**UNDECIDED, "condition": "f1[a]>=0.65", "holds": False},
        ],
    }
    assert summary(metrics, "eval").split("\n") == [
        "status    gate failed: eval",
        "rows      1,000 in = 12,340 out + 5 rejected",
        "quality   macro f1 0.8124 (95%: 0.7800 to 0.8444), accuracy 0.9000 (95%: 0.8800 to 0.9200) on 990 of 1,000 "
        "rows",
        "gate      accuracy>=0.85: holds at 0.9000",
        "gate      macro_f1>=0.85: FAILS at 0.8124",
        "gate      f1[a]>=0.6: undecidable, let pass, at 0.6200, 95%: 0.5000 to 0.7000",
        "gate      f1[a]>=0.65: UNDECIDABLE at 0.6200, 95%: 0.5000 to 0.7000",
    ]


def test_the_steps_of_a_run_one_after_the_other() -> None:
    steps = {"train": {"status": "done", **DONE}, "score": {"status": "done", "rows": ROWS}}
    outputs = {"train": "out/model", "score": "out/labelled"}
    assert summary({"steps": steps, "outputs": outputs}, None).split("\n") == [
        "train",
        "status    done already, at 2026-01-31T02:13:45+00:00: out/model",
        "",
        "score",
        "status    done: out/labelled",
        "rows      12,345 in = 12,340 out + 5 rejected",
    ]


def test_what_was_done_already_has_no_speed_as_if_it_had_just_run() -> None:
    metrics = {"status": "done", "rows": ROWS, "performance": PERFORMANCE, **DONE}
    assert summary(metrics, "out").split("\n") == [
        "status    done already, at 2026-01-31T02:13:45+00:00: out",
        "rows      12,345 in = 12,340 out + 5 rejected",
    ]


@pytest.mark.parametrize("performance", [{}, {"performance": {"rows_per_second": None, "peak_rss_bytes": 1}}])
def test_a_run_that_labelled_nothing_has_no_speed(performance: dict[str, Any]) -> None:
    assert "speed" not in summary({"status": "done", **performance}, None)


def test_no_rows_have_no_shares() -> None:
    counts = {"scored": 0, "confidence_millionths": 0, "predicted": {"positif": 0}}
    predictions = predictions_section(counts, ("positif",))
    assert summary({"status": "done", "predictions": predictions}, None).split("\n")[1:] == ["labels    positif 0.0%"]


def test_labels_are_in_the_models_order_whoever_counted_them() -> None:
    """A seal, which an earlier run left, is JSON with its keys sorted."""
    labels = ("positive", "neutral", "negative")
    counts = {"scored": 4, "confidence_millionths": 0, "predicted": {"positive": 1, "neutral": 3, "negative": 0}}
    for counted in (counts, json.loads(json.dumps(counts, sort_keys=True))):
        metrics = {"status": "done", "predictions": predictions_section(counted, labels)}
        assert summary(metrics, None).split("\n")[1] == "labels    positive 25.0%, neutral 75.0%, negative 0.0%"


def test_figures_that_are_undefined_do_not_end_the_run() -> None:
    """The accuracy of no rows is null: a dump may have none whose label the model knows."""
    gate = {"condition": "accuracy>=0.8", "value": None, "holds": False}
    metrics = {"status": "done", "evaluation": {"macro_f1": 0.0, "accuracy": None}, "gates": [gate]}
    text = summary(metrics, None)
    assert "macro f1 0.0000" in text
    assert "accuracy>=0.8: FAILS" in text


def test_what_metrics_make_can_be_summed_up() -> None:
    metrics = document("evaluate", Clock(), evaluation=evaluation_section([[1, 0], [1, 2]], ("a", "b")))
    assert "accuracy 0.7500" in summary(metrics, None)
    assert summary(failure("score", Clock(), 130, "stopped"), "out").startswith("status    stopped: out")


QUALITY = {
    "rows": 900,
    "old": {"accuracy": 0.8, "macro_f1": 0.7},
    "new": {"accuracy": 0.82, "macro_f1": 0.69},
    "difference": {"accuracy": 0.02, "macro_f1": -0.01},
    "intervals": {"accuracy": [0.005, 0.035], "macro_f1": [-0.03, 0.01]},
    "mcnemar": {"only_old_right": 30, "only_new_right": 48, "p_value": 0.0543},
}
COMPARISON = {
    "rows": 1_000,
    "flips": 130,
    "flip_rate": 0.13,
    "intervals": {"flip_rate": [0.1105, 0.1523]},
    "labels": ["positif", "netral", "negatif"],
    "matrix": [[400, 20, 50], [20, 200, 10], [0, 30, 270]],
    "without_label": {"old": 0, "new": 3},
}


def test_a_comparison() -> None:
    metrics = {
        "status": "done",
        "rows": {"in": 1_003, "out": 1_003, "rejected": 0},
        "old": {"path": "model"},
        "new": {"path": "candidate"},
        "comparison": {**COMPARISON, "quality": QUALITY},
        "performance": PERFORMANCE,
    }
    assert summary(metrics, "compared").split("\n") == [
        "status    done: compared",
        "rows      1,003 in = 1,003 out + 0 rejected",
        "old       model",
        "new       candidate",
        "flips     130 of 1,000 rows (13.00%, 95%: 11.05% to 15.23%)",
        "most      positif to negatif 50, negatif to netral 30, positif to netral 20",
        "no label  0 rows in the old, 3 in the new",
        "accuracy  0.8000 to 0.8200 (+0.0200, 95%: +0.0050 to +0.0350)",
        "macro f1  0.7000 to 0.6900 (-0.0100, 95%: -0.0300 to +0.0100)",
        "right     of 900 rows 30 by the old alone, 48 by the new alone; McNemar's p = 0.054",
        "speed     1,235 rows/s, peak memory 512 MiB",
    ]


def test_a_comparison_in_which_nothing_changed() -> None:
    same = {"flips": 0, "flip_rate": 0.0, "matrix": [[1, 0, 0], [0, 0, 0], [0, 0, 0]], "quality": None}
    metrics = {
        "status": "done",
        **{side: {"path": "m"} for side in ("old", "new")},
        "comparison": {**COMPARISON, **same},
    }
    assert [line.split()[0] for line in summary(metrics, None).split("\n")] == ["status", "old", "new", "flips", "no"]


def test_gates_that_do_not_hold_are_told_with_what_helps() -> None:
    gates = [
        {"condition": "rows>=5", "value": 9, "interval": None, "verdict": "passes", "holds": True},
        {"condition": "a>=1", "value": 0.5, "interval": [0.4, 0.6], "verdict": "fails", "holds": False},
        {**UNDECIDED, "condition": "b>=0.6", "holds": False},
        {**UNDECIDED, "condition": "c>=0.6", "holds": True},
    ]
    assert unheld(gates, 1_000, "not fit") == (
        "not fit: a>=1 (it is 0.5000, 95%: 0.4000 to 0.6000); "
        "1,000 rows cannot decide b>=0.6 (it is 0.6200, 95%: 0.5000 to 0.7000): "
        "measure on more of them (of the class, if it is one's figure), or give --on-undecidable pass"
    )
    assert unheld(gates[:1] + gates[3:], 1_000, "not fit") == ""
