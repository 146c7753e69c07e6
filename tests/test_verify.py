"""The verification of an output: silent on every true one, and telling on every way to spoil one.

The forgeries are consistent: file hashes, seals and the manifest are made to fit, so that only the rows can tell.
"""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Outcome, Program
from faults import stub
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_batch.config import ScoreOptions
from sentiment_batch.read.plan import open_inputs, plan, read_chunks
from sentiment_batch.recount import recount
from sentiment_batch.score import score
from sentiment_batch.write.part import SEAL

ROWS = 90


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((stub.labeller, "tokenise"), (stub.score, "open_labeller"), (stub.evaluate, "open_labeller")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards what `install` changes
    stub.install()


def write_tsv(path: Path) -> Path:
    lines = ["id\ttext"]
    for row in range(ROWS):
        lines.append("no tab" if row % 17 == 5 else f"{row}\t" + ("" if row % 11 == 3 else f"review {row % 7}"))
    path.write_text("\n".join(lines) + "\n")
    return path


def run(out: Path, *inputs: Path, **options: Any) -> Path:
    settings = {"shard_rows": 30, "chunk_rows": 10, "max_reject_rate": 1.0, "progress": "none", **options}
    score(ScoreOptions(input=tuple(map(str, inputs)), model="stub", output=str(out), **settings))
    return out


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return run(tmp_path / "out", write_tsv(tmp_path / "dump.tsv"))


def findings(program: Program, out: Path, tmp_path: Path, *more: object) -> list[str]:
    ended = program("verify", out, "--metrics", tmp_path / "verify.json", *more)
    told = json.loads((tmp_path / "verify.json").read_text())
    assert told["exit_code"] == ended.code == (3 if told["findings"] else 0), ended.err
    return list(told["findings"])


def test_a_true_output_has_no_findings(program: Program, out: Path) -> None:
    ended = program("verify", out)
    assert (ended.code, ended.err) == (0, "")
    assert "90 in = 85 out + 5 rejected" in ended.out


def table(rows: int = ROWS) -> pa.Table:
    chance = np.random.default_rng(3)
    texts = [None if row % 13 == 4 else " " if row % 13 == 5 else f"text {chance.integers(40)}" for row in range(rows)]
    return pa.table(
        {
            "when": pa.array(chance.integers(0, 10**18, rows), pa.timestamp("ns")),
            "text": texts,
            "score": pa.array([float("nan") if row % 5 == 0 else row / 3 for row in range(rows)]),
            "tags": [[str(row)] * (row % 3) for row in range(rows)],
            "kind": pa.array([f"k{row % 4}" for row in range(rows)]).dictionary_encode(),
            "day": pa.array(range(rows), pa.date32()),
            "clock": pa.array(range(rows), pa.time64("ns")),
            "price": [Decimal(row) / 4 for row in range(rows)],
            "key": pa.ExtensionArray.from_storage(
                pa.uuid(), pa.array([bytes([row]) * 16 for row in range(rows)], pa.binary(16))
            ),
            "nested": pa.array([nested(row) for row in range(rows)], NESTED),
            "map": pa.array([[("a", row)] for row in range(rows)], pa.map_(pa.string(), pa.timestamp("ns"))),
            "pair": pa.array([[row, row] for row in range(rows)], pa.list_(pa.duration("ns"), 2)),
        }
    )


NESTED = pa.struct([("a", pa.list_(pa.float64())), ("t", pa.timestamp("ns")), ("b", pa.large_list(pa.date32()))])


def nested(row: int) -> dict[str, Any] | None:
    """What Python cannot compare, or not without pandas: not a number, and nanoseconds."""
    return None if row % 7 == 2 else {"a": [float("nan"), row], "t": row, "b": [] if row % 5 else [row, None]}


def test_true_outputs_of_every_kind_have_no_findings(program: Program, tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=17)
    pq.write_table(table(41), tmp_path / "b.parquet")
    both = (tmp_path / "a.parquet", tmp_path / "b.parquet")
    tsv = write_tsv(tmp_path / "dump.tsv")
    (tmp_path / "dump.tsv.gz").write_bytes(gzip.compress(tsv.read_bytes()))
    (tmp_path / "dump.csv").write_text('id,text\n1,"a, ""b""\nc"\n2,"open\n3,plain\n4,bad,field\n5,"x"y\n')
    (tmp_path / "bare.tsv").write_text("1\tgood\n2\tbad")
    (tmp_path / "empty.tsv").write_text("id\ttext\n")
    odd = pa.array([b"a", b"\xff", None, b"b"]).view(pa.string())
    pq.write_table(pa.table({"text": list("abcd"), "odd": odd}), tmp_path / "odd.parquet")
    for number, (inputs, options) in enumerate(
        [
            (both, {}),
            (both, {"keep_columns": ("kind", "when")}),
            (both, {"keep_columns": ("none",)}),
            (both, {"limit_rows": 100}),
            (both, {"limit_rows": 7, "prefix": "p_"}),
            ((tmp_path / "dump.tsv.gz",), {}),
            ((tmp_path / "dump.csv",), {}),
            ((tmp_path / "bare.tsv",), {"columns": ("id", "text")}),
            ((tmp_path / "empty.tsv",), {}),
            ((tmp_path / "odd.parquet",), {"chunk_rows": 1}),
        ]
    ):
        made = run(tmp_path / f"out-{number}", *inputs, **options)
        assert findings(program, made, tmp_path) == []
        assert findings(program, made, tmp_path, "--skip-inputs") == []


def test_what_is_not_published_is_not_verified(program: Program, tmp_path: Path, out: Path) -> None:
    (out / "_SUCCESS").unlink()
    assert "not published" in refused(program("verify", out))
    assert "not published" in refused(program("verify", tmp_path / "nothing"))


def refused(ended: Outcome) -> str:
    assert ended.code == 3
    return ended.err


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"schema_version": 99}', '{"schema_version": 1, "parts": [{"name": 1}]}']
)
def test_a_manifest_that_is_none_is_refused(program: Program, out: Path, content: str) -> None:
    (out / "_SUCCESS").write_text(content)
    refused(program("verify", out))


def test_names_that_lead_elsewhere_are_refused(program: Program, out: Path) -> None:
    manifest = json.loads((out / "_SUCCESS").read_text())
    manifest["parts"][1]["name"] = "../../etc/passwd"
    (out / "_SUCCESS").write_text(json.dumps(manifest))
    assert "does not number its parts" in refused(program("verify", out))


@pytest.mark.parametrize("name", ["part-00001.parquet", "_metrics.json", "_rejects"])
def test_a_file_that_is_missing_is_found(program: Program, tmp_path: Path, out: Path, name: str) -> None:
    shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    assert all("listed, but not there" in each for each in findings(program, out, tmp_path))


@pytest.mark.parametrize("name", ["part-00003.parquet", "notes.txt", "_rejects/more.jsonl", "more/part.parquet"])
def test_a_file_that_is_not_listed_is_found(program: Program, tmp_path: Path, out: Path, name: str) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("x")
    assert findings(program, out, tmp_path) == [f"{name} is there, but not listed"]


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_a_byte_that_changed_is_found(program: Program, tmp_path: Path, out: Path, place: float) -> None:
    data = bytearray((out / "part-00001.parquet").read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (out / "part-00001.parquet").write_bytes(data)
    assert ["part-00001.parquet has the SHA-256" in each for each in findings(program, out, tmp_path)] == [True]


def forge(out: Path, number: int, change: Callable[[pa.Table, dict[str, Any]], pa.Table]) -> None:
    """Change the rows (or the seal) of a part, and make hashes, seal, manifest and metrics fit what was changed."""
    path = out / f"part-{number:05d}.parquet"
    manifest = json.loads((out / "_SUCCESS").read_text())
    old = pq.read_table(path)
    seal = json.loads(pq.read_metadata(path).metadata[SEAL])
    new = change(old, seal)
    lost = len(old) - len(new)
    pq.write_table(new.replace_schema_metadata({SEAL: json.dumps(seal)}), path, row_group_size=10)
    entry = manifest["parts"][number]
    entry.update({name: seal[name] for name in ("file", "range", "rows_in", "rows_out")})
    entry.update(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    manifest["rows"]["rows_out"] -= lost
    metrics = json.loads((out / "_metrics.json").read_text())
    metrics["rows"]["out"] -= lost
    (out / "_metrics.json").write_text(json.dumps(metrics))
    manifest["metrics"]["bytes"] = (out / "_metrics.json").stat().st_size
    manifest["metrics"]["sha256"] = hashlib.sha256((out / "_metrics.json").read_bytes()).hexdigest()
    (out / "_SUCCESS").write_text(json.dumps(manifest))


def with_value(rows: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = rows.column(column).to_pylist()
    values[row] = value
    at = rows.schema.names.index(column)
    return rows.set_column(at, rows.schema.field(column), pa.array(values, rows.schema.field(column).type))


FORGERIES: dict[str, Callable[[pa.Table, dict[str, Any]], pa.Table]] = {
    "a row is lost": lambda rows, seal: pa.concat_tables([rows[:4], rows[5:]]),
    "the last row is lost": lambda rows, seal: rows[:-1],
    "a row is there twice": lambda rows, seal: pa.concat_tables([rows[:5], rows[4:]]),
    "a row is invented": lambda rows, seal: pa.concat_tables([rows, rows[:1]]),
    "a row is there twice, another not": lambda rows, seal: pa.concat_tables([rows[:5], rows[4:5], rows[6:]]),
    "two rows are swapped": lambda rows, seal: rows.take([1, 0, *range(2, len(rows))]),
    "a text is another": lambda rows, seal: with_value(rows, "text", 7, "invented"),
    "an id is another": lambda rows, seal: with_value(rows, "id", 7, "7000"),
    "a label is not the likeliest": lambda rows, seal: with_value(rows, "prob_neutral", 7, 5.0),
    "a label is unknown": lambda rows, seal: with_value(rows, "predicted_label", 7, "great"),
    "a label is missing": lambda rows, seal: with_value(rows, "predicted_label", 7, None),
    "a blank text has a label": lambda rows, seal: with_value(rows, "status", 7, "empty_text"),
    "a confidence is another": lambda rows, seal: with_value(rows, "confidence", 7, 0.5),
    "the seal is of another shard": lambda rows, seal: (seal.update(shard=0), rows)[1],
    "the seal is of another job": lambda rows, seal: (seal.update(job_id="0" * 32), rows)[1],
    "the seal has another range": lambda rows, seal: (seal["range"].__setitem__(2, 31), rows)[1],
    "the seal has other rows": lambda rows, seal: (seal.update(rows_in=29), rows)[1],
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_is_found(program: Program, tmp_path: Path, out: Path, what: str) -> None:
    forge(out, 1, FORGERIES[what])
    assert findings(program, out, tmp_path)


def test_a_forgery_that_changes_nothing_is_none(program: Program, tmp_path: Path, out: Path) -> None:
    """The control: `forge` itself leaves no trace."""
    forge(out, 1, lambda rows, seal: rows)
    assert findings(program, out, tmp_path) == []


def test_a_shard_that_is_missing_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    manifest = json.loads((out / "_SUCCESS").read_text())
    last = manifest["parts"].pop()
    (out / last["name"]).unlink()
    if last["rejects"]:
        (out / last["rejects"]["name"]).unlink()
    (out / "_SUCCESS").write_text(json.dumps(manifest))
    assert any("30 rows from row 60 on are in no part" in each for each in findings(program, out, tmp_path))


def test_rejects_that_are_no_rejects_are_found(program: Program, tmp_path: Path, out: Path) -> None:
    manifest = json.loads((out / "_SUCCESS").read_text())
    entry = manifest["parts"][0]["rejects"]
    path = out / entry["name"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["row"] += 1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry.update(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    (out / "_SUCCESS").write_text(json.dumps(manifest))
    assert any("among the rejects" in each for each in findings(program, out, tmp_path))


def test_inputs_that_moved_or_are_gone(program: Program, tmp_path: Path, out: Path) -> None:
    moved = shutil.move(tmp_path / "dump.tsv", tmp_path / "kept.tsv")
    assert "--skip-inputs" in refused(program("verify", out))
    assert program("verify", out, "--skip-inputs").code == 0
    assert program("verify", out, "--input", moved).code == 0
    assert program("verify", out, "--input", moved, "--input", moved).code == 2


def test_an_input_that_was_written_again_is_told(program: Program, tmp_path: Path, out: Path) -> None:
    (tmp_path / "dump.tsv").write_text("id\ttext\n1\tother\n")
    assert "not the file that was labelled" in refused(program("verify", out))


def test_an_input_that_was_edited_in_place_is_found(program: Program, tmp_path: Path) -> None:
    import os

    dump = tmp_path / "big.tsv"
    dump.write_text("id\ttext\n" + "".join(f"{row}\treview {row:09d}\n" for row in range(9000)))
    made = run(tmp_path / "made", dump, keep_columns=("none",), shard_rows=3000)
    before = dump.stat()
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    os.utime(dump, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert any("have changed" in each for each in findings(program, made, tmp_path))


def test_output_and_inputs_in_a_bucket(program: Program, tmp_path: Path, bucket: str) -> None:
    import obstore

    from sentiment_batch.remote import open_bucket

    store, key = open_bucket(f"{bucket}/dump.tsv")
    obstore.put(store, key, write_tsv(tmp_path / "dump.tsv").read_bytes())
    ended = program(
        *("score", f"{bucket}/dump.tsv", "--model", "stub", "--output", f"{bucket}/out", "--max-reject-rate", 1),
        *("--shard-rows", 30),
    )
    assert ended.code == 0, ended.err
    assert program("verify", f"{bucket}/out").code == 0
    store, key = open_bucket(f"{bucket}/out/part-00001.parquet")
    obstore.delete(store, key)
    assert "listed, but not there" in refused(program("verify", f"{bucket}/out"))


PIECES = [
    b"a",
    b"1",
    b'"',
    b'""',
    b",",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b" ",
    "é".encode(),
    b"\xff",
    b"\xef\xbb\xbf",
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["tsv", "csv"]),
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_two_readers_agree_on_any_bytes(
    tmp_path: Path, format: str, body: bytes, shard_rows: int, chunk_rows: int
) -> None:
    """recount.py and read/ share no code; whatever stands in the file, they see the same rows."""
    separator = b"\t" if format == "tsv" else b","
    path = tmp_path / f"x.{format}"
    start = separator.join([b"id", b"text"]) + b"\n" + separator.join([b"1", b"x" * 200]) + b"\n"  # NULs: not UTF-16
    path.write_bytes(start + body)
    inputs = open_inputs((str(path),), format, (), ("text",))
    rows: dict[int, list[str] | None] = {}
    for planned in plan(inputs, shard_rows, 2**20):
        row = planned.shard.first_row
        for chunk in read_chunks(inputs, planned, ("id", "text"), "text", chunk_rows):
            rejected = {each["row"] for each in chunk.rejects}
            kept = iter(zip(*(column.to_pylist() for column in chunk.batch.columns), strict=True))
            for number in range(row, row + chunk.rows):
                rows[number] = None if number in rejected else list(next(kept))
            row += chunk.rows
    assert list(recount(str(path), format, (), ["id", "text"], "text")) == [rows[row] for row in range(len(rows))]
