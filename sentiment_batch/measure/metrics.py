"""Counts -> the figures of the metrics JSON. Every figure follows from whole-number counts, at whatever scale."""

import math
import resource
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sentiment_batch.measure.calibration import MILLION
from sentiment_batch.measure.counts import Counts

SCHEMA_VERSION = 1
Metrics = dict[str, Any]


@dataclass
class Clock:
    """When a run began. Time is only ever reported, never decided on."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        return round(time.perf_counter() - self.started, 3)

    def section(self, resumed: bool = False) -> Metrics:
        return {
            "id": self.id,
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": self.seconds(),
            "resumed": resumed,
        }


def document(command: str, clock: Clock, resumed: bool = False, **sections: Any) -> Metrics:
    """A metrics JSON of a run that succeeded."""
    head = {"schema_version": SCHEMA_VERSION, "command": command, "status": "done", "exit_code": 0}
    return {**head, "run": clock.section(resumed), **sections}


def failure(command: str, clock: Clock, exit_code: int, message: str) -> Metrics:
    """A metrics JSON of a run that did not succeed: enough for a scheduler to decide."""
    status = "gate_failed" if exit_code == 9 else "stopped" if exit_code == 10 or exit_code > 128 else "failed"
    head = {"schema_version": SCHEMA_VERSION, "command": command, "status": status, "exit_code": exit_code}
    return {**head, "error": message, "run": clock.section()}


def rows_section(counts: Counts) -> Metrics:
    names = ("scored", "empty", "null", "nonfinite", "rejected", "truncated", "distinct_texts", "cached_texts")
    return {"in": counts["rows_in"], "out": counts["rows_out"], **{name: counts[name] for name in names}}


def predictions_section(counts: Counts, labels: tuple[str, ...]) -> Metrics:
    """In the order of the labels: counts that come from a seal have lost theirs."""
    scored = counts["scored"]
    predicted = {label: counts["predicted"][label] for label in labels}
    return {
        "counts": predicted,
        "share": {label: _share(number, scored) for label, number in predicted.items()},
        "mean_confidence": _share(counts["confidence_millionths"] / MILLION, scored),
    }


def peak_rss_bytes() -> int:
    """The most memory that this process had so far.

    What `getrusage` tells is that of the process which began this one, if that was more, as it is of a worker.
    """
    with suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def performance_section(
    rows: int, effort: dict[str, int], seconds: float, load_seconds: float, of_workers: int = 0
) -> Metrics:
    """Of this run alone: what an earlier, killed run of the job did is not in it.

    `effort` counts tokens, padded_tokens (padding included) and oom_retries; `seconds` are those of the rows, without
    the `load_seconds` before the first of them. `of_workers` is the peak memory of other processes of the run.
    """
    tokens, padded = effort["tokens"], effort["padded_tokens"]
    return {
        "rows_per_second": round(rows / seconds, 1) if seconds else None,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "padding_share": round(1 - tokens / padded, 4) if padded else 0.0,
        "load_seconds": load_seconds,
        "peak_rss_bytes": peak_rss_bytes() + of_workers,
        "oom_retries": effort["oom_retries"],
    }


def headline(metrics: Metrics) -> Metrics:
    """The few figures that dashboards, XCom and `jq` want, flat; ACC, F1, REC and PRE as IndoNLU names them."""
    rows, evaluation = metrics.get("rows", {}), metrics.get("evaluation")
    found = {f"rows_{name}": rows[name] for name in ("in", "scored", "rejected") if name in rows}
    found |= {"rows_kept": metrics["since"]["rows_kept"]} if "since" in metrics else {}
    for label, share in metrics.get("predictions", {}).get("share", {}).items():
        found[f"share_{label}"] = share
    if "performance" in metrics:
        found["rows_per_second"] = metrics["performance"].get("rows_per_second")
    if evaluation:
        names = {"ACC": "accuracy", "F1": "macro_f1", "REC": "macro_recall", "PRE": "macro_precision"}
        found |= {short: evaluation[name] for short, name in names.items()}
    return found


def _share(part: float, whole: int) -> float | None:
    share = part / whole if whole else math.nan
    return None if math.isnan(share) else share
