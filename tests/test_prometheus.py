"""measure/prometheus.py: a textfile that node_exporter's collector takes, with the figures of the metrics JSON."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Program, sample_rows, strict_json
from hypothesis import given
from hypothesis import strategies as st
from test_schema import COMPARISON, DRIFT, GATE, failure

from sentiment_batch.measure.prometheus import _HELP, prometheus_text

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]

_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")


def parsed(text: str) -> Series:
    """The series of a textfile. Strict: families in one piece, HELP and TYPE first, nothing twice, no timestamps."""
    assert text.endswith("\n")
    found: Series = {}
    seen: list[str] = []
    helped = typed = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            assert helped not in seen, "a family in one piece"
            seen.append(helped)
        elif line.startswith("# TYPE "):
            _, _, typed, kind = line.split(" ")
            assert (typed, kind) == (helped, "gauge")
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            name, labels, value = sample.groups()
            assert name == helped == typed, line
            key = (name, frozenset(pairs(labels or "").items()))
            assert key not in found, line
            found[key] = float(value)
            assert math.isfinite(found[key]), line
    return found


def pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        label = _LABEL.match(text, place)
        assert label, text[place:]
        assert not label[1].startswith("__")
        assert label[1] not in found, text
        found[label[1]] = re.sub(r"\\.", lambda escape: _ESCAPES[escape[0]], label[2])
        place = label.end()
        assert (label[3] == ",") == (place < len(text)), "no comma at the end"
    return found


def value(series: Series, name: str, /, **labels: str) -> float | None:
    """The one series of the name that has these labels among its own."""
    found = [each for (key, own), each in series.items() if key == f"sentiment_batch_{name}" and labels.items() <= own]
    assert len(found) <= 1, found
    return found[0] if found else None


SCORED: dict[str, Any] = {
    **failure(),
    **{"status": "done", "exit_code": 0, "job_id": "f00", "model": {"engine": "torch", "base_model": None}},
    "rows": {"in": 12, "out": 10, "rejected": 2, "null": 0},
    "predictions": {"counts": {"a": 6, "b": 2}, "share": {"a": 0.75, "b": 0.25}, "mean_confidence": 0.875},
    "performance": {"rows_per_second": 123.4, "padding_share": 0.1, "peak_rss_bytes": 2**30, "oom_retries": 0},
    "evaluation": {
        **{"rows": 8, "accuracy": None, "macro_f1": 0.5},
        "per_class": {"a": {"precision": 0.1, "recall": 0.2, "f1": 0.3, "rows": 5}},
        "intervals": {"macro_f1": [0.25, 0.75], "per_class": {"a": {"recall": [0.05, 0.5]}}},
        "calibration": {"ece": 0.03, "brier": None, "log_loss": 1.5},
    },
    "gates": [GATE, {**GATE, "condition": "rows>=1", "value": 8, "holds": True}],
}


def test_a_finished_job() -> None:
    series = parsed(prometheus_text(SCORED, {"output": "labelled"}, 1_800_000_000.1234))
    assert all({("command", "score"), ("output", "labelled")} <= labels for _, labels in series)
    for name in ("last_run_timestamp_seconds", "last_success_timestamp_seconds"):
        assert value(series, name) == 1_800_000_000.123
    assert (value(series, "success"), value(series, "exit_code"), value(series, "done_already")) == (1, 0, 0)
    assert value(series, "info", status="done", job_id="f00", engine="torch") == 1
    assert value(series, "ended_timestamp_seconds") == 1_769_824_801
    assert value(series, "duration_seconds") == 1.5
    assert [value(series, "rows", kind=kind) for kind in ("in", "out", "rejected", "null")] == [12, 10, 2, 0]
    assert [value(series, "predicted_ratio", label=label) for label in "ab"] == [0.75, 0.25]
    assert [value(series, "predicted_rows", label=label) for label in "ab"] == [6, 2]
    assert value(series, "confidence_mean") == 0.875
    assert (value(series, "rows_per_second"), value(series, "tokens_per_second")) == (123.4, None)
    assert value(series, "memory_peak_bytes") == 2**30
    assert value(series, "evaluation", figure="accuracy") is None, "undefined: no series, not NaN"
    ends = [value(series, f"evaluation{end}", figure="macro_f1") for end in ("", "_low", "_high")]
    assert ends == [0.5, 0.25, 0.75]
    ends = [value(series, f"class_evaluation{end}", figure="recall", label="a") for end in ("", "_low", "_high")]
    assert ends == [0.2, 0.05, 0.5]
    assert value(series, "class_evaluation_low", figure="f1") is None
    calibration = [value(series, "calibration", figure=figure) for figure in ("ece", "brier", "log_loss")]
    assert calibration == [0.03, None, 1.5]
    assert value(series, "gate_holds", condition="psi[tokens]<=0.2") == 0
    assert value(series, "gate_holds", condition="rows>=1") == 1
    assert value(series, "gate_value", condition="rows>=1") == 8


def test_a_failure() -> None:
    series = parsed(prometheus_text(failure(), {"output": "labelled"}, 1.8e9))
    assert (value(series, "success"), value(series, "exit_code")) == (0, 3)
    assert value(series, "last_run_timestamp_seconds") == 1.8e9
    assert value(series, "last_success_timestamp_seconds") is None
    assert value(series, "info", status="failed") == 1
    assert value(series, "rows") is None


def test_the_steps_of_a_run() -> None:
    steps = {"train": {**SCORED, "command": "train", "already_done": True}, "evaluate": {**SCORED, "exit_code": 9}}
    run = failure(command="run", steps=steps, failed_step="score", exit_code=6)
    series = parsed(prometheus_text(run, {"job_file": "jobs/nightly.toml"}, 1.8e9))
    assert all({("command", "run"), ("job_file", "jobs/nightly.toml")} <= labels for _, labels in series)
    steps_of = {dict(labels).get("step"): each for (name, labels), each in series.items() if name.endswith("exit_code")}
    assert steps_of == {None: 6, "train": 0, "evaluate": 9, "score": 6}
    assert [value(series, "success", step=step) for step in ("train", "evaluate", "score")] == [1, 0, 0]
    assert value(series, "evaluation", step="evaluate", figure="macro_f1") == 0.5
    assert [value(series, "done_already", step=step) for step in ("train", "evaluate")] == [1, 0]
    assert len([name for name, _ in series if name.endswith("last_run_timestamp_seconds")]) == 1


def test_other_commands() -> None:
    of_nights = [
        {"kind": "nights", "name": name, "psi": {"tokens": psi}, "jensen_shannon": {"tokens": 0.02}}
        for name, psi in (("30.json", 0.4), ("29.json", 0.05))
    ]
    metrics = failure(
        comparison=COMPARISON,
        drift={**DRIFT, "references": [*DRIFT["references"], *of_nights]},
        gates=[GATE, {**GATE, "holds": True}],
        findings=["one", "two"],
        measured={"int8_kept": True, "int8_drop": -0.01, "int8_speedup": 1.5},
    )
    series = parsed(prometheus_text(metrics, {}, 1.8e9))
    assert [value(series, f"flip_ratio{end}") for end in ("", "_low", "_high")] == [0.3, 0.1, 0.6]
    assert value(series, "drift_psi", reference="training", figure="confidence") == 2.5
    assert value(series, "drift_psi", reference="nights", figure="tokens") == 0.4
    assert value(series, "drift_jensen_shannon", reference="nights", figure="tokens") == 0.3
    assert value(series, "drift_psi_worst", figure="tokens") == 0.3
    assert value(series, "gate_holds") == 0, "for every reference, or not at all"
    assert value(series, "info", night="a.json") == 1
    assert value(series, "findings") == 2
    assert [value(series, "int8", figure=figure) for figure in ("kept", "drop", "speedup")] == [1, -0.01, 1.5]


def test_names_are_prometheus_own_way() -> None:
    for name, help in _HELP.items():
        assert re.fullmatch("[a-z][a-z0-9_]*", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), "no gauge is named so"
        assert help.endswith(".")
        assert "\\" not in help
        assert "\n" not in help


@given(st.lists(st.text(max_size=50), min_size=1, max_size=5, unique=True), st.text(max_size=50))
def test_whatever_a_label_or_a_path_is(labels: list[str], place: str) -> None:
    """All of them are told, each once."""
    counts = {label: number for number, label in enumerate(labels)}
    predictions = {"counts": counts, "share": dict.fromkeys(labels, 0.5), "mean_confidence": None}
    per_class = {label: dict.fromkeys(("precision", "recall", "f1"), 0.5) for label in labels}
    gates = [{**GATE, "condition": f"recall[{label}]>=0.5"} for label in labels]
    metrics = failure(predictions=predictions, evaluation={"per_class": per_class}, gates=gates)
    text = prometheus_text(metrics, {"output": place}, 1.8e9)
    series = parsed(text)
    told = [each for (name, _), each in series.items() if name.endswith("predicted_rows")]
    assert sorted(told) == list(range(len(labels)))
    assert all(("output", place) in own for _, own in series)


def test_no_review_is_in_it() -> None:
    review = "pelayanannya sangat lambat dan makanannya dingin sekali"
    predictions = {"counts": {"a": 1, review: 2}, "share": {"a": 0.3, review: 0.7}, "mean_confidence": 0.5}
    text = prometheus_text(failure(predictions=predictions, error=f"about {review}"), {}, 1.8e9)
    assert "lambat" not in text
    assert [value(parsed(text), "predicted_rows", label=name) for name in ("label 0", "label 1")] == [1, 2]


def test_labels_that_would_look_alike() -> None:
    labels = ["\n", "\\n"]
    predictions = {"counts": dict(zip(labels, (1, 2), strict=True)), "share": dict.fromkeys(labels, 0.5)}
    series = parsed(prometheus_text(failure(predictions=predictions), {}, 1.8e9))
    assert [value(series, "predicted_rows", label=name) for name in ("label 0", "label 1")] == [1, 2]


def test_of_a_real_job(tmp_path: Path, tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{text}\t{label}\n" for text, label in sample_rows("test")[:60])
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    gates = ("--gate", "accuracy>=0", "--gate", "accuracy>=0", "--gate", "recall[neutral]>=1")
    files = ("--metrics", "m.json", "--prometheus", "textfiles/evaluate.prom")
    command = ("evaluate", "--model", tiny_model, "--data", "a.tsv", "--output", 'an "output"', *gates, *files)
    assert program(*command).code == 9
    metrics = strict_json((tmp_path / "m.json").read_text())
    series = parsed((tmp_path / "textfiles" / "evaluate.prom").read_text())
    assert all(("output", 'an "output"') in labels for _, labels in series)
    assert value(series, "exit_code") == 9
    assert value(series, "gate_holds", condition="recall[neutral]>=1") == 0
    for figure in ("accuracy", "macro_f1", "macro_precision", "macro_recall"):
        assert value(series, "evaluation", figure=figure) == metrics["evaluation"][figure]
        assert value(series, "evaluation_low", figure=figure) == metrics["evaluation"]["intervals"][figure][0]
    for label, share in metrics["predictions"]["share"].items():
        assert value(series, "predicted_ratio", label=label) == share
    assert [path.name for path in (tmp_path / "textfiles").iterdir()] == ["evaluate.prom"]
    assert (tmp_path / "textfiles" / "evaluate.prom").stat().st_mode & 0o044 == 0o044, "others may read it"
