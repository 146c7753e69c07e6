"""Plan: every row of every file is in one shard, known beforehand, and what is read is what was planned."""

import gzip
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sentiment_batch
from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.read.chunk import Reject, Shard
from sentiment_batch.read.inputs import byte_blocks
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks, say_if_empty, shard_sha256

quick = settings(max_examples=60, derandomize=True, deadline=None)
counts = st.sampled_from([1, 2, 3, 7, 1000])
MUCH = 2**40
FORMATS = ("tsv", "csv", "tsv.gz", "parquet")
formats = pytest.mark.parametrize("format", FORMATS)

Row = tuple[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plan")


def put(path: Path, rows: list[Row], names: Row = ("text", "label")) -> str:
    """A file in the format that its name tells. The values need no quotes."""
    if path.suffix == ".parquet":
        columns = [[row[number] for row in rows] for number in range(2)]
        pq.write_table(pa.table(dict(zip(names, columns, strict=True)), strings(names)), path, row_group_size=4)
        return str(path)
    comma = "," if path.suffix == ".csv" else "\t"
    data = "".join(comma.join(row) + "\n" for row in [names, *rows]).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def strings(names: Row) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def opened(*paths: str | Path, columns: tuple[str, ...] = (), required: tuple[str, ...] = ("text",)) -> Inputs:
    return open_inputs(tuple(map(str, paths)), "auto", columns, required)


def read(
    inputs: Inputs, shards: list[PlannedShard], columns: tuple[str, ...] = ("text", "label"), chunk_rows: int = 1000
) -> tuple[list[Row], list[Reject]]:
    """All rows of the shards, in the order of the files, although the shards are read in another order."""
    rows: dict[int, list[Row]] = {}
    rejects: dict[int, list[Reject]] = {}
    for planned in random.Random(len(shards)).sample(shards, len(shards)):
        rows[planned.index], rejects[planned.index] = [], []
        for chunk in read_chunks(inputs, planned, columns, "text", chunk_rows):
            rows[planned.index] += zip(*(column.to_pylist() for column in chunk.batch.columns), strict=True)
            rejects[planned.index] += chunk.rejects
    return (
        [row for index in sorted(rows) for row in rows[index]],
        [reject for index in sorted(rejects) for reject in rejects[index]],
    )


def some_rows(count: int, seed: int = 0) -> list[Row]:
    chance = random.Random(seed * 1000 + count)
    return [(f"kata {chance.randrange(1000)}", chance.choice("xyz")) for _ in range(count)]


@quick
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=3),
    counts,
    st.sampled_from([1, 30, 100, MUCH]),
    counts,
    st.one_of(st.none(), st.integers(1, 30)),
    st.sampled_from(FORMATS),
)
def test_the_shards_of_all_files_have_every_row_once(
    folder: Path,
    lengths: list[int],
    shard_rows: int,
    shard_bytes: int,
    chunk_rows: int,
    limit_rows: int | None,
    format: str,
) -> None:
    tables = [some_rows(length, number) for number, length in enumerate(lengths)]
    paths = [put(folder / f"{number}.{format}", rows) for number, rows in enumerate(tables)]
    inputs = opened(*reversed(paths))
    shards = plan(inputs, shard_rows, shard_bytes, limit_rows)
    expected = [row for rows in reversed(tables) for row in rows][:limit_rows]
    assert read(inputs, shards, chunk_rows=chunk_rows) == (expected, [])
    assert [planned.index for planned in shards] == list(range(len(shards)))
    assert sum(planned.shard.rows for planned in shards) == len(expected)
    assert plan(inputs, shard_rows, shard_bytes, limit_rows) == shards
    rows = 0
    for before, planned in zip([None, *shards], shards, strict=False):
        rows = rows if before and before.file == planned.file else 0
        assert planned.shard.first_row == rows
        rows += planned.shard.rows


@pytest.mark.parametrize("limit_rows", [1, 2, 3, 4, 5, 6, 7, 100])
def test_the_limit_counts_rejects_and_goes_over_files(folder: Path, limit_rows: int) -> None:
    first, second = folder / "first.tsv", folder / "second.tsv"
    first.write_bytes(b"text\tlabel\nc\tx\nshort\na\ty\n")
    second.write_bytes(b"text\tlabel\n\xff\tx\nd\tx\nb\ty\n")
    inputs = opened(first, second)
    rows = [("c", "x"), None, ("a", "y"), None, ("d", "x"), ("b", "y")][:limit_rows]
    places = [(str(first), 1), (str(second), 0)][: rows.count(None)]
    for shard_rows in (1, 2, 1000):
        shards = plan(inputs, shard_rows, MUCH, limit_rows)
        found, rejects = read(inputs, shards)
        assert found == [row for row in rows if row]
        assert [(reject["file"], reject["row"]) for reject in rejects] == places
        assert sum(planned.shard.rows for planned in shards) == len(rows)


@formats
@pytest.mark.parametrize("limit_rows", [1, 5, 6, 8, 9, 13, 14, 99])
def test_the_limit_may_fall_anywhere_in_a_shard(folder: Path, format: str, limit_rows: int) -> None:
    tables = [some_rows(9), some_rows(5)]
    inputs = opened(*(put(folder / f"l{number}.{format}", rows) for number, rows in enumerate(tables)))
    for shard_rows in (3, 6, 1000):
        shards = plan(inputs, shard_rows, MUCH, limit_rows)
        assert read(inputs, shards, chunk_rows=4) == ((tables[0] + tables[1])[:limit_rows], [])
        assert sum(planned.shard.rows for planned in shards) == min(limit_rows, 14)


def test_every_file_has_a_header_of_its_own(folder: Path) -> None:
    heads = [b"text\tlabel\n", b"\xef\xbb\xbftext\tlabel\r\n", b"label\ttext\n"]
    paths = [folder / f"head{number}.tsv" for number in range(3)]
    for path, head in zip(paths, heads, strict=True):
        path.write_bytes(head + b"b\tb\na\ta\n")
    for order in (paths, paths[::-1], paths[1:]):
        inputs = opened(*order)
        rows, rejects = read(inputs, plan(inputs, 10, MUCH))
        assert (rows, rejects) == ([("b", "b"), ("a", "a")] * len(order), [])


@formats
def test_inputs_without_rows_are_one_shard_without_rows(folder: Path, format: str) -> None:
    paths = [put(folder / f"none{number}.{format}", []) for number in range(2)]
    inputs = opened(*paths)
    shards = plan(inputs, 10, 10)
    assert shards == [PlannedShard(0, 0, Shard(0, 0, 0, 0))]
    assert read(inputs, shards) == ([], [])
    assert len(shard_sha256(inputs, shards[0])) == 64
    inputs = opened(paths[0], put(folder / f"some.{format}", some_rows(3)))
    assert [planned.file for planned in plan(inputs, 10, MUCH)] == [1]


@formats
def test_the_schema_is_that_of_the_first_file(folder: Path, format: str) -> None:
    one = put(folder / f"one.{format}", some_rows(3))
    two = put(folder / f"two.{format}", [(label, text) for text, label in some_rows(5, 1)], ("label", "text"))
    for paths, names in (((one, two), ["text", "label"]), ((two, one), ["label", "text"])):
        inputs = opened(*paths)
        assert inputs.schema.names == names
        assert inputs.schema.types == [pa.string(), pa.string()]
    rows, _ = read(inputs, plan(inputs, 2, MUCH))
    assert rows == [*some_rows(5, 1), *some_rows(3)]  # by name, not by place
    turned, _ = read(inputs, plan(inputs, 2, MUCH), ("label", "text"))
    assert turned == [(label, text) for text, label in rows]


def test_the_columns_given_are_those_of_files_without_a_header(folder: Path) -> None:
    paths = [folder / "bare1.tsv", folder / "bare2.tsv"]
    for path in paths:
        path.write_bytes(f"{path.stem}\tx\n".encode())
    inputs = opened(*paths, columns=("text", "label"))
    assert read(inputs, plan(inputs, 10, MUCH)) == ([("bare1", "x"), ("bare2", "x")], [])


def test_two_given_columns_of_one_name_are_refused(folder: Path) -> None:
    (folder / "bare.tsv").write_bytes(b"b\tx\na\ty\n")
    with pytest.raises((UsageError, InputError), match="'text'"):
        opened(folder / "bare.tsv", columns=("text", "text"))


@formats
def test_a_column_that_is_missing_is_named_with_those_that_are_there(folder: Path, format: str) -> None:
    path = put(folder / f"a.{format}", some_rows(2), ("review", "label"))
    with pytest.raises(InputError, match="no column 'text'; it has: 'review', 'label'") as caught:
        opened(path)
    assert path in str(caught.value)
    assert opened(path, required=("review",)).schema.names == ["review", "label"]
    with pytest.raises(InputError, match="no column 'stars'"):
        opened(path, required=("review", "stars"))


@pytest.mark.parametrize(
    ("name", "separator", "advice"),
    [
        ("a.tsv", ",", "give --format csv"),
        ("a.csv", "\t", "give --format tsv"),
        ("a.csv", ";", "write it with tabs or commas"),
        ("a.tsv", "|", "write it with tabs or commas"),
    ],
)
def test_columns_that_another_separator_divides(folder: Path, name: str, separator: str, advice: str) -> None:
    (folder / name).write_text(f"id{separator} text\n1{separator}bagus\n")
    with pytest.raises(
        InputError, match=rf"a\.\wsv is read as \wSV, but has .* between its columns; {advice}"
    ) as caught:
        opened(folder / name)
    assert repr(separator) in str(caught.value)


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_no_text_of_a_file_without_a_header_is_in_a_message(folder: Path, separator: str) -> None:
    """Its first review is taken for the names of the columns."""
    put(folder / "a.tsv", some_rows(2))
    (folder / "bare.tsv").write_text(f"rahasia sekali{separator}text\n")
    (folder / "bare.csv").write_text("rahasia sekali,rahasia sekali\n")
    cases = [(folder / "a.tsv", folder / "bare.tsv"), (folder / "bare.csv",)]
    cases += [] if separator == "\t" else [(folder / "bare.tsv",)]  # else it has a column "text"
    for paths in cases:
        with pytest.raises(InputError, match="bare") as caught:
            opened(*paths)
        assert "rahasia" not in str(caught.value)


def test_a_parquet_file_lists_its_columns_however_they_are_named_and_not_all_of_many(folder: Path) -> None:
    pq.write_table(pa.table({"Review Text": ["a"], "x" * 50: ["b"]}), folder / "a.parquet")
    with pytest.raises(InputError, match=f"it has: 'Review Text', '{'x' * 40}'$"):
        opened(folder / "a.parquet")
    pq.write_table(pa.table({f"c{number}": ["a"] for number in range(1_000)}), folder / "b.parquet")
    with pytest.raises(InputError, match=r"it has: 'c0', .*'c19', \.\.\.$"):
        opened(folder / "b.parquet")


@pytest.mark.parametrize("names", [("text", "label"), ("TEXT", "Label"), ("label", "text")])
def test_a_header_of_a_file_that_is_said_to_have_none_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture, names: tuple[str, str]
) -> None:
    for suffix, separator in ((".tsv", "\t"), (".csv", ",")):
        (folder / f"a{suffix}").write_text("\ufeff" + f"text{separator} label\nbagus{separator}x\n")
        inputs = opened(folder / f"a{suffix}", columns=names, required=(names[0],))
        assert f"a{suffix}: its first line is the names that --columns gives" in caplog.text
        assert sum(planned.shard.rows for planned in plan(inputs, 10, MUCH)) == 2, "it is a row all the same"
        caplog.clear()


@pytest.mark.parametrize("data", ["bagus\tlabel\n", "text\n", "text\tlabel\tmore\n", "", "\xff"])
def test_a_first_row_that_is_no_header_is_not_told(folder: Path, caplog: pytest.LogCaptureFixture, data: str) -> None:
    (folder / "a.tsv").write_bytes(data.encode("latin-1"))
    opened(folder / "a.tsv", columns=("text", "label"))
    assert caplog.records == []


def test_columns_of_a_parquet_file_cannot_be_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(put(folder / "a.parquet", some_rows(2)), columns=("a", "b"))
    assert "--columns is left aside" in caplog.text


@formats
def test_an_input_without_rows_is_told(folder: Path, caplog: pytest.LogCaptureFixture, format: str) -> None:
    empty = [put(folder / f"{number}.{format}", []) for number in range(7)]
    for files in (empty[:2], empty):
        inputs = opened(*files)
        say_if_empty(inputs, plan(inputs, 10, MUCH))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"no rows in {empty[0]}, {empty[1]}\n" in caplog.text
    assert f"{empty[4]}, ..." in caplog.text
    caplog.clear()
    inputs = opened(empty[0], put(folder / f"full.{format}", some_rows(1)))
    say_if_empty(inputs, plan(inputs, 10, MUCH))
    assert caplog.records == []


@formats
def test_files_with_different_columns_are_refused(folder: Path, format: str) -> None:
    whole = put(folder / f"whole.{format}", some_rows(2))
    other = put(folder / f"other.{format}", some_rows(2), ("text", "stars"))
    for paths in ((whole, other), (other, whole)):
        with pytest.raises(InputError, match="lacks the column 'label'") as caught:
            opened(*paths)
        message = str(caught.value)
        assert message.index(other) < message.index("lacks") < message.index(whole)


def test_files_with_different_types_are_refused(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["b"], "n": pa.array([1], pa.int64())}), folder / "n64.parquet")
    pq.write_table(pa.table({"text": ["a"], "n": pa.array([1], pa.int32())}), folder / "n32.parquet")
    with pytest.raises(InputError, match=r"the column 'n' is int32 in .*n32.* and int64 in .*n64.*"):
        opened(folder / "n64.parquet", folder / "n32.parquet")


@pytest.mark.parametrize("texts", [pa.array([b"b"]), pa.array([1]), pa.array([["b"]]), pa.nulls(1)], ids=str)
def test_a_text_column_without_strings_is_refused(folder: Path, texts: pa.Array) -> None:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"text": texts, "good": ["b"]}), path)
    with pytest.raises(InputError, match=r"'text' holds .*not strings") as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert opened(path, required=("good",)).schema.names == ["text", "good"]


@pytest.mark.parametrize("nullable", [True, False])
def test_every_chunk_has_the_schema_of_the_job_whatever_its_file_says_of_nulls(folder: Path, nullable: bool) -> None:
    """Spark says of every column that it may be null, and others of none: the parts of an output have one schema."""
    for name, able in (("one", nullable), ("two", not nullable)):
        schema = pa.schema([pa.field("text", pa.string(), able), pa.field("n", pa.int64(), able)])
        pq.write_table(pa.table({"text": ["b", "a"], "n": [2, 1]}, schema), folder / f"{name}.parquet")
    inputs = opened(folder / "one.parquet", folder / "two.parquet")
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, inputs.schema) as writer:
        for planned in plan(inputs, 10, MUCH):
            for chunk in read_chunks(inputs, planned, ("text", "n"), "text", 10):
                assert chunk.batch.schema.equals(inputs.schema)
                writer.write_batch(chunk.batch)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).column("text").to_pylist() == ["b", "a"] * 2


def test_a_null_in_a_later_file_survives_a_first_file_that_has_none(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["b"]}, pa.schema([pa.field("text", pa.string(), False)])), folder / "1.parquet")
    pq.write_table(pa.table({"text": pa.array(["a", None])}), folder / "2.parquet")
    inputs = opened(folder / "1.parquet", folder / "2.parquet")
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, inputs.schema) as writer:
        for planned in plan(inputs, 10, MUCH):
            for chunk in read_chunks(inputs, planned, ("text",), "text", 10):
                writer.write_batch(chunk.batch)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).column("text").to_pylist() == ["b", "a", None]


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"z\tz\n")


def touch(path: Path) -> None:
    os.utime(path, ns=(5, 5))


changes = pytest.mark.parametrize("change", [grow, touch, Path.unlink])


@formats
@changes
def test_a_file_that_changed_before_its_shard_is_read_is_refused(
    tmp_path: Path, format: str, change: Callable[[Path], None]
) -> None:
    path = put(tmp_path / f"a.{format}", some_rows(9))
    inputs = opened(path)
    shards = plan(inputs, 3, MUCH)
    change(Path(path))
    with pytest.raises(InputError, match="during the run") as caught:
        next(read_chunks(inputs, shards[0], ("text", "label"), "text", 10))
    assert path in str(caught.value)


@formats
@changes
def test_a_file_that_changed_while_its_shard_is_read_is_refused(
    tmp_path: Path, format: str, change: Callable[[Path], None]
) -> None:
    path = put(tmp_path / f"a.{format}", some_rows(9))
    inputs = opened(path)
    chunks = read_chunks(inputs, plan(inputs, 1000, MUCH)[0], ("text", "label"), "text", 1)
    next(chunks)
    change(Path(path))
    with pytest.raises(InputError) as caught:
        exhaust(chunks)
    assert path in str(caught.value)


def exhaust(chunks: Iterator[object]) -> None:
    for _ in chunks:
        pass


@pytest.mark.parametrize("after", [b"c\tx y z\nb\tz\n", b"xxxxxxxxxxx\n", b"c\tx\na\ty  b\tz"])
def test_fewer_rows_than_were_planned_are_an_error_even_in_a_file_that_looks_the_same(
    tmp_path: Path, after: bytes
) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"text\tlabel\nc\tx\na\ty\nb\tz\n")
    touch(path)
    inputs = opened(path)
    (planned,) = plan(inputs, 10, MUCH)
    path.write_bytes(b"text\tlabel\n" + after)
    touch(path)
    with pytest.raises(InputError, match="rows where 3 were planned") as caught:
        exhaust(read_chunks(inputs, planned, ("text",), "text", 10))
    assert str(path) in str(caught.value)


def test_the_hash_of_a_shard_is_of_its_bytes(folder: Path) -> None:
    path = Path(put(folder / "hash.tsv", some_rows(20)))
    inputs = opened(path)
    shards = plan(inputs, 6, MUCH)
    data = path.read_bytes()
    header = len(b"text\tlabel\n")
    hashes = [shard_sha256(inputs, planned) for planned in shards]
    lines = data[header:].splitlines(keepends=True)
    pieces = [b"".join(lines[start : start + 6]) for start in range(0, 20, 6)]
    assert hashes == [hashlib.sha256(piece).hexdigest() for piece in pieces]


def test_the_hash_of_an_archive_is_of_all_of_it(folder: Path) -> None:
    path = Path(put(folder / "hash.tsv.gz", some_rows(20)))
    inputs = opened(path)
    (planned,) = plan(inputs, 6, MUCH)
    assert shard_sha256(inputs, planned) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_hash_of_a_parquet_shard_is_of_its_row_groups(folder: Path) -> None:
    """A change in the values of one row group changes the hash of its shard, and of no other."""

    def hashes(rows: list[Row]) -> list[str]:
        inputs = opened(put(folder / "hash.parquet", rows))
        return [shard_sha256(inputs, planned) for planned in plan(inputs, 4, MUCH)]

    rows = some_rows(12)
    before = hashes(rows)
    assert len(set(before)) == 3
    rows[5] = ("kata lai", rows[5][1])
    after = hashes(rows)
    assert (before[0] == after[0], before[1] == after[1], len(after)) == (True, False, 3)


def test_the_section_of_the_metrics(folder: Path) -> None:
    paths = [put(folder / f"s{number}.tsv", some_rows(number)) for number in (2, 1)]
    files = [
        {"path": path, "bytes": os.path.getsize(path), "rows": rows} for path, rows in zip(paths, (2, 1), strict=True)
    ]
    assert opened(*paths).section([2, 1]) == {"files": files}


def test_the_sample_has_its_rows() -> None:
    inputs = opened("sample:test", "sample:valid")
    found, rejects = read(inputs, plan(inputs, 300, MUCH), chunk_rows=77)
    samples = Path(sentiment_batch.__file__).parent / "sample"
    lines = [
        line
        for split in ("test", "valid")
        for line in (samples / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    assert ["\t".join(row) for row in found] == lines
    assert rejects == []
    assert b"".join(byte_blocks(inputs.files[0])) == (samples / "test.tsv").read_bytes()
