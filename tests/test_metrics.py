"""measure/metrics.py: JSON that every reader takes."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from sentiment_batch.measure.evaluation import evaluation_section
from sentiment_batch.measure.metrics import (
    Clock,
    document,
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
