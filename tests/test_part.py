"""write/part.py: a part is sealed and whole, or it is not there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_batch.errors import EnvironmentFailure, OutputConflict
from sentiment_batch.write import part as module
from sentiment_batch.write.part import Part, PartWriter, hashed, part_name, read_part
from sentiment_batch.write.store import Folder, Store

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())], metadata={"origin": "crawl"})
NAME = part_name(3)
ACCOUNT = {"job_id": "abc", "shard": 3, "range": [0, 10, 5], "rows_in": 7, "counts": {"predicted": {"positif": 4}}}
REJECTS = [{"file": "a.tsv", "row": 9, "reason": "fields"}, {"file": "a.tsv", "row": 2, "text": "é👍\n"}]


def alone() -> None:
    """No other job comes for the output."""


def rows(*ids: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(ids, pa.int64()), pa.array([f"teks {number}" for number in ids])], schema=SCHEMA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def everything(*folders: Path) -> list[str]:
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


def make_part(
    folder: Path | Store, scratch: Path, rejects: list[dict[str, Any]], *chunks: pa.RecordBatch
) -> dict[str, Any]:
    return make(Folder(folder) if isinstance(folder, Path) else folder, scratch, rejects, *chunks).seal


def make(store: Store, scratch: Path, rejects: list[dict[str, Any]], *chunks: pa.RecordBatch) -> Part:
    with PartWriter(store, scratch, NAME, SCHEMA) as part:
        for chunk in chunks:
            part.write(chunk, [])
        part.write(rows(), rejects)
        return part.seal(ACCOUNT, alone)


def test_only_what_is_of_this_run_is_withdrawn(folder: Path, scratch: Path) -> None:
    """Another job has the names since somebody emptied the output: its rows, and rejects of the same content, stay."""
    theirs = {**ACCOUNT, "job_id": "another"}
    with PartWriter(Folder(folder), scratch, NAME, SCHEMA) as part:
        part.write(rows(1), REJECTS)
        part.seal(theirs, alone)
        assert len(part.made) == 2

    def taken() -> None:
        raise OutputConflict("taken over")

    with PartWriter(Folder(folder), scratch, NAME, SCHEMA) as part:
        part.write(rows(2), REJECTS)
        with pytest.raises(OutputConflict):
            part.seal(ACCOUNT, taken)
        assert part.made == []


def read_seal(path: Path) -> dict[str, Any] | None:
    part = read_part(Folder(path.parent), path.name)
    return part.seal if part else None


def test_parts_sort_by_name_as_by_shard() -> None:
    names = [part_name(shard) for shard in (0, 1, 9, 10, 99, 12_345)]
    assert names == sorted(names)
    assert names[0] == "part-00000.parquet"


def test_a_part_has_its_rows_in_order_a_row_group_for_each_chunk_and_its_seal(folder: Path, scratch: Path) -> None:
    seal = make_part(folder, scratch, [], rows(7, 3, 5), rows(1))
    table = pq.read_table(folder / NAME)
    assert table["id"].to_pylist() == [7, 3, 5, 1]
    assert table["text"].to_pylist() == ["teks 7", "teks 3", "teks 5", "teks 1"]
    groups = pq.read_metadata(folder / NAME)
    assert [groups.row_group(number).num_rows for number in range(2)] == [3, 1]
    assert seal.items() >= {**ACCOUNT, "rows_out": 4, "rejected": 0, "rejects": None}.items()
    assert seal.keys() - ACCOUNT.keys() == {
        *("rows_out", "rejected", "rejects"),
        *("data_bytes", "data_sha256", "footer_sha256"),
    }
    assert read_seal(folder / NAME) == seal
    assert everything(folder, scratch) == [NAME]


def test_the_schema_of_the_input_is_kept(folder: Path, scratch: Path) -> None:
    make_part(folder, scratch, [], rows(1))
    found = pq.read_schema(folder / NAME)
    assert found.equals(SCHEMA)
    assert found.metadata[b"origin"] == b"crawl"


def test_a_large_chunk_is_one_row_group(folder: Path, scratch: Path) -> None:
    """pyarrow cuts at 2**20 rows if it is not told otherwise."""
    count = 2**20 + 1
    schema = pa.schema([("yes", pa.bool_())])
    with PartWriter(Folder(folder), scratch, NAME, schema) as part:
        part.write(pa.record_batch([pa.repeat(True, count)], schema=schema), [])
        part.seal(ACCOUNT, alone)
    assert pq.read_metadata(folder / NAME).num_row_groups == 1


def test_a_part_without_rows_is_a_part(folder: Path, scratch: Path) -> None:
    seal = make_part(folder, scratch, REJECTS)
    assert seal["rows_out"] == 0
    assert pq.read_table(folder / NAME).num_rows == 0
    assert read_seal(folder / NAME) == seal


def test_nothing_is_visible_before_the_seal(folder: Path, scratch: Path) -> None:
    with PartWriter(Folder(folder), scratch, NAME, SCHEMA) as part:
        part.write(rows(1, 2), REJECTS)
        assert everything(folder) == []
        part.seal(ACCOUNT, alone)
        assert len(everything(folder)) == 2


def test_a_part_that_is_left_without_a_seal_leaves_nothing(folder: Path, scratch: Path) -> None:
    with PartWriter(Folder(folder), scratch, NAME, SCHEMA) as part:
        part.write(rows(1, 2), REJECTS)
    assert everything(folder, scratch) == []


def interrupt(_part: PartWriter) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "last",
    [
        interrupt,
        lambda part: part.write(pa.record_batch({"other": [1]}), []),
        lambda part: part.seal({"job_id": object()}),
    ],
    ids=["a signal", "a chunk of another schema", "a seal that is no JSON"],
)
def test_a_part_that_is_left_by_an_exception_leaves_nothing(
    folder: Path, scratch: Path, last: Callable[[PartWriter], None]
) -> None:
    def fail() -> None:
        with PartWriter(Folder(folder), scratch, NAME, SCHEMA) as part:
            part.write(rows(1, 2), [])
            last(part)

    with pytest.raises((KeyboardInterrupt, ValueError, TypeError, pa.ArrowException)):
        fail()
    assert everything(folder, scratch) == []


@pytest.mark.parametrize("failing", [0, 1])
def test_a_full_disk_leaves_no_part_and_nothing_in_scratch(
    folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    create, calls = Folder.create, []

    def full(store: Folder, name: str, source: Path) -> bool:
        calls.append(name)
        if len(calls) == failing + 1:
            raise EnvironmentFailure("No space left on device")
        return create(store, name, source)

    monkeypatch.setattr(Folder, "create", full)
    with pytest.raises(EnvironmentFailure, match="No space"):
        make_part(folder, scratch, REJECTS, rows(1, 2))
    assert calls[-1].startswith(NAME if failing else "_rejects/")  # the rejects come first
    assert not (folder / NAME).exists()
    assert everything(scratch) == []


def test_rejects_are_a_file_named_by_its_content(folder: Path, scratch: Path) -> None:
    seal = make_part(folder, scratch, REJECTS, rows(1))
    assert seal["rejected"] == 2
    path = folder / seal["rejects"]["name"]
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert path == folder / "_rejects" / f"_part-00003-{digest[:8]}.jsonl"
    assert seal["rejects"] == {"name": path.relative_to(folder).as_posix(), "bytes": len(data), "sha256": digest}
    assert [json.loads(line) for line in data.decode().removesuffix("\n").split("\n")] == REJECTS


def test_rejects_of_all_chunks_are_kept_in_order(folder: Path, scratch: Path) -> None:
    with PartWriter(Folder(folder), scratch, NAME, SCHEMA) as part:
        part.write(rows(1), REJECTS[:1])
        part.write(rows(), REJECTS[1:])
        seal = part.seal(ACCOUNT, alone).seal
    text = (folder / seal["rejects"]["name"]).read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.removesuffix("\n").split("\n")] == REJECTS


def test_a_part_is_made_again_after_a_kill_between_its_rejects_and_its_name(folder: Path, scratch: Path) -> None:
    seal = make_part(folder, scratch, REJECTS, rows(1))
    (folder / NAME).unlink()
    assert make_part(folder, scratch, REJECTS, rows(1)) == seal
    assert len(everything(folder)) == 2
    (folder / NAME).unlink()
    other = make_part(folder, scratch, REJECTS[:1])
    assert other["rejects"]["name"] != seal["rejects"]["name"]


def test_a_part_that_is_there_never_changes_and_its_own_seal_counts(folder: Path, scratch: Path) -> None:
    """Two runs of one job may meet where the lock does not reach; only the first seal is that of the file."""
    first = make_part(folder, scratch, [], rows(1, 2))
    data = (folder / NAME).read_bytes()
    second = make_part(folder, scratch, [], rows(1, 2, 3))
    assert (folder / NAME).read_bytes() == data
    assert read_seal(folder / NAME) == first
    assert second == first
    assert everything(folder, scratch) == [NAME]


def test_the_same_rows_are_the_same_bytes(folder: Path, scratch: Path) -> None:
    make_part(folder, scratch, REJECTS, rows(7, 3, 5), rows(1))
    for place in ("elsewhere", "elsewhere/scratch"):
        (folder / place).mkdir()
    make_part(folder / "elsewhere", folder / "elsewhere" / "scratch", REJECTS, rows(7, 3, 5), rows(1))
    assert (folder / "elsewhere" / NAME).read_bytes() == (folder / NAME).read_bytes()


def test_every_flipped_bit_is_found(folder: Path, scratch: Path) -> None:
    """In the footer by its own hash, at once; before it by that of the data, when the part is read through."""
    store = Folder(folder)
    whole = make(store, scratch, [], rows(*range(300)))
    data = (folder / NAME).read_bytes()
    found: dict[bool, int] = {True: 0, False: 0}
    for place in range(len(data)):
        (folder / NAME).write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        part = read_part(store, NAME)
        assert part is None or hashed(store, part) is None
        found[part is None] += 1
    assert found == {False: whole.seal["data_bytes"], True: len(data) - whole.seal["data_bytes"]}


def test_a_part_is_read_back_as_it_was_made(store: Store, scratch: Path) -> None:
    made = make(store, scratch, REJECTS, rows(7, 3, 5))
    found = read_part(store, NAME)
    assert found
    assert (found.name, found.bytes, found.seal, found.sha256) == (NAME, made.bytes, made.seal, None)
    assert hashed(store, found) == made
    data = store.read(NAME) or b""
    assert made.listed() == {"name": NAME, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert read_part(store, "part-00009.parquet") is None


def test_a_footer_of_any_length_is_read(store: Store, scratch: Path) -> None:
    schema = pa.schema([(f"a column with a long name {number}", pa.int64()) for number in range(900)])
    with PartWriter(store, scratch, NAME, schema) as part:
        part.write(pa.RecordBatch.from_arrays([pa.array([1])] * 900, schema=schema), [])
        made = part.seal(ACCOUNT, alone)
    assert made.bytes - made.seal["data_bytes"] > 2 * module._TAIL_BYTES
    found = read_part(store, NAME)
    assert found
    assert found.seal == made.seal


@pytest.mark.parametrize("there", ["of another job", "damaged", "cut short", "no part at all"])
def test_a_part_that_is_not_this_jobs_or_not_whole_is_replaced(store: Store, scratch: Path, there: str) -> None:
    expected = make(store, scratch, REJECTS, rows(7, 3))
    data = store.read(NAME) or b""
    if there == "of another job":
        store.delete(NAME)
        with PartWriter(store, scratch, NAME, SCHEMA) as part:
            part.seal({**ACCOUNT, "job_id": "another"}, alone)
    else:
        changed = {"damaged": data[:9] + b"?" + data[10:], "cut short": data[:-9], "no part at all": b"PAR1"}[there]
        put_over(store, scratch, NAME, changed)
    assert make(store, scratch, REJECTS, rows(7, 3)) == expected
    assert store.read(NAME) == data
    assert everything(scratch) == []


def test_a_part_that_goes_while_it_is_looked_at_is_made_if_the_output_is_still_this_jobs(
    store: Store, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its footer and its rows: another job took the output over, or somebody removed it."""
    made = make(store, scratch, [], rows(1))

    def late(store: Store, name: str) -> Part | None:
        found = read_part(store, name)
        store.delete(name)
        return found

    monkeypatch.setattr(module, "read_part", late)
    assert make(store, scratch, [], rows(1)) == made


def test_rejects_that_are_damaged_are_replaced(store: Store, scratch: Path) -> None:
    seal = make_part(store, scratch, REJECTS, rows(7))
    name = seal["rejects"]["name"]
    data = store.read(name)
    put_over(store, scratch, name, b"{}")
    make(store, scratch, REJECTS, rows(7))
    assert store.read(name) == data


def test_a_part_of_another_job_stays_if_the_output_is_its_by_now(store: Store, scratch: Path) -> None:
    def taken() -> None:
        raise OutputConflict("taken over")

    make(store, scratch, [], rows(1))
    before = store.read(NAME)
    with PartWriter(store, scratch, NAME, SCHEMA) as part, pytest.raises(OutputConflict, match="taken over"):
        part.seal({**ACCOUNT, "job_id": "another"}, taken)
    assert store.read(NAME) == before
    assert everything(scratch) == []


def put_over(store: Store, scratch: Path, name: str, data: bytes) -> None:
    store.delete(name)
    (scratch / "x").write_bytes(data)
    store.create(name, scratch / "x")


def test_an_input_that_is_itself_a_part_does_not_lend_its_seal(folder: Path, scratch: Path) -> None:
    make_part(folder, scratch, [], rows(1))
    schema = pq.read_table(folder / NAME).schema.with_metadata(pq.read_metadata(folder / NAME).metadata)
    store = Folder(folder)
    with PartWriter(store, scratch, "part-00004.parquet", schema) as part:
        part.write(pa.RecordBatch.from_pylist([{"id": 1, "text": "x"}] * 2, schema=schema), [])
        made = part.seal({**ACCOUNT, "shard": 4}, alone)
    found = read_part(store, "part-00004.parquet")
    assert found
    assert found.seal == made.seal


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_file_cut_short_has_no_seal(folder: Path, scratch: Path, share: float) -> None:
    make_part(folder, scratch, [], rows(*range(1000)))
    data = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(data[: int(len(data) * share)])
    assert read_seal(folder / NAME) is None


def parquet_with(path: Path, metadata: dict[str, str]) -> Path:
    pq.write_table(pa.table({"id": [1, 2]}).replace_schema_metadata(metadata), path)
    return path


def test_a_file_of_strangers_has_no_seal(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("PAR1 but no Parquet file PAR1")
    assert read_seal(tmp_path / "text") is None
    assert read_seal(tmp_path / "missing") is None
    assert read_seal(tmp_path) is None
    assert read_seal(parquet_with(tmp_path / "foreign", {})) is None
    assert read_seal(parquet_with(tmp_path / "pandas", {"pandas": "{}"})) is None


@pytest.mark.parametrize("seal", ["", "{", "[2]", "2", "null", "{}", '{"rows_out": 3}', '{"rows_out": "2"}'])
def test_a_seal_that_is_not_true_is_no_seal(tmp_path: Path, seal: str) -> None:
    assert read_seal(parquet_with(tmp_path / NAME, {module.SEAL.decode(): seal})) is None
