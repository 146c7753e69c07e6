"""Whether a row costs the same however many there are: `score` with an engine that computes nothing."""

import json
import logging
import shutil
import statistics
from pathlib import Path
from typing import Any

from bench_ways.child import run
from bench_ways.dumps import write_long_dump
from bench_ways.table import number, table

MILLION = 10**6

log = logging.getLogger(__name__)


def measure_scale(texts: list[str], model: Path, sizes: list[int], rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds per million rows at each size: medians of interleaved rounds, without and with the start."""
    for size in sizes:
        log.info("writing %d rows ...", size)
        write_long_dump(texts, size, folder / f"{size}.parquet")
    seconds: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    for turn in range(rounds):
        for size in sizes:
            taken = _score(folder / f"{size}.parquet", model, folder)
            log.info("round %d of %d: %d rows, %.2f s", turn + 1, rounds, size, taken[0])
            seconds[size].append(taken)
    found = {}
    for size, runs in seconds.items():
        per_million = [statistics.median(times) / size * MILLION for times in zip(*runs, strict=True)]
        found[size] = {
            "runs": runs,
            "seconds_per_million": per_million[0],
            "seconds_per_million_with_start": per_million[1],
        }
    first, last = (found[size]["seconds_per_million"] for size in (sizes[0], sizes[-1]))
    return {"sizes": found, "growth": last / first - 1}


def _score(dump: Path, model: Path, folder: Path) -> tuple[float, float]:
    """(seconds of labelling, of the whole process)."""
    report, output = folder / "scale.json", folder / "scale"
    shutil.rmtree(output, ignore_errors=True)
    arguments = ["bench_ways.stub", "score", dump, "--model", model, "--output", output]
    usage = run([*arguments, "--engine", "torch", "--metrics", report, "--progress", "none"], folder / "scale.log")
    metrics = json.loads(report.read_text())
    return metrics["run"]["seconds"] - metrics["performance"]["load_seconds"], usage.seconds


def scale_table(found: dict[str, Any]) -> str:
    shown = number(2)
    rows = [
        [f"{size:,}", shown(each["seconds_per_million"]), shown(each["seconds_per_million_with_start"])]
        for size, each in found["sizes"].items()
    ]
    heads = ["rows", "seconds per million rows", "with start"]
    return f"{table(heads, rows)}\n\nfrom the first size to the last: {found['growth']:+.1%} a row"
