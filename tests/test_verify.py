"""The verification of an output: silent on every true one, and telling on every way to spoil one.

The forgeries are consistent: file hashes, seals and the manifest are made to fit, so that only the rows can tell.
"""

import errno
import gzip
import hashlib
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Outcome, Program, time_limit
from faults import stub
from faults.forge import Forger, sign, write_part
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_batch.config import ScoreOptions, VerifyOptions
from sentiment_batch.errors import InputError, OutputConflict
from sentiment_batch.read import parquet
from sentiment_batch.read.plan import open_inputs, plan, read_chunks
from sentiment_batch.recount import recount
from sentiment_batch.score import score
from sentiment_batch.verify import verify
from sentiment_batch.write.claim import job_id
from sentiment_batch.write.commit import open_store

ROWS = 90


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub.install_for(monkeypatch)


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


def test_a_true_output_has_no_findings(program: Program, tmp_path: Path, out: Path) -> None:
    ended = program("verify", out)
    assert (ended.code, ended.err) == (0, "")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and path.name != "_SUCCESS")
    told = [
        f"verified  {out} is as it was published",
        f"recounted 3 parts, 3 files of rejects, {size:,} bytes",
        "rows      90 in = 85 out + 5 rejected",
        "inputs    1 read again, row by row",
    ]
    assert ended.out.splitlines() == told
    told[-1] = "inputs    not looked at: the output alone was recounted"
    assert program("verify", out, "--skip-inputs").out.splitlines() == told
    one = run(tmp_path / "one", tmp_path / "dump.tsv", shard_rows=ROWS)
    assert "recounted 1 part, 1 file of rejects, " in program("verify", one).out


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
    pq.write_table(table().slice(0, 0), tmp_path / "none.parquet")
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
            ((tmp_path / "none.parquet",), {}),
            ((tmp_path / "none.parquet", *both), {"label_column": "kind"}),
            ((tmp_path / "dump.csv",), {"limit_rows": 2, "keep_columns": ("none",)}),
        ]
    ):
        made = run(tmp_path / f"out-{number}", *inputs, **options)
        assert findings(program, made, tmp_path) == []
        assert findings(program, made, tmp_path, "--skip-inputs") == []


def not_utf8(type: pa.DataType) -> pa.Array:
    """Strings of the type, some of whose bytes nobody looked at."""
    some = pa.array([b"a", b"\xff", None, b"\xed\xa0\x80", b"a", b"\xfe"], pa.binary())
    if not pa.types.is_dictionary(type):
        return some.cast(pa.large_binary()).view(type) if pa.types.is_large_string(type) else some.view(type)
    encoded = some.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(type.index_type), encoded.dictionary.view(pa.string()))


TEXTS = [pa.string(), pa.large_string(), *(pa.dictionary(indices, pa.string()) for indices in (pa.int8(), pa.int32()))]


@pytest.mark.parametrize("type", TEXTS, ids=str)
def test_a_text_that_is_no_utf8_is_a_reject_to_both_readers(
    program: Program, tmp_path: Path, type: pa.DataType
) -> None:
    pq.write_table(pa.table({"text": not_utf8(type), "n": range(6)}), tmp_path / "a.parquet", row_group_size=4)
    made = run(tmp_path / "out", tmp_path / "a.parquet", shard_rows=5)
    assert pq.read_table(made).column("n").to_pylist() == [0, 2, 4]
    assert findings(program, made, tmp_path) == []


@pytest.mark.parametrize("type", TEXTS[:2], ids=str)
def test_other_strings_that_are_no_utf8_are_held_against_the_input_as_bytes(
    program: Program, tmp_path: Path, type: pa.DataType
) -> None:
    columns = {"text": list("fbadce"), "other": not_utf8(type)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    made = run(tmp_path / "out", tmp_path / "a.parquet")
    assert findings(program, made, tmp_path) == []
    forger = Forger(made)
    rows, seal = forger.part(0)
    other = rows.column("other").take(pa.array([0, 5, 2, 3, 4, 5]))
    forger.put(0, rows.set_column(1, "other", other), seal)
    forger.sign()
    assert findings(program, made, tmp_path) == [
        "part-00000.parquet, row 1: the column 'other' is not that of the input's row"
    ]


_STRUCT = pa.struct([("n", pa.int64()), ("at", pa.timestamp("us"))])
INT96: dict[str, Callable[[list[int]], pa.Array]] = {
    "plain": lambda moments: pa.array([*moments, None], pa.timestamp("us")),
    "list": lambda moments: pa.array([[None, *moments], None, []], pa.list_(pa.timestamp("us"))),
    "pair": lambda moments: pa.array([moments, None], pa.list_(pa.timestamp("us"), 2)),
    "struct": lambda moments: pa.array([*({"n": 7, "at": moment} for moment in moments), None], _STRUCT),
    "map": lambda moments: pa.array([[("k", moment)] for moment in moments], pa.map_(pa.string(), pa.timestamp("us"))),
    "deep": lambda moments: pa.array([[{"n": 7, "at": moment}] for moment in moments], pa.list_(_STRUCT)),
}


@pytest.mark.parametrize("kind", INT96)
def test_int96_timestamps_that_a_scorer_would_wrap_are_found(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The scorer refuses them; so that this can be seen it is made not to."""
    year_2024, year_9999 = 1_704_070_923_000_004, 253_402_214_400_000_000
    for name, moments in (("near", [year_2024, -1]), ("far", [year_2024, year_9999])):
        column = INT96[kind](moments)
        table = pa.table({"text": [f"text {row}" for row in range(len(column))], "at": column})
        pq.write_table(table, tmp_path / f"{name}.parquet", use_deprecated_int96_timestamps=True)
    assert findings(program, run(tmp_path / "near", tmp_path / "near.parquet"), tmp_path) == []
    with pytest.raises(InputError, match="INT96"):
        run(tmp_path / "far", tmp_path / "far.parquet")
    monkeypatch.setattr(parquet, "column_that_wraps", lambda *_: None)
    found = findings(program, run(tmp_path / "far", tmp_path / "far.parquet"), tmp_path)
    row = 0 if kind in ("list", "pair") else 1
    assert found == [f"part-00000.parquet, row {row}: the column 'at' is not that of the input's row"]


def test_what_is_not_published_is_not_verified(program: Program, out: Path) -> None:
    (out / "_SUCCESS").unlink()
    assert "not published" in refused(program("verify", out))


def test_what_is_no_output_at_all_is_said(program: Program, tmp_path: Path, out: Path, bucket: str) -> None:
    """None of it is to be removed: it may be whole, and somebody's."""
    names = {
        "model": ("config.json", "model.safetensors", "tokenizer.json"),
        "evaluation": ("metrics.json", "predictions.parquet"),
        "nothing": (),
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).write_text("{}")
    (tmp_path / "blob").write_text("")
    (tmp_path / "model" / "config.json").unlink()
    (tmp_path / "model" / "config.json").symlink_to(tmp_path / "blob")  # as in a cache of the Hub
    cases = {
        tmp_path / "model": "is a model; verify is for the outputs of `score`",
        tmp_path / "evaluation": "is an evaluation; verify is for the outputs of `score`",
        tmp_path / "missing": "no such output: ",
        tmp_path / "nothing": "no such output: ",
        f"{bucket}/missing": "no such output: s3://",
        out / "_SUCCESS": "is a file; verify is for the folder",
        tmp_path / "blob" / "out": "is a file; verify is for the folder",
    }
    for place, said in cases.items():
        told = refused(program("verify", place))
        assert said in told, place
        assert "remove" not in told, place


def refused(ended: Outcome) -> str:
    assert ended.code == 3
    return ended.err


SPARK = '{"name": "org.apache.hadoop.fs.s3a.commit.files.SuccessData/1", "success": true}'


@pytest.mark.parametrize("content", ["", SPARK, "[]", "{}", '{"schema_version": 99}', "[" * 10**5, "\0"])
def test_a_marker_of_another_program_is_not_taken_for_a_damaged_one(program: Program, out: Path, content: str) -> None:
    (out / "_SUCCESS").write_text(content)
    told = refused(program("verify", out))
    assert "_SUCCESS is no manifest of `score` (Spark and Hadoop write files of this name, too)" in told
    assert "damaged" not in told


@pytest.mark.parametrize("change", [lambda data: data[:-5], lambda data: data + b" ", lambda data: b"[" + data + b"]"])
def test_a_manifest_that_is_damaged_is_refused(program: Program, out: Path, change: Callable[[bytes], bytes]) -> None:
    (out / "_SUCCESS").write_bytes(change((out / "_SUCCESS").read_bytes()))
    assert "_SUCCESS is damaged" in refused(program("verify", out))


def test_a_manifest_of_another_version_is_refused(program: Program, out: Path) -> None:
    sign(out, {**json.loads((out / "_SUCCESS").read_text()), "schema_version": 99})
    assert "is of the schema version 99; this program knows 1" in refused(program("verify", out))


def test_what_another_job_is_replacing_is_not_published(program: Program, out: Path) -> None:
    job = json.loads((out / "_SUCCESS").read_text())["job_id"]
    (out / ".claim.json").write_text(json.dumps({"job_id": job}))
    assert program("verify", out).code == 0, "one that grew in place, and whose claim is there"
    (out / ".claim.json").write_text(json.dumps({"job_id": "0" * 32}))
    assert "is of another job than .claim.json" in refused(program("verify", out))


def test_what_is_said_of_a_damaged_manifest_helps(program: Program, tmp_path: Path, out: Path) -> None:
    """A job goes on with nothing that it finds in its output's place; so what lies there must go."""
    dump = tmp_path / "dump.tsv"
    for damage in ("flip", "cut", "remove"):
        data = bytearray((out / "_SUCCESS").read_bytes())
        data[data.index(b"job_id")] ^= 1
        (out / "_SUCCESS").unlink()
        if damage != "remove":
            (out / "_SUCCESS").write_bytes(data if damage == "flip" else data[:100])
        said = refused(program("verify", out))
        assert "remove " in said
        assert "run " in said
        with pytest.raises(OutputConflict):
            run(out, dump)
        shutil.rmtree(out)
        assert "remove " not in refused(program("verify", out)), "there is nothing to remove"
        run(out, dump)
        assert program("verify", out).code == 0


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_what_is_said_of_a_damaged_output_is_true(
    program: Program, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    out = f"{request.getfixturevalue('bucket')}/out" if kind == "bucket" else str(tmp_path / "out")
    score_it = ("score", write_tsv(tmp_path / "dump.tsv"), "--model", "stub", "--output", out, "--max-reject-rate", 1)
    assert program(*score_it).code == 0
    store = open_store(out)
    data = bytearray(store.read("part-00000.parquet") or b"")
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    store.delete("part-00000.parquet")
    ended = program(*score_it)
    assert ended.code == 4
    assert "remove the output and run again" in ended.err
    assert "done already" not in ended.err
    assert store.create("part-00000.parquet", tmp_path / "damaged")
    said = refused(program("verify", out))
    assert "remove the whole output and run its job again to make it anew" in said
    assert '`score` makes nothing again, and says "done already" if the sizes are right' in said
    again = program(*score_it)
    assert again.code == 0
    assert "done already" in again.err
    assert "SHA-256" in refused(program("verify", out))
    if kind == "folder":
        shutil.rmtree(out)
    else:
        for name in store.sizes():
            store.delete(name)
    assert program(*score_it).code == 0
    assert program("verify", out).code == 0


def test_what_is_no_fault_of_the_outputs_files_is_no_reason_to_remove_them(
    program: Program, tmp_path: Path, out: Path
) -> None:
    whole = (tmp_path / "dump.tsv").read_bytes()
    stray = "what is named here may be taken away, and nothing else"
    for name in ("part-00009.parquet", ".hidden/x"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("x")
        assert stray in refused(program("verify", out))
        (out / name).unlink()
    assert stray in refused(program("verify", out)), "the hidden folder"
    (out / ".hidden").rmdir()
    (tmp_path / "big.tsv").write_bytes(whole + b"91\treview\n" * 20_000)
    big = run(tmp_path / "big", tmp_path / "big.tsv", shard_rows=5000)
    data = bytearray((tmp_path / "big.tsv").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "big.tsv").write_bytes(data)
    said = refused(program("verify", big))
    assert "the output's own files are as they were published: give the input as it was with --input" in said
    assert "remove" not in said
    (out / "part-00000.parquet").rename(tmp_path / "part")
    (out / "part-00000.parquet").symlink_to(tmp_path / "part")
    assert "put the file itself in its place" in refused(program("verify", out))


@pytest.mark.parametrize("place", ["parts", "rejects", "metrics"])
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "part-00000.parquet", "_rejects/x", ""])
def test_names_that_lead_elsewhere_are_refused(program: Program, out: Path, place: str, name: str) -> None:
    manifest = json.loads((out / "_SUCCESS").read_text())
    file = manifest["metrics"] if place == "metrics" else manifest["parts"][1]
    (file["rejects"] if place == "rejects" else file)["name"] = name
    sign(out, manifest)
    assert f"name is {name}" in refused(program("verify", out))


def link(path: Path) -> None:
    target = path.with_name("." + path.name)
    path.rename(path.parent.parent / target.name)
    path.symlink_to(path.parent.parent / target.name)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["part-00001.parquet", "_metrics.json", "_SUCCESS", "_rejects"])
@pytest.mark.parametrize("kind", [link, fifo])
def test_what_is_no_file_is_found(
    program: Program, tmp_path: Path, out: Path, kind: Callable[[Path], None], name: str
) -> None:
    if name == "_rejects" and kind is fifo:
        name = str(next(out.glob("_rejects/*")).relative_to(out))
    kind(out / name)
    with time_limit(10):
        assert findings(program, out, tmp_path) == [f"{name} is a link, or no file at all"]


def test_a_hidden_folder_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    (out / ".more").mkdir()
    shutil.copy(out / "part-00000.parquet", out / ".more" / "part-00000.parquet")
    assert findings(program, out, tmp_path) == [".more is a hidden folder, which is not of the output"]


def test_an_output_behind_a_link_is_looked_at(program: Program, tmp_path: Path, out: Path) -> None:
    (tmp_path / "latest").symlink_to(out)
    assert findings(program, tmp_path / "latest", tmp_path) == []


@pytest.mark.parametrize("name", ["part-00001.parquet", "_metrics.json", "_rejects"])
def test_a_file_that_is_missing_is_found(program: Program, tmp_path: Path, out: Path, name: str) -> None:
    shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    assert all("listed, but not there" in each for each in findings(program, out, tmp_path))


@pytest.mark.parametrize("name", ["part-00003.parquet", "notes.txt", "_rejects/more.jsonl", "more/part.parquet"])
def test_a_file_that_is_not_listed_is_found(program: Program, tmp_path: Path, out: Path, name: str) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("x")
    assert findings(program, out, tmp_path) == [f"{name} is there, but not listed"]


@pytest.mark.parametrize("turn", [1, 12])
def test_an_output_that_changed_hands_has_its_turn_in_every_name(
    program: Program, tmp_path: Path, out: Path, turn: int
) -> None:
    forger = Forger(out)
    forger.hand_over(turn)
    forger.sign()
    names = [part["name"] for part in forger.manifest["parts"]]
    assert names == [f"part-{number:05d}-{turn}.parquet" for number in range(3)]
    assert findings(program, out, tmp_path) == []
    assert findings(program, out, tmp_path, "--skip-inputs") == []


@pytest.mark.parametrize("turn", [0, 1, 12])
@pytest.mark.parametrize("other", ["", "-0", "-2", "-01", "-012", "-1-1", "-x"])
def test_a_name_of_another_turn_than_the_manifests_is_refused(
    program: Program, out: Path, turn: int, other: str
) -> None:
    forger = Forger(out)
    forger.hand_over(turn)
    part = forger.manifest["parts"][1]
    for file, name in (
        (part, f"part-00001{other}.parquet"),
        (part["rejects"], f"_rejects/_part-00001{other}-{part['rejects']['sha256'][:8]}.jsonl"),
    ):
        right, file["name"] = file["name"], name
        sign(out, forger.manifest)
        if name != right:
            assert f"name is {name}" in refused(program("verify", out))
        file["name"] = right


@pytest.mark.parametrize("turn", [".0", ".01", ".x", ".", ".1.2", ".-1", ".\u0661", "." + "9" * 5000])
def test_a_turn_that_is_none_is_refused(program: Program, out: Path, turn: str) -> None:
    manifest = json.loads((out / "_SUCCESS").read_text())
    sign(out, {**manifest, "job_id": manifest["job_id"] + turn})
    assert "job_id is not that of its identity" in refused(program("verify", out))


def test_a_seal_of_another_turn_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    forger.hand_over(1)
    rows, seal = forger.part(1)
    forger.put(1, rows, seal, job_id=seal["job_id"].replace(".1", ".2"))
    forger.sign()
    assert findings(program, out, tmp_path) == ["part-00001-1.parquet: its seal is of another job or shard"]


def test_what_an_earlier_job_left_is_told_from_what_is_of_nobody(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    forger.hand_over(3)
    forger.sign()
    earlier = ["_rejects/_part-00007-12345678.jsonl", "_rejects/_part-00000-2-0123abcd.jsonl", "part-00001.parquet"]
    earlier += ["part-00001-2.parquet", "part-123456.parquet"]
    others = ["_rejects/_part-00001-4-0123abcd.jsonl", "_rejects/_part-00001-3-0123abcd.jsonl", "part-00001-4.parquet"]
    others += ["part-00007-3.parquet", "part-00001-02.parquet", "part-00001-0.parquet", "part-1.parquet"]
    others += ["_rejects/_part-00001-2-0123ABCD.jsonl", "more/part-00001.parquet"]
    for name in (*earlier, *others):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("x")
    found = findings(program, out, tmp_path)
    assert sorted(found) == sorted(
        [f"{name} was left by an earlier job; the next run of `score` removes it" for name in earlier]
        + [f"{name} is there, but not listed" for name in others]
    )


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_a_byte_that_changed_is_found(program: Program, tmp_path: Path, out: Path, place: float) -> None:
    data = bytearray((out / "part-00001.parquet").read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (out / "part-00001.parquet").write_bytes(data)
    assert ["part-00001.parquet has the SHA-256" in each for each in findings(program, out, tmp_path)] == [True]


def with_value(rows: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = rows.column(column).to_pylist()
    values[row] = value
    at = rows.schema.names.index(column)
    return rows.set_column(at, rows.schema.field(column), pa.array(values, rows.schema.field(column).type))


def with_values(rows: pa.Table, row: int, **values: object) -> pa.Table:
    for column, value in values.items():
        rows = with_value(rows, column, row, value)
    return rows


def with_odds(rows: pa.Table, positive: float, neutral: float, negative: float) -> pa.Table:
    odds = {"prob_positive": positive, "prob_neutral": neutral, "prob_negative": negative}
    return with_values(rows, 7, predicted_label="positive", confidence=positive, **odds)


NOTHING = dict.fromkeys(("predicted_label", "confidence", "prob_positive", "prob_neutral", "prob_negative"))
UNSCORED = {**NOTHING, "n_tokens": 0, "truncated": False}

# What is made of the rows of the second part, 30 to 59 of the input (39 and 56 are rejects), and what must be said.
FORGERIES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "a row is lost": (lambda rows: pa.concat_tables([rows[:4], rows[5:]]), "row 4: the column 'id'"),
    "the last row is lost": (lambda rows: rows[:-1], "row 59 of the input is neither in it nor among its rejects"),
    "a row is there twice": (lambda rows: pa.concat_tables([rows[:5], rows[4:]]), "row 5: the column 'id'"),
    "a row is invented": (
        lambda rows: pa.concat_tables([rows, rows[:1]]),
        "row 28: the rows of its input end before it",
    ),
    "one twice, another not": (
        lambda rows: pa.concat_tables([rows[:5], rows[4:5], rows[6:]]),
        "row 5: the column 'id'",
    ),
    "two rows are swapped": (lambda rows: rows.take([1, 0, *range(2, len(rows))]), "row 0: the column 'id'"),
    "a text is another": (lambda rows: with_value(rows, "text", 7, "invented"), "row 7: the column 'text'"),
    "an id is another": (lambda rows: with_value(rows, "id", 7, "7000"), "row 7: the column 'id'"),
    "a label is not the likeliest": (lambda rows: with_value(rows, "prob_neutral", 7, 5.0), "row 7: the label"),
    "a probability is no number": (lambda rows: with_value(rows, "prob_neutral", 7, float("nan")), "row 7: the label"),
    "a probability is missing": (lambda rows: with_value(rows, "prob_neutral", 7, None), "row 7: the label"),
    "a probability is infinite": (
        lambda rows: with_odds(rows, float("inf"), 0.0, 0.0),
        "row 7: the probabilities sum to inf",
    ),
    "a probability is negative": (lambda rows: with_odds(rows, 1.5, -0.5, 0.0), "the lowest is -0.5"),
    "probabilities are too low": (lambda rows: with_odds(rows, 0.5, 0.2, 0.2), "row 7: the probabilities sum to 0.9"),
    "a label is unknown": (lambda rows: with_value(rows, "predicted_label", 7, "great"), "row 7: the label 'great'"),
    "a label is missing": (lambda rows: with_value(rows, "predicted_label", 7, None), "row 7: the status is ok"),
    "a blank text has a label": (
        lambda rows: with_value(rows, "status", 7, "empty_text"),
        "row 7: the status is empty",
    ),
    "a status is unknown": (lambda rows: with_value(rows, "status", 7, "fine"), "row 7: the status is fine"),
    "a status is missing": (lambda rows: with_value(rows, "status", 7, None), "row 7: the status is None"),
    "a confidence is another": (lambda rows: with_value(rows, "confidence", 7, 0.5), "row 7: the label"),
    "a confidence without a label": (
        lambda rows: with_values(rows, 7, **{**NOTHING, "confidence": 0.5}, status="nonfinite_score"),
        "row 7: the status is nonfinite_score, but there are probabilities",
    ),
    "a text is said to be blank": (
        lambda rows: with_values(rows, 7, **UNSCORED, status="empty_text"),
        "row 7: the status is empty_text, which the input's text is not",
    ),
    "a text is said to be null": (
        lambda rows: with_values(rows, 7, **UNSCORED, status="null_text"),
        "row 7: the status is null_text, which the input's text is not",
    ),
    "tokens without a text": (lambda rows: with_value(rows, "n_tokens", 6, 9), "row 6: the status is empty_text, but"),
    "no tokens": (lambda rows: with_value(rows, "n_tokens", 7, 0), "row 7: 0 tokens, where there are 1 to 512"),
    "too many tokens": (
        lambda rows: with_value(rows, "n_tokens", 7, 513),
        "row 7: 513 tokens, where there are 1 to 512",
    ),
    "the columns have changed names": (
        lambda rows: rows.rename_columns(["text", "id", *rows.schema.names[2:]]),
        "its column 0 is not 'id'",
    ),
    "a column is of another type": (
        lambda rows: rows.set_column(0, "id", rows.column(0).cast(pa.int64())),
        "the column 'id' holds int64, not string",
    ),
    "a column is added": (lambda rows: rows.append_column("more", rows.column(0)), "it has 11 columns, not 10"),
    "a column is put in": (lambda rows: rows.add_column(2, "more", rows.column(0)), "its column 2 is not 'predicted"),
    "a column is taken away": (lambda rows: rows.drop_columns(["id"]), "its column 0 is not 'id'"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_of_rows_is_found(program: Program, tmp_path: Path, out: Path, what: str) -> None:
    change, said = FORGERIES[what]
    forger = Forger(out)
    rows, seal = forger.part(1)
    forger.put(1, change(rows), seal)
    forger.sign()
    assert said in findings(program, out, tmp_path)[0]


def test_what_only_the_model_can_tell_is_not_found(program: Program, tmp_path: Path, out: Path) -> None:
    """The control of all forgeries: signing again leaves no trace, and a label that contradicts nothing passes."""
    forger = Forger(out)
    rows, seal = forger.part(1)
    forger.put(1, with_odds(rows, 0.5, 0.25, 0.25), seal)
    forger.sign()
    assert findings(program, out, tmp_path) == []


def moved(seal: dict[str, Any], place: int, by: int) -> list[int]:
    return [number + by * (at == place) for at, number in enumerate(seal["range"])]


SEALS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "of another shard": (lambda seal: {"shard": 0}, "its seal is of another job or shard"),
    "of another job": (lambda seal: {"job_id": "0" * 32}, "its seal is of another job or shard"),
    "begins later": (
        lambda seal: {"range": moved(seal, 2, 1)},
        "begins at row 31 of its input, the part before it ends",
    ),
    "has a row less": (
        lambda seal: {"range": moved(seal, 3, -1), "rows_in": 29},
        "part-00002.parquet begins at row 60 of its input, the part before it ends at 59",
    ),
    "says a row less": (
        lambda seal: {"rows_in": 29},
        "_SUCCESS of part-00001.parquet says 29 rows_in, 30 were counted",
    ),
    "begins at another byte": (lambda seal: {"range": moved(seal, 0, 1)}, "is not what follows the part before it"),
    "ends at another byte": (
        lambda seal: {"range": moved(seal, 1, 1)},
        "part-00002.parquet: its range [651, 990, 60, 30] is not what follows the part before it",
    ),
    "ends behind the file": (lambda seal: {"range": moved(seal, 1, 2**50)}, "is not what follows the part before it"),
    "of other bytes": (lambda seal: {"input_sha256": "0" * 64}, "have changed"),
    "of another input": (lambda seal: {"file": 1}, "parts[1].file is 1, of 1 inputs"),
    "without rejects": (lambda seal: {"rejects": None}, "is there, but not listed"),
    "says a reject less": (lambda seal: {"rejected": 1}, "has 2 rows, 1 are listed"),
    "says other labels": (
        lambda seal: {"counts": {**seal["counts"], "predicted": {"positive": 1, "neutral": 2, "negative": 3}}},
        "the seal of part-00001.parquet says 1 positive",
    ),
    "made on another device": (
        lambda seal: {"compute": {**seal["compute"], "device": "cuda"}},
        "part-00001.parquet was made with torch cuda float32 auto, _metrics.json says torch cpu float32 auto",
    ),
    "made with another dtype": (
        lambda seal: {"compute": {**seal["compute"], "dtype": "bfloat16"}},
        "part-00001.parquet was made with torch cpu bfloat16 auto, _metrics.json says torch cpu float32 auto",
    ),
    "made with another dtype beside int8": (
        lambda seal: {"compute": {**seal["compute"], "float_dtype": "bfloat16"}},
        "part-00001.parquet was made with torch cpu float32 bfloat16 auto, _metrics.json says torch cpu float32 auto",
    ),
    "says more tokens": (
        lambda seal: {"counts": {**seal["counts"], "tokens": 7}},
        "the seal of part-00001.parquet says 7 tokens",
    ),
}


@pytest.mark.parametrize("what", SEALS)
def test_a_seal_that_says_otherwise_is_found(program: Program, tmp_path: Path, out: Path, what: str) -> None:
    change, said = SEALS[what]
    forger = Forger(out)
    rows, seal = forger.part(1)
    forger.put(1, rows, seal, **change(seal))
    forger.sign()
    assert said in refused(program("verify", out))


def test_a_seal_that_only_the_manifest_contradicts_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    forger.manifest["parts"][1]["input_sha256"] = "0" * 64
    forger.sign()
    assert "its seal has input_sha256 = " in findings(program, out, tmp_path, "--skip-inputs")[0]


@pytest.mark.parametrize(
    ("section", "name"),
    [("rows", "in"), ("rows", "out"), ("rows", "empty"), ("rows", "truncated"), ("predictions", "neutral")],
)
def test_metrics_that_are_no_sum_are_found(
    program: Program, tmp_path: Path, out: Path, section: str, name: str
) -> None:
    forger = Forger(out)
    counts = forger.metrics[section]["counts"] if section == "predictions" else forger.metrics[section]
    counts[name] += 1
    forger.sign(totals=False)
    assert [f"_metrics.json says {counts[name]} {name}, " in each for each in findings(program, out, tmp_path)] == [
        True
    ]


def test_a_last_part_that_has_more_rows_than_its_shard_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    rows, seal = forger.part(2)
    forger.put(2, rows, seal, range=moved(seal, 3, -1), rows_in=29)
    forger.sign()
    found = findings(program, out, tmp_path, "--skip-inputs")
    assert found[0] == "part-00002.parquet: 29 rows and 1 rejects of a shard of 29"
    assert "part-00002.parquet, row 28: the rows of its input end before it" in findings(program, out, tmp_path)


def test_a_total_that_is_no_sum_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    forger.manifest["rows"]["rows_out"] += 1
    forger.sign(totals=False)
    assert findings(program, out, tmp_path) == ["_SUCCESS says 86 rows_out, 85 were counted"]


def test_a_part_in_place_of_another_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    rows, _ = forger.part(1)
    _, other = forger.part(2)
    forger.put(2, rows, other)
    forger.sign()
    assert "part-00002.parquet, row 0: the column 'id' is not that of the input's row" in findings(
        program, out, tmp_path
    )


def test_a_manifest_that_contradicts_itself_is_refused(program: Program, tmp_path: Path, out: Path) -> None:
    whole = json.loads((out / "_SUCCESS").read_text())
    nothing = {**whole["identity"], "inputs": []}
    cases = [
        {**whole, "parts": []},
        {**whole, "inputs": [], "identity": nothing, "job_id": job_id(nothing)},
        {**whole, "inputs": [{"path": "a\0b/dump.tsv"}]},
        {**whole, "inputs": [{"path": "ftp://bucket/dump.tsv"}]},
        {**whole, "inputs": [{"path": "/data/other.tsv"}]},
        {**whole, "job_id": "0" * 32},
    ]
    for case in cases:
        sign(out, case)
        assert "_SUCCESS is not one that `score` writes" in refused(program("verify", out)), case


def test_parts_in_another_order_than_their_inputs_are_found(program: Program, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tsv" for name in "ab"]
    for path in paths:
        path.write_text("id\ttext\n1\tgood\n")
    out = run(tmp_path / "out", *paths)
    forger = Forger(out)
    (rows, first), (others, second) = forger.part(0), forger.part(1)
    forger.put(0, others, {**second, "shard": 0})
    forger.put(1, rows, {**first, "shard": 1})
    forger.sign()
    assert "parts[1].file is 0, behind the input 1" in refused(program("verify", out))


def test_a_seal_that_is_not_true_of_its_data_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    rows, seal = forger.part(1)
    write_part(forger.path(1), rows, seal, data_sha256="1" * 64)
    forger.relist(1, seal)
    forger.sign(totals=False)
    assert findings(program, out, tmp_path) == ["part-00001.parquet: its seal is missing, or not true of its bytes"]


def test_a_shard_that_is_missing_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    last = forger.manifest["parts"].pop()
    (out / last["name"]).unlink()
    (out / last["rejects"]["name"]).unlink()
    forger.sign()
    assert findings(program, out, tmp_path) == [f"{tmp_path / 'dump.tsv'}: 30 rows from row 60 on are in no part"]


def test_an_input_that_is_missing_is_found(program: Program, tmp_path: Path) -> None:
    """In the middle of three; and an input without rows is in no part, which is no fault."""
    paths = [tmp_path / f"{name}.tsv" for name in "abcd"]
    for path in paths:
        path.write_text("id\ttext\n1\tgood\n" if path.stem != "c" else "id\ttext\n")
    out = run(tmp_path / "out", *paths)
    assert findings(program, out, tmp_path) == []
    forger = Forger(out)
    assert [part["file"] for part in forger.manifest["parts"]] == [0, 1, 3]
    third = forger.part(2)
    del forger.manifest["parts"][2]
    forger.put(1, third[0], {**third[1], "shard": 1})
    forger.path(2).unlink()
    forger.sign()
    assert findings(program, out, tmp_path) == [f"{paths[1]}: 1 rows from row 0 on are in no part"]


def test_rows_beyond_the_limit_are_found(program: Program, tmp_path: Path) -> None:
    out = run(tmp_path / "out", write_tsv(tmp_path / "dump.tsv"), limit_rows=60)
    assert findings(program, out, tmp_path) == []
    forger = Forger(out)
    forger.manifest["identity"]["options"]["limit_rows"] = 59
    forger.sign(job=True)
    assert findings(program, out, tmp_path) == ["the parts are of 60 rows, --limit-rows was 59"]
    forger.manifest["identity"]["options"]["limit_rows"] = None
    forger.sign(job=True)
    assert findings(program, out, tmp_path) == [f"{tmp_path / 'dump.tsv'}: 30 rows from row 60 on are in no part"]


def test_rows_of_an_earlier_input_that_a_limit_does_not_excuse_are_found(program: Program, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tsv" for name in "abc"]
    for path in paths:
        path.write_text("id\ttext\n" + "".join(f"{row}\tgood {row}\n" for row in range(3)))
    out = run(tmp_path / "out", *paths, shard_rows=2, limit_rows=5)
    assert findings(program, out, tmp_path) == []
    forger = Forger(out)
    assert [(part["file"], part["rows_in"]) for part in forger.manifest["parts"]] == [(0, 2), (0, 1), (1, 2)]
    third = forger.part(2)
    del forger.manifest["parts"][1]
    forger.put(1, third[0], {**third[1], "shard": 1})
    forger.path(2).unlink()
    forger.manifest["identity"]["options"]["limit_rows"] = 4
    forger.sign(job=True)
    assert findings(program, out, tmp_path) == [f"{paths[0]}: 1 rows from row 2 on are in no part"]


def test_an_end_that_is_in_no_range_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    rows, seal = forger.part(2)
    start, stop, *more = seal["range"]
    digest = hashlib.sha256((tmp_path / "dump.tsv").read_bytes()[start : stop - 9]).hexdigest()
    forger.put(2, rows, seal, range=[start, stop - 9, *more], input_sha256=digest)
    forger.sign()
    assert findings(program, out, tmp_path) == [
        f"{tmp_path / 'dump.tsv'}: the bytes from {stop - 9} on are in the range of no part"
    ]


REJECTS: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "another row": (lambda lines: [{**lines[0], "row": lines[0]["row"] + 1}, lines[1]], "among the rejects"),
    "a row of another shard": (
        lambda lines: [{**lines[0], "row": 0}, lines[1]],
        "names rows that are not of its shard",
    ),
    "one too few": (lambda lines: lines[:1], "has 1 rows, 2 are listed"),
    "one twice": (lambda lines: [*lines, lines[1]], "names rows twice or out of order"),
    "another order": (lambda lines: lines[::-1], "names rows twice or out of order"),
    "of another input": (lambda lines: [{**lines[0], "file": "b.tsv"}, lines[1]], "line 0: is of another input"),
    "no row": (lambda lines: [{"file": "dump.tsv"}], "line 0: it has no row"),
    "no object": (lambda lines: [5, 6], "line 0: it is no object"),
    "no JSON": (lambda lines: b"{\n\xff\n", "line 0: is no JSON"),
    "nothing": (lambda lines: b"", "has 0 rows, 2 are listed"),
}


@pytest.mark.parametrize("what", REJECTS)
def test_rejects_that_are_others_are_found(program: Program, tmp_path: Path, out: Path, what: str) -> None:
    change, said = REJECTS[what]
    forger = Forger(out)
    assert [reject["row"] for reject in forger.rejects(1)] == [39, 56]
    forger.put_rejects(1, change(forger.rejects(1)))
    forger.sign()
    assert any(said in each for each in findings(program, out, tmp_path))


@pytest.mark.parametrize("row", [30, 59])
def test_a_row_that_is_lost_and_said_to_be_a_reject_is_found(
    program: Program, tmp_path: Path, out: Path, row: int
) -> None:
    """The first row of a part, or its last, behind which no other one is looked at."""
    forger = Forger(out)
    (rows, seal), rejects = forger.part(1), forger.rejects(1)
    forger.put(1, rows[1:] if row == 30 else rows[:-1], {**seal, "rejected": 3})
    forger.put_rejects(1, sorted([*rejects, {**rejects[0], "row": row}], key=lambda each: int(each["row"])))
    forger.sign()
    assert findings(program, out, tmp_path, "--skip-inputs") == []
    assert findings(program, out, tmp_path) == [
        f"part-00001.parquet, row {row} of the input can be read, but is among the rejects"
    ]


def test_rejects_that_are_swapped_are_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    mine, others = forger.rejects(0), forger.rejects(1)
    forger.put_rejects(0, others)
    forger.put_rejects(1, mine)
    forger.sign()
    assert "names rows that are not of its shard" in findings(program, out, tmp_path)[0]


# Fuzz. Whatever a bit or a value becomes, `verify` says so or finds nothing wrong: any other error fails here.

VALUES = [
    None,
    True,
    -1,
    0,
    1,
    2**60,
    1.5,
    "",
    "x",
    "../x",
    "a\0b",
    "s3://",
    "\ud800",
    [],
    {},
    [None],
    [[1], "x"],
    {"a": 1},
]
_ABSENT = object()


HISTOGRAMS = [("profile", "tokens"), ("profile", "confidence")]  # those that follow from the rows


def is_refused(out: Path, *, skip_inputs: bool = False) -> bool:
    try:
        verify(VerifyOptions(output=str(out), skip_inputs=skip_inputs))
    except InputError:
        return True
    return False


def places(value: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    """Where a value lies in a piece of JSON, for all values in it; of a list for the first four."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, each in items:
        yield (*before, key)
        yield from places(each, *before, key)


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of the JSON in which that place has another value, or is not there."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in place[:-1]:
        holder = holder[key]
    if new is _ABSENT:
        del holder[place[-1]]
    else:
        holder[place[-1]] = new
    return copy


def changes(value: Any, chance: random.Random, count: int) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place of the JSON without its value, and with `count` others."""
    for place in places(value):
        yield from ((place, new) for new in [_ABSENT, *chance.sample(VALUES, count)])


def test_every_flipped_bit_of_a_manifest_is_found(out: Path, tier: Callable[[int, int], int]) -> None:
    whole = (out / "_SUCCESS").read_bytes()
    chance = random.Random(1)
    for place in chance.sample(range(len(whole)), min(len(whole), tier(300, 10**6))):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            (out / "_SUCCESS").write_bytes(data)
            assert is_refused(out), (place, bit)
    (out / "_SUCCESS").write_bytes(whole)
    assert not is_refused(out)


def test_whatever_a_manifest_lacks_is_said(out: Path, tier: Callable[[int, int], int]) -> None:
    manifest = json.loads((out / "_SUCCESS").read_text())
    for place, new in changes(manifest, random.Random(2), tier(6, len(VALUES))):
        sign(out, forged := changed(manifest, place, new))
        signed_anew = place == ("manifest_sha256",) and new is not _ABSENT
        assert is_refused(out) or place == ("made_by",) or signed_anew or forged == manifest, (place, new)
    for other in VALUES:
        sign(out, other)
        assert is_refused(out), other


def test_whatever_becomes_of_an_identity_is_said(out: Path, tier: Callable[[int, int], int]) -> None:
    """Though the id of the job follows it, and the seals follow the id."""
    forger = Forger(out)
    identity = forger.manifest["identity"]
    for place, new in changes(identity, random.Random(3), tier(2, len(VALUES))):
        forger.manifest["identity"] = changed(identity, place, new)
        options = forger.manifest["identity"].get("options")
        if isinstance(options, dict) and options.get("prefix") == "":  # else there is nobody to make the seals fit
            forger.sign(job=True)
        else:
            sign(out, {**forger.manifest, "job_id": job_id(forger.manifest["identity"])})
        looked_at = place[0] == "inputs" and place[2:] != ("mtime_ns",)
        assert is_refused(out) or not looked_at, (place, new)


def test_whatever_metrics_lack_is_said(out: Path, tier: Callable[[int, int], int]) -> None:
    forger = Forger(out)
    metrics = forger.metrics
    for place, new in changes(metrics, random.Random(4), tier(3, len(VALUES))):
        forger.metrics = changed(metrics, place, new)
        forger.sign(totals=False)
        looked_at = place[0] == "rows" and place[1:] not in [("distinct_texts",), ("cached_texts",)]
        looked_at = looked_at or place[:2] == ("predictions", "counts") or place == ("model",)
        looked_at = looked_at or place[:2] in [("model", name) for name in ("labels", "engine", "device", "dtype")]
        looked_at = looked_at or (place[:2] in HISTOGRAMS and place[2:3] != ("edges",))
        assert is_refused(out) or not looked_at or forger.metrics == metrics, (place, new)


def test_whatever_a_seal_lacks_is_said(out: Path, tier: Callable[[int, int], int]) -> None:
    forger = Forger(out)
    rows, seal = forger.part(1)
    for place, new in [*changes(seal, random.Random(5), tier(3, len(VALUES))), *(((), value) for value in VALUES)]:
        forged = changed(seal, place, new) if place else new
        write_part(forger.path(1), rows, forged)
        forger.relist(1, seal)
        forger.sign(totals=False)
        signed_anew = place in (("data_bytes",), ("data_sha256",), ("footer_sha256",))
        unseen = [("compute", "batch_tokens"), ("counts", "distinct_texts"), ("counts", "cached_texts")]
        looked_at = place not in unseen
        if place[:2] == ("counts", "profile") and len(place) > 2:
            looked_at = place[1:3] in HISTOGRAMS
        assert is_refused(out) or signed_anew or not looked_at or forged == seal, (place, new)


def test_a_part_without_a_seal_is_found(program: Program, tmp_path: Path, out: Path) -> None:
    forger = Forger(out)
    rows, seal = forger.part(1)
    pq.write_table(rows.replace_schema_metadata(None), forger.path(1))
    forger.relist(1, seal)
    forger.sign(totals=False)
    assert findings(program, out, tmp_path) == ["part-00001.parquet: its seal is missing, or not true of its bytes"]


def test_whatever_rejects_lack_is_said(out: Path, tier: Callable[[int, int], int]) -> None:
    forger = Forger(out)
    rejects = forger.rejects(1)
    cases = [changed(rejects, *change) for change in changes(rejects, random.Random(6), tier(3, len(VALUES)))]
    whole = "".join(json.dumps(each) + "\n" for each in rejects).encode()
    chance = random.Random(7)
    for _ in range(tier(80, 10_000)):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        cases.append(bytes(data))
    for case in cases:
        forger.put_rejects(1, case)
        forger.sign()
        is_refused(out)
        is_refused(out, skip_inputs=True)
    forger.put_rejects(1, rejects)
    forger.sign()
    assert not is_refused(out)


def test_every_flipped_bit_of_any_file_is_found(out: Path, tier: Callable[[int, int], int]) -> None:
    chance = random.Random(8)
    for path in sorted(each for each in out.rglob("*") if each.is_file()):
        whole = path.read_bytes()
        for _ in range(tier(50, 5000)):
            data = bytearray(whole)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
            assert is_refused(out), path
        path.write_bytes(whole)


def test_inputs_that_moved_or_are_gone(program: Program, tmp_path: Path, out: Path) -> None:
    moved = shutil.move(tmp_path / "dump.tsv", tmp_path / "kept.tsv")
    assert "--skip-inputs" in refused(program("verify", out))
    assert program("verify", out, "--skip-inputs").code == 0
    assert program("verify", out, "--input", moved).code == 0
    shutil.copy(moved, tmp_path / "more.tsv")
    assert program("verify", out, "--input", moved, "--input", tmp_path / "more.tsv").code == 2


def test_a_copy_of_an_input_will_do(program: Program, tmp_path: Path, out: Path) -> None:
    """Whatever its time and its name: what it holds is compared."""
    dump, copy = tmp_path / "dump.tsv", tmp_path / "copy.tsv"
    shutil.copyfile(dump, copy)
    os.utime(copy, ns=(0, 0))
    os.utime(dump, ns=(0, 0))
    assert findings(program, out, tmp_path) == []
    dump.unlink()
    assert findings(program, out, tmp_path, "--input", copy) == []
    other = copy.read_bytes().replace(b"review 6", b"review 7")
    for data, said in ((other[:-1], "it has 989 bytes, that one had 990"), (other, "its bytes are others")):
        copy.write_bytes(data)
        told = refused(program("verify", out, "--input", copy))
        assert f"{copy} is not the file that was labelled: {said}" in told
        assert "--skip-inputs" in told


def test_a_copy_of_an_object_will_do(program: Program, tmp_path: Path, bucket: str) -> None:
    """Its ETag tells how it was uploaded, and a file has none."""
    import obstore

    from sentiment_batch.remote import open_bucket

    store, key = open_bucket(f"{bucket}/dump.tsv")
    lines = [f"{row}\treview {row}\n" for row in range(500_000)]
    data = "".join(["id\ttext\n", *lines]).encode()
    obstore.put(store, key, data, use_multipart=False)
    before = obstore.head(store, key)["e_tag"]
    score_it = ("score", f"{bucket}/dump.tsv", "--model", "stub", "--output", tmp_path / "out", "--limit-rows", 50)
    assert program(*score_it).code == 0
    obstore.put(store, key, data, use_multipart=True, chunk_size=6 * 2**20)
    assert obstore.head(store, key)["e_tag"] != before
    assert findings(program, tmp_path / "out", tmp_path) == []
    (tmp_path / "dump.tsv").write_bytes(data)
    assert findings(program, tmp_path / "out", tmp_path, "--input", tmp_path / "dump.tsv") == []


def test_inputs_that_moved_to_a_folder(program: Program, tmp_path: Path) -> None:
    """A folder or a pattern stands for its files, as it does for `score`."""
    (tmp_path / "day").mkdir()
    for name in ("b.tsv", "a.tsv"):
        (tmp_path / "day" / name).write_text(f"id\ttext\n1\tgood {name}\n")
    out = run(tmp_path / "out", tmp_path / "day", keep_columns=("id",))
    (tmp_path / "day").rename(tmp_path / "moved")
    assert findings(program, out, tmp_path, "--input", tmp_path / "moved") == []
    assert findings(program, out, tmp_path, "--input", tmp_path / "moved" / "*.tsv") == []
    assert "--skip-inputs" in refused(
        program("verify", out, "--input", tmp_path / "moved" / "b.tsv", "--input", tmp_path / "moved" / "a.tsv")
    )
    ended = program("verify", out, "--input", tmp_path / "moved" / "a.tsv")
    assert ended.code == 2
    assert "1 files are there as inputs, the output was made of 2" in ended.err
    (tmp_path / "day" / "a.tsv").mkdir(parents=True)
    assert "--skip-inputs" in refused(program("verify", out)), "a folder in the place of a file"


@pytest.mark.parametrize("suffix", ["tsv.gz", "tsv.bz2", "tsv.zst", "parquet"])
def test_an_input_that_was_damaged_in_place_is_found(program: Program, tmp_path: Path, suffix: str) -> None:
    dump = tmp_path / f"dump.{suffix}"
    chance = random.Random(9)
    texts = [chance.randbytes(100).hex() for _ in range(5000)]
    data = "".join(f"{each}\n" for each in ("text", *texts)).encode()
    if suffix == "parquet":
        pq.write_table(pa.table({"text": texts}), dump, row_group_size=500)
    else:
        with pa.output_stream(dump, compression={"gz": "gzip", "bz2": "bz2", "zst": "zstd"}[suffix[4:]]) as stream:
            stream.write(data)
    out = run(tmp_path / "out", dump, shard_rows=2000)
    assert findings(program, out, tmp_path) == []
    before = dump.stat()
    damaged = bytearray(dump.read_bytes())
    assert len(damaged) > 2**18, "else its edges are all of it"
    damaged[len(damaged) // 2 : len(damaged) // 2 + 99] = b"x" * 99
    dump.write_bytes(damaged)
    os.utime(dump, ns=(before.st_atime_ns, before.st_mtime_ns))
    if suffix in ("tsv.gz", "tsv.bz2"):  # whose header is unpacked with all behind it
        assert f"{dump} cannot be read" in refused(program("verify", out))
    else:
        found = findings(program, out, tmp_path)
        assert [each.startswith(f"{dump}: the bytes that part-0000") for each in found] == [True], found


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EOFError("cut"), 3),
        (zlib.error("bad"), 3),
        (OSError("Invalid data stream"), 3),
        (pa.ArrowInvalid("bad"), 3),
        (OSError(errno.EIO, "I/O error"), 7),
        (MemoryError(), 7),
    ],
)
def test_an_input_that_cannot_be_read_while_it_is_recounted(
    program: Program, out: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def recount(*_: Any) -> Iterator[list[Any]]:
        yield ["0", "review 0", "review 0"]
        raise error

    monkeypatch.setattr("sentiment_batch.input_findings.recount", recount)
    assert program("verify", out).code == code


def test_an_input_that_was_written_again_is_told(program: Program, tmp_path: Path, out: Path) -> None:
    (tmp_path / "dump.tsv").write_text("id\ttext\n1\tother\n")
    assert "not the file that was labelled" in refused(program("verify", out))


def test_an_input_that_was_edited_in_place_is_found(program: Program, tmp_path: Path) -> None:
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
