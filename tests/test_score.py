"""The scoring job from its files to its files."""

import errno
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import obstore
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, Program, needs_smsa, random_texts, sample_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_batch import score as score_module
from sentiment_batch import shards as shards_module
from sentiment_batch import workers as workers_module
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import OutputConflict, SentimentBatchError, Stopped
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import rejects_in_words
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.read.plan import PlannedShard
from sentiment_batch.reject_limit import RejectLimit
from sentiment_batch.remote import open_bucket
from sentiment_batch.score import score
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import Claim
from sentiment_batch.write.in_place import work_in_place
from sentiment_batch.write.manifest import MARKER
from sentiment_batch.write.part import Part, PartWriter
from sentiment_batch.write.store import Folder, Store

ROWS = 230


def dump(rows: int = ROWS) -> pa.Table:
    """Rows of many types in no order, with repeats, blanks and nulls."""
    chance = np.random.default_rng(5)
    texts: list[str | None] = random_texts(rows)
    for row in range(0, rows, 9):
        texts[row] = [None, "", "  ", texts[1], 'kata "kutip", koma\tdan 🙂'][row % 5]
    return pa.table(
        {
            "id": chance.permutation(rows),
            "when": pa.array(chance.integers(0, 2**40, rows), pa.timestamp("ms")),
            "text": pa.array(texts, pa.string()),
            "tags": pa.array([[str(row)] * (row % 3) for row in range(rows)], pa.list_(pa.string())),
            "source": pa.array([f"s{row % 3}" for row in range(rows)]).dictionary_encode(),
            "label": pa.array([(*LABELS, None)[row % 4] for row in range(rows)]),
        }
    )


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "dump.parquet"
    pq.write_table(dump(), path, row_group_size=50)
    return path


def run(tmp_path: Path, model: Path, *inputs: Path, **options: object) -> tuple[Path, dict[str, object]]:
    out = Path(str(options.pop("output", tmp_path / "out")))
    settings = {"input": tuple(map(str, inputs)), "model": str(model), "output": str(out), "progress": "none"}
    return out, score(ScoreOptions(**{**settings, **options}))  # type: ignore[arg-type]


def published(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(part) for part in sorted(out.glob("part-*.parquet"))])


def test_parquet_in_is_parquet_out_row_for_row(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, metrics = run(tmp_path, tiny_model, parquet, shard_rows=60, chunk_rows=16)
    table = published(out)
    assert table.select(dump().schema.names).equals(dump())
    assert len(list(out.glob("part-*.parquet"))) > 3
    assert table.drop_columns(dump().schema.names).schema.names[0] == "predicted_label"
    assert metrics["rows"]["in"] == metrics["rows"]["out"] == ROWS
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith("part-")) == [
        "_SUCCESS",
        "_metrics.json",
        "_report.html",
    ]


def test_labels_are_those_of_each_rows_own_text(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, _ = run(tmp_path, tiny_model, parquet, shard_rows=60, chunk_rows=16, dtype="float32")
    labeller = Labeller(str(tiny_model), dtype="float32")
    for row in published(out).to_pylist()[::7]:
        [alone] = labeller.predict([row["text"]])
        assert row["predicted_label"] == alone["label"]
        if alone["label"]:
            assert row["confidence"] == pytest.approx(alone["confidence"], abs=1e-5)


@pytest.fixture(scope="module")
def reference(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    folder = tmp_path_factory.mktemp("reference")
    pq.write_table(dump(), folder / "dump.parquet", row_group_size=50)
    out, _ = run(folder, tiny_model, folder / "dump.parquet", dtype="float32")
    return published(out)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    batch_tokens=st.integers(1, 3000),
    chunk_rows=st.integers(1, 300),
    shard_rows=st.integers(1, 300),
    row_group_size=st.integers(1, 300),
)
def test_how_the_work_is_cut_changes_no_label(
    reference: pa.Table,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    batch_tokens: int,
    chunk_rows: int,
    shard_rows: int,
    row_group_size: int,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    pq.write_table(dump(), folder / "dump.parquet", row_group_size=row_group_size)
    cut = {"batch_tokens": batch_tokens, "chunk_rows": chunk_rows, "shard_rows": shard_rows}
    out, _ = run(folder, tiny_model, folder / "dump.parquet", dtype="float32", **cut)
    table = published(out)
    exact = [name for name in table.schema.names if not name.startswith(("prob_", "confidence"))]
    assert table.select(exact).equals(reference.select(exact))
    for name in ("confidence", *(f"prob_{label}" for label in LABELS)):
        ours, theirs = (each.column(name).to_pandas() for each in (table, reference))
        assert (ours.isna() == theirs.isna()).all()
        np.testing.assert_allclose(ours.dropna(), theirs.dropna(), atol=1e-5)


def test_pandas_arrow_and_duckdb_read_one_table(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, _ = run(tmp_path, tiny_model, parquet, shard_rows=60)
    table = published(out)
    assert pq.read_table(out).num_rows == ROWS
    assert pq.read_table(out).column("id").to_pylist() == table.column("id").to_pylist()
    frame = pd.read_parquet(out)
    assert frame["id"].tolist() == table.column("id").to_pylist()
    assert frame["predicted_label"].notna().sum() == (frame["status"] == "ok").sum() > 0
    found = duckdb.sql(f"SELECT status, count(*) FROM '{out}/*.parquet' GROUP BY status").fetchall()
    assert dict(found) == frame["status"].value_counts().to_dict()


def test_a_pandas_index_in_the_dump_is_no_obstacle(tiny_model: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": random_texts(50)}, index=pd.RangeIndex(100, 150))
    frame.to_parquet(tmp_path / "dump.parquet")
    out, _ = run(tmp_path, tiny_model, tmp_path / "dump.parquet", shard_rows=20)
    assert pd.read_parquet(out)["text"].tolist() == frame["text"].tolist()


def test_columns_that_arrow_has_no_type_for_keep_their_values(tiny_model: Path, tmp_path: Path) -> None:
    """Of UUID, JSON and INTERVAL the annotation may go; the bytes stay, and JSON can be read as a string."""
    dump = tmp_path / "dump.parquet"
    duckdb.sql(
        f"""COPY (SELECT 'text ' || i AS text, uuid() AS id, '{{"a": 1}}'::JSON AS extra, INTERVAL 3 DAY * i AS lasted,
        [uuid()] AS ids, {{'at': INTERVAL 1 MONTH}} AS nested FROM range(9) t(i)) TO '{dump}'"""
    )
    out, _ = run(tmp_path, tiny_model, dump)
    columns = ["id", "extra", "lasted", "ids", "nested"]
    before, after = (pq.read_table(path, columns=columns, arrow_extensions_enabled=False) for path in (dump, out))
    assert after.equals(before)
    assert len(set(after.column("id").to_pylist())) == len(set(after.column("lasted").to_pylist())) == 9
    assert published(out).schema.field("extra").type == pa.string()
    assert duckdb.sql(f"SELECT DISTINCT extra->>'a' FROM '{out}/*.parquet'").fetchall() == [("1",)]


def test_tsv_and_csv_give_what_parquet_gives(tiny_model: Path, tmp_path: Path) -> None:
    texts = [text.replace("\t", " ") for text in random_texts(60)]
    pq.write_table(pa.table({"id": [str(row) for row in range(60)], "text": texts}), tmp_path / "a.parquet")
    tsv = "id\ttext\n" + "".join(f"{row}\t{text}\n" for row, text in enumerate(texts))
    (tmp_path / "a.tsv").write_text(tsv, encoding="utf-8")
    quoted = [text.replace('"', '""') for text in texts]
    csv = "id,text\r\n" + "".join(f'{row},"{text}"\r\n' for row, text in enumerate(quoted))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(csv.encode()))
    tables = [
        published(run(tmp_path, tiny_model, tmp_path / name, output=tmp_path / f"out-{name}")[0])
        for name in ("a.parquet", "a.tsv", "a.csv.gz")
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_bad_rows_are_rejected_with_their_place_and_counted(tiny_model: Path, tmp_path: Path) -> None:
    lines = [f"{row}\tteks nomor {row}".encode() for row in range(50)]
    lines[7] = b"7\ttoo\tmany"
    lines[20] = b"20\tnot \xff utf-8"
    data = b"id\ttext\n" + b"\n".join(lines) + b"\n"
    (tmp_path / "a.tsv").write_bytes(data)
    out, metrics = run(tmp_path, tiny_model, tmp_path / "a.tsv", shard_rows=11, max_reject_rate=0.05)
    assert published(out).column("id").to_pylist() == [str(row) for row in range(50) if row not in (7, 20)]
    assert (metrics["rows"]["in"], metrics["rows"]["out"], metrics["rows"]["rejected"]) == (50, 48, 2)
    rejects = [
        json.loads(line) for path in sorted((out / "_rejects").iterdir()) for line in path.read_text().splitlines()
    ]
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [(7, "field_count"), (20, "invalid_utf8")]
    for reject, line in zip(rejects, (lines[7], lines[20]), strict=True):
        start = reject["byte_offset"]
        assert data[start : start + reject["byte_length"]] == line
    assert pq.read_table(out).num_rows == 48, "readers pass over what begins with _"


def test_too_many_rejects_publish_nothing(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n" + "1\tok\n" * 9 + "bad\n")
    arguments = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*arguments)
    assert ended.code == 6
    assert "1 of 10 rows are rejected" in ended.err
    assert not (tmp_path / "out").exists()
    assert program(*arguments, "--max-reject-rate", "0.1").code == 0, "the limit is not part of the job"


def test_what_is_wrong_with_too_many_rows_is_said(
    store: Store, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    """How often and where it is first; nothing of the rows."""
    rows = [b"1\tok", b"2\tsecret \xff", b"secret", b"3\tok", b"secret"]
    (tmp_path / "a.tsv").write_bytes(b"id\ttext\n" + b"\n".join(rows))
    arguments = ("score", tmp_path / "a.tsv", "--model", tiny_model)
    ended = program(*arguments, "--output", f"{store.url}/out")
    assert ended.code == 6
    assert "3 of 5 rows are rejected, more than" in ended.err
    assert "a.tsv, row 2: 1 fields, expected 2), 1 invalid_utf8; see" in ended.err
    assert "allows: 2 field_count (first: " in ended.err
    assert "finite" not in ended.err
    assert "secret" not in ended.err
    (tmp_path / "b.tsv").write_text("id\ttext\n" + "secret\n" * 10_001)
    arguments = ("score", tmp_path / "b.tsv", "--model", tiny_model)
    ended = program(*arguments, "--output", tmp_path / "b")
    assert "allows: of the first 10,000 rejects, 10,000 field_count (first: " in ended.err


def test_rejects_that_cannot_be_read_hide_no_message(store: Store, tmp_path: Path) -> None:
    part = Part("part-00000.parquet", 1, {"rejects": {"name": "_rejects/x.jsonl"}})
    assert rejects_in_words(store, [part]) == "", "gone"
    for data in ("", "{", "[1]\n", '{"reason": "field_count"}\n'):
        (tmp_path / "scratch").write_text(data)
        name = f"_rejects/{len(data)}.jsonl"
        assert store.create(name, tmp_path / "scratch")
        assert rejects_in_words(store, [Part(part.name, 1, {"rejects": {"name": name}})]) == "", data
    assert rejects_in_words(store, [Part(part.name, 1, {"rejects": None})]) == ""


def test_broken_weights_count_as_rejects(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sentiment_batch.model.torch_engine.engine_of",
        lambda *_: lambda ids, mask: np.full((len(ids), 3), np.nan, np.float32),
    )
    (tmp_path / "a.tsv").write_text("text\nsatu\ndua\n")
    with pytest.raises(SentimentBatchError, match="2 of 2 rows have no finite score, more than") as caught:
        run(tmp_path, tiny_model, tmp_path / "a.tsv")
    assert caught.value.exit_code == 6
    assert "rejected" not in str(caught.value)
    assert "_rejects" not in str(caught.value), "there are none"


def test_a_finished_job_does_nothing_again(parquet: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    arguments = ("score", parquet, "--model", tiny_model, "--output", tmp_path / "out")
    assert program(*arguments).code == 0
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    again = program(*arguments, "--engine", "auto", "--progress", "none")
    assert again.code == 0
    assert "done already" in again.err + again.out
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--max-length", "20"), "--max-length 64 there, 20 here"),
        (("--keep-columns", "id"), "--keep-columns all there, id here"),
        (("--limit-rows", "10"), "--limit-rows none there, 10 here"),
        (("--cache-rows", "0"), "--cache-rows 100000 there, 0 here"),
    ],
)
def test_another_job_is_refused_and_told_why(
    change: tuple[str, ...], said: str, parquet: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    arguments = ("score", parquet, "--model", tiny_model, "--output", tmp_path / "out")
    assert program(*arguments).code == 0
    before = (tmp_path / "out" / "_SUCCESS").read_bytes()
    other = program(*arguments, *change)
    assert other.code == 4
    assert said in other.err
    assert (tmp_path / "out" / "_SUCCESS").read_bytes() == before
    assert program(*arguments, *change, "--overwrite").code == 0
    assert (tmp_path / "out" / "_SUCCESS").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_changed_inputs_are_another_job(parquet: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    arguments = ("score", parquet, "--model", tiny_model, "--output", tmp_path / "out")
    assert program(*arguments).code == 0
    pq.write_table(dump().slice(0, 20), parquet)
    ended = program(*arguments)
    assert ended.code == 4
    assert "dump.parquet had" in ended.err


@pytest.mark.parametrize("lost", ["part-00001.parquet", "_metrics.json"])
def test_a_finished_output_that_lost_a_file_is_not_done(
    lost: str, parquet: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    arguments = ("score", parquet, "--model", tiny_model, "--output", tmp_path / "out", "--shard-rows", 50)
    assert program(*arguments).code == 0
    (tmp_path / "out" / lost).unlink()
    ended = program(*arguments)
    assert ended.code == 4
    assert f"{lost} is not as it was" in ended.err


def test_a_part_that_cannot_be_read_just_now_is_not_removed(
    parquet: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("score", parquet, "--model", tiny_model, "--output", tmp_path / "out", "--shard-rows", 50)
    with monkeypatch.context() as patch:
        stop_at(patch, 12)
        assert program(*arguments, "--batch-tokens", 256).code == 143
    kept = sorted((tmp_path / ".out.wip").glob("part-*"))
    assert kept
    opened = Folder.open

    def fails(folder: Folder, name: str) -> object:
        if name.startswith("part-"):
            raise OSError(errno.EIO, "Input/output error")
        return opened(folder, name)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "open", fails)
        assert program(*arguments, "--batch-tokens", 256).code == 7
    assert sorted((tmp_path / ".out.wip").glob("part-*")) == kept
    assert program(*arguments, "--batch-tokens", 256).code == 0


def test_a_model_that_is_replaced_between_a_kill_and_the_next_run(
    parquet: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    cut = ("--shard-rows", 50, "--batch-tokens", 256)
    arguments = ("score", parquet, "--model", model, "--output", tmp_path / "out", *cut)
    with monkeypatch.context() as patch:
        stop_at(patch, 12)
        assert program(*arguments).code == 143
    kept = sorted((tmp_path / ".out.wip").glob("part-*"))
    assert kept
    digests = [read_model_folder(str(model)).digest]
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    digests.append(read_model_folder(str(model)).digest)
    ended = program(*arguments)
    assert ended.code == 4
    for digest in digests:
        assert digest[:16] in ended.err
    assert sorted((tmp_path / ".out.wip").glob("part-*")) == kept


def stop_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """As if a signal had come before the look of that number."""
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == number:
            raise Stopped(15)

    patch.setattr("sentiment_batch.stop.check", check)


def test_a_stopped_job_goes_on_behind_its_last_part(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: Any = {"shard_rows": 50, "dtype": "float32"}  # in bfloat16 a label may hang on the batch
    whole, _ = run(tmp_path, tiny_model, parquet, **cut, output=tmp_path / "whole")
    stop_at(monkeypatch, 12)
    with pytest.raises(Stopped):
        run(tmp_path, tiny_model, parquet, **cut, batch_tokens=256)
    assert not (tmp_path / "out").exists()
    sealed = sorted(path.name for path in (tmp_path / ".out.wip").glob("part-*"))
    assert 0 < len(sealed) < 5
    assert list((tmp_path / ".out.wip" / ".scratch").iterdir()) == []
    kept = {name: (tmp_path / ".out.wip" / name).read_bytes() for name in sealed}

    monkeypatch.setattr("sentiment_batch.stop.check", lambda: None)
    out, metrics = run(tmp_path, tiny_model, parquet, **cut, batch_tokens=256)
    assert metrics["run"]["resumed"] is True
    assert metrics["rows"]["out"] == ROWS
    assert {name: (out / name).read_bytes() for name in sealed} == kept
    fresh, _ = run(tmp_path, tiny_model, parquet, **cut, batch_tokens=256, output=tmp_path / "fresh")
    for part in fresh.glob("part-*"):
        assert (out / part.name).read_bytes() == part.read_bytes(), "the same bytes as a run that was never stopped"
    assert published(out).select(["id", "predicted_label"]) == published(whole).select(["id", "predicted_label"])


def test_texts_that_come_again_have_the_same_bits_however_often_the_job_was_killed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run knows of its texts ends with the part: behind each part, and in the middle of each, it is killed."""
    texts = random_texts(30)
    chance = np.random.default_rng(3)
    rows = pa.table({"id": range(400), "text": [texts[pick] for pick in chance.integers(0, len(texts), 400)]})
    pq.write_table(rows, tmp_path / "dump.parquet")
    cut = {"shard_rows": 100, "chunk_rows": 25, "batch_tokens": 150, "cache_rows": 20}
    whole, metrics = run(tmp_path, tiny_model, tmp_path / "dump.parquet", output=tmp_path / "whole", **cut)
    assert 0 < metrics["rows"]["cached_texts"] < metrics["rows"]["distinct_texts"]
    sealed_part, write = workers_module.sealed_part, PartWriter.write

    def and_no_further(*given: Any) -> None:
        sealed_part(*given)
        raise Stopped(15)

    def in_the_middle(self: PartWriter, *given: Any) -> None:
        if self.rows:
            raise Stopped(15)
        write(self, *given)

    for _part in range(4):
        for place, name, fault in (
            (PartWriter, "write", in_the_middle),
            (workers_module, "sealed_part", and_no_further),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, fault)
                with pytest.raises(Stopped):
                    run(tmp_path, tiny_model, tmp_path / "dump.parquet", **cut)
    out, after = run(tmp_path, tiny_model, tmp_path / "dump.parquet", **cut)
    assert after["rows"] == metrics["rows"]
    parts = sorted(whole.glob("part-*"))
    assert len(parts) == 4
    assert [(out / part.name).read_bytes() for part in parts] == [part.read_bytes() for part in parts]


def test_parts_that_are_damaged_are_made_again(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(tmp_path, tiny_model, parquet, shard_rows=50, output=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("sentiment_batch.write.beside.Beside.publish", lambda _: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            run(tmp_path, tiny_model, parquet, shard_rows=50)
    wip = tmp_path / ".out.wip"
    (wip / "_SUCCESS").unlink()
    part = wip / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    out, _ = run(tmp_path, tiny_model, parquet, shard_rows=50)
    assert (out / part.name).read_bytes() == (whole / part.name).read_bytes()


def test_a_part_of_another_job_of_the_same_rows_is_not_adopted(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run leaves it that was killed while it removed another job's output from a bucket."""
    cut: Any = {"shard_rows": 50, "dtype": "float32"}  # in bfloat16 a label may hang on the batch
    whole, _ = run(tmp_path, tiny_model, parquet, **cut, output=tmp_path / "whole")
    other, _ = run(tmp_path, tiny_model, parquet, **cut, max_length=20, batch_tokens=256, output=tmp_path / "other")
    with monkeypatch.context() as patch:
        stop_at(patch, 12)
        with pytest.raises(Stopped):
            run(tmp_path, tiny_model, parquet, **cut, batch_tokens=256)
    for part in other.glob("part-*"):
        shutil.copy(part, tmp_path / ".out.wip")
    out, _ = run(tmp_path, tiny_model, parquet, **cut, batch_tokens=256)
    assert published(out).column("predicted_label").equals(published(whole).column("predicted_label"))
    assert published(out).column("n_tokens").equals(published(whole).column("n_tokens"))


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_part_of_a_run_with_another_dtype_is_refused(
    when: str, parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on an old GPU, where `auto` is float16, was killed, or seals the part while this one makes it, too."""
    import torch

    part, wip = "part-00001.parquet", tmp_path / ".out.wip"
    with monkeypatch.context() as patch:
        patch.setattr("sentiment_batch.model.torch_engine.resolve_dtype", lambda *_: torch.float16)
        other, _ = run(tmp_path, tiny_model, parquet, shard_rows=50, output=tmp_path / "other")
    if when == "before":
        with monkeypatch.context() as patch:
            stop_at(patch, 6)
            with pytest.raises(Stopped):
                run(tmp_path, tiny_model, parquet, shard_rows=50)
        assert (wip / "part-00000.parquet").exists()
        shutil.copy(other / part, wip)
    else:
        hash_of = shards_module.shard_sha256

        def meanwhile(inputs: object, planned: PlannedShard) -> str:
            if planned.index == 1:
                shutil.copy(other / part, wip)
            return hash_of(inputs, planned)  # type: ignore[arg-type]

        monkeypatch.setattr(shards_module, "shard_sha256", meanwhile)
    refused = rf"{part} was made with torch cpu float16 auto, this run would go on with torch cpu b?float(16|32) auto"
    with pytest.raises(OutputConflict, match=refused):
        run(tmp_path, tiny_model, parquet, shard_rows=50)
    assert not (tmp_path / "out").exists()
    assert (wip / part).read_bytes() == (other / part).read_bytes()


@pytest.mark.parametrize("lost", ["part-00001.parquet", "_rejects"])
def test_what_is_deleted_during_the_run_is_made_again(
    lost: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n" + "".join(f"{row}\tenak {row}\n" for row in range(150)) + "bad\n")
    how = {"shard_rows": 50, "max_reject_rate": 0.1}
    whole, _ = run(tmp_path, tiny_model, tmp_path / "a.tsv", output=tmp_path / "whole", **how)
    added = RejectLimit.add

    def deletes(limit: RejectLimit, *parts: Part) -> None:
        added(limit, *parts)
        path = tmp_path / ".out.wip" / lost
        if len(limit.parts) == 4 and path.exists():
            path.unlink() if path.is_file() else shutil.rmtree(path)

    monkeypatch.setattr(RejectLimit, "add", deletes)
    out, _ = run(tmp_path, tiny_model, tmp_path / "a.tsv", **how)
    for path in (path for path in whole.rglob("*part-*") if path.is_file()):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_label_column_is_scored_in_the_same_pass(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    out, metrics = run(tmp_path, tiny_model, parquet, label_column="label", keep_columns=("id",))
    frame = pd.read_parquet(out).merge(dump().select(["id", "label"]).to_pandas(), on="id")
    both = frame[frame["predicted_label"].notna() & frame["label"].notna()]
    assert metrics["evaluation"]["rows"] == len(both)
    assert metrics["evaluation"]["accuracy"] == pytest.approx(accuracy_score(both["label"], both["predicted_label"]))
    macro = f1_score(both["label"], both["predicted_label"], average="macro", labels=list(LABELS))
    assert metrics["headline"]["F1"] == pytest.approx(macro)
    assert sum(each["rows"] for each in metrics["evaluation"]["calibration"]["bins"]) == len(both)
    assert "label" not in pq.read_schema(next(out.glob("part-*"))).names


def test_a_dump_has_a_profile_that_says_nothing_of_its_texts(tiny_model: Path, tmp_path: Path) -> None:
    texts = ["\U0010ffff \U0010ffff rahasia", "", None, *(text for text, _ in sample_rows()[:60])] * 3
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=50)
    out, metrics = run(tmp_path, tiny_model, tmp_path / "a.parquet", shard_rows=50, chunk_rows=20)
    frame, profile = pd.read_parquet(out), metrics["profile"]
    scored = frame[frame["status"] == "ok"]
    assert profile["rows"] == len(scored) == 183
    for name, values in (("tokens", scored["n_tokens"]), ("confidence", scored["confidence"].astype(float))):
        edges = [*profile[name]["edges"], np.inf]
        assert profile[name]["counts"] == np.histogram(values, edges)[0].tolist()
    assert profile["labels"] == {label: (scored["predicted_label"] == label).sum() for label in LABELS}
    assert profile["all_tokens"] == scored["n_tokens"].sum()
    share = 2 / scored["n_tokens"].iloc[0]
    place = int(np.searchsorted(profile["unknown_share"]["edges"], share, side="right")) - 1
    assert (profile["unknown_tokens"], profile["unknown_share"]["counts"][place]) == (6, 3)
    assert "rahasia" not in (out / "_metrics.json").read_text()


def test_an_output_without_a_name_is_not_the_working_folder(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    ended = program("score", parquet, "--model", tiny_model, "--output", "")
    assert ended.code == 2
    assert "output is empty" in ended.err
    assert list(tmp_path.glob(".empty*")) == list((tmp_path / "empty").iterdir()) == []


def test_keep_columns_and_prefix(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, _ = run(tmp_path, tiny_model, parquet, keep_columns=("source", "id"), prefix="sb_")
    names = pq.read_schema(next(out.glob("part-*"))).names
    assert names[:3] == ["id", "source", "sb_predicted_label"]
    none, _ = run(tmp_path, tiny_model, parquet, keep_columns=("none",), output=tmp_path / "none")
    assert pq.read_schema(next(none.glob("part-*"))).names[0] == "predicted_label"
    assert published(none).column("status").to_pylist() == published(out).column("sb_status").to_pylist()


def test_several_files_are_one_job_in_the_order_given(tiny_model: Path, tmp_path: Path) -> None:
    for name, rows in (("b", range(5)), ("a", range(5, 8))):
        (tmp_path / f"{name}.tsv").write_text("id\ttext\n" + "".join(f"{row}\tteks {row}\n" for row in rows))
    (tmp_path / "c.tsv").write_text("text\tid\nteks 8\t8\n")  # the same columns in another order
    out, metrics = run(tmp_path, tiny_model, *(tmp_path / f"{name}.tsv" for name in "bac"))
    assert published(out).column("id").to_pylist() == [str(row) for row in range(9)]
    assert [file["rows"] for file in metrics["input"]["files"]] == [5, 3, 1]


@pytest.mark.parametrize("limit", [1, 7, 50, 51, 229, 230, 1000])
def test_limit_rows(limit: int, parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, metrics = run(tmp_path, tiny_model, parquet, limit_rows=limit, shard_rows=60, keep_columns=("id",))
    assert published(out).column("id").to_pylist() == dump().column("id").to_pylist()[:limit]
    assert metrics["rows"]["in"] == min(limit, ROWS)


def test_no_rows_is_an_output_without_rows(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n")
    pq.write_table(dump().slice(0, 0), tmp_path / "a.parquet")
    for name in ("a.tsv", "a.parquet"):
        out, metrics = run(tmp_path, tiny_model, tmp_path / name, output=tmp_path / f"out-{name}")
        assert metrics["rows"]["in"] == 0
        assert metrics["predictions"]["mean_confidence"] is None
        assert pq.read_table(out).num_rows == 0
        assert "predicted_label" in pq.read_table(out).schema.names


def test_metrics_account_for_every_row(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, metrics = run(tmp_path, tiny_model, parquet, shard_rows=60, metrics=str(tmp_path / "copy.json"))
    frame = pd.read_parquet(out)
    rows = metrics["rows"]
    assert rows["in"] == rows["out"] + rows["rejected"]
    assert rows["out"] == rows["scored"] + rows["empty"] + rows["null"] + rows["nonfinite"]
    assert rows["scored"] == (frame["status"] == "ok").sum()
    assert rows["empty"] == (frame["status"] == "empty_text").sum() > 0
    assert rows["null"] == frame["text"].isna().sum() > 0
    assert rows["truncated"] == frame["truncated"].sum()
    assert metrics["predictions"]["counts"] == {label: (frame["predicted_label"] == label).sum() for label in LABELS}
    assert metrics["predictions"]["mean_confidence"] == pytest.approx(frame["confidence"].mean(), abs=1e-6)
    assert json.loads((out / "_metrics.json").read_text()) == metrics
    manifest = json.loads((out / "_SUCCESS").read_text())
    assert [part["name"] for part in manifest["parts"]] == sorted(path.name for path in out.glob("part-*"))
    assert sum(part["rows_out"] for part in manifest["parts"]) == len(frame)


def test_column_names_that_collide(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("text\tconfidence\na\tb\n")
    arguments = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*arguments)
    assert ended.code == 2
    assert "'confidence' already; give --prefix" in ended.err
    assert program(*arguments, "--prefix", "sb_").code == 0
    assert program(*arguments, "--keep-columns", "text", "--overwrite").code == 0, "it is not in the output"


def test_a_column_that_differs_from_an_added_one_in_case_alone(
    tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "a.tsv").write_text("text\tStatus\tProb_NEUTRAL\nenak\tnew\tx\n")
    arguments = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*arguments)
    assert (ended.code, "'Prob_NEUTRAL' already; give --prefix" in ended.err) == (2, True)
    assert program(*arguments, "--prefix", "sb_").code == 0
    parts = f"'{tmp_path}/out/*.parquet'"
    [row] = duckdb.sql(f"SELECT status, sb_status, prob_neutral, typeof(sb_prob_neutral) FROM {parts}").fetchall()
    assert row == ("new", "ok", "x", "FLOAT")


@needs_smsa
def test_the_masked_smsa_test_split_can_be_scored(tiny_model: Path, tmp_path: Path) -> None:
    from conftest import SMSA

    out, metrics = run(tmp_path, tiny_model, SMSA / "test_preprocess_masked_label.tsv", columns=("text", "label"))
    assert metrics["rows"]["scored"] == len(pd.read_parquet(out)) == 500


def test_labels_that_nobody_knows_are_no_error(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\nenak\tbaik\n")
    (tmp_path / "none.tsv").write_text("text\tlabel\n")
    for name in ("a", "none"):
        arguments = ("--model", tiny_model, "--output", tmp_path / f"out-{name}", "--label-column", "label")
        ended = program("score", tmp_path / f"{name}.tsv", *arguments)
        assert ended.code == 0, ended.err
        assert "accuracy undefined" in ended.out


def test_files_that_differ_in_what_may_be_null(tiny_model: Path, tmp_path: Path) -> None:
    for number, nullable in enumerate((False, True)):
        schema = pa.schema([pa.field("id", pa.int64(), nullable), pa.field("text", pa.string(), nullable)])
        pq.write_table(pa.table([[number], ["enak"]], schema=schema), tmp_path / f"{number}.parquet")
    out, _ = run(tmp_path, tiny_model, tmp_path / "0.parquet", tmp_path / "1.parquet")
    assert published(out).column("id").to_pylist() == [0, 1]


def test_what_is_done_needs_no_pytorch(parquet: Path, tiny_model: Path, tmp_path: Path) -> None:
    run(tmp_path, tiny_model, parquet)
    code = (
        "import sys\n"
        "from sentiment_batch.config import ScoreOptions\n"
        "from sentiment_batch.score import score\n"
        "score(ScoreOptions(input=(sys.argv[1],), model=sys.argv[2], output=sys.argv[3], progress='none'))\n"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, str(parquet), str(tiny_model), str(tmp_path / "out")]
    assert subprocess.run(arguments, check=False).returncode == 0


def test_a_run_that_is_overtaken_while_it_reads_its_parts_announces_nothing(
    parquet: Path, tiny_model: Path, bucket: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for the moment until it looks again: it may be killed in it."""
    settled, create, created = score_module.settled_parts, Bucket.create, []

    def late(*rest: Any) -> list[Part]:
        parts = settled(*rest)
        work_in_place(Claim(bucket, "another", {"command": "score"}, MARKER, True), Bucket(bucket))
        return parts

    def recorded(self: Bucket, name: str, scratch: Path) -> bool:
        created.append(name)
        return create(self, name, scratch)

    monkeypatch.setattr(score_module, "settled_parts", late)
    monkeypatch.setattr(Bucket, "create", recorded)
    ended = program("score", parquet, "--model", tiny_model, "--output", bucket, "--progress", "none")
    assert (ended.code, MARKER in created) == (4, False), ended.err


def test_from_a_bucket_into_a_bucket(tiny_model: Path, tmp_path: Path, bucket: str, program: Program) -> None:
    """The very bytes that a folder gets, and DuckDB's view of them."""
    store, key = open_bucket(f"{bucket}/in/a.tsv")
    obstore.put(store, key, b"id\ttext\n" + b"".join(b"%d\tenak %d\n" % (row, row) for row in range(120)) + b"bad\n")
    score_it = ("score", f"{bucket}/in", "--model", tiny_model, "--shard-rows", 50, "--max-reject-rate", 0.1)
    ended = program(*score_it, "--output", f"{bucket}/out", "--metrics", tmp_path / "metrics.json")
    assert ended.code == 0, ended.err
    assert program(*score_it, "--output", tmp_path / "out").code == 0
    prefix = open_bucket(f"{bucket}/out")[1]
    found = {meta["path"].removeprefix(f"{prefix}/") for page in obstore.list(store, prefix=prefix) for meta in page}
    assert ".claim.json" in found
    found -= {".claim.json"}  # it says whose the output is; a folder does without
    assert found == {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    for name in found - {"_SUCCESS", "_metrics.json", "_report.html"}:
        assert bytes(obstore.get(store, f"{prefix}/{name}").bytes()) == (tmp_path / "out" / name).read_bytes()
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"]["out"] == 120
    assert program("verify", f"{bucket}/out").code == 0
    again = program(*score_it, "--output", f"{bucket}/out")
    assert again.code == 0
    assert "done already" in again.out + again.err
    assert program(*score_it, "--output", f"{bucket}/out", "--limit-rows", 5).code == 4


def test_an_output_inside_an_input_folder_is_refused(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tsv").write_text("text\nabc\n")
    arguments = ("score", tmp_path / "in", "--model", tiny_model)
    ended = program(*arguments, "--output", tmp_path / "in" / "out")
    assert ended.code == 2
    assert "lies in the input folder" in ended.err
    assert program(*arguments, "--output", tmp_path / "in-out").code == 0


def test_an_input_inside_the_output_is_never_removed(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """`--overwrite` would take it away with the output."""
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    out = tmp_path / "out"
    assert program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", out).code == 0
    before = (out / "part-00000.parquet").read_bytes()
    for path in (out / "part-00000.parquet", f"{out}/*.parquet"):
        options = ("--model", tiny_model, "--output", out, "--prefix", "x_", "--overwrite")
        ended = program("score", path, *options)
        assert ended.code == 2
        assert "lies in --output" in ended.err
    assert (out / "part-00000.parquet").read_bytes() == before


def test_an_object_inside_the_output_is_never_removed(tiny_model: Path, bucket: str, program: Program) -> None:
    store, key = open_bucket(f"{bucket}/out/a.tsv")
    obstore.put(store, key, b"text\nabc\n")
    ended = program("score", f"{bucket}/out/*.tsv", "--model", tiny_model, "--output", f"{bucket}/out", "--overwrite")
    assert ended.code == 2
    assert "lies in --output" in ended.err
    assert obstore.head(store, key)["size"] == 9


def test_metrics_inside_the_output_are_refused(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    out = tmp_path / "out"
    ended = program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", out, "--metrics", out / "m.json")
    assert ended.code == 2
    assert "--metrics" in ended.err
    assert not out.exists()


def test_a_model_that_is_written_to_during_the_run_labels_as_it_was_loaded(
    tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tsv").write_text("text\n" + "".join(f"enak {row}\n" for row in range(60)))
    shutil.copytree(tiny_model, tmp_path / "model")
    whole, _ = run(tmp_path, tmp_path / "model", tmp_path / "a.tsv", shard_rows=20, output=tmp_path / "whole")
    added = RejectLimit.add

    def spoils(*given: Any) -> None:
        added(*given)
        with open(tmp_path / "model" / "model.safetensors", "r+b") as file:
            file.seek(-40_000, 2)
            file.write(bytes(40_000))

    monkeypatch.setattr(RejectLimit, "add", spoils)
    out, _ = run(tmp_path, tmp_path / "model", tmp_path / "a.tsv", shard_rows=20)
    assert published(out).equals(published(whole))


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("section", ["rows", "predictions"])
def test_metrics_of_a_killed_run_that_are_not_those_of_the_parts_are_made_again(
    section: str, parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part was lost meanwhile, and made again with other bits, as a GPU may."""
    with monkeypatch.context() as patch:
        patch.setattr(score_module, "manifest", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, tiny_model, parquet, shard_rows=50)
    metrics = tmp_path / ".out.wip" / "_metrics.json"
    true = json.loads(metrics.read_text())
    edit_json(metrics, lambda content: content[section].clear())
    out, told = run(tmp_path, tiny_model, parquet, shard_rows=50)
    assert json.loads((out / "_metrics.json").read_text())[section] == told[section] == true[section]


def test_metrics_of_a_killed_run_are_kept(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(score_module, "manifest", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, tiny_model, parquet, shard_rows=50)
    before = (tmp_path / ".out.wip" / "_metrics.json").read_bytes()
    out, _ = run(tmp_path, tiny_model, parquet, shard_rows=50)
    assert (out / "_metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan["shards"].pop(),
        lambda plan: plan.pop("shards"),
        lambda plan: plan.pop("sha256"),
        lambda plan: plan["shards"].__setitem__(0, None),
    ],
)
def test_a_damaged_plan_is_made_again(
    damage: Callable[[dict[str, Any]], object],
    parquet: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its last shard, rows would be missing from an output that is said to be whole."""
    whole, _ = run(tmp_path, tiny_model, parquet, shard_rows=50, output=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 6)
        with pytest.raises(Stopped):
            run(tmp_path, tiny_model, parquet, shard_rows=50)
    edit_json(tmp_path / ".out.wip" / ".plan.json", damage)
    out, _ = run(tmp_path, tiny_model, parquet, shard_rows=50)
    assert published(out).equals(published(whole))


def test_calibrated(parquet: Path, warm_model: Path, tmp_path: Path, program: Program) -> None:
    """The temperature is part of the job; without it the job is the one that it was before there were any."""
    plain, metrics = run(tmp_path, warm_model, parquet, output=tmp_path / "plain", shard_rows=60)
    assert metrics["model"]["temperature"] is None
    assert "calibrated" not in json.loads((plain / "_SUCCESS").read_text())["identity"]["options"]
    options = {"calibrated": True, "shard_rows": 60}
    out, metrics = run(tmp_path, warm_model, parquet, **options)
    assert metrics["model"]["temperature"] == 2.5
    made, before = published(out), published(plain)
    assert made.column("predicted_label") == before.column("predicted_label")
    names = [f"prob_{label}" for label in LABELS]
    shares, theirs = (table.select(names).to_pandas().dropna().to_numpy(np.float64) for table in (made, before))
    softened = theirs ** (1 / 2.5)
    np.testing.assert_allclose(shares, softened / softened.sum(axis=1, keepdims=True), atol=1e-5)
    assert program("verify", out).code == 0
    command = ("score", parquet, "--model", warm_model, "--output", out, "--shard-rows", 60, "--calibrated")
    assert program(*command).code == 0
    (warm_model / "training.json").write_text('{"temperature": 3.25}')
    refused = program(*command)
    assert (refused.code, "--calibrated 2.5 there, 3.25 here" in refused.err) == (4, True)
    (warm_model / "training.json").write_text("{}")
    refused = program(*command)
    assert (refused.code, f"{warm_model} has no temperature" in refused.err) == (2, True)


def test_a_calibrated_job_that_was_stopped_goes_on(
    parquet: Path, warm_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"calibrated": True, "shard_rows": 60}
    whole, _ = run(tmp_path, warm_model, parquet, output=tmp_path / "whole", **options)
    label = shards_module._label_shard

    def stopped(job: Any, work: Any, planned: PlannedShard, progress: Any) -> Part:
        if planned.index == 2:
            raise Stopped(15)
        return label(job, work, planned, progress)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "_label_shard", stopped)
        with pytest.raises(Stopped):
            run(tmp_path, warm_model, parquet, **options)
    training = (warm_model / "training.json").read_text()
    (warm_model / "training.json").write_text('{"temperature": 3.25}')
    with pytest.raises(OutputConflict, match=r"--calibrated 2\.5 there, 3\.25 here"):
        run(tmp_path, warm_model, parquet, **options)
    (warm_model / "training.json").write_text(training)
    out, metrics = run(tmp_path, warm_model, parquet, **options)
    assert metrics["run"]["resumed"]
    for part in whole.glob("part-*.parquet"):
        assert part.read_bytes() == (out / part.name).read_bytes()


def test_what_takes_long_before_the_first_row_is_said(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sentiment_batch.shards._LONG_PLAN_BYTES", 1)
    caplog.set_level("INFO")
    run(tmp_path, tiny_model, parquet)
    assert caplog.records[0].message == "planning the shards: 1 input files, 0 MB"


def test_progress_counts_every_row_once_and_batch_by_batch(
    parquet: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = []
    monkeypatch.setattr("sentiment_batch.measure.progress.Progress.add", lambda _, count: added.append(count))
    run(tmp_path, tiny_model, parquet, batch_tokens=200, shard_rows=100)
    assert sum(added) == ROWS
    assert len(added) > 20


def test_metrics_of_the_same_parts_may_have_other_intervals() -> None:
    """They are drawn: another NumPy may draw others, and another run may have settled the file."""
    ours: dict[str, Any] = {"rows": {"in": 3}, "predictions": {}, "evaluation": {"rows": 3, "intervals": {"a": [0, 1]}}}
    theirs = {**ours, "evaluation": {"rows": 3, "intervals": {"a": [0.1, 1]}}}
    assert score_module._same_rows(theirs, ours)
    assert not score_module._same_rows({**theirs, "evaluation": {"rows": 2}}, ours)
    assert not score_module._same_rows({**theirs, "rows": {"in": 2}}, ours)
    assert not score_module._same_rows({"rows": {"in": 3}, "predictions": {}}, ours)
