"""TSV and CSV: every row of the file once and in order, as the text that it was, or a reject that says where it is."""

import bz2
import csv
import gzip
import hashlib
import io
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.errors import InputError
from sentiment_batch.read import delimited, framing
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.inputs import find_inputs

BOM = b"\xef\xbb\xbf"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 1),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
quick = settings(max_examples=100, derandomize=True, deadline=None)
limits = st.sampled_from([1, 2, 3, 7, 1000])
sizes = st.sampled_from([1, 5, 16, 50, 2**20])
suffixes = pytest.mark.parametrize("suffix", COMPRESS)


class Result(NamedTuple):
    names: tuple[str, ...]
    rows: list[tuple[str, ...]]
    rejects: list[dict[str, Any]]
    shards: list[Shard]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("delimited")


def read(
    path: Path,
    data: bytes,
    columns: tuple[str, ...] = (),
    *,
    shard_rows: int = 1000,
    shard_bytes: int = 2**20,
    chunk_rows: int = 1000,
) -> Result:
    """All of the file, by way of its shards and chunks, with what every one of them must keep to."""
    path.write_bytes(COMPRESS.get(path.suffix, bytes)(data))
    (file,) = find_inputs([str(path)])
    names, start = delimited.header(file, columns)
    shards = list(delimited.shards(file, start, shard_rows, shard_bytes))
    rows: list[tuple[str, ...]] = []
    rejects: list[dict[str, Any]] = []
    for shard in shards:
        assert shard.first_row == len(rows) + len(rejects)
        chunks = list(delimited.chunks(file, shard, names, names, chunk_rows))
        lengths = [chunk.batch.num_rows + len(chunk.rejects) for chunk in chunks]
        assert sum(lengths) == shard.rows > 0
        assert all(length == chunk_rows for length in lengths[:-1])
        assert 0 < lengths[-1] <= chunk_rows
        for chunk in chunks:
            assert chunk.batch.schema == pa.schema([(name, pa.string()) for name in names])
            chunk.batch.validate(full=True)
            rows += zip(*(column.to_pylist() for column in chunk.batch.columns), strict=True)
            rejects += chunk.rejects
    for one in rejects:
        raw = data[one["byte_offset"] :][: one["byte_length"]]
        assert one["file"] == str(path)
        assert one["sha256"] == hashlib.sha256(raw).hexdigest()
        assert data[one["byte_offset"] + len(raw) :][:1] in (b"\n", b"")
        assert set(one) == {
            "file", "row", "byte_offset", "byte_length", "reason", "detail", "sha256", "preview",
        }  # fmt: skip
    return Result(names, rows, rejects, shards)


def faults(result: Result) -> list[tuple[int, str]]:
    return [(reject["row"], reject["reason"]) for reject in result.rejects]


def naive_tsv(data: bytes, fields: int) -> tuple[list[tuple[str, ...]], list[tuple[int, str]]]:
    """(rows, [(row number, reason)]) of a TSV file without its header."""
    rows: list[tuple[str, ...]] = []
    faults = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1]):
        try:
            row = tuple((line[:-1] if line.endswith(b"\r") else line).decode().split("\t"))
        except UnicodeDecodeError:
            faults.append((number, "invalid_utf8"))
            continue
        if len(row) == fields:
            rows.append(row)
        else:
            faults.append((number, "field_count"))
    return rows, faults


def csv_bytes(rows: list[tuple[str, ...]]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)
    return stream.getvalue().encode()


class TooSlow(BaseException):
    """No `OSError`, as `TimeoutError` is: the code under test must not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Ends a loop that does not end."""

    def give_up(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


tsv_pieces = (b"\n", b"\r\n", b"\r", b"\t", b"a\tb\n", b'"', b"'", b",", b"nul\0l", b"\xff", b"\xed\xa0\x80", BOM, b"kata")
tsv_bodies = st.lists(st.sampled_from(tsv_pieces), max_size=25).map(b"".join)


@settings(quick, max_examples=200)
@given(tsv_bodies, limits, sizes, limits, st.sampled_from(["a.tsv", "a.tsv.gz"]))
def test_tsv_is_split_at_tabs_and_line_feeds_alone(
    folder: Path, body: bytes, shard_rows: int, shard_bytes: int, chunk_rows: int, name: str
) -> None:
    result = read(
        folder / name,
        b"text\tlabel\n" + body,
        shard_rows=shard_rows,
        shard_bytes=shard_bytes,
        chunk_rows=chunk_rows,
    )
    assert (result.rows, faults(result)) == naive_tsv(body, 2)


cells = st.text(st.sampled_from('",\n\r\t\0 aé😀\ufeff'), max_size=6)
csv_rows = st.lists(st.tuples(cells, cells), max_size=12)


@quick
@given(csv_rows, limits, sizes, limits, st.sampled_from(["a.csv", "a.csv.zst"]))
def test_csv_comes_back_byte_for_byte_over_any_shards(
    folder: Path, rows: list[tuple[str, str]], shard_rows: int, shard_bytes: int, chunk_rows: int, name: str
) -> None:
    data = csv_bytes([("text", "the ""label"""), *rows])
    result = read(folder / name, data, shard_rows=shard_rows, shard_bytes=shard_bytes, chunk_rows=chunk_rows)
    assert (result.names, result.rows, result.rejects) == (("text", "the ""label"""), rows, [])
