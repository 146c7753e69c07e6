#!/usr/bin/env python3
"""What exactly-once costs: a shard through the whole protocol against the same rows written and nothing else.

    scripts/setup && .venv/bin/python scripts/bench_commit.py [--model DIR]

The protocol is: build in scratch, hash what is written and what was read, seal, fsync the file, link, fsync the folder;
and for each job a claim, the metrics, the manifest and a rename. The other side is a `ParquetWriter` with the same
settings. Both run in turn, on the disk of --folder; medians. With --model the cost is also given as a share of the time
that the model takes for the rows of a shard, which is what a job would notice.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch import Labeller
from sentiment_batch.measure.counts import count_rows
from sentiment_batch.read.plan import open_inputs, plan, shard_sha256
from sentiment_batch.write.commit import claim, settle_json
from sentiment_batch.write.manifest import MARKER, METRICS, manifest
from sentiment_batch.write.part import PartWriter, part_name

CHUNK_ROWS = 32_768
WORDS = ["bagus", "sekali", "makanan", "enak", "pelayanan", "lambat", "kamar", "kotor", "harga", "murah", "tidak"]


def labelled_shard(rows: int) -> tuple[pa.Table, pa.Table]:
    """(the input's rows, the same with the columns that labelling adds)."""
    chance = random.Random(1)
    texts = [" ".join(chance.choices(WORDS, k=chance.randrange(5, 60))) for _ in range(rows)]
    dump = pa.table({"id": range(rows), "text": texts})
    probabilities = [chance.random() for _ in range(rows)]
    added = {
        "predicted_label": chance.choices(["positive", "neutral", "negative"], k=rows),
        "confidence": pa.array(probabilities, pa.float32()),
        **{f"prob_{name}": pa.array(probabilities, pa.float32()) for name in ("positive", "neutral", "negative")},
        "n_tokens": pa.array([len(text) // 5 for text in texts], pa.int32()),
        "truncated": [False] * rows,
        "status": ["ok"] * rows,
    }
    return dump, pa.table({**dict(zip(dump.column_names, dump.columns, strict=True)), **added})


def plain(table: pa.Table, path: Path, shards: int) -> float:
    started = time.perf_counter()
    for shard in range(shards):
        settings = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
        with pq.ParquetWriter(path / part_name(shard), table.schema, **settings) as writer:
            for batch in table.to_batches(CHUNK_ROWS):
                writer.write_table(pa.Table.from_batches([batch]), row_group_size=CHUNK_ROWS)
    return time.perf_counter() - started


def protocol(table: pa.Table, dump: Path, out: Path, shards: int) -> float:
    inputs = open_inputs((str(dump),), "auto", (), ("text",))
    planned = plan(inputs, len(table), 2**40)[0]
    rows = table.slice(0, 100).to_batches()[0]
    counts = count_rows(rows, np.zeros(len(rows)), ("positive", "neutral", "negative"), "", None)
    started = time.perf_counter()
    work = claim(str(out), {"job": str(out)}, MARKER)
    assert not isinstance(work, dict)
    parts = []
    for shard in range(shards):
        work.check_held()
        with PartWriter(work.store, work.scratch, part_name(shard), table.schema) as part:
            for batch in table.to_batches(CHUNK_ROWS):
                part.write(batch, [])
            account = {"job_id": work.claim.job_id, "shard": shard, "file": 0, "range": [0, 0, 0, 0], "counts": counts}
            account |= {"rows_in": len(table), "input_sha256": shard_sha256(inputs, planned)}
            parts.append(part.seal(account, work.check_held))
    settle_json(work, METRICS, {"job_id": work.claim.job_id, "counts": counts})
    head = {"made_by": "bench", **work.claim.content()}
    settle_json(work, MARKER, manifest(work.store, head, parts, []))
    work.publish()
    return time.perf_counter() - started


def model_seconds(model: str, dump: pa.Table, rows: int) -> float:
    """Seconds that the model takes for so many rows."""
    labeller = Labeller(model)
    labeller.load()
    labeller(dump.slice(0, 256))
    started = time.perf_counter()
    labeller(dump.slice(0, rows))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of a shard")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--folder", help="where to write; default: the temporary folder")
    parser.add_argument("--model", help="a model folder to hold the cost against")
    parser.add_argument("--model-rows", type=int, default=4_096, help="rows to time the model on")
    options = parser.parse_args()
    dump, table = labelled_shard(options.rows)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder)
        pq.write_table(dump, path / "dump.parquet", compression="zstd")
        seconds: dict[str, list[float]] = {"plain": [], "protocol": []}
        for turn in range(options.turns):
            (path / f"plain-{turn}").mkdir()
            seconds["plain"].append(plain(table, path / f"plain-{turn}", options.shards))
            seconds["protocol"].append(protocol(table, path / "dump.parquet", path / f"out-{turn}", options.shards))
    medians = {name: statistics.median(each) / options.shards for name, each in seconds.items()}
    added = medians["protocol"] - medians["plain"]
    print(f"shards of {options.rows:,} rows, medians of {options.turns} turns of {options.shards} shards, in turn")
    print(f"written, nothing else {medians['plain'] * 1000:8.1f} ms a shard")
    print(f"whole protocol        {medians['protocol'] * 1000:8.1f} ms a shard, {added * 1000:+.1f} ms")
    if options.model:
        each = model_seconds(options.model, dump, options.model_rows) / options.model_rows * options.rows
        print(f"the model             {each * 1000:8.1f} ms a shard: the protocol adds {added / each:.3%}")


if __name__ == "__main__":
    main()
