#!/usr/bin/env python3
"""What Ray costs: `score --ray local` with two workers against the same job in one process, and in two without Ray.

    scripts/setup dev && .venv/bin/python scripts/bench_ray.py [--model DIR] [--json FILE]

Each run is a whole command, in turn, on the same rows; medians. Two figures are told of each: rows a second as the
metrics have them, from when the model is loaded to when the last part is sealed; and seconds from the command to its
end, in which Ray's start is, some seconds however many rows there are. What a shard costs is told by many small ones,
by one worker each, with a model from nothing: the difference to one process, for each shard. On a machine that others
use look at the fastest round of each, too: it was disturbed the least.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = (sys.executable, "-m", "sentiment_batch")
WAYS = {
    "one process": ("--workers", "1"),
    "two workers": ("--workers", "2"),
    "two workers on Ray": ("--workers", "2", "--ray", "local"),
}
SMALL = {"one process": WAYS["one process"], "one worker on Ray": ("--workers", "1", "--ray", "local")}


def run(*arguments: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*PROGRAM, *map(str, arguments)], check=True, env=environment, stdout=subprocess.DEVNULL)


def label(dump: Path, model: Path, folder: Path, how: tuple[str, ...]) -> tuple[float, float]:
    """(the seconds that the rows took, those that the command took)."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        started = time.perf_counter()
        run("score", dump, "--model", model, "--output", f"{out}/labelled", "--progress", "none", *how)
        seconds = time.perf_counter() - started
        metrics = json.loads(Path(out, "labelled", "_metrics.json").read_text(encoding="utf-8"))
    return metrics["rows"]["in"] / metrics["performance"]["rows_per_second"], seconds


def measured(ways: dict[str, tuple[str, ...]], rounds: int, *job: Any) -> dict[str, dict[str, tuple[float, ...]]]:
    """Median and least of each way's seconds, of the rows and of the command; each round begins with another way."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            dump, model, folder, cut = job
            seen[name].append(label(dump, model, folder, (*cut, *ways[name])))
            print(f"round {number + 1}: {name}: rows {seen[name][-1][0]:.1f} s, command {seen[name][-1][1]:.1f} s")
    kinds: dict[str, Any] = {"median": statistics.median, "least": min}
    return {
        kind: {name: tuple(of(column) for column in zip(*each, strict=True)) for name, each in seen.items()}
        for kind, of in kinds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a model folder; without one the model from nothing is taken")
    parser.add_argument("--rows", type=int, default=30_000, help="(default: %(default)s)")
    parser.add_argument("--shard-rows", type=int, default=2_000, help="(default: %(default)s)")
    parser.add_argument("--shards", type=int, default=200, help="small ones, of 100 rows (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        small = folder / "model"
        data = ("--train", "sample:train", "--valid", "sample:valid", "--limit-rows", 300, "--epochs", 1)
        run("train", *data, "--base-model", "scratch", "--output", small)
        for rows in (options.rows, options.shards * 100):
            made = folder / str(rows)
            make = [sys.executable, str(ROOT / "scripts" / "make_dump.py"), "--rows", str(rows), "--format", "parquet"]
            subprocess.run([*make, "--output-folder", str(made)], check=True)
        cut = ("--shard-rows", str(options.shard_rows))
        dumps = [folder / str(rows) / "dump.parquet" for rows in (options.rows, options.shards * 100)]
        large = measured(WAYS, options.rounds, dumps[0], options.model or small, folder, cut)
        many = measured(SMALL, options.rounds, dumps[1], small, folder, ("--shard-rows", "100"))
    figures: dict[str, Any] = {"rows": options.rows, "shard_rows": options.shard_rows, "large": large, "small": many}
    print(f"\n{options.rows:,} rows in shards of {options.shard_rows:,}, {options.rounds} rounds")
    for kind, ways in large.items():
        alone, of_ray = ways["one process"], ways["two workers on Ray"]
        for way, (of_rows, of_command) in ways.items():
            print(f"{kind:8} {way:20} {options.rows / of_rows:8,.0f} rows/s {of_command:8.1f} s for the command")
        print(
            f"{kind:8} Ray to one process: {of_ray[0] / alone[0] - 1:+.1%} for the rows, {of_ray[1] - alone[1]:+.1f} s"
        )
    for kind, ways in many.items():
        overhead = 1_000 * (ways["one worker on Ray"][0] - ways["one process"][0]) / options.shards
        figures[f"{kind}_milliseconds_per_shard"] = overhead
        print(f"{kind:8} {options.shards} shards of 100 rows, one worker: {overhead:+.1f} ms for each shard")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
