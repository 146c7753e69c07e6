"""Inputs in an object store: which objects a URL names, and that they are read as they were planned."""

import bz2
import gzip
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.read.inputs import byte_blocks, find_inputs
from sentiment_batch.read.objects import find_objects
from sentiment_batch.read.plan import open_inputs, plan, read_chunks, shard_sha256
from sentiment_batch.remote import open_bucket

TSV = b"id\ttext\n" + b"".join(b"%d\treview %d\n" % (row, row) for row in range(40))


def put(bucket: str, *names: str, data: bytes = TSV) -> None:
    for name in names:
        store, key = open_bucket(f"{bucket}/{name}")
        obstore.put(store, key, data)


def found(bucket: str, pattern: str) -> list[str]:
    return [url.removeprefix(f"{bucket}/") for url in find_objects(f"{bucket}/{pattern}".rstrip("/"))]


NAMES = ["b.tsv", "a.tsv", "_SUCCESS", ".hidden.tsv", "day=2/c.tsv", "day=1/d.tsv", "_temporary/e.tsv", "day=1/_x.tsv"]


def test_a_prefix_is_searched_to_its_bottom(bucket: str) -> None:
    put(bucket, *NAMES)
    expected = ["a.tsv", "b.tsv", "day=1/d.tsv", "day=2/c.tsv"]
    assert found(bucket, "") == expected
    assert [url.removeprefix(f"{bucket}/") for url in find_objects(f"{bucket}/")] == expected
    assert found(bucket, "day=1") == ["day=1/d.tsv"]
    assert found(bucket, "day=1/") == ["day=1/d.tsv"]


def test_columns_in_the_names_of_folders_are_said_to_be_none(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    put(bucket, "day=1/a.tsv", "day=2/a.tsv")
    for given, lines in ((bucket, 1), (f"{bucket}/", 1), (f"{bucket}/day=*/a.tsv", 1), (f"{bucket}/day=1/", 0)):
        caplog.clear()
        find_inputs([given])
        assert caplog.text.count("do not get 'day';") == caplog.text.count("names of its folders") == lines


def test_an_object_is_itself_whatever_its_name(bucket: str) -> None:
    put(bucket, *NAMES)
    assert found(bucket, "a.tsv") == ["a.tsv"]
    assert found(bucket, "_SUCCESS") == ["_SUCCESS"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.tsv", ["a.tsv", "b.tsv"]),
        ("[b]*", ["b.tsv"]),
        ("day=*/?.tsv", ["day=1/d.tsv", "day=2/c.tsv"]),
        ("day=1/*", ["day=1/d.tsv"]),
        ("day=1/_*", ["day=1/_x.tsv"]),
    ],
)
def test_a_pattern_names_objects_segment_by_segment(bucket: str, pattern: str, names: list[str]) -> None:
    put(bucket, *NAMES)
    assert found(bucket, pattern) == names


@pytest.mark.parametrize("pattern", ["nothing", "nothing/*", "_temporary/.*", "a.tsv/x"])
def test_no_object_is_bad_input(bucket: str, pattern: str) -> None:
    put(bucket, *NAMES)
    with pytest.raises(InputError, match="no data files at s3://"):
        find_objects(f"{bucket}/{pattern}")


def test_two_stars_are_told_what_to_give(bucket: str) -> None:
    with pytest.raises(UsageError, match="no \\*\\* in a URL"):
        find_objects(f"{bucket}/**/a.tsv")


def read_all(url: str, shard_rows: int = 7, columns: tuple[str, ...] = ("id", "text")) -> list[tuple[str, ...]]:
    inputs = open_inputs((url,), "auto", (), ("text",))
    rows = []
    for planned in plan(inputs, shard_rows, 2**20):
        for chunk in read_chunks(inputs, planned, columns, "text", 3):
            rows += list(zip(*(column.to_pylist() for column in chunk.batch.columns), strict=True))
    return rows


def test_every_format_is_read_as_from_a_disk(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes(TSV)
    expected = read_all(str(tmp_path / "x.tsv"))
    assert len(expected) == 40
    put(bucket, "x.tsv")
    put(bucket, "x.csv", data=TSV.replace(b"\t", b","))
    put(bucket, "x.tsv.gz", data=gzip.compress(TSV))
    put(bucket, "x.tsv.bz2", data=bz2.compress(TSV))
    sink = pa.BufferOutputStream()
    ids, texts = zip(*expected, strict=True)
    pq.write_table(pa.table({"id": ids, "text": texts}), sink, row_group_size=9)
    put(bucket, "x.parquet", data=sink.getvalue().to_pybytes())
    for name in ("x.tsv", "x.csv", "x.tsv.gz", "x.tsv.bz2", "x.parquet"):
        assert read_all(f"{bucket}/{name}") == expected


def test_the_identity_is_of_the_version_and_not_of_the_place(bucket: str) -> None:
    put(bucket, "a/x.tsv", "b/x.tsv")
    first, second = (find_inputs((f"{bucket}/{name}/x.tsv",))[0] for name in "ab")
    assert first.identity() == second.identity()
    assert first.identity()["etag"]
    put(bucket, "b/x.tsv", data=TSV[:-1] + b" ")
    assert find_inputs((f"{bucket}/b/x.tsv",))[0].identity() != first.identity()


def test_one_object_twice_is_refused(bucket: str) -> None:
    put(bucket, "x.tsv")
    with pytest.raises(InputError, match="same file"):
        find_inputs((f"{bucket}/x.tsv", f"{bucket}/*.tsv"))


def test_an_object_that_is_replaced_during_the_run_is_noticed(bucket: str) -> None:
    put(bucket, "x.tsv", data=TSV * 100_000)
    inputs = open_inputs((f"{bucket}/x.tsv",), "auto", (), ("text",))
    blocks = byte_blocks(inputs.files[0])
    next(blocks)
    put(bucket, "x.tsv", data=TSV.replace(b"review", b"REVIEW") * 100_000)
    with pytest.raises(InputError, match="changed during the run"):
        list(blocks)
    planned = plan(open_inputs((f"{bucket}/x.tsv",), "auto", (), ("text",)), 10**9, 2**40)[0]
    with pytest.raises(InputError, match="changed during the run"):
        list(read_chunks(inputs, planned, ("id", "text"), "text", 10**6))
    with pytest.raises(InputError, match="changed during the run"):
        shard_sha256(inputs, planned)


def test_a_prefix_holds_no_output_of_the_job(bucket: str) -> None:
    """`score s3://b/x/ --output s3://b/x/out` would read its own output in the next night."""
    from sentiment_batch.config import ScoreOptions
    from sentiment_batch.score import score

    with pytest.raises(UsageError, match="lies in the input"):
        score(ScoreOptions(input=(f"{bucket}/",), model="m", output=f"{bucket}/out"))


def test_without_the_extra_the_message_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from sentiment_batch import remote

    remote._bucket.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UsageError, match=r"pip install 'sentiment-batch\[s3\]'"):
        find_objects("s3://another-bucket/x")
