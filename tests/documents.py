"""Metrics JSON of every kind, made by hand: what a report is drawn from."""

import json
import random
from typing import Any

from sentiment_batch.measure.evaluation import evaluation_section, intervals_section
from sentiment_batch.measure.gates import parse_gate

LABELS = ("positive", "neutral", "negative")
MATRIX = [[682, 10, 43], [13, 100, 18], [45, 6, 343]]
ALERT = "<script>alert(1)</script>"

RUN = {
    "id": "4a6ff0b9bced4de69055d61cfa8181f7",
    "started_at": "2026-11-26T14:42:10+00:00",
    "ended_at": "2026-11-26T14:42:15+00:00",
    "seconds": 4.596,
    "resumed": False,
}
MODEL = {
    "path": "models/april",
    "base_model": "scratch",
    "digest": "70883fa30c93911b" * 4,
    "labels": list(LABELS),
    "max_length": 512,
    "engine": "torch",
    "device": "cpu",
    "dtype": "bfloat16",
    "batch_tokens": "auto",
}
PERFORMANCE = {
    "rows_per_second": 4132.8,
    "tokens_per_second": 158647.8,
    "padding_share": 0.0558,
    "load_seconds": 4.111,
    "peak_rss_bytes": 615268352,
    "oom_retries": 0,
}


def plain_json(document: dict[str, Any]) -> dict[str, Any]:
    """As it comes from its file."""
    return dict(json.loads(json.dumps(document)))


def _head(command: str, **sections: Any) -> dict[str, Any]:
    head = {"schema_version": 1, "command": command, "status": "done", "exit_code": 0, "run": RUN, "job_id": "ab" * 16}
    return plain_json({**head, **sections})


def _rows(total: int) -> dict[str, int]:
    none = dict.fromkeys(("empty", "null", "nonfinite", "rejected", "truncated", "cached_texts"), 0)
    return {"in": total, "out": total, "scored": total, "distinct_texts": total, **none}


def _predictions(matrix: list[list[int]], labels: tuple[str, ...]) -> dict[str, Any]:
    counts = {label: sum(row[place] for row in matrix) for place, label in enumerate(labels)}
    total = sum(counts.values())
    return {
        "counts": counts,
        "share": {label: count / total for label, count in counts.items()},
        "mean_confidence": 0.897,
    }


def profile(rows: int, labels: dict[str, int]) -> dict[str, Any]:
    tenth = rows // 10
    return {
        "rows": rows,
        "tokens": {
            "edges": [1, 2, 4, 8, 16, 32, 64, 128],
            "counts": [0, tenth, 0, tenth, rows - 3 * tenth, tenth, 0, 0],
        },
        "unknown_share": {"edges": [0, 0.01, 0.1, 0.5], "counts": [rows - tenth, tenth, 0, 0]},
        "confidence": {"edges": [each / 20 for each in range(20)], "counts": [0] * 18 + [tenth, rows - tenth]},
        "labels": labels,
        "unknown_tokens": 420,
        "all_tokens": 45_000,
    }


def evaluated(
    matrix: list[list[int]] | None = None, labels: tuple[str, ...] = LABELS, gates: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Of `evaluate`, with every section."""
    matrix = matrix or MATRIX
    figures, total = evaluation_section(matrix, labels), sum(map(sum, matrix))
    evaluation = {**figures, "intervals": intervals_section(matrix, labels), **_more(figures, labels)}
    return _head(
        "evaluate",
        identity={"command": "evaluate", "options": {"text_column": "text", "label_column": "label", "prefix": ""}},
        model={**MODEL, "labels": list(labels)},
        input={"files": [{"path": "data/valid.tsv", "bytes": 246974, "rows": total}]},
        rows=_rows(total),
        predictions=_predictions(matrix, labels),
        profile=profile(total, _predictions(matrix, labels)["counts"]),
        evaluation=evaluation,
        performance=PERFORMANCE,
        headline={},
        gates=[parse_gate(gate, labels).outcome(evaluation) for gate in gates],
    )


def _more(figures: dict[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    bins = [
        {"low": each / 15, "high": (each + 1) / 15, "rows": 0, "confidence": None, "accuracy": None}
        for each in range(15)
    ]
    bins[9] |= {"rows": 2, "confidence": 0.65, "accuracy": 0.5}
    bins[14] |= {"rows": figures["rows"] - 2, "confidence": 0.97, "accuracy": figures["accuracy"]}
    ends = {"accuracy": [0.6, 0.95], "macro_f1": [0.5, 0.9]}
    slices = [
        {"column": "n_tokens", "value": "1 to 7", "rows": 49, "accuracy": 0.673, "macro_f1": 0.461, "intervals": ends},
        {"column": "n_tokens", "value": "8 to 15", "rows": 0, "accuracy": None, "macro_f1": None, "intervals": None},
        {"column": "truncated", "value": "no", "rows": 1211, "accuracy": 0.9, "macro_f1": 0.87, "intervals": ends},
        {"column": "shop", "value": ALERT, "rows": 12, "accuracy": 1.0, "macro_f1": 1.0, "intervals": ends},
    ]
    return {
        "calibration": {"bins": bins, "ece": 0.08, "brier": 0.16, "log_loss": 0.28, "temperature": None},
        "slices": slices,
        "mistakes": [
            {"row": 1040, "true": labels[0], "predicted": labels[-1], "confidence": 0.994},
            {"row": 7, "true": labels[-1], "predicted": labels[0], "confidence": 0.9},
        ],
        "label_order": {"suspicious": False, "reading": None, "accuracy": None},
    }


def swapped() -> dict[str, Any]:
    """Of `evaluate`, of a model that names its labels in another order."""
    document = evaluated(MATRIX[::-1], gates=("rows>=10",))
    reading = {"positive": "negative", "neutral": "neutral", "negative": "positive"}
    document["evaluation"]["label_order"] = {"suspicious": True, "reading": reading, "accuracy": 0.893}
    return document


def scored(**rows: int) -> dict[str, Any]:
    """Of `score`, of 1,260 rows; `rows` are other counts of them."""
    document = evaluated()
    for name in ("evaluation", "gates"):
        del document[name]
    return {**document, "command": "score", "rows": {**document["rows"], **rows}}


def trained(epochs: int = 5) -> dict[str, Any]:
    history = [
        {
            **{"epoch": epoch, "train_loss": 1 / epoch, "learning_rate": 1e-3, "seconds": 20.0},
            **evaluation_section([[680 + epoch, 10, 45 - epoch], *MATRIX[1:]], LABELS),
        }
        for epoch in range(1, epochs + 1)
    ]
    data = {
        **{"train_rows": 11_000, "valid_rows": 1260, "train_blank": 3, "valid_blank": 0, "train_duplicates": 67},
        **{"train_contradictions": 2, "shared_texts": 14},
        "train_labels": {"positive": 6416, "neutral": 1148, "negative": 3436},
        "valid_labels": {"positive": 735, "neutral": 131, "negative": 394},
    }
    model = {name: MODEL[name] for name in ("path", "base_model", "digest", "labels", "max_length", "device", "dtype")}
    return _head(
        "train", model=model, data=data, evaluation=history[-1], best_epoch=epochs, epochs=history, headline={}
    )


def compared(with_labels: bool = True) -> dict[str, Any]:
    matrix = [[712, 10, 18], [9, 98, 9], [25, 15, 364]]
    by_label = {
        label: {"rows": sum(row), "flips": sum(row) - row[place], "flip_rate": 1 - row[place] / sum(row)}
        for place, (label, row) in enumerate(zip(LABELS, matrix, strict=True))
    }
    quality = {
        "rows": 1260,
        "old": {"accuracy": 0.8929, "macro_f1": 0.8647},
        "new": {"accuracy": 0.9111, "macro_f1": 0.8892},
        "difference": {"accuracy": 0.0182, "macro_f1": 0.0245},
        "intervals": {"accuracy": [0.004, 0.033], "macro_f1": [0.0033, 0.0461]},
        "mcnemar": {"only_old_right": 28, "only_new_right": 51, "statistic": 6.13, "p_value": 0.0133, "exact": False},
    }
    comparison = {
        **{"rows": 1260, "flips": 86, "flip_rate": 86 / 1260},
        "intervals": {"level": 0.95, "flip_rate": [0.055, 0.083]},
        **{"labels": list(LABELS), "matrix": matrix},
        "by_label": {label: {**each, "interval": [0.01, 0.2]} for label, each in by_label.items()},
        "changed": [
            {
                **{"row": 12, "true": "negative", "old": "positive", "new": "negative"},
                **{"old_confidence": 0.97, "new_confidence": 0.93, "change": 0.9},
            }
        ],
        "quality": quality if with_labels else None,
    }
    old = {"path": "models/march", "kind": "model", "digest": "cd" * 32, "base_model": "scratch"}
    files = {"files": [{"path": "data/valid.tsv", "bytes": 246974, "rows": 1260}]}
    return _head("compare", old=old, new={**old, "path": "models/april"}, input=files, comparison=comparison)


def drifted() -> dict[str, Any]:
    psi = {"tokens": 0.31, "unknown_share": 0.12, "confidence": None, "labels": 0.08}
    near, chance = dict.fromkeys(psi, 0.01), {**dict.fromkeys(psi, 0.02), "confidence": None}
    same = {"jensen_shannon": near, "chance": chance}
    references = [
        {"kind": "training", "name": "models/april", "rows": 1260, "psi": psi, **same},
        {"kind": "nights", "name": "7 nights", "rows": 140_000, "psi": near, **same},
    ]
    night = {"path": "labelled/_metrics.json", "ended_at": "2026-11-25T02:10:00+00:00", "rows": 20_000}
    gate = {"condition": "psi[tokens]<=0.2", "value": 0.31, "interval": None, "verdict": "fails", "holds": False}
    return _head("drift", drift={"night": night, "references": references, "worst": psi}, gates=[gate])


def of_many_labels(count: int = 100) -> dict[str, Any]:
    """Of `evaluate`, with names that mean something to HTML, to TeX, or to whoever writes from right to left."""
    odd = (ALERT, "$x^2$ @3@ #000001 & \"'", "עברית עברית עברית", "😀" * 10, "a\nb\u202ec", "W" * 10_000, "")
    labels = (*odd, *(f"kategori {number}" for number in range(count - len(odd))))
    chance = random.Random(0)
    matrix = [[chance.choice([0, 0, 0, 1]) + 20 * (row == column) for column in range(count)] for row in range(count)]
    metrics = evaluated(matrix, labels)
    metrics["model"]["path"] = "w" * 5_000
    return metrics


ALL = {
    "evaluate": lambda: evaluated(gates=("macro_f1>=0.80", "recall[neutral]>=0.75", "accuracy>=0.95")),
    "swapped": swapped,
    "score": scored,
    "train": trained,
    "compare": compared,
    "drift": drifted,
    "many": of_many_labels,
}
