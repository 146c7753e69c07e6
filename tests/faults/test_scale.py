"""Large jobs, killed for real at a tenth to nine tenths of the way, and memory that does not grow with rows.

Rows 3 and 5 of the matrix's figures (README.md). The quick tier proves the promises on 20,000 rows; the long tier
reports the figures on ten million.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faults.jobs import check_finished, data_files
from faults.zygote import Zygote

Tier = Callable[[int, int], int]


def write_parquet(path: Path, rows: int) -> Path:
    chance = np.random.default_rng(0)
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, 50_000):
            ids = np.arange(start, min(rows, start + 50_000))
            salts = chance.integers(0, 10**6, len(ids))
            texts = [f"review number {row} of the dump, good {salt}" for row, salt in zip(ids, salts, strict=True)]
            writer.write_table(pa.table({"id": ids, "text": texts}, schema))
    return path


def start(dump: Path, out: Path, shard_rows: int) -> subprocess.Popen[str]:
    """The program as a process of its own, with the stub in the place of the model."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", str(Path(__file__).with_name("stub.py")), "score", str(dump)),
            *("--model", "stub", "--output", str(out), "--shard-rows", str(shard_rows), "--progress", "none"),
        ],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def parts(work: Path) -> dict[str, int]:
    """The sealed parts and their inodes: a part that was made again has another."""
    return {path.name: path.stat().st_ino for path in work.glob("part-*.parquet")} if work.is_dir() else {}


def killed_with(count: int, process: subprocess.Popen[str], work: Path) -> dict[str, int]:
    """The parts that a run had sealed when it was killed, as soon as there were so many."""
    while process.poll() is None and len(parts(work)) < count:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    return parts(work)


def test_resume_at_any_share(zygote: Zygote, tmp_path: Path, tier: Tier, capsys: pytest.CaptureFixture[str]) -> None:
    rows, shard_rows = tier(20_000, 10_000_000), tier(500, 10_000)
    shards = rows // shard_rows
    dump = write_parquet(tmp_path / "dump.parquet", rows)
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole" / "out"
    with start(dump, whole, shard_rows) as process:
        process.communicate()
    assert process.returncode == 0
    expected = data_files(whole)
    assert len(expected) == shards
    for percent in (10, 25, 50, 75, 90):
        for turn in range(10):  # of a short run on a busy machine the kill may come too late
            place = tmp_path / f"{percent}-{turn}"
            place.mkdir()
            out, work = place / "out", place / ".out.wip"
            kept = killed_with(shards * percent // 100, start(dump, out, shard_rows), work)
            if not out.exists():
                break
        assert len(kept) >= shards * percent // 100, "it was killed when it had that many"
        began = time.perf_counter()
        resumed = start(dump, out, shard_rows)
        assert resumed.stderr
        line = resumed.stderr.readline()
        seconds = time.perf_counter() - began
        going_on = re.search(r"going on: (\d+) of (\d+) parts", line)
        assert going_on, line
        assert (int(going_on[1]), int(going_on[2])) == (len(kept), shards)
        _, more = resumed.communicate()
        assert resumed.returncode == 0, more
        after = parts(out)
        assert {name: after[name] for name in kept} == kept, "what was sealed was not labelled again"
        check_finished(zygote, out, expected)
        shutil.rmtree(place)
        with capsys.disabled():
            print(f"\nkilled at {percent} %: {len(kept)} of {shards} parts kept, going on after {seconds:.2f} s")


def peak_bytes(dump: Path, out: Path) -> int:
    process = start(dump, out, 10_000)
    assert process.stderr
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    process.returncode = 0
    return usage.ru_maxrss * 1024


def test_memory_does_not_grow_with_rows(tmp_path: Path, tier: Tier, capsys: pytest.CaptureFixture[str]) -> None:
    """Median of three, interleaved: the allocators of a run differ from those of the next by some MiB."""
    few, many = tier(100_000, 1_000_000), tier(400_000, 10_000_000)
    dumps = {rows: write_parquet(tmp_path / f"{rows}.parquet", rows) for rows in (few, many)}
    peaks: dict[int, list[int]] = {few: [], many: []}
    for turn in range(3):
        for rows, dump in dumps.items():
            peaks[rows].append(peak_bytes(dump, tmp_path / f"out-{rows}-{turn}"))
            shutil.rmtree(tmp_path / f"out-{rows}-{turn}")
    growth = (sorted(peaks[many])[1] - sorted(peaks[few])[1]) / 2**20
    with capsys.disabled():
        print(f"\npeak memory of {few:,} and {many:,} rows: {growth:+.1f} MiB apart")
    assert growth <= 16


def test_descriptors_do_not_grow(zygote: Zygote, tmp_path: Path) -> None:
    """A job of forty shards under a limit of 64 descriptors, of which Python and Arrow take some twenty."""
    dump = write_parquet(tmp_path / "dump.parquet", 2_000)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limit[0] > 64
    process = subprocess.run(
        [
            *("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"),
            *(sys.executable, "-W", "ignore", str(Path(__file__).with_name("stub.py")), "score", str(dump)),
            *("--model", "stub", "--output", str(tmp_path / "out"), "--shard-rows", "50"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert zygote.run("verify", tmp_path / "out").code == 0
