"""Framing: which bytes are a row depends on the bytes alone, and no byte is left out or counted twice."""

import csv
import hashlib
import io
import time
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentiment_batch.read import framing
from sentiment_batch.read.framing import (
    LINE_TOO_LONG,
    TEXT_AFTER_QUOTE,
    UNTERMINATED_QUOTE,
    Record,
    lines,
    quoted_records,
    split_quoted,
)

BOM = b"\xef\xbb\xbf"
BLOCK_SIZES = (1, 2, 3, 7, 64, 4096, 2**20)
PIECES = (b"\n", b"\r\n", b"\r", b'"', b'""', b",", b'","', b"\t", b"\0", b"\xff", BOM, b"a", b"bagus")

quick = settings(max_examples=200, derandomize=True, deadline=None)
any_bytes = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.binary(max_size=60))


def cut(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def naive_lines(data: bytes) -> list[tuple[int, bytes]]:
    """(offset, line) of every line, one byte after the other."""
    found, start = [], 0
    for position, byte in enumerate(data):
        if byte == ord("\n"):
            found.append((start, data[start:position]))
            start = position + 1
    return found if start == len(data) else [*found, (start, data[start:])]


def naive_csv(data: bytes) -> list[tuple[int, bytes, list[bytes] | str]]:
    """(offset, bytes, fields) of every CSV record, by the grammar of RFC 4180; a reason for a line outside of it."""
    found, start = [], 0
    while start < len(data):
        fields, stop = naive_record(data, start)
        found.append((start, data[start:stop], fields))
        start = stop + 1
    return found


def naive_record(data: bytes, start: int) -> tuple[list[bytes] | str, int]:
    """The fields of the record that begins at `start`, and the position of the line feed behind it."""
    fields: list[bytes] = []
    position = start
    while True:
        if data[position : position + 1] == b'"':
            value = b""
            position += 1
            while data[position : position + 1] != b'"' or data[position : position + 2] == b'""':
                if position >= len(data):
                    return UNTERMINATED_QUOTE, line_end(data, start)
                value += data[position : position + 1]
                position += 2 if data[position : position + 2] == b'""' else 1
            position += 1
            if data[position:] == b"\r" or data[position : position + 2] == b"\r\n":
                position += 1
            if data[position : position + 1] not in (b",", b"\n", b""):
                closed = position <= line_end(data, start)  # on the line that opened it
                return TEXT_AFTER_QUOTE if closed else UNTERMINATED_QUOTE, line_end(data, start)
        else:
            value = b""
            while position < len(data) and data[position] not in b",\n":
                value += data[position : position + 1]
                position += 1
            if data[position : position + 1] != b",":
                value = value.removesuffix(b"\r")
        fields.append(value)
        if data[position : position + 1] != b",":
            return fields, position
        position += 1


def line_end(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end


def records_of(data: bytes, size: int = 2**20) -> list[Record]:
    return list(quoted_records(lines(cut(data, size))))


def fields_of(record: Record) -> list[bytes]:
    text = record.data.removesuffix(b"\r").decode("latin-1")  # a character for every byte
    return [field.encode("latin-1") for field in split_quoted(text)]


def as_record(offset: int, line: bytes, limit: int, kept: int = 256) -> Record:
    if len(line) <= limit:
        return Record(offset, len(line), line)
    return Record(offset, len(line), line[:kept], LINE_TOO_LONG, hashlib.sha256(line).hexdigest())


def csv_bytes(rows: list[list[str]], line_end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=line_end, quoting=quoting).writerows(rows)
    return stream.getvalue().encode()


@quick
@given(any_bytes, st.integers(0, 9))
def test_lines_are_those_of_a_naive_splitter_for_every_block_size(data: bytes, offset: int) -> None:
    expected = [Record(offset + start, len(line), line) for start, line in naive_lines(data)]
    for size in BLOCK_SIZES:
        assert list(lines(cut(data, size), offset)) == expected, size


@quick
@given(st.lists(any_bytes, max_size=6))
def test_blocks_may_be_uneven_or_empty(blocks: list[bytes]) -> None:
    assert list(lines(blocks)) == [Record(start, len(line), line) for start, line in naive_lines(b"".join(blocks))]


@pytest.mark.parametrize("size", [64, 4096])
@pytest.mark.parametrize("shift", range(-4, 5))
def test_crlf_around_the_end_of_a_block(size: int, shift: int) -> None:
    first, second = b"y" * (size + shift - 1) + b"\r", b'"x\r\n' + b"x" * (2 * size + shift) + b'",1\r'
    data = first + b"\n" + second + b"\nlast"
    expected = [Record(0, len(first), first), Record(len(first) + 1, len(second), second)]
    assert records_of(data, size) == [*expected, Record(len(data) - 4, 4, b"last")]


def test_nothing_in_nothing_out() -> None:
    assert list(lines([])) == list(lines([b"", b""])) == list(quoted_records([])) == []


@quick
@given(st.lists(st.sampled_from([0, 1, 3, 7, 8, 9, 10, 17, 40]), max_size=8), st.booleans())
def test_a_line_over_the_limit_costs_itself_alone_wherever_it_stands(lengths: list[int], ended: bool) -> None:
    data = b"\n".join(bytes(65 + (number + place) % 26 for place in range(n)) for number, n in enumerate(lengths))
    data += b"\n" if ended else b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "MAX_ROW_BYTES", 8)
        patch.setattr(framing, "_KEPT_BYTES", 4)
        expected = [as_record(start, line, 8, 4) for start, line in naive_lines(data)]
        for size in BLOCK_SIZES:
            assert list(lines(cut(data, size))) == expected, size


def test_the_limit_itself_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_ROW_BYTES", 300)
    data = b"\n".join([b"b" * 300, b"c" * 301, b"", b"a" * 300])
    for size in BLOCK_SIZES:
        records = list(lines(cut(data, size)))
        assert [record.reason for record in records] == ["", LINE_TOO_LONG, "", ""], size
        assert records[1].data == b"c" * 256


def test_memory_does_not_grow_with_a_line_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_ROW_BYTES", 2**16)
    blocks = (b"x" * 2**15 for _ in range(256))  # 8 MiB
    tracemalloc.start()
    (record,) = lines(blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (record.length, record.reason) == (2**23, LINE_TOO_LONG)
    assert record.sha256 == hashlib.sha256(b"x" * 2**23).hexdigest()
    assert peak < 2**20


@settings(quick, max_examples=400)
@example(b'x,"a\nq","b\nz"z\nc"\nend')  # the second quote is not closed by the fourth line: the third is in the way
@example(b'x,"a\nq","b\nr","c\nd"\nend')
@given(any_bytes.filter(lambda data: not data.startswith(BOM)))  # what a BOM means is test_delimited's
def test_csv_records_are_those_of_the_grammar_for_every_block_size(data: bytes) -> None:
    expected = naive_csv(data)
    records = records_of(data)
    assert [(record.offset, record.data) for record in records] == [(start, raw) for start, raw, _ in expected]
    for record, (_, raw, fields) in zip(records, expected, strict=True):
        assert record.length == len(raw)
        if isinstance(fields, str):
            assert record.reason == fields
        else:
            assert (record.reason, fields_of(record)) == ("", fields)
    for size in (1, 2, 3, 7):
        assert records_of(data, size) == records, size


cells = st.text(st.sampled_from('",\n\r\t\0 aé😀'), max_size=8)


written = st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)])


@quick
@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=6), written)
def test_what_csv_writes_comes_back_byte_for_byte(rows: list[list[str]], how: tuple[str, int]) -> None:
    data = csv_bytes(rows, *how)
    for size in BLOCK_SIZES:
        records = records_of(data, size)
        assert [record.reason for record in records] == [""] * len(rows)
        assert [split_quoted(record.data.removesuffix(b"\r").decode()) for record in records] == rows


@quick
@given(st.data())
def test_a_stray_quote_costs_one_row(data: st.DataObject) -> None:
    words = st.text(st.sampled_from('abc ,"'), min_size=1, max_size=5).map(lambda word: "z" + word)
    rows = data.draw(st.lists(st.lists(words, min_size=2, max_size=2), min_size=1, max_size=8))
    stray = data.draw(st.integers(0, len(rows) - 1))
    raw = [csv_bytes([row]).removesuffix(b"\n") for row in rows]
    raw[stray] = data.draw(st.sampled_from([b'"never closed,x', b'y,"never closed', b'"x"y,z', b'"']))
    reason = TEXT_AFTER_QUOTE if raw[stray] == b'"x"y,z' else UNTERMINATED_QUOTE
    records = records_of(b"\n".join(raw))
    assert [record.data for record in records] == raw
    assert [record.reason for record in records] == [reason * (number == stray) for number in range(len(raw))]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('"3,5 jam, lalu bagus",x', ["3,5 jam, lalu bagus", "x"]),
        ('"kata ""bagus"" lagi",""', ['kata "bagus" lagi', ""]),
        ('"""","x"""', ['"', 'x"']),
        ('kata "bagus" lagi,x"', ['kata "bagus" lagi', 'x"']),  # a quote in the middle of a field is a character
        (' "a",b', [' "a"', "b"]),
        ('"a\r\nb\n",c', ["a\r\nb\n", "c"]),
        (",,", ["", "", ""]),
        ("", [""]),
        ('""', [""]),
        ('a,"', UNTERMINATED_QUOTE),
        ('"a" ,b', TEXT_AFTER_QUOTE),
        ('"a"b"', TEXT_AFTER_QUOTE),
        ('"a"\rb', TEXT_AFTER_QUOTE),
        ('c,"a""b",""d', TEXT_AFTER_QUOTE),
    ],
)
def test_quotes_one_by_one(line: str, fields: list[str] | str) -> None:
    before, record, after = records_of(f"x,y\n{line}\nb,a\n".encode())
    assert (before.data, record.data, after.data) == (b"x,y", line.encode(), b"b,a")
    if isinstance(fields, str):
        assert record.reason == fields
    else:
        assert split_quoted(record.data.decode()) == fields


def test_a_quoted_field_ends_at_its_limit_and_the_lines_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_QUOTED_BYTES", 20)
    data = b'x,"open\n' + b"row,1\n" * 10 + b'end",2\n"a\nb",3'
    records = records_of(data)
    assert [record.data for record in records] == [b'x,"open', *[b"row,1"] * 10, b'end",2', b'"a\nb",3']
    assert [record.reason for record in records] == [UNTERMINATED_QUOTE, *[""] * 12]


@pytest.mark.parametrize("long", [b'much "too" long', b'"much too long', b'much too",long', b'much,"too long'])
def test_a_line_that_is_too_long_is_never_part_of_a_quoted_field(monkeypatch: pytest.MonkeyPatch, long: bytes) -> None:
    monkeypatch.setattr(framing, "MAX_ROW_BYTES", 8)
    rows = [b'b,"open', long, b'c",1', b"a,2", long, b'e"', b'"f"']
    data = b"\n".join(rows)
    expected = [UNTERMINATED_QUOTE, LINE_TOO_LONG, "", "", LINE_TOO_LONG, "", ""]
    for size in BLOCK_SIZES:
        records = records_of(data, size)
        assert [record.reason for record in records] == expected, size
        assert [data[record.offset :][: record.length] for record in records] == rows


def test_the_time_for_lines_that_all_leave_a_quote_open_grows_with_their_number() -> None:
    """`text","label` is left where a tool strips the outer quotes: it opens a field, or it ends one and opens one."""
    count = 4_000
    data = b'bagus","positive\n' * count
    started = time.process_time()
    records = records_of(data)
    seconds = time.process_time() - started
    assert [record.reason for record in records] == [UNTERMINATED_QUOTE] * count
    assert seconds < 1, "quadratic: each line is read again for every line before it"


@pytest.mark.parametrize("field", ["a" * 2**20, '""' * 2**19])
def test_a_large_quoted_field_is_split_in_memory_of_its_own_size(field: str) -> None:
    tracemalloc.start()
    fields = split_quoted(f'x,"{field}",y')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fields == ["x", field.replace('""', '"'), "y"]
    assert peak < 16 * 2**20
