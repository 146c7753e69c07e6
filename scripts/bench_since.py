#!/usr/bin/env python3
"""What `score --since` saves: a dump with few new rows, all of it scored against what is new alone.

    scripts/setup && .venv/bin/python scripts/bench_since.py --model model

Two dumps are made of scripts/make_dump.py's reviews, each text once: of the first one's rows a share (--new, 5 %) is in
the second one with another text, and all are in another order. The first is labelled; then the second is labelled whole
and with --since, in turn, each in a process of its own with all usable cores; medians count. `with start` is the whole
process, with Python, the libraries and the model; `without` is from the start of the job on, less loading the model;
`cores` is what the process had of all of them together, which another one beside it changes least. With --since the
stages are timed too, one by one: what is read of the earlier output, what is looked up, the tokens of all rows, and the
model on the new ones.

It also holds both results against each other: a probability may differ in its last bits, which follow from the batch
that a text was in, and by no more than it does if the same rows are labelled in another order.
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from make_dump import make_tables
from sentiment_batch import Labeller
from sentiment_batch.config import ScoreOptions
from sentiment_batch.model.tokens import chosen, tokenise
from sentiment_batch.since import open_since, with_index

KEY = "review_id"
Figures = dict[str, Any]


def distinct_rows(rows: int) -> pa.Table:
    """So many rows of the reviews, with a text each that no other has."""
    seen: set[str] = set()
    pieces, count = [], 0
    for table in make_tables(2 * rows, seed=1):
        fresh = []
        for text in table["text"].to_pylist():
            fresh.append(bool(text and text.strip()) and text not in seen)
            seen.add(text)
        pieces.append(table.filter(pa.array(fresh)))
        count += len(pieces[-1])
        if count >= rows:
            break
    return pa.concat_tables(pieces).slice(0, rows)


def write_nights(folder: Path, rows: int, new: float) -> tuple[Path, Path]:
    """The two dumps."""
    fresh = round(rows * new)
    table = distinct_rows(rows + fresh)
    before, others = table.slice(0, rows), table.slice(rows)
    changed = before.slice(0, fresh).set_column(table.schema.get_field_index("text"), "text", others["text"])
    order = np.random.default_rng(2).permutation(rows)
    pq.write_table(before, folder / "before.parquet")
    pq.write_table(pa.concat_tables([changed, before.slice(fresh)]).take(order), folder / "after.parquet")
    return folder / "before.parquet", folder / "after.parquet"


def scored(model: str, dump: Path, out: Path, *more: str) -> Figures:
    """What one run took, in seconds."""
    command = [sys.executable, "-m", "sentiment_batch", "score", str(dump), "--model", model, "--output", str(out)]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--progress", "none", *more], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    metrics = json.loads((out / "_metrics.json").read_text())
    return {
        "with start": seconds,
        "without": metrics["run"]["seconds"] - metrics["performance"]["load_seconds"],
        "cores": usage.ru_utime + usage.ru_stime,
        "since": metrics.get("since"),
    }


def stages(model: str, before: Path, after: Path, scratch: Path) -> Figures:
    """Seconds of each piece of a run with --since, one by one, which in a run overlap; and how many rows it is of."""
    table = pq.read_table(after).combine_chunks()
    (batch,) = table.to_batches()
    found: Figures = {}
    options = ScoreOptions(input=(str(after),), model=model, output="out", since=str(before), key=(KEY,))
    since = open_since(options)
    assert since
    labeller = Labeller(model)
    found["load"] = labeller.load()

    def timed(name: str, function: Any, *given: Any) -> Any:
        started = time.perf_counter()
        made = function(*given)
        found[name] = time.perf_counter() - started
        return made

    since = timed("read the earlier output", with_index, since, scratch)
    kept = timed("look up", since.kept, batch)
    texts = batch.column("text").to_pylist()
    tokens = timed("tokens of all", tokenise, labeller.tokenizer, texts, labeller.max_length)
    new = np.ones(len(texts), bool)
    new[kept.rows] = False
    timed("model on the new", labeller.classifier.logits, chosen(tokens, new))
    return found


def difference(one: Path, other: Path) -> Figures:
    """How far two outputs of the same rows, by their key, are apart."""
    tables = [pq.read_table(path).sort_by(KEY) for path in (one, other)]
    names = [name for name in tables[0].column_names if name.startswith("prob_")]
    apart = np.stack([np.abs(tables[0][name].to_numpy() - tables[1][name].to_numpy()) for name in names])
    exact = [name for name in tables[0].column_names if name not in (*names, "confidence", "predicted_label")]
    return {
        "largest": float(apart.max()),
        "rows": int((apart > 0).any(axis=0).sum()),
        "labels": sum(a != b for a, b in zip(*(each["predicted_label"].to_pylist() for each in tables), strict=True)),
        "others": [name for name in exact if tables[0][name] != tables[1][name]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--new", type=float, default=0.05, help="share of the rows that are new")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        before, after = write_nights(folder, options.rows, options.new)
        scored(options.model, before, folder / "earlier")
        rounds: list[dict[str, Figures]] = []
        since = ("--since", str(folder / "earlier"), "--key", KEY)
        for turn in range(options.rounds):
            full = scored(options.model, after, folder / f"full-{turn}")
            rounds.append({"full": full, "since": scored(options.model, after, folder / f"since-{turn}", *since)})
        alone = stages(options.model, folder / "earlier", after, folder)
        order = np.random.default_rng(3).permutation(options.rows)
        pq.write_table(pq.read_table(after).take(order), folder / "other.parquet")
        scored(options.model, folder / "other.parquet", folder / "other")
        apart = {
            "from a full run": difference(folder / "full-0", folder / "since-0"),
            "in another order": difference(folder / "full-0", folder / "other"),
        }
    told = rounds[0]["since"]["since"]
    print(
        f"{options.rows:,} rows, {told['rows_kept']:,} kept, {told['rows_scored']:,} scored; {options.rounds} rounds\n"
    )
    print(f"{'seconds':<24}{'full':>10}{'since':>10}{'share':>10}")
    for name in ("with start", "without", "cores"):
        full, part = (statistics.median(each[kind][name] for each in rounds) for kind in ("full", "since"))
        print(f"{name:<24}{full:>10.2f}{part:>10.2f}{part / full:>10.1%}")
    whole = statistics.median(each["full"]["without"] for each in rounds)
    print(f"\n{'stages of since':<24}{'seconds':>10}{'rows/s':>10}{'of full':>10}")
    for name, seconds in alone.items():
        rows = {"load": 0, "model on the new": told["rows_scored"]}.get(name, options.rows)
        print(f"{name:<24}{seconds:>10.2f}{rows / seconds if rows else 0:>10,.0f}{seconds / whole:>10.1%}")
    print()
    for name, each in apart.items():
        print(
            f"{name}: {each['rows']:,} rows differ in a probability, by {each['largest']:.2g} at most, "
            f"{each['labels']} in the label, {each['others'] or 'none'} in other columns"
        )
    if options.json:
        Path(options.json).write_text(json.dumps({"rounds": rounds, "stages": alone, "apart": apart}, indent=1) + "\n")


if __name__ == "__main__":
    main()
