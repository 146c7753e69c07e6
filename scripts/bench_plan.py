#!/usr/bin/env python3
"""What it costs to plan a job, and how near `sentiment-batch plan` comes to the job itself.

    .venv/bin/python scripts/bench_plan.py many --model DIR [--files 20000] [--json FILE]
    .venv/bin/python scripts/bench_plan.py objects [--files 2000]
    .venv/bin/python scripts/bench_plan.py forecast --model DIR [--rows 20000]

`many` makes that many Parquet files of 500,000 rows: the pages of a real one, a hole that makes each 40 MB, and the
real one's footer. Names, and the first bytes, differ. Then, each in a process of its own: `score` up to the moment
before its first shard; the same again when claim and plan are there; the same with --parts sealed parts; and `plan`.
Seconds from the start of the process, and peak memory. The disk needs 1 GB for 20,000 files.

`objects` opens and plans so many small Parquet objects in moto's S3, on this machine.

`forecast` has `plan` look at dumps of two kinds, short and long texts, each in chance order and sorted by length, and
then times `score` on them. Both in processes of their own.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROWS, GROUPS, TEXTS, FILE_BYTES = 500_000, 5, 200, 40 * 10**6
WORDS = ["bagus", "sekali", "makanan", "enak", "pelayanan", "lambat", "kamar", "kotor", "harga", "murah", "tidak"]

# What the process does that is measured: `score` as it is, but for its end before the first shard. It ends like one
# that is killed, and leaves claim and plan.
TO_THE_FIRST_SHARD = """
import json, os, sys, time
started = float(sys.argv[1])
import sentiment_batch.score as score
from sentiment_batch.config import ScoreOptions
from sentiment_batch.measure.metrics import peak_rss_bytes
def stop(job, work, left, agree):
    told = {"seconds": time.time() - started, "peak_rss_bytes": peak_rss_bytes(), "left": left}
    told["cpu_seconds"] = time.process_time()
    print(json.dumps(told), flush=True)
    os._exit(0)
score.open_crew = stop
score.score(ScoreOptions(**json.loads(sys.argv[2])))
"""

# The same, but for some parts without rows, which it seals first. Their seals have all that a real one has.
WITH_PARTS = """
import json, os, sys
from dataclasses import astuple
import sentiment_batch.score as score
from sentiment_batch.config import ScoreOptions
from sentiment_batch.labelling import compute_of
from sentiment_batch.shards import no_counts, planned_shards
from sentiment_batch.write.part import PartWriter, part_name
import pyarrow as pa
def seal(job, work, left, agree):
    counts = no_counts(job)
    for planned in planned_shards(job, work)[: int(sys.argv[3])]:
        account = {
            "job_id": work.claim.job_id, "shard": planned.index, "file": planned.file, "range": astuple(planned.shard),
            "input_sha256": "0" * 64, "compute": compute_of(job.labeller), "rows_in": planned.shard.rows,
            "counts": counts,
        }
        with PartWriter(work.store, work.scratch, part_name(planned.index), job.schema) as part:
            part.write(pa.RecordBatch.from_pylist([], schema=job.schema), [])
            part.seal(account, lambda: None)
    print("{}", flush=True)
    os._exit(0)
score.open_crew = seal
score.score(ScoreOptions(**json.loads(sys.argv[2])))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["many", "objects", "forecast"])
    parser.add_argument("--model", help="model folder")
    parser.add_argument("--files", type=int)
    parser.add_argument("--parts", type=int, nargs="*", default=[1000], help="sealed parts that are there (many)")
    parser.add_argument("--rows", type=int, default=20_000, help="of each dump (forecast)")
    parser.add_argument("--folder", help="where to work, kept: the files of an earlier run are taken as they are")
    parser.add_argument("--json", help="also write what was measured to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        measured = {"many": many, "objects": objects, "forecast": forecast}[options.what](options, folder)
    if options.json:
        Path(options.json).write_text(json.dumps(measured, indent=2) + "\n")


def many(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    files = options.files or 20_000
    dump = folder / f"dump-{files}"
    if not dump.is_dir():
        started = time.time()
        make_files(dump, files)
        print(f"{files:,} files of {ROWS:,} rows in {time.time() - started:.0f} s")
    settings = {"input": [str(dump)], "model": options.model, "output": str(folder / "out"), "progress": "none"}
    shutil.rmtree(folder / ".out.wip", ignore_errors=True)
    measured = {name: told_by(TO_THE_FIRST_SHARD, settings) for name in ("first start", "resumed")}
    for parts in options.parts:
        told_by(WITH_PARTS, settings, parts)
        measured[f"with {parts:,} parts"] = told_by(TO_THE_FIRST_SHARD, settings)
    plan_json = folder / "plan.json"
    command = [sys.executable, "-m", "sentiment_batch", "plan", str(dump), "--model", options.model]
    started = time.time()
    subprocess.run([*command, "--metrics", str(plan_json)], check=True, stdout=subprocess.DEVNULL)
    seconds, told = time.time() - started, json.loads(plan_json.read_text())["plan"]
    measured["plan"] = {"seconds": seconds, "peak_rss_bytes": told["peak_rss_bytes"], "left": told["shards"]["count"]}
    for name, each in measured.items():
        memory = each["peak_rss_bytes"] / 2**20
        cpu = f"{each['cpu_seconds']:.1f} s of a CPU" if "cpu_seconds" in each else ""
        print(f"{name:<20}{each['seconds']:>8.1f} s {memory:>8.0f} MiB {each['left']:>9,} shards to do  {cpu}")
    return measured


def make_files(folder: Path, files: int) -> None:
    """Files whose pages and footers are true, and whose bytes between them are a hole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = random.Random(1)
    texts = sorted({" ".join(chance.choices(WORDS, k=chance.randrange(3, 40))) for _ in range(TEXTS)})
    rows = [texts[row * len(texts) // ROWS] for row in range(ROWS)]  # in runs, which take no room
    columns = {
        "review_id": pa.array(range(ROWS), pa.int64()),
        "text": pa.array(rows),
        "source": pa.array(["app"] * ROWS),
        "stars": pa.array([row % 2 for row in range(ROWS)], pa.int8()),
        "country": pa.array(["ID"] * ROWS),
    }
    real = folder.with_name("real.parquet")
    encodings = {"review_id": "DELTA_BINARY_PACKED"}
    pq.write_table(
        pa.table(columns), real, row_group_size=ROWS // GROUPS, compression="zstd", column_encoding=encodings,
        use_dictionary=["text", "source", "stars", "country"], write_page_checksum=True,
    )  # fmt: skip
    data = real.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    folder.mkdir()
    for number in range(files):
        day, part = divmod(number, 1000)
        below = folder / f"day-{day:03d}"
        below.mkdir(exist_ok=True)
        with open(below / f"part-{part:05d}-{random.Random(number).randbytes(8).hex()}.snappy.parquet", "wb") as file:
            file.write(data[:-footer])
            file.write(number.to_bytes(8, "little"))
            file.seek(FILE_BYTES - footer)
            file.write(data[-footer:])


def told_by(code: str, settings: dict[str, Any], *more: object) -> dict[str, Any]:
    """What a process says of itself on its last line."""
    command = [sys.executable, "-c", code, str(time.time()), json.dumps(settings), *map(str, more)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ})
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def objects(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import logging

    import boto3  # type: ignore[import-untyped]
    import pyarrow as pa
    import pyarrow.parquet as pq
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    settings["ENDPOINT_URL"] = f"http://{host}:{port}"
    os.environ.update({f"AWS_{name}": value for name, value in settings.items()})
    client = boto3.client("s3", endpoint_url=settings["ENDPOINT_URL"], region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    pq.write_table(pa.table({"text": ["bagus", "buruk"], "n": [1, 2]}), folder / "one.parquet")
    data = (folder / "one.parquet").read_bytes()
    for number in range(options.files or 2_000):
        client.put_object(Bucket="bucket", Key=f"dump/{number:05d}.parquet", Body=data)

    from sentiment_batch.read.plan import open_inputs, plan

    started = time.perf_counter()
    shards = plan(open_inputs(("s3://bucket/dump/",), "auto", (), ("text",)), 131_072, 2**28)
    seconds = time.perf_counter() - started
    server.stop()
    print(f"{len(shards):,} objects opened and planned in {seconds:.1f} s, of moto, which answers one after the other")
    return {"objects": len(shards), "seconds": seconds}


def forecast(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    measured = {}
    print(f"{'dump':<32}{'plan says':>30}{'score takes':>14}{'ratio':>7}{'bytes':>12}{'are':>12}{'plan took':>11}")
    for name, path in dumps(folder, options.rows):
        plan_json, score_json = folder / "plan.json", folder / "score.json"
        command = [sys.executable, "-m", "sentiment_batch"]
        rest = [str(path), "--model", options.model, "--progress", "none", "--metrics"]
        subprocess.run([*command, "plan", *rest, str(plan_json)], check=True, capture_output=True)
        shutil.rmtree(folder / "labelled", ignore_errors=True)
        output = ["--output", str(folder / "labelled")]
        subprocess.run([*command, "score", *rest, str(score_json), *output], check=True, capture_output=True)
        told, done = json.loads(plan_json.read_text()), json.loads(score_json.read_text())
        took = done["run"]["seconds"]
        says, size = told["plan"]["time"], told["plan"]["disk"]["output_bytes"]
        real = sum(part.stat().st_size for part in (folder / "labelled").glob("part-*"))
        between = f"{says['seconds']:.1f} s ({says['low']:.1f} to {says['high']:.1f})"
        print(
            f"{name:<32}{between:>30}{took:>12.1f} s{says['seconds'] / took:>7.2f}{size:>12,}{real:>12,}"
            f"{told['run']['seconds']:>9.1f} s",
            flush=True,
        )
        tokens = done["profile"]["all_tokens"] / max(1, done["rows"]["scored"])
        measured[name] = {"plan": told["plan"], "seconds": took, "bytes": real, "tokens": tokens}
    return measured


def dumps(folder: Path, rows: int) -> Iterator[tuple[str, Path]]:
    """Files of so many distinct texts, three kinds of length, in several row groups, by chance and sorted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for kind, words in (("short", (2, 12)), ("long", (40, 120))):
        chance = random.Random(kind)
        texts = [" ".join(chance.choices(WORDS, k=chance.randrange(*words))) + f" {number}" for number in range(rows)]
        for order in ("shuffled", "sorted"):
            texts = sorted(texts, key=len) if order == "sorted" else texts
            table = pa.table({"review_id": pa.array(range(rows), pa.int64()), "text": texts})
            path = folder / f"{kind}-{order}.parquet"
            pq.write_table(table, path, row_group_size=max(1, rows // 5))
            yield path.name, path
            if order == "sorted":
                path = folder / f"{kind}-{order}.tsv"
                path.write_text("review_id\ttext\n" + "".join(f"{row}\t{text}\n" for row, text in enumerate(texts)))
                yield path.name, path


if __name__ == "__main__":
    main()
