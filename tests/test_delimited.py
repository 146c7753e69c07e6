"""TSV and CSV: every row of the file once and in order, as the text that it was, or a reject that says where it is."""

import bz2
import csv
import gzip
import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from conftest import time_limit
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


def put(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def offsets_of(lines: list[bytes]) -> list[int]:
    """The offset of each line in the file."""
    return [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]


tsv_pieces = (
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"a\tb\n",
    b'"',
    b"'",
    b",",
    b"nul\0l",
    b"\xff",
    b"\xed\xa0\x80",
    BOM,
    b"kata",
)
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
HEADER = ("text", 'the "label",\r\nor so')


@quick
@given(st.lists(st.tuples(cells, cells), max_size=12), limits, sizes, limits, st.sampled_from(["a.csv", "a.csv.zst"]))
def test_csv_comes_back_byte_for_byte_over_any_shards(
    folder: Path, rows: list[tuple[str, ...]], shard_rows: int, shard_bytes: int, chunk_rows: int, name: str
) -> None:
    data = csv_bytes([HEADER, *rows])
    result = read(folder / name, data, shard_rows=shard_rows, shard_bytes=shard_bytes, chunk_rows=chunk_rows)
    assert (result.names, result.rows, result.rejects) == (HEADER, rows, [])


csv_pieces = (
    b"\n",
    b"\r\n",
    b",",
    b'"',
    b'"\n',
    b'",',
    b"a,b\n",
    b'"a",',
    b'"kata\r\nlagi"',
    b'""',
    b"\xff",
    b"z\0zzz",
)


@quick
@given(st.lists(st.sampled_from(csv_pieces), max_size=25).map(b"".join), limits, sizes, limits)
def test_what_is_no_csv_does_not_depend_on_shards_and_chunks(
    folder: Path, body: bytes, shard_rows: int, shard_bytes: int, chunk_rows: int
) -> None:
    data = b"text,label\n" + body
    whole = read(folder / "b.csv", data)
    cut = read(folder / "b.csv", data, shard_rows=shard_rows, shard_bytes=shard_bytes, chunk_rows=chunk_rows)
    assert (cut.rows, cut.rejects) == (whole.rows, whole.rejects)
    assert [reject["row"] for reject in whole.rejects] == sorted({reject["row"] for reject in whole.rejects})
    assert len(whole.rows) + len(whole.rejects) <= body.count(b"\n") + 1


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_rows_on_the_edges_of_the_blocks_of_a_large_file(folder: Path, suffix: str) -> None:
    """1.5 MiB are two blocks; a CRLF inside quotes on their edge is what arrow.csv loses a byte of (arrow#51368)."""
    chance = random.Random(0)
    words = ["bagus", 'kata "kutip"', "a,b", "😀", "\r\n", "\r\n", "\n", "\r"]
    rows = [(" ".join(chance.choices(words, k=60)), str(chance.random())) for _ in range(5_500)]
    data = csv_bytes(rows)
    assert len(data) > 1.5 * 2**20
    result = read(folder / f"large.csv{suffix}", data, ("text", "label"), shard_rows=2_500, chunk_rows=1_500)
    assert result.rows == rows


@quick
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), limits, sizes)
def test_a_shard_is_full_when_it_has_its_rows_or_its_bytes(
    folder: Path, lengths: list[int], shard_rows: int, shard_bytes: int
) -> None:
    body = b"".join(b"x" * length + b"\n" for length in lengths)
    (file,) = find_inputs([put(folder / "c.tsv", b"text\n" + body)])
    expected: list[Shard] = []
    start = position = 5
    first = 0
    for row, length in enumerate(lengths, 1):
        position += length + 1
        if row - first == shard_rows or position - start >= shard_bytes or row == len(lengths):
            expected.append(Shard(start, position, first, row - first))
            start, first = position, row
    assert list(delimited.shards(file, 5, shard_rows, shard_bytes)) == expected


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
def test_an_archive_is_one_shard(folder: Path, suffix: str) -> None:
    result = read(folder / f"a.tsv{suffix}", b"text\nc\na\nb\n", shard_rows=1, shard_bytes=1, chunk_rows=2)
    assert result.shards == [Shard(5, 11, 0, 3)]
    assert result.rows == [("c",), ("a",), ("b",)]


def test_tsv_knows_no_quotes(folder: Path) -> None:
    data = b'text\tlabel\n"bagus\tpositive\nkata "x" lagi\t"\n"\t""\n"a\tb"\n'
    result = read(folder / "a.tsv", data)
    assert result.rows == [('"bagus', "positive"), ('kata "x" lagi', '"'), ('"', '""'), ('"a', 'b"')]
    assert result.rejects == []


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_nothing_is_guessed_from_a_value(folder: Path, name: str) -> None:
    values = [
        "NA",
        "null",
        "",
        " x ",
        "007",
        "1.0",
        "\\N",
        "#x",
        "true",
        "\\t",
        "2024-01-01",
        "nan",
        "'",
        "é",
        "e\u0301",
    ]
    assert read(folder / name, "\n".join(["text", *values, ""]).encode()).rows == [(value,) for value in values]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_one_carriage_return_ends_a_line_and_any_other_is_text(folder: Path, name: str) -> None:
    result = read(folder / name, b"text\r\nb\rc\r\na\r\r\n\r\nd\n\re\nlast\r")
    assert result.names == ("text",)
    assert result.rows == [("b\rc",), ("a\r",), ("",), ("d",), ("\re",), ("last",)]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_nul_bytes_stay(folder: Path, name: str) -> None:
    assert read(folder / name, b"text\nb\0ik\n\0\nabc\n").rows == [("b\0ik",), ("\0",), ("abc",)]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.csv.gz"])
def test_a_byte_order_mark_is_no_text_at_the_start_and_text_elsewhere(folder: Path, name: str) -> None:
    mark = BOM.decode()
    body = BOM + b"b\n" + b"a" + BOM + b"\n" + BOM + BOM + b"\n"
    rows = [(mark + "b",), ("a" + mark,), (mark + mark,)]
    result = read(folder / name, BOM + b"text\n" + body, shard_rows=1)
    assert (result.names, result.rows) == (("text",), rows)
    result = read(folder / name, BOM + body, ("text",), shard_rows=1)
    assert result.rows == rows  # without a header line the first row loses the first mark, and only that


@pytest.mark.parametrize(
    "first", [("text", "label"), ("a,b", "c"), ('"hi"', "x"), ('a,"b', "x"), ("a\r\nb", "c"), ('a,"",b', "c\n")]
)
def test_a_byte_order_mark_before_a_quote_is_no_text(folder: Path, first: tuple[str, ...]) -> None:
    data = BOM + csv_bytes([first, ("z", "y")]).replace(b"text,", b'"text",')
    for shard_rows in (1, 1000):
        headed = read(folder / "a.csv", data, shard_rows=shard_rows)
        assert (headed.names, headed.rows, headed.rejects) == (first, [("z", "y")], [])
        bare = read(folder / "a.csv", data, ("text", "label"), shard_rows=shard_rows)
        assert (bare.rows, bare.rejects) == ([first, ("z", "y")], [])


def test_a_quote_behind_a_byte_order_mark_that_is_never_closed_costs_one_row(folder: Path) -> None:
    for line, reason in ((b'"open,x', "unterminated_quote"), (b'"x"y,z', "text_after_quote")):
        result = read(folder / "a.csv", BOM + line + b"\nb,c\n", ("text", "label"))
        assert (result.rows, faults(result)) == ([("b", "c")], [(0, reason)])


def test_a_rejected_first_row_is_found_again_with_its_byte_order_mark(folder: Path) -> None:
    result = read(folder / "a.tsv", BOM + b"a\tb\nc\n", ("text",))
    (reject,) = result.rejects  # `read` compares its hash with that of the file's bytes
    assert (reject["byte_offset"], reject["byte_length"]) == (0, 6)


BAD_ROWS = [
    (b"satu", "field_count", "1 fields, expected 2"),
    (b"", "field_count", "1 fields, expected 2"),
    (b"a\tb\tc", "field_count", "3 fields, expected 2"),
    (b"bagus \xff sekali\tx", "invalid_utf8", "byte 6 of the row"),
    (b"a\tb\tc \xc3", "invalid_utf8", "byte 6 of the row"),
    (b"\xed\xa0\xbd\tx", "invalid_utf8", "byte 0 of the row"),  # a lone surrogate
    (b"bad\r\xf0\x9f\x98\r", "invalid_utf8", "byte 4 of the row"),
    (b"much too long\tx" * 30, "line_too_long", "450 bytes"),
]


@pytest.mark.parametrize(("raw", "reason", "detail"), BAD_ROWS)
@pytest.mark.parametrize("shard_rows", [1, 2, 1000])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_bad_row_says_where_it_is_and_why_and_costs_no_other(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    raw: bytes,
    reason: str,
    detail: str,
    shard_rows: int,
    suffix: str,
) -> None:
    monkeypatch.setattr(framing, "MAX_ROW_BYTES", 400)
    path = folder / f"bad.tsv{suffix}"
    lines = [b"text\tlabel", "ö\tx".encode(), raw, b"b\ty", raw, b"a\tx", raw]
    result = read(path, b"\n".join([*lines, b""]), shard_rows=shard_rows, chunk_rows=2)
    assert result.rows == [("ö", "x"), ("b", "y"), ("a", "x")]
    offsets = offsets_of(lines)
    sha256 = hashlib.sha256(raw).hexdigest()
    preview = raw[:256].decode(errors="backslashreplace")
    for reject, row in zip(result.rejects, (1, 3, 5), strict=True):
        assert reject.pop("detail").startswith(detail)
        assert reject == {
            "file": str(path),
            "row": row,
            "byte_offset": offsets[row + 1],
            "byte_length": len(raw),
            "reason": reason,
            "sha256": sha256,
            "preview": preview,
        }


def test_a_bad_csv_record_is_rejected_as_a_whole(folder: Path) -> None:
    data = b'text,label\n"b\n\xff",x\na,"1\n2",3\n"open,x\nc,y\n"q"r,s\n"d""\n",z\n'
    result = read(folder / "bad.csv", data, shard_rows=2)
    assert result.rows == [("c", "y"), ('d"\n', "z")]
    assert faults(result) == [
        (0, "invalid_utf8"),
        (1, "field_count"),
        (2, "unterminated_quote"),
        (4, "text_after_quote"),
    ]
    lengths = [(reject["byte_offset"], reject["byte_length"]) for reject in result.rejects]
    assert lengths == [(11, 7), (19, 9), (29, 7), (41, 6)]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_without_a_last_line_feed_the_last_row_counts(folder: Path, name: str) -> None:
    assert read(folder / name, b"text\nb\na").rows == [("b",), ("a",)]
    assert read(folder / name, b"b\na", ("text",)).rows == [("b",), ("a",)]
    assert read(folder / name, b"text\nb\n\n").rows == [("b",), ("",)]


@suffixes
@pytest.mark.parametrize("data", [b"text\tlabel\n", b"text\tlabel", b"text\tlabel\r\n", BOM + b"text\tlabel"])
def test_a_header_alone_is_a_file_without_rows(folder: Path, suffix: str, data: bytes) -> None:
    with time_limit(1):
        result = read(folder / f"head.tsv{suffix}", data)
    assert result == (("text", "label"), [], [], [])


@suffixes
def test_an_empty_file_has_no_header(folder: Path, suffix: str) -> None:
    path = folder / f"empty.tsv{suffix}"
    with pytest.raises(InputError, match="--columns") as caught:
        read(path, b"")
    assert str(path) in str(caught.value)
    assert read(path, b"", ("text",)).rows == []


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("columns", [(), ("text",)])
def test_utf16_is_refused_before_a_row_is_read(
    folder: Path, suffix: str, encoding: str, columns: tuple[str, ...]
) -> None:
    path = folder / f"wide.tsv{suffix}"
    with pytest.raises(InputError, match=r"UTF-(16|32)") as caught:
        read(path, ("text\n" + "bagus sekali 😀\n" * 100).encode(encoding), columns)
    assert str(path) in str(caught.value)
    assert "iconv" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf16_without_latin_letters_is_told_by_its_byte_order_mark(folder: Path, encoding: str) -> None:
    with pytest.raises(InputError, match=r"UTF-(16|32)"):
        read(folder / "wide.tsv", ("評語\n" + "非常好吃，還會再來\n" * 100).encode(encoding))  # noqa: RUF001


@pytest.mark.parametrize(
    ("name", "header", "what"),
    [
        ("a.tsv", b"text\tlabel\ttext", "'text' twice"),
        ("a.csv", b'label,text,"label"', "'label' twice"),
        ("a.tsv", b"very good\tx\tvery good", "the header has a column twice; .*--columns$"),
        ("a.tsv", b"te\xffxt\tlabel", "byte 2"),
        ("a.csv", b'text,"label', "cannot be read"),
        ("a.csv", b'"text"s,label', "cannot be read"),
        ("a.csv", b'"text";"label"', "cannot be read: text_after_quote, .*; is it CSV at all"),
        ("a.tsv", b"text\t" + b"x" * 100, "cannot be read"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, header: bytes, what: str
) -> None:
    monkeypatch.setattr(framing, "MAX_ROW_BYTES", 50)
    with pytest.raises(InputError, match=what) as caught:
        read(folder / name, header + b"\nb\tx\na\ty\n")
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("data", [b"text,x\ra,1\rb,2\r", b"id,text\r\r\n1,a\r\r\n", b"text\ra\rb"])
def test_lines_that_carriage_returns_end_are_refused(folder: Path, data: bytes) -> None:
    """They would all be the header."""
    with pytest.raises(InputError, match="the header has carriage returns"):
        read(folder / "mac.csv", data)


def test_with_columns_given_the_first_line_is_a_row(folder: Path) -> None:
    result = read(folder / "a.tsv", b"text\tlabel\nb\tx\n", ("one", "two"))
    assert (result.names, result.rows) == (("one", "two"), [("text", "label"), ("b", "x")])


def test_only_the_columns_asked_for_in_the_order_asked_for(folder: Path) -> None:
    (file,) = find_inputs([put(folder / "a.tsv", b"id\ttext\tlabel\n3\tc\tx\n1\ta\n2\tb\ty\n")])
    names, start = delimited.header(file, ())
    (shard,) = delimited.shards(file, start, 100, 2**20)
    (chunk,) = delimited.chunks(file, shard, names, ("label", "id"), 100)
    assert chunk.batch.schema.names == ["label", "id"]
    assert chunk.batch.to_pylist() == [{"label": "x", "id": "3"}, {"label": "y", "id": "2"}]
    assert [reject["row"] for reject in chunk.rejects] == [1]


def test_a_shard_with_fewer_rows_than_its_bytes_hold_ends_with_its_rows(folder: Path) -> None:
    (file,) = find_inputs([put(folder / "a.tsv", b"text\nc\n\xff\na\nb\n")])
    for rows, expected in ((1, ["c"]), (2, ["c"]), (3, ["c", "a"])):
        chunks = list(delimited.chunks(file, Shard(5, 13, 0, rows), ("text",), ("text",), 2))
        assert [text for chunk in chunks for text in chunk.batch.column("text").to_pylist()] == expected
        assert sum(chunk.batch.num_rows + len(chunk.rejects) for chunk in chunks) == rows


def test_an_archive_that_is_damaged_is_found_before_the_first_row_is_labelled(folder: Path) -> None:
    chance = random.Random(0)
    packed = gzip.compress(b"text\n" + b"".join(b"%d\n" % chance.getrandbits(64) for _ in range(20_000)))
    whole = bytearray(packed)
    whole[-6] ^= 1
    for damaged in (packed[:-1], packed[: len(packed) // 2], bytes(whole)):
        path = put(folder / "damaged.tsv.gz", damaged)
        (file,) = find_inputs([path])
        with pytest.raises(InputError, match="cannot be read near byte") as caught:
            list(delimited.shards(file, delimited.header(file, ())[1], 10, 2**20))
        assert path in str(caught.value)
