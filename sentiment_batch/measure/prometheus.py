"""A metrics JSON -> a Prometheus textfile, as node_exporter's textfile collector takes it.

The format is Prometheus' text exposition format, 0.0.4. Labels are few and of few values: what a series is of (the
`output` of a command, the `job_file` of a run and its `step`, the `model` where there is no output) is in all of them,
so that files of several jobs may lie in one folder. All series are gauges, without timestamps, which the collector
refuses. No text of a review is in them.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sentiment_batch.logs import shown
from sentiment_batch.measure.doubts import LABEL_CHARACTERS

Labels = dict[str, str]
_PREFIX = "sentiment_batch_"
_FIGURES = ("accuracy", "macro_f1", "macro_precision", "macro_recall")
_BY_CLASS = ("precision", "recall", "f1")
_INFO = ("engine", "device", "dtype", "base_model", "digest")
_HELP = {  # in the order in which they are written
    "last_run_timestamp_seconds": "When the command ended, in seconds since 1970.",
    "last_success_timestamp_seconds": "When the command ended, if it was with exit code 0.",
    "published": "Of a slice: 1 if its job is published, else 0.",
    "success": "1 if the exit code is 0, else 0; of a step of a run, of the step.",
    "exit_code": "The exit code, or of a step of a run the one that it would have had alone.",
    "done_already": "1 if there was nothing to do, and the figures are those of the run that did it.",
    "info": "1; its labels say what the figures are of.",
    "ended_timestamp_seconds": "When the run ended whose figures these are, in seconds since 1970.",
    "duration_seconds": "How long that run took.",
    "resumed": "1 if that run went on from one that was stopped or killed.",
    "rows": "Rows by what became of them: in is all, out those that the output has.",
    "predicted_rows": "Rows with this predicted label.",
    "predicted_ratio": "Share of the scored rows that have this predicted label.",
    "confidence_mean": "Mean probability of the predicted label.",
    "rows_per_second": "Rows labelled in a second, by that run alone.",
    "tokens_per_second": "Tokens labelled in a second, by that run alone.",
    "padding_ratio": "Share of the computed tokens that was padding.",
    "load_seconds": "Seconds until the model was loaded.",
    "memory_peak_bytes": "The most memory that the run had, with its workers.",
    "oom_retries": "Batches that found no room in memory and were halved.",
    "evaluation_rows": "Rows with a score and a label that the model knows.",
    "evaluation": "Accuracy and macro figures, from 0 to 1.",
    "evaluation_low": "Lower end of the figure's 95 % interval.",
    "evaluation_high": "Upper end of the figure's 95 % interval.",
    "class_evaluation": "Precision, recall and F1 of a label, from 0 to 1.",
    "class_evaluation_low": "Lower end of the figure's 95 % interval.",
    "class_evaluation_high": "Upper end of the figure's 95 % interval.",
    "calibration": "ece: expected calibration error; brier: Brier score; log_loss: mean negative log-likelihood.",
    "gate_holds": "1 if the condition holds, else 0.",
    "gate_value": "The figure that the condition is on.",
    "int8": "What optimize found: drop of macro F1 from float32, speedup over the other graph, and kept: 1 or 0.",
    "findings": "What verify found wrong.",
    "compared_rows": "Rows that have a label of both.",
    "flip_ratio": "Share of the compared rows whose label changed.",
    "flip_ratio_low": "Lower end of its 95 % interval.",
    "flip_ratio_high": "Upper end of its 95 % interval.",
    "drift_psi": "Population stability index of a night against a reference; about 0.2 and more is taken for a shift.",
    "drift_jensen_shannon": "Jensen-Shannon divergence of a night against a reference.",
    "drift_psi_worst": "The largest population stability index over the references.",
}


class _Sample(NamedTuple):
    name: str
    value: float | None
    labels: Labels = {}  # noqa: RUF012 - nobody writes to it


def prometheus_text(metrics: dict[str, Any], place: Labels, ended_at: float) -> str:
    """The textfile of a command that ended at `ended_at`, in seconds since 1970; `place` says what it is of.

    What the metrics do not have, or as null, has no series.
    """
    told: dict[str, dict[str, float]] = {name: {} for name in _HELP}
    own = {"command": metrics["command"], **place}
    _tell(told, own, _ended(metrics, ended_at))
    _tell(told, own, _of_document(metrics))
    for step, each in metrics.get("steps", {}).items():
        of_step = {**own, "step": step}
        _tell(told, of_step, [_Sample("exit_code", each["exit_code"]), _Sample("success", each["exit_code"] == 0)])
        _tell(told, of_step, _of_document(each))
    failed = metrics.get("failed_step")
    if failed and failed not in metrics.get("steps", {}):
        of_step = {**own, "step": failed}
        _tell(told, of_step, [_Sample("exit_code", metrics["exit_code"]), _Sample("success", 0)])
    return "".join(f"{line}\n" for name, series in told.items() if series for line in _lines(name, series))


def _lines(name: str, series: dict[str, float]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {_HELP[name]}"
    yield f"# TYPE {_PREFIX}{name} gauge"
    for labels, value in series.items():
        yield f"{_PREFIX}{name}{{{labels}}} {value!r}"


def _tell(told: dict[str, dict[str, float]], own: Labels, samples: Iterable[_Sample]) -> None:
    """Note the samples that have a value. Of a series that comes twice (a gate that is given twice) the last is it."""
    for name, value, labels in samples:
        if value is not None:
            pairs = (f'{key}="{_escaped(text)}"' for key, text in {**own, **labels}.items())
            told[name][",".join(pairs)] = int(value) if isinstance(value, bool) else value


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _ended(metrics: dict[str, Any], ended_at: float) -> Iterator[_Sample]:
    """How the command ended."""
    done = metrics["exit_code"] == 0
    at = round(ended_at, 3)
    yield _Sample("last_run_timestamp_seconds", at)
    yield _Sample("last_success_timestamp_seconds", at if done else None)
    yield _Sample("success", done)
    yield _Sample("exit_code", metrics["exit_code"])


def _of_document(metrics: dict[str, Any]) -> Iterator[_Sample]:
    """What there is of one metrics JSON, be it of a failure."""
    run, model = metrics["run"], metrics.get("model", {})
    info = {"status": metrics["status"], "job_id": metrics.get("job_id"), **{name: model.get(name) for name in _INFO}}
    info["night"] = metrics.get("drift", {}).get("night", {}).get("path")
    yield _Sample("info", 1, {name: shown(value) for name, value in info.items() if value is not None})
    yield _Sample("done_already", bool(metrics.get("already_done")))
    yield _Sample("published", metrics.get("slice", {}).get("published"))
    yield _Sample("ended_timestamp_seconds", datetime.fromisoformat(run["ended_at"]).timestamp())
    yield _Sample("duration_seconds", run["seconds"])
    yield _Sample("resumed", run["resumed"])
    for kind, count in metrics.get("rows", {}).items():
        yield _Sample("rows", count, {"kind": kind})
    yield from _of_predictions(metrics)
    yield from _of_evaluation(metrics.get("evaluation") or {})
    yield from _of_gates(metrics.get("gates", ()))
    for name in ("drop", "speedup", "kept"):
        yield _Sample("int8", (metrics.get("measured") or {}).get(f"int8_{name}"), {"figure": name})
    yield _Sample("findings", len(metrics["findings"]) if "findings" in metrics else None)
    yield from _of_comparison(metrics.get("comparison") or {})
    yield from _of_drift(metrics.get("drift") or {})


def _of_predictions(metrics: dict[str, Any]) -> Iterator[_Sample]:
    predictions, performance = metrics.get("predictions", {}), metrics.get("performance", {})
    names = _label_names(predictions.get("counts", ()))
    for label, name in names.items():
        yield _Sample("predicted_rows", predictions["counts"][label], {"label": name})
        yield _Sample("predicted_ratio", predictions["share"][label], {"label": name})
    yield _Sample("confidence_mean", predictions.get("mean_confidence"))
    for name in ("rows_per_second", "tokens_per_second", "load_seconds", "oom_retries"):
        yield _Sample(name, performance.get(name))
    yield _Sample("padding_ratio", performance.get("padding_share"))
    yield _Sample("memory_peak_bytes", performance.get("peak_rss_bytes"))


def _of_evaluation(evaluation: dict[str, Any]) -> Iterator[_Sample]:
    intervals, calibration = evaluation.get("intervals") or {}, evaluation.get("calibration") or {}
    yield _Sample("evaluation_rows", evaluation.get("rows"))
    for figure in _FIGURES:
        yield from _with_ends("evaluation", evaluation.get(figure), intervals.get(figure), {"figure": figure})
    per_class, ends = evaluation.get("per_class", {}), intervals.get("per_class", {})
    for label, name in _label_names(per_class).items():
        for figure in _BY_CLASS:
            labels = {"label": name, "figure": figure}
            yield from _with_ends("class_evaluation", per_class[label][figure], ends.get(label, {}).get(figure), labels)
    for figure in ("ece", "brier", "log_loss"):
        yield _Sample("calibration", calibration.get(figure), {"figure": figure})


def _with_ends(name: str, value: float | None, ends: list[float] | None, labels: Labels) -> Iterator[_Sample]:
    low, high = ends or (None, None)
    yield _Sample(name, value, labels)
    yield _Sample(f"{name}_low", low, labels)
    yield _Sample(f"{name}_high", high, labels)


def _of_gates(gates: Iterable[dict[str, Any]]) -> Iterator[_Sample]:
    """A condition that is there more than once holds if it always does."""
    holds: dict[str, bool] = {}
    for gate in gates:
        condition = shown(gate["condition"])
        holds[condition] = holds.get(condition, True) and gate["holds"]
        yield _Sample("gate_value", gate["value"], {"condition": condition})
    for condition, held in holds.items():
        yield _Sample("gate_holds", held, {"condition": condition})


def _of_comparison(comparison: dict[str, Any]) -> Iterator[_Sample]:
    intervals = comparison.get("intervals") or {}
    yield _Sample("compared_rows", comparison.get("rows"))
    yield from _with_ends("flip_ratio", comparison.get("flip_rate"), intervals.get("flip_rate"), {})


def _of_drift(drift: dict[str, Any]) -> Iterator[_Sample]:
    """By the kind of reference: what there is of one kind changes its name from night to night."""
    for measure in ("psi", "jensen_shannon"):
        found: dict[tuple[str, str], float] = {}
        for reference in drift.get("references", ()):
            for figure, value in reference[measure].items():
                if value is not None:
                    key = reference["kind"], figure
                    found[key] = max(value, found.get(key, value))
        for (kind, figure), value in found.items():
            yield _Sample(f"drift_{measure}", value, {"reference": kind, "figure": figure})
    for figure, value in drift.get("worst", {}).items():
        yield _Sample("drift_psi_worst", value, {"figure": figure})


def _label_names(labels: Iterable[str]) -> dict[str, str]:
    """The labels as they may be shown; by their numbers if one looks like a review, or two would look alike."""
    names = {label: shown(label) for label in labels}
    if len(set(names.values())) < len(names) or any(len(name) > LABEL_CHARACTERS for name in names):
        return {label: f"label {number}" for number, label in enumerate(names)}
    return names
