"""Excerpts: whole rows, as they lie in the file, from all over it; and how many rows there are, by their density."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_batch.measure.estimate import ratio
from sentiment_batch.read import excerpts as module
from sentiment_batch.read.excerpts import Excerpt, excerpts, whole
from sentiment_batch.read.plan import Inputs, open_inputs, plan

COLUMNS = ("text", "row")
ROWS = 30_000


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Short ones first: a sample of the first rows would know nothing of the others."""
    chance = random.Random(5)
    return sorted(("kata " * chance.choice([1, 3, 10, 40]) + str(row) for row in range(ROWS)), key=len)


def put_tsv(path: Path, texts: list[str]) -> None:
    path.write_text("row\ttext\n" + "".join(f"{row}\t{text}\n" for row, text in enumerate(texts)))


def put_csv(path: Path, texts: list[str]) -> None:
    """Every third text has a line feed and commas in quotes."""
    rows = (f'{row},"{text}\nya, x, y"\n' if row % 3 == 0 else f"{row},{text}\n" for row, text in enumerate(texts))
    path.write_text("row,text\n" + "".join(rows))


def put_gz(path: Path, texts: list[str]) -> None:
    put_tsv(path, texts)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))


def put_parquet(path: Path, texts: list[str]) -> None:
    rows = pa.array(map(str, range(len(texts))))
    pq.write_table(pa.table({"row": rows, "text": texts}), path, row_group_size=4_000)


PUT: dict[str, Callable[[Path, list[str]], None]] = {
    **{"tsv": put_tsv, "csv": put_csv, "tsv.gz": put_gz, "parquet": put_parquet}
}


def opened(path: Path) -> Inputs:
    return open_inputs((str(path),), "auto", (), ("text",))


def found_in(inputs: Inputs, known: bool, size: tuple[int, int] = (100, 8_192), count: int = 32) -> list[Excerpt]:
    return list(excerpts(inputs, plan(inputs, 10_000, 2**20) if known else None, COLUMNS, count, size))


@pytest.mark.parametrize(("name", "known"), [("tsv", False), ("tsv", True), ("csv", False), ("parquet", True)])
def test_rows_come_whole_from_everywhere(name: str, known: bool, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / f"dump.{name}"
    PUT[name](path, texts)
    found = found_in(opened(path), known)
    assert len(found) == 32
    for each in found:
        assert not each.chunk.rejects
        rows = [int(row) for row in each.chunk.batch.column(1).to_pylist()]
        assert rows == list(range(rows[0], rows[0] + len(rows))), "they follow each other"
        for row, text in zip(rows, each.chunk.batch.column(0).to_pylist(), strict=True):
            assert text == (f"{texts[row]}\nya, x, y" if name == "csv" and row % 3 == 0 else texts[row])
    starts = [int(each.chunk.batch.column(1)[0].as_py()) for each in found]
    assert starts == sorted(starts)
    assert starts[0] < ROWS / 4
    assert starts[-1] > ROWS * 0.9
    lengths = [(sum(map(len, rows)), len(rows)) for rows in (each.chunk.batch.column(0).to_pylist() for each in found)]
    mean = ratio([total for total, _ in lengths], [count for _, count in lengths])
    truth = sum(map(len, texts)) / ROWS
    assert mean.low - 5 <= truth <= mean.high
    assert mean.value == pytest.approx(truth, rel=0.1), "though the first rows are the shortest"
    assert found_in(opened(path), known)[7].chunk.batch.equals(found[7].chunk.batch), "always the same ones"


@pytest.mark.parametrize("name", ["tsv", "csv"])
def test_the_rows_of_a_text_file_follow_from_their_density(name: str, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / f"dump.{name}"
    PUT[name](path, texts)
    found = found_in(opened(path), known=False)
    density = ratio([each.rows for each in found], [each.bytes for each in found])
    size = path.stat().st_size
    assert size * density.low <= ROWS <= size * density.high
    assert size * density.value == pytest.approx(ROWS, rel=0.15)


def test_a_line_that_is_longer_than_the_place_is_counted_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "dump.tsv"
    put_tsv(path, ["x" * 30_000] * 100)
    found = found_in(opened(path), known=False)
    assert {len(text) for each in found for text in each.chunk.batch.column(0).to_pylist()} == {30_000}
    assert 0 < sum(each.rows for each in found) < 32
    assert max(each.bytes for each in found) == 8_192


def test_a_file_that_is_smaller_than_a_place_is_taken_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "dump.tsv"
    put_tsv(path, ["satu", "dua", "tiga"])
    found = found_in(opened(path), known=False, count=1)
    assert [each.chunk.batch.column(0).to_pylist() for each in found] == [["satu", "dua", "tiga"]]


def test_a_file_without_a_last_line_feed_and_with_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "dump.tsv"
    path.write_bytes(b"row\ttext\n1\ta\nno tab\n2\t\xff\n3\tc")
    (found,) = found_in(opened(path), known=False, count=1)
    assert found.chunk.batch.column(0).to_pylist() == ["a", "c"]
    assert [each["reason"] for each in found.chunk.rejects] == ["field_count", "invalid_utf8"]
    assert found.rows == 4


def test_of_a_compressed_file_the_beginning_is_looked_at(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dump.tsv.gz"
    put_gz(path, random.Random(1).sample(texts, ROWS))
    monkeypatch.setattr(module, "UNPACKED_BYTES", 2**20)
    found = found_in(opened(path), known=False)
    counted = [each for each in found if each.bytes]
    assert [each.packed for each in counted] == [True]
    assert 0 < counted[0].rows < ROWS / 1.5
    assert counted[0].rows / counted[0].bytes * path.stat().st_size == pytest.approx(ROWS, rel=0.2)
    first = [int(each.chunk.batch.column(1)[0].as_py()) for each in found]
    assert len(found) == 32
    assert first == sorted(first)
    assert first[-1] > counted[0].rows / 2


def test_many_files_get_places_by_their_size(texts: list[str], tmp_path: Path) -> None:
    for number in range(20):
        put_parquet(
            tmp_path / f"{number:02d}.parquet", texts[number * 10 : number * 10 + (2_000 if number == 7 else 5)]
        )
    inputs = opened(tmp_path)
    found = found_in(inputs, known=True)
    assert sum(texts[70] <= each.chunk.batch.column(0)[0].as_py() for each in found) > 20
    assert len(found) > 28, "places in it that are near to each other are one"


def test_the_whole_is_every_row_once(texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "dump.parquet"
    put_parquet(path, texts[:500])
    inputs = opened(path)
    found = list(whole(inputs, plan(inputs, 300, 2**30), COLUMNS, 64))
    assert [text for each in found for text in each.chunk.batch.column(0).to_pylist()] == texts[:500]
    assert max(each.chunk.batch.num_rows for each in found) == 64


def test_row_groups_that_take_long_to_come_into_are_fewer(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dump.parquet"
    put_parquet(path, texts)
    monkeypatch.setattr(module, "_UNPACKED_GROUPS", 2**20)
    found = found_in(opened(path), known=True)
    assert 8 <= len({each.chunk.batch.column(1)[0].as_py() for each in found}) < 16
    assert sum(each.chunk.batch.num_rows for each in found) == pytest.approx(3_200, rel=0.3), "with more rows from each"


@pytest.mark.parametrize("name", ["tsv", "csv", "tsv.gz", "parquet"])
@pytest.mark.parametrize("rows", [2_500, 4_000, 9_000])
def test_no_row_comes_twice(name: str, rows: int, texts: list[str], tmp_path: Path) -> None:
    """Not even where there are hardly more than are looked at."""
    path = tmp_path / f"dump.{name}"
    PUT[name](path, texts[:rows])
    found = [row for each in found_in(opened(path), True) for row in each.chunk.batch.column(1).to_pylist()]
    assert len(found) == len(set(found))
    assert len(found) > 1_000
