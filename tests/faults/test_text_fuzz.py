"""Any bytes as TSV or CSV: every row comes out once, in order, or is a reject that gives back its bytes.

The oracle is recount.py, which shares no code with the reader. The quick tier tries the same files each time; the long
tier tries others.
"""

import csv
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sentiment_batch.errors import InputError
from sentiment_batch.read import delimited, framing, inputs
from sentiment_batch.recount import recount

Tier = Callable[[int, int], int]
Row = tuple[str, ...] | None

BLOCKS = (1, 2, 3, 7, 64, 4096, 2**20)
SHARD_BYTES = (1, 5, 16, 64, 300, 2**20)
BOM = b"\xef\xbb\xbf"
NAMES = ("id", "text")
REASONS = {"field_count", "invalid_utf8", "line_too_long", "unterminated_quote", "text_after_quote"}
PIECES = (
    *(b"\n", b"\r\n", b"\r", b"\t", b",", b'"', b'""', b'","', b'"\n', b'"\r\n', b'\n"', b"'", b" ", b"\\", b"\\n"),
    *(b"\0", b"\x1a", b"\x85", b"\xe2\x80\xa8", b"\x0b", b"\x0c", b"\x1c", BOM, b"\xff", b"\x80", b"\xc3", b"\xf0\x9f"),
    *(b"\xed\xa0\xbd", b"\xed\xb8\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", "é".encode(), "😀".encode(), "評".encode()),
    *(b"[SEP]", b"</s>", b"<|endoftext|>", b"NULL", b"nan", b"007", b"bagus sekali", b"a", b"b\tc", b"d,e"),
)
cells = st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join)
ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n"])
raw = st.one_of(st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join), st.binary(max_size=80))


@st.composite
def structured(draw: st.DrawFn, format: str) -> bytes:
    """Rows as a careless tool would write them: mostly of two fields, quoted well, badly or not."""
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        fields = draw(st.lists(cells, min_size=2, max_size=2) if draw(st.integers(0, 9)) else st.lists(cells))
        if format == "csv":
            how = draw(st.sampled_from(["plain", "quoted", "stray"]))
            if how == "quoted":
                fields = [b'"' + each.replace(b'"', b'""') + b'"' for each in fields]
            elif how == "stray" and fields:
                fields[0] = b'"' + fields[0]
        lines.append((b"\t" if format == "tsv" else b",").join(fields) + draw(ends))
    whole = b"".join(lines)
    return whole if draw(st.booleans()) else whole.removesuffix(b"\n")


def bodies(format: str) -> st.SearchStrategy[bytes]:
    return st.one_of(structured(format), structured(format), raw)


def runs(examples: int, long: bool) -> Callable[[Any], Any]:
    """The settings of a test: the same cases each time, or new ones."""
    how = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    return how if long else lambda test: seed(20_240_229)(how(test))


class Place:
    """A file that is written again and again, and what reads it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch):
        self.folder, self.patch = folder, patch
        self.cases = self.rows = self.rejects = self.refused = 0

    def put(self, format: str, data: bytes) -> inputs.InputFile:
        path = self.folder / f"dump.{format}"
        path.write_bytes(data)
        (file,) = inputs.find_inputs([str(path)])
        return file

    def read(
        self, file: inputs.InputFile, columns: tuple[str, ...], block: int, shard_bytes: int, chunk_rows: int = 1000
    ) -> tuple[list[Row], list[dict[str, Any]]]:
        """The file's rows in order, None for a reject, and the rejects; by way of shards, as a job reads it."""
        self.patch.setattr(inputs, "_BLOCK_BYTES", block)
        names, start = delimited.header(file, columns)
        rows: list[Row] = []
        rejects: list[dict[str, Any]] = []
        for shard in delimited.shards(file, start, 1000, shard_bytes):
            assert shard.first_row == len(rows)
            for chunk in delimited.chunks(file, shard, names, names, chunk_rows):
                bad = {reject["row"] for reject in chunk.rejects}
                good = zip(*(column.to_pylist() for column in chunk.batch.columns), strict=True)
                rows += [None if row in bad else next(good) for row in range(len(rows), len(rows) + chunk.rows)]
                assert next(good, None) is None
                rejects += chunk.rejects
            assert len(rows) == shard.first_row + shard.rows
        return rows, rejects

    def check(self, format: str, data: bytes, columns: tuple[str, ...], cut: tuple[int, int, int]) -> list[Row] | None:
        """The rows; None where the file is refused as a whole. `cut`: bytes of a block, of a shard, rows of a chunk."""
        self.cases += 1
        file = self.put(format, data)
        try:
            rows, rejects = self.read(file, columns, 2**20, 2**20)
        except InputError:
            for block in (1, cut[0]):  # UTF-16 is told from a block of any size
                with pytest.raises(InputError):
                    self.read(file, columns, block, cut[1])
            self.refused += 1
            return None
        names = delimited.header(file, columns)[0]
        told = recount(file.path, format, columns, list(names), names[0])
        assert rows == [None if row is None else tuple(row) for row in told]
        assert [reject["row"] for reject in rejects] == [number for number, row in enumerate(rows) if row is None]
        for reject in rejects:
            at, length = reject["byte_offset"], reject["byte_length"]
            assert reject["reason"] in REASONS
            assert reject["sha256"] == hashlib.sha256(data[at : at + length]).hexdigest()
            assert (data[at - 1 : at], data[at + length : at + length + 1]) in (
                *((before, after) for before in (b"\n", b"") for after in (b"\n", b"")),
            )
        assert self.read(file, columns, *cut) == (rows, rejects)
        self.rows += len(rows)
        self.rejects += len(rejects)
        return rows


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Limits are small, so that they are reached; the same ones for both readers."""
    from sentiment_batch import recount as other

    for module, row, quoted in ((framing, "MAX_ROW_BYTES", "MAX_QUOTED_BYTES"), (other, "LINE_BYTES", "QUOTED_BYTES")):
        monkeypatch.setattr(module, row, 90)
        monkeypatch.setattr(module, quoted, 40)
    monkeypatch.setattr(framing, "_KEPT_BYTES", 60)  # less than the longest row, as it is
    there = Place(tmp_path, monkeypatch)
    yield there
    with capsys.disabled():
        print(f"\n{there.cases:,} files, {there.rows:,} rows, {there.rejects:,} rejected; {there.refused:,} refused")


cuts = st.tuples(st.sampled_from(BLOCKS), st.sampled_from(SHARD_BYTES), st.sampled_from([1, 2, 7, 1000]))


@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_any_bytes_are_the_rows_that_another_reader_finds(
    place: Place, format: str, tier: Tier, request: pytest.FixtureRequest
) -> None:
    separator = b"\t" if format == "tsv" else b","
    header = st.sampled_from([b"", BOM]).map(lambda mark: mark + separator.join([b"id", b"text"]) + b"\n")

    @runs(tier(850, 85_000), request.config.getoption("--long"))
    @given(header, bodies(format), cuts, st.booleans())
    def check(head: bytes, body: bytes, cut: tuple[int, int, int], headed: bool) -> None:
        if headed:
            place.check(format, head + body, (), cut)
        else:
            place.check(format, body, NAMES, cut)

    check()
    assert place.rows > place.cases
    assert place.rejects > place.cases / 4
    assert place.refused < place.cases / 10


@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_every_block_size_and_shard_size_gives_the_same(
    place: Place, format: str, tier: Tier, request: pytest.FixtureRequest
) -> None:
    @runs(tier(100, 12_000), request.config.getoption("--long"))
    @given(bodies(format))
    def check(body: bytes) -> None:
        place.cases += 1
        file = place.put(format, b"id\ttext\n".replace(b"\t", b"\t" if format == "tsv" else b",") + body)
        try:
            expected = place.read(file, (), 2**20, 2**20)
        except InputError:
            place.refused += 1
            return
        place.rows += len(expected[0])
        place.rejects += len(expected[1])
        for block in BLOCKS:
            assert place.read(file, (), block, 16, 2) == expected, block
        for shard_bytes in SHARD_BYTES:
            assert place.read(file, (), 7, shard_bytes) == expected, shard_bytes

    check()


@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_a_bad_row_leaves_its_neighbours_as_they_are(
    place: Place, format: str, tier: Tier, request: pytest.FixtureRequest
) -> None:
    """One line of anything between good rows: these come out as if it were not there."""
    separator = b"\t" if format == "tsv" else b","
    good = st.lists(st.text(st.sampled_from("abc é😀\0\r"), max_size=9).map(lambda text: f"x{text}x"), min_size=2)
    bad = raw.map(lambda data: data.replace(b"\n", b""))

    @runs(tier(100, 10_000), request.config.getoption("--long"))
    @given(good, good, bad, cuts)
    def check(before: list[str], after: list[str], line: bytes, cut: tuple[int, int, int]) -> None:
        if format == "csv" and line.count(b'"') % 2 == 0:
            line = line.replace(b'"', b"")  # else it may be a field that is closed in the lines behind it, and rightly
        texts = [separator.join([text.encode()] * 2) for text in before] + [line]
        texts += [separator.join([text.encode()] * 2) for text in after]
        rows = place.check(format, b"\n".join(texts) + b"\n", NAMES, cut)
        if rows is not None:
            assert rows[: len(before)] == [(text, text) for text in before]
            assert rows[len(before) + 1 :] == [(text, text) for text in after]

    check()


def test_what_csv_writes_is_what_is_read(place: Place, tier: Tier, request: pytest.FixtureRequest) -> None:
    """A newline, a tab, a quote or a token of a model inside quotes: byte for byte."""
    texts = st.lists(st.sampled_from(PIECES), max_size=4).map(lambda each: b"".join(each).decode(errors="ignore"))

    @runs(tier(150, 10_000), request.config.getoption("--long"))
    @given(st.lists(st.tuples(texts, texts), max_size=6), st.sampled_from(["\n", "\r\n"]), cuts)
    def check(rows: list[tuple[str, str]], end: str, cut: tuple[int, int, int]) -> None:
        stream = io.StringIO(newline="")
        csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([NAMES, *rows])
        data = stream.getvalue().encode()
        place.patch.setattr(framing, "MAX_ROW_BYTES", 2**20)
        place.patch.setattr(framing, "MAX_QUOTED_BYTES", 2**20)
        place.cases += 1
        found, rejects = place.read(place.put("csv", data), (), *cut)
        assert (found, rejects) == (rows, [])

    check()


# kor-nlu-datasets#8 and torchtext#612: a quote that is never closed took the rows behind it, 3,000 of them in one file.
@pytest.mark.parametrize(
    "line", ['"Filmnya bagus\tpositive', 'kata "bagus\tneutral', '1""\t"', '"\t"', 'The 6" TFT display\tx']
)
def test_a_quote_in_a_tsv_is_a_character(place: Place, line: str) -> None:
    rows = [f"{number}\t{line.partition(chr(9))[0]}" for number in range(300)]
    data = "\n".join(["id\ttext", *rows, ""]).encode()
    for block in BLOCKS[2:]:
        assert place.read(place.put("tsv", data), (), block, 200) == ([tuple(row.split("\t")) for row in rows], [])
