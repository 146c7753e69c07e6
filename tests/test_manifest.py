"""write/manifest.py: what `_SUCCESS` says of every file is true. Over both stores."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sentiment_batch.errors import OutputConflict
from sentiment_batch.write.manifest import MARKER, METRICS, is_whole, manifest, missing, remove_earlier
from sentiment_batch.write.part import Part, PartWriter, part_name, rejects_name, turn_in_name
from sentiment_batch.write.store import Store, create_json, read_json

HEAD = {"made_by": "sentiment-batch 9.9", "job_id": "abc", "identity": {"command": "score"}}
INPUTS = [{"path": "/data/a.tsv"}, {"path": "/data/b.tsv"}]
SCHEMA = pa.schema([("id", pa.int64())])
REJECT = {"file": "a.tsv", "row": 9, "reason": "fields"}


def alone() -> None:
    """No other job comes for the output."""


def write_manifest(store: Store, scratch: Path, parts: list[Part], inputs: list[dict[str, str]]) -> None:
    create_json(store, scratch, MARKER, manifest(store, HEAD, parts, inputs))


def make_parts(store: Store, scratch: Path) -> list[Part]:
    """Three parts: three rows, none but two rejects, one row and a reject."""
    parts = []
    for shard, (ids, rejects) in enumerate([([7, 3, 5], []), ([], [REJECT, REJECT]), ([1], [REJECT])]):
        with PartWriter(store, scratch, part_name(shard), SCHEMA) as part:
            part.write(pa.record_batch([pa.array(ids, pa.int64())], schema=SCHEMA), rejects)
            account = {
                "job_id": "abc",
                "shard": shard,
                "file": shard // 2,
                "range": [10 * shard, 10, len(ids) + len(rejects)],
                "input_sha256": f"{shard:064x}",
                "rows_in": len(ids) + len(rejects),
                "counts": {},
            }
            parts.append(part.seal(account, alone))
    return parts


def actual(store: Store, name: str) -> dict[str, Any]:
    data = store.read(name) or b""
    return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_the_manifest_lists_files_and_rows_that_are_true(store: Store, scratch: Path) -> None:
    parts = make_parts(store, scratch)
    create_json(store, scratch, METRICS, {"rows": 7})
    write_manifest(store, scratch, parts, INPUTS)
    written = read_json(store, MARKER)
    assert written.items() >= {"schema_version": 1, **HEAD, "inputs": INPUTS}.items()
    assert written["rows"] == {"rows_in": 7, "rows_out": 4, "rejected": 3}
    assert written["metrics"] == actual(store, METRICS)
    assert len(written["parts"]) == 3
    for number, (listed, part) in enumerate(zip(written["parts"], parts, strict=True)):
        assert listed.items() >= actual(store, f"part-0000{number}.parquet").items()
        for name in ("file", "range", "input_sha256", "rows_in", "rows_out", "rejected", "rejects"):
            assert listed[name] == part.seal[name]
    assert [listed["rejects"] is None for listed in written["parts"]] == [True, False, False]


def test_the_manifest_has_its_own_hash(store: Store, scratch: Path) -> None:
    """Of its bytes, with zeros in the place of the hash, and with names that are no UTF-8 in it."""
    create_json(store, scratch, METRICS, {})
    write_manifest(store, scratch, [], [{"path": "/data/\udcff.tsv"}])
    data = store.read(MARKER) or b""
    written = json.loads(data)
    own = written["manifest_sha256"]
    assert own == hashlib.sha256(data.replace(own.encode(), b"0" * 64)).hexdigest()
    assert is_whole(written, data)
    for spoilt in (data + b" ", data.replace(b"abc", b"abd"), data.replace(own.encode(), own.upper().encode())):
        assert not is_whole(json.loads(spoilt), spoilt)
    for other in (None, "", own.upper(), own[:-1], 5):
        assert not is_whole({**written, "manifest_sha256": other}, data)


def test_every_visible_file_is_in_the_manifest(store: Store, scratch: Path) -> None:
    parts = make_parts(store, scratch)
    create_json(store, scratch, METRICS, {})
    write_manifest(store, scratch, parts, INPUTS)
    written = read_json(store, MARKER)
    listed = {MARKER, written["metrics"]["name"], *(part["name"] for part in written["parts"])}
    listed |= {part["rejects"]["name"] for part in written["parts"] if part["rejects"]}
    assert listed == set(store.sizes())


def test_parts_that_are_not_there_whole_are_named(store: Store, scratch: Path) -> None:
    parts = make_parts(store, scratch)
    assert missing(store, parts, alone) == set()
    store.delete(part_name(0))
    store.delete(parts[1].seal["rejects"]["name"])
    assert missing(store, parts, alone) == {part_name(0), part_name(1)}
    (scratch / "short").write_text("PAR1")
    store.create(part_name(0), scratch / "short")
    assert missing(store, parts, alone) == {part_name(0), part_name(1)}


def test_what_an_earlier_attempt_left_is_removed(store: Store, scratch: Path) -> None:
    parts = make_parts(store, scratch)
    before = store.sizes()
    for name in ("part-00003.parquet", "_rejects/_part-00001-01234567.jsonl"):
        (scratch / "x").write_text("left")
        store.create(name, scratch / "x")
    assert missing(store, parts, alone) == set()
    assert store.sizes() == before


@pytest.mark.parametrize("name", ["notes.txt", "part-3.parquet", "_rejects/notes", "more/part-00000.parquet"])
def test_a_strangers_file_is_refused_and_left(store: Store, scratch: Path, name: str) -> None:
    parts = make_parts(store, scratch)
    (scratch / "x").write_text("mine")
    store.create(name, scratch / "x")
    with pytest.raises(OutputConflict, match=name):
        missing(store, parts, alone)
    assert store.read(name) == b"mine"


def test_nothing_is_removed_once_the_output_is_another_jobs(store: Store, scratch: Path) -> None:
    def taken() -> None:
        raise OutputConflict("taken over")

    parts = make_parts(store, scratch)
    (scratch / "x").write_text("theirs")
    store.create("part-00003.parquet", scratch / "x")
    with pytest.raises(OutputConflict, match="taken over"):
        missing(store, parts, taken)
    assert store.read("part-00003.parquet") == b"theirs"


@pytest.mark.parametrize("turn", [0, 1, 2, 12])
def test_each_turn_has_names_of_its_own(turn: int) -> None:
    names = [part_name(3, turn), rejects_name(part_name(3, turn), "12345678" * 8)]
    suffix = f"-{turn}" if turn else ""
    assert names == [f"part-00003{suffix}.parquet", f"_rejects/_part-00003{suffix}-12345678.jsonl"]
    assert [*map(turn_in_name, names)] == [turn, turn]


def test_what_an_earlier_turn_left_is_removed_and_nothing_else(store: Store, scratch: Path) -> None:
    rejects = [rejects_name(part_name(0, turn), "12345678" * 8) for turn in range(4)]
    parts = [part_name(0, turn) for turn in range(4)]
    others = ["notes.txt", "_rejects/_part-1.txt", "part-00000-1.parquet.crc"]
    for name in (*parts, *rejects, *others):
        (scratch / "x").write_text(name)
        store.create(name, scratch / "x")
    left = {*parts[2:], *rejects[2:], *others}
    assert {*remove_earlier(store, store.sizes(), turn=2)} == left
    assert {*store.sizes()} == left


def test_a_job_without_shards_has_a_manifest(store: Store, scratch: Path) -> None:
    create_json(store, scratch, METRICS, {})
    write_manifest(store, scratch, [], [])
    written = json.loads(store.read(MARKER) or b"")
    assert written["parts"] == []
    assert written["rows"] == {"rows_in": 0, "rows_out": 0, "rejected": 0}
