"""Parquet: any cut of any file gives its rows once and in order; a bad text costs its row, a bad page the file."""

import base64
import datetime
import decimal
import hashlib
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.errors import InputError
from sentiment_batch.read import parquet
from sentiment_batch.read.chunk import Reject, Shard
from sentiment_batch.read.inputs import InputFile, find_inputs
from sentiment_batch.read.plan import open_inputs, plan, shard_sha256
from sentiment_batch.read.texts import as_strings, is_text
from sentiment_batch.recount import plain_values

quick = settings(max_examples=60, derandomize=True, deadline=None)
counts = st.sampled_from([1, 2, 3, 5, 7, 1000])
MUCH = 2**40
TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint16(), pa.string()),
    pa.dictionary(pa.int64(), pa.large_string(), ordered=True),
]
text_types = pytest.mark.parametrize("type", TEXT_TYPES, ids=str)
plain_types = pytest.mark.parametrize("type", TEXT_TYPES[:3], ids=str)
VALID = [b"sedang", None, "é😀".encode(), b"", b"bagus sekali, lebih dari dua belas byte", b"a\0b", b"sedang"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet")


def put(path: Path, table: pa.Table, group_rows: int = 1000, **options: Any) -> InputFile:
    pq.write_table(table, path, row_group_size=group_rows, write_page_checksum=True, **options)
    return one(path)


def one(path: Path) -> InputFile:
    (file,) = find_inputs([str(path)])
    return file


def read(
    file: InputFile,
    columns: tuple[str, ...],
    *,
    shard_rows: int = 1000,
    shard_bytes: int = MUCH,
    chunk_rows: int = 1000,
) -> tuple[list[pa.RecordBatch], list[Reject]]:
    """All of the file, by way of its shards and chunks, with what every one of them must keep to."""
    batches: list[pa.RecordBatch] = []
    rejects: list[Reject] = []
    row = 0
    for shard in parquet.shards(file, shard_rows, shard_bytes):
        assert (shard.start, shard.first_row, shard.stop) == (row, row, row + shard.rows)
        assert 0 < shard.rows <= shard_rows
        for chunk in parquet.chunks(file, shard, columns, columns[0], chunk_rows):
            assert 0 < chunk.batch.num_rows + len(chunk.rejects) <= chunk_rows
            assert chunk.batch.schema.names == list(columns)
            row += chunk.batch.num_rows + len(chunk.rejects)
            batches.append(chunk.batch)
            rejects += chunk.rejects
        assert row == shard.stop
    return batches, rejects


def values(batches: list[pa.RecordBatch], column: str) -> list[Any]:
    return [value for batch in batches for value in batch.column(column).to_pylist()]


def text_array(texts: list[bytes | None], type: pa.DataType) -> pa.Array:
    """An array of any text type whose bytes nobody looked at, as a careless writer makes it."""
    if pa.types.is_dictionary(type):
        plain = pa.array(texts, pa.binary()).dictionary_encode()
        indices, values = plain.indices.cast(type.index_type), text_array(plain.dictionary.to_pylist(), type.value_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=type.ordered)
    raw = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}[type]
    return pa.array(texts, raw).view(type)


def decoded(texts: list[bytes | None]) -> list[str | None]:
    return [None if text is None else text.decode() for text in texts]


def shuffled(rows: int) -> list[int]:
    return random.Random(rows).sample(range(rows), rows)


@quick
@given(st.integers(0, 40), counts, counts, st.sampled_from([1, 60, 200, MUCH]), counts)
def test_every_cut_gives_every_row_once_and_in_order(
    folder: Path, rows: int, group_rows: int, shard_rows: int, shard_bytes: int, chunk_rows: int
) -> None:
    numbers = shuffled(rows)
    texts = [None if number % 5 == 0 else f"kata {number}" for number in numbers]
    table = pa.table({"n": pa.array(numbers, pa.int64()), "text": pa.array(texts, pa.string())})
    file = put(folder / "a.parquet", table, group_rows)
    batches, rejects = read(file, ("text", "n"), shard_rows=shard_rows, shard_bytes=shard_bytes, chunk_rows=chunk_rows)
    assert (values(batches, "n"), values(batches, "text"), rejects) == (numbers, texts, [])


def test_row_groups_of_different_sizes_and_none(folder: Path) -> None:
    numbers = shuffled(30)
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(folder / "groups.parquet", schema) as writer:
        for start, stop in ((0, 0), (0, 1), (1, 1), (1, 14), (14, 14), (14, 16), (16, 30), (30, 30)):
            writer.write_table(pa.table({"text": [str(number) for number in numbers[start:stop]]}, schema=schema))
    file = one(folder / "groups.parquet")
    for shard_rows in (1, 2, 5, 13, 29, 30):
        for chunk_rows in (1, 4, 100):
            batches, _ = read(file, ("text",), shard_rows=shard_rows, chunk_rows=chunk_rows)
            assert values(batches, "text") == [str(number) for number in numbers]


def test_shards_are_whole_row_groups_where_these_fit(folder: Path) -> None:
    table = pa.table({"text": [f"{number:05d}" for number in shuffled(60)]})
    pq.write_table(table, folder / "a.parquet", row_group_size=10, use_dictionary=False, compression="none")
    file = one(folder / "a.parquet")

    def cuts(shard_rows: int, shard_bytes: int) -> list[int]:
        return [shard.stop for shard in parquet.shards(file, shard_rows, shard_bytes)]

    metadata = pq.read_metadata(file.path)
    (group_bytes,) = {metadata.row_group(number).total_byte_size for number in range(6)}
    assert cuts(1000, MUCH) == [60]
    assert cuts(30, MUCH) == [30, 60]
    assert cuts(29, MUCH) == cuts(20, MUCH) == [20, 40, 60]
    assert cuts(10, MUCH) == cuts(1000, group_bytes) == cuts(1000, 2 * group_bytes - 1) == [10, 20, 30, 40, 50, 60]
    assert cuts(1000, 2 * group_bytes) == [20, 40, 60]
    assert cuts(6, MUCH) == cuts(1000, group_bytes * 3 // 4) == list(range(5, 61, 5))  # equal pieces, not 6 and 4
    assert cuts(1, MUCH) == cuts(1000, 1) == list(range(1, 61))


@text_types
def test_every_type_of_text_keeps_its_type_and_its_values(folder: Path, type: pa.DataType) -> None:
    texts = VALID * 4
    file = put(folder / "a.parquet", pa.table({"text": text_array(texts, type), "n": list(range(28))}), 6)
    assert is_text(parquet.schema(file).field("text").type)
    batches, rejects = read(file, ("text",), shard_rows=5, chunk_rows=3)
    assert {batch.schema.field("text").type for batch in batches} == {parquet.schema(file).field("text").type}
    assert (values(batches, "text"), rejects) == (decoded(texts), [])
    strings = [as_strings(batch.column("text")) for batch in batches]
    assert {array.type for array in strings} == {pa.string()}
    assert [text for array in strings for text in array.to_pylist()] == decoded(texts)


@pytest.mark.parametrize(
    "type",
    [
        pa.binary(),
        pa.large_binary(),
        pa.int64(),
        pa.bool_(),
        pa.null(),
        pa.list_(pa.string()),
        pa.struct([("text", pa.string())]),
        pa.dictionary(pa.int32(), pa.int64()),
        pa.dictionary(pa.int32(), pa.binary()),
    ],
    ids=str,
)
def test_what_is_no_string_is_no_text(type: pa.DataType) -> None:
    assert not is_text(type)


BAD = {2: b"\xff", 3: b"bagus \xe2\x82", 9: b"\xed\xa0\x80", 12: b"\xc0\x80", 13: b"x" * 300 + b"\xfe"}


@text_types
@pytest.mark.parametrize(("shard_rows", "chunk_rows"), [(1000, 1000), (5, 3), (1, 1)])
def test_a_text_that_is_no_utf8_costs_its_row_alone(
    folder: Path, type: pa.DataType, shard_rows: int, chunk_rows: int
) -> None:
    texts = [BAD.get(row, VALID[row % len(VALID)]) for row in range(16)]
    file = put(folder / "a.parquet", pa.table({"n": shuffled(16), "text": text_array(texts, type)}), 6)
    batches, rejects = read(file, ("text", "n"), shard_rows=shard_rows, chunk_rows=chunk_rows)
    good = [row for row in range(16) if row not in BAD]
    assert values(batches, "n") == [shuffled(16)[row] for row in good]
    assert values(batches, "text") == decoded([texts[row] for row in good])
    for batch in batches:
        batch.validate(full=True)  # what is written from it can be read
        assert batch.schema.field("text").type == parquet.schema(file).field("text").type
    assert [reject["row"] for reject in rejects] == list(BAD)
    for reject, raw in zip(rejects, BAD.values(), strict=True):
        assert (reject["row_group"], reject["row_in_group"]) == divmod(reject["row"], 6)
        assert (reject["file"], reject["reason"]) == (file.path, "invalid_utf8")
        assert reject["sha256"] == hashlib.sha256(raw).hexdigest()
        assert reject["preview"] == raw[:256].decode(errors="backslashreplace")
    places = ["byte 0 of", "byte 6 of", "byte 0 of", "byte 0 of", "byte 300 of"]
    assert [reject["detail"][:9].strip() for reject in rejects] == [place[:9].strip() for place in places]


@pytest.mark.parametrize("indices", [pa.int8(), pa.int32()], ids=str)
def test_a_bad_text_behind_the_dictionary_of_its_row_group(folder: Path, indices: pa.DataType) -> None:
    """A dictionary that grows too large ends, and the values behind it are written out: good rows are read by then."""
    texts: list[bytes | None] = [b"%03d" % number for number in shuffled(60)]
    texts[50] = b"\xff"
    table = pa.table({"text": text_array(texts, pa.dictionary(indices, pa.string())), "n": shuffled(60)})
    plain = table.set_column(0, "text", table.column("text").cast(pa.string()))
    small = {"write_batch_size": 10, "data_page_size": 8, "dictionary_pagesize_limit": 40}
    with pq.ParquetWriter(folder / "a.parquet", plain.schema, store_schema=False, **small) as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(table.schema.serialize()).decode()})
    assert parquet.schema(one(folder / "a.parquet")).field("text").type == table.schema.field("text").type
    for chunk_rows in (1, 7, 1000):
        batches, rejects = read(one(folder / "a.parquet"), ("text", "n"), chunk_rows=chunk_rows)
        assert [reject["row"] for reject in rejects] == [50]
        assert values(batches, "n") == [number for row, number in enumerate(shuffled(60)) if row != 50]
        assert values(batches, "text") == decoded(texts[:50] + texts[51:])


@plain_types
def test_a_bad_string_in_another_column_costs_no_row(folder: Path, type: pa.DataType) -> None:
    """Only the text decides: a row goes out as it came in."""
    other = [b"ok", b"\xff", None, b"ok", b"\xed\xa0\x80"]
    table = pa.table({"text": text_array([b"c", b"\xff", b"a", b"d", b"b"], pa.string()), "o": text_array(other, type)})
    batches, rejects = read(put(folder / "a.parquet", table), ("text", "o"))
    assert values(batches, "text") == ["c", "a", "d", "b"]
    assert [reject["row"] for reject in rejects] == [1]
    (batch,) = batches
    raw = pa.array(batch.column("o").cast(pa.string()).cast(pa.binary()))
    assert raw.to_pylist() == [b"ok", None, b"ok", b"\xed\xa0\x80"]


@pytest.mark.parametrize("type", [*TEXT_TYPES[3:], "struct"], ids=str)
def test_bad_bytes_in_a_dictionary_or_a_nested_column_are_told_with_its_name(folder: Path, type: Any) -> None:
    """No output could hold them that Arrow reads: the column is to be written otherwise, or left out."""
    raw = [b"ok", b"\xff", None, b"ok"]
    if type == "struct":
        other = pa.StructArray.from_arrays([text_array(raw, pa.string())], ["inner"])
    else:
        other = text_array(raw, type)
    path = put(folder / "a.parquet", pa.table({"text": ["c", "a", "d", "b"], "n": [1, 2, 3, 4], "o": other}))
    with pytest.raises(InputError, match=r"a\.parquet, .* no UTF-8 in a .*\('o'\): .*plain strings.*--keep-columns"):
        read(path, ("text", "n", "o"))
    assert values(read(path, ("text", "n"))[0], "n") == [1, 2, 3, 4]


def test_columns_of_every_other_type_come_back_as_they_are(folder: Path) -> None:
    at = datetime.datetime(2024, 2, 29, 23, 59, 59, 999_999)
    columns = {
        "text": pa.array(["c", None, "a"]),
        "list": pa.array([["x", None], None, []], pa.list_(pa.string())),
        "struct": pa.array([{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": {"c": "y"}}]),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        "us": pa.array([at, None, at], pa.timestamp("us")),
        "ns": pa.array([1, None, -1], pa.timestamp("ns", "Asia/Jakarta")),
        "day": pa.array([at.date(), None, at.date()]),
        "money": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-0.01")], pa.decimal128(10, 2)),
        "small": pa.array([1, None, 255], pa.uint8()),
        "nan": pa.array([float("nan"), None, -0.0], pa.float32()),
        "blob": pa.array([b"\xff", None, b""]),
        "flag": pa.array([True, None, False]),
        "none": pa.nulls(3),
        "kind": pa.array(["x", None, "y"]).dictionary_encode(),
        "dotted.name": pa.array([1, None, 3]),
        "struct.a": pa.array(["not in the struct", None, ""]),
    }
    table = pa.table(columns)
    file = put(folder / "a.parquet", table, 2)
    assert parquet.schema(file).equals(table.schema)
    for names in (tuple(columns), tuple(reversed(columns)), ("text", "struct.a"), ("struct", "text"), ("text",)):
        if names[0] != "text":
            names = ("text", *(name for name in names if name != "text"))
        batches, _ = read(file, names, shard_rows=2, chunk_rows=1)
        back = pa.Table.from_batches(batches)
        assert back.schema.equals(table.select(names).schema)
        for name in names:
            if name != "nan":
                assert back.column(name).to_pylist() == table.column(name).to_pylist()
        if "nan" in names:
            assert list(map(str, back.column("nan").to_pylist())) == ["nan", "None", "-0.0"]


@text_types
def test_a_bad_text_beside_columns_of_every_other_type(folder: Path, type: pa.DataType) -> None:
    columns = {
        "text": text_array([b"c", b"\xff", b"a", b"b"], type),
        "kind": pa.array(["x", "y", None, "x"]).dictionary_encode(),
        "list": pa.array([["x"], [], None, ["y", "z"]]),
        "struct": pa.array([{"a": 1}, {"a": 2}, None, {"a": 4}]),
        "view": pa.array(["x" * 20, "y" * 20, None, "z"], pa.string_view()),
        "at": pa.array([3, 1, None, 2], pa.timestamp("ms")),
    }
    for group_rows in (1, 2, 3, 4):
        batches, rejects = read(put(folder / "a.parquet", pa.table(columns), group_rows), tuple(columns))
        assert [reject["row"] for reject in rejects] == [1]
        assert values(batches, "text") == ["c", "a", "b"]
        for name in ("kind", "list", "struct", "view", "at"):
            expected = columns[name].to_pylist()
            assert values(batches, name) == [expected[0], *expected[2:]]


def test_a_file_without_rows(folder: Path) -> None:
    file = put(folder / "a.parquet", pa.table({"text": pa.array([], pa.string()), "n": pa.array([], pa.int8())}))
    assert list(parquet.shards(file, 10, 10)) == []
    assert list(parquet.chunks(file, Shard(0, 0, 0, 0), ("text", "n"), "text", 10)) == []
    assert parquet.byte_range(file, Shard(0, 0, 0, 0)) == (0, 0)
    assert parquet.schema(file).names == ["text", "n"]


def test_two_columns_of_one_name_are_refused(folder: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["b"]), pa.array([1]), pa.array(["a"])], ["text", "n", "text"])
    file = put(folder / "a.parquet", table)
    with pytest.raises(InputError, match="'text' twice") as caught:
        parquet.schema(file)
    assert file.path in str(caught.value)


def test_a_column_name_that_is_no_utf8_is_refused(folder: Path) -> None:
    file = put(folder / "a.parquet", pa.table({"text": ["b"], "qqqq": ["a"]}), store_schema=False)
    data = Path(file.path).read_bytes()
    Path(file.path).write_bytes(data.replace(b"qqqq", b"q\xff\xffq"))
    with pytest.raises(InputError, match=r"a\.parquet"):
        parquet.schema(one(folder / "a.parquet"))


@pytest.mark.parametrize("dictionary", [True, False])
def test_the_bytes_of_the_shards_are_those_of_the_row_groups(folder: Path, dictionary: bool) -> None:
    table = pa.table({"text": [str(number % 7) for number in shuffled(40)], "n": shuffled(40)})
    file = put(folder / "a.parquet", table, 10, use_dictionary=dictionary)
    ranges = [parquet.byte_range(file, shard) for shard in parquet.shards(file, 10, MUCH)]
    footer = int.from_bytes(Path(file.path).read_bytes()[-8:-4], "little")
    assert ranges[0][0] == len("PAR1")
    assert [start for start, _ in ranges[1:]] == [stop for _, stop in ranges[:-1]]
    assert ranges[-1][1] == os.path.getsize(file.path) - footer - 8
    assert parquet.byte_range(file, Shard(15, 16, 15, 1)) == ranges[1]
    assert parquet.byte_range(file, Shard(19, 21, 19, 2)) == (ranges[1][0], ranges[2][1])


def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(folder: Path) -> None:
    data = Path(put(folder / "a.parquet", pa.table({"text": ["b", "a"]})).path).read_bytes()
    path = folder / "cut.parquet"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.parquet is not a whole Parquet file"):
            parquet.schema(one(path))


@pytest.mark.parametrize(
    "data", [b"text\nbagus\n", b"PAR1PAR1", b"PAR1" + bytes(40) + b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1"]
)
def test_what_is_no_parquet_is_refused(folder: Path, data: bytes) -> None:
    path = folder / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet is not a whole Parquet file"):
        parquet.schema(one(path))


def test_a_text_file_that_is_taken_for_parquet_is_told(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"text\nbagus\n" * 1000)
    with pytest.raises(InputError, match=r"a\.parquet .* but plain text; is its name, or --format, right\?"):
        parquet.schema(one(folder / "a.parquet"))


def test_a_file_that_is_not_there_is_an_input_error(folder: Path) -> None:
    file = put(folder / "gone.parquet", pa.table({"text": ["a"]}))
    os.unlink(file.path)
    with pytest.raises(InputError, match=r"gone\.parquet"):
        parquet.schema(file)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_flipped_bit_in_a_page_is_found_or_changes_nothing(folder: Path, compression: str, dictionary: bool) -> None:
    numbers = shuffled(40)
    table = pa.table({"text": [f"kata {number % 9}" for number in numbers], "n": numbers})
    file = put(folder / "flip.parquet", table, 10, use_dictionary=dictionary, compression=compression)
    data = Path(file.path).read_bytes()
    end = parquet.byte_range(file, Shard(30, 40, 30, 10))[1]
    messages = []
    for position in range(4, end, 11):
        Path(file.path).write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        try:
            batches, rejects = read(file, ("text", "n"), shard_rows=15, chunk_rows=4)
        except InputError as error:
            messages.append(str(error))
        else:
            assert (values(batches, "n"), rejects) == (numbers, [])
            assert values(batches, "text") == table.column("text").to_pylist()
    assert len(messages) > (end - 4) // 11 / 3
    assert all("flip.parquet" in message and "damaged" in message for message in messages)


@pytest.mark.parametrize("chunk_rows", [10, 7, 1000])
def test_a_damaged_page_is_named_by_its_row_group(folder: Path, chunk_rows: int) -> None:
    file = put(folder / "a.parquet", pa.table({"text": [f"{n:09d}" for n in shuffled(40)]}), 10, use_dictionary=False)
    data = bytearray(Path(file.path).read_bytes())
    for group in (0, 2, 3):
        end = parquet.byte_range(file, Shard(group * 10, group * 10 + 10, 0, 0))[1]
        damaged = data.copy()
        damaged[end - 3] ^= 1
        Path(file.path).write_bytes(damaged)
        with pytest.raises(InputError, match=f"row group {group}: .*damaged"):
            list(parquet.chunks(file, Shard(0, 40, 0, 40), ("text",), "text", chunk_rows))


def test_rows_that_the_footer_promises_and_the_file_lacks_are_an_error(folder: Path) -> None:
    file = put(folder / "a.parquet", pa.table({"text": ["c", "a", "b"]}), 2)
    with pytest.raises(InputError, match=r"ends at row 3 .* says 5") as caught:
        list(parquet.chunks(file, Shard(1, 5, 1, 4), ("text",), "text", 10))
    assert file.path in str(caught.value)


def test_a_row_group_that_is_shorter_than_it_says_is_an_error_in_every_shard_that_it_is_in(folder: Path) -> None:
    """The checksum of a page is of its values, and not of its header, which has their number."""
    table = pa.table({"text": [f"{number:04d}" for number in shuffled(40)]})
    file = put(folder / "a.parquet", table, 10, use_dictionary=False)
    data = Path(file.path).read_bytes()
    ten, eight = b"\x1c\x15\x14\x15\x00\x15\x06", b"\x1c\x15\x10\x15\x00\x15\x06"  # doubled, as zigzag has it
    assert data.count(ten) == 4
    Path(file.path).write_bytes(data.replace(ten, eight, 1))
    for start, stop in ((0, 10), (0, 15), (0, 40), (5, 25), (9, 10)):
        with pytest.raises(InputError, match=r"a\.parquet"):
            list(parquet.chunks(file, Shard(start, stop, start, stop - start), ("text",), "text", 1000))


@pytest.mark.parametrize(
    "type", [pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.uint8(), pa.string())], ids=str
)
def test_row_groups_whose_dictionaries_have_no_common_one(folder: Path, type: pa.DataType) -> None:
    """Indices of 8 bits number the values of each row group, and not those of all of them."""
    kinds = [f"k{number}" for number in shuffled(600)]
    schema = pa.schema([("text", pa.string()), ("kind", type)])
    with pq.ParquetWriter(folder / "a.parquet", schema) as writer:
        for start in range(0, 600, 100):
            some = pa.array(kinds[start : start + 100]).dictionary_encode().cast(type)
            writer.write_table(pa.table({"text": [str(start)] * 100, "kind": some}, schema))
    file = one(folder / "a.parquet")
    for chunk_rows in (30, 100, 200, 250, 1000):
        batches, _ = read(file, ("text", "kind"), chunk_rows=chunk_rows)
        assert values(batches, "kind") == kinds
        assert {batch.schema.field("kind").type for batch in batches} == {type}


def test_a_text_of_more_values_than_its_indices_of_8_bits_can_number(folder: Path) -> None:
    type = pa.dictionary(pa.int8(), pa.string())
    with pq.ParquetWriter(folder / "a.parquet", pa.schema([("text", type)])) as writer:
        for start in range(0, 300, 100):
            some = pa.array([str(number) for number in range(start, start + 100)]).dictionary_encode().cast(type)
            writer.write_table(pa.table({"text": some}))
    batches, _ = read(one(folder / "a.parquet"), ("text",))
    assert values(batches, "text") == [str(number) for number in range(300)]


NANOSECONDS = [2**63 - 1, -1, 0, 1_000_000_001, -(2**63) + 1, -1_000_000_001]  # the first and last that 64 bits hold
BEYOND = [(-62_135_596_800, "s"), (253_402_214_400, "s"), (2**63 // 1000 + 1, "us"), (-(2**63) // 1000 - 1, "us")]


def int96_columns(moments: list[int], unit: str) -> dict[str, pa.Array]:
    """The moments in columns of every kind, with nulls before and behind them."""
    kind = pa.timestamp(unit)
    pair = pa.struct([("n", pa.int64()), ("at", kind)])
    types = {
        "at": kind,
        "list": pa.list_(kind),
        "two": pa.list_(kind, 2),
        "struct": pair,
        "map": pa.map_(pa.string(), kind),
        "deep": pa.list_(pa.struct([("at", pa.list_(kind))])),
    }
    rows: dict[str, list[Any]] = {
        "at": list(moments),
        "list": [[None, moment] for moment in moments],
        "two": [[moment, None] for moment in moments],
        "struct": [{"n": 2**62, "at": moment} for moment in moments],
        "map": [[("k", moment)] for moment in moments],
        "deep": [[{"at": [moment]}, None] for moment in moments],
    }
    return {name: pa.array([None, *rows[name], None], type) for name, type in types.items()}


@pytest.mark.parametrize("chunk_rows", [1, 3, 1000])
def test_int96_timestamps_are_nanoseconds_to_the_last_one_that_these_hold(folder: Path, chunk_rows: int) -> None:
    columns = int96_columns(NANOSECONDS, "ns")
    texts = [f"kata {row}" for row in range(len(NANOSECONDS) + 2)]
    table = pa.table({"text": texts, **columns})
    file = put(folder / "a.parquet", table, 3, use_deprecated_int96_timestamps=True)
    batches, _ = read(file, ("text", *columns), shard_rows=4, chunk_rows=chunk_rows)
    back = pa.Table.from_batches(batches)
    assert back.column("at").cast(pa.int64()).to_pylist() == [None, *NANOSECONDS, None]
    for name, column in columns.items():
        assert plain_values(back.column(name)) == plain_values(column)


@pytest.mark.parametrize(("moment", "unit"), BEYOND)
def test_an_int96_timestamp_that_nanoseconds_cannot_hold_is_refused_in_every_kind_of_column(
    folder: Path, moment: int, unit: str
) -> None:
    """Arrow makes another date of it in silence."""
    columns = int96_columns([0, 0, moment], unit)
    table = pa.table({"text": list("baced"), **columns})
    file = put(folder / "a.parquet", table, 2, use_deprecated_int96_timestamps=True)
    for name in columns:
        path = f"'{name}[a-z_.]*'"
        with pytest.raises(InputError, match=rf"a\.parquet, .*row group 1, column {path}: .*INT96.*--keep-columns"):
            read(file, ("text", name), chunk_rows=1)
    assert values(read(file, ("text",))[0], "text") == list("baced")  # nobody asked for the others


def edit_footer(file: InputFile, old: bytes, new: bytes) -> InputFile:
    """The file with some bytes of its footer replaced once."""
    data = Path(file.path).read_bytes()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert footer.count(old) == 1
    forged = footer.replace(old, new)
    Path(file.path).write_bytes(data[: -8 - len(footer)] + forged + len(forged).to_bytes(4, "little") + b"PAR1")
    return one(Path(file.path))


def thrift(number: int) -> bytes:
    """A whole number of 64 bits as a footer has it."""
    number = (number << 1 ^ number >> 63) & 2**64 - 1
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


@pytest.mark.parametrize("sizes", [(2**62, 1), (1, 2**62), (2**40, 2**40), (2**62, -(2**62)), (-1, -1)])
def test_a_row_group_that_is_said_to_unpack_to_any_size_is_no_part_of_every_row(
    folder: Path, sizes: tuple[int, int]
) -> None:
    table = pa.table({"text": [str(number) for number in shuffled(5000)]})
    file = put(folder / "a.parquet", table, 3000, use_dictionary=False)
    for number, (size, rows) in enumerate(zip(sizes, (3000, 2000), strict=True)):
        true = pq.read_metadata(file.path).row_group(number).total_byte_size
        before, behind = b"\x16", b"\x16" + thrift(rows)  # each is the next field, a number of 64 bits
        file = edit_footer(file, before + thrift(true) + behind, before + thrift(size) + behind)
        assert pq.read_metadata(file.path).row_group(number).total_byte_size == size
    assert len(list(parquet.shards(file, MUCH, 2**20))) < 20
    assert (
        values(read(file, ("text",), shard_rows=5000, shard_bytes=2**20)[0], "text") == table.column("text").to_pylist()
    )


@pytest.mark.parametrize("column", ["text", "n"])
def test_pages_before_the_beginning_of_the_file_are_refused(folder: Path, column: str) -> None:
    """Of a column that nobody asked for too: its bytes are in the hash of the shard."""
    table = pa.table({"text": list("cab"), "n": [3, 1, 2]})
    file = put(folder / "a.parquet", table, use_dictionary=False)
    group = pq.read_metadata(file.path).row_group(0)
    chunk = group.column(table.schema.names.index(column))
    said = thrift(chunk.total_compressed_size) + b"\x26" + thrift(chunk.data_page_offset)
    forged = edit_footer(file, said, said[: -len(thrift(chunk.data_page_offset))] + thrift(-5))
    inputs = open_inputs((forged.path,), "auto", (), ("text",))
    (planned,) = plan(inputs, 10, MUCH)
    with pytest.raises(InputError, match=rf"a\.parquet.*{column}.* byte -5 .*damaged"):
        shard_sha256(inputs, planned)
    if column == "text":
        with pytest.raises(InputError, match=r"a\.parquet.*row group 0.* byte -5 .*damaged"):
            read(forged, ("text",))
