"""pair_hashes.py: rows have one hash if key and text are the same, and if any of it differs two."""

import datetime
import decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_batch.pair_hashes import kind_of, pair_hashes

some_text = st.none() | st.text(alphabet="a:1\0", max_size=4)
some_rows = st.lists(st.tuples(some_text, some_text, some_text), max_size=30)


@given(rows=some_rows, two=st.booleans())
@example(rows=[("a", "b:", "c"), ("a", "b", ":c"), ("a:b", "", "c"), ("a", ":b", "c"), ("a:", "b", "c")], two=True)
@example(rows=[("a", "", ":c"), ("a:", "", "c"), ("1:a", "", "c"), ("1", "", "a:c")], two=False)
def test_rows_share_a_hash_if_they_are_equal_and_have_no_null(rows: list[tuple[str | None, ...]], two: bool) -> None:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(3)]
    keys = columns[:2] if two else columns[:1]
    places, hashes = pair_hashes(keys, columns[2])
    wanted = [row if two else (row[0], row[2]) for row in rows]
    assert places.tolist() == [place for place, row in enumerate(wanted) if None not in row]
    whole = [wanted[place] for place in places]
    seen = dict(zip(whole, (each.tobytes() for each in hashes), strict=True))
    assert [seen[row] for row in whole] == [each.tobytes() for each in hashes]
    assert len(set(seen.values())) == len(seen)


def hashes_of(values: pa.Array) -> list[bytes]:
    return [each.tobytes() for each in pair_hashes([values], pa.array(["text"] * len(values)))[1]]


SAME: list[list[pa.Array]] = [
    [pa.array([7, None, 200], type) for type in (pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64())],
    [pa.array(["a", None, "ü"], type) for type in (pa.string(), pa.large_string(), pa.string_view())]
    + [pa.array(["a", None, "ü"]).dictionary_encode()],
    [pa.array([b"ab", None, b"\xff\0"], type) for type in (pa.binary(), pa.large_binary(), pa.binary(2))],
]


@pytest.mark.parametrize("columns", SAME, ids=lambda columns: kind_of(columns[0].type))
def test_how_a_value_is_stored_does_not_tell_it_apart(columns: list[pa.Array]) -> None:
    assert len({kind_of(column.type) for column in columns}) == 1
    first = hashes_of(columns[0])
    assert len(set(first)) == 2
    for column in columns:
        assert hashes_of(column) == first
        assert hashes_of(pa.concat_arrays([column, column]).slice(3)) == first, "wherever in a buffer it lies"


KEYS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, False]),
    (pa.float32(), [0.1, 2.0]),
    (pa.float64(), [0.1, 2.0]),
    (pa.decimal128(10, 2), [decimal.Decimal("1.50"), decimal.Decimal("0.15")]),
    (pa.date32(), [datetime.date(2026, 1, 31), datetime.date(1960, 1, 1)]),
    (pa.time32("s"), [datetime.time(1), datetime.time(2)]),
    (pa.timestamp("us"), [datetime.datetime(2026, 1, 31), datetime.datetime(1960, 1, 1)]),
    (pa.timestamp("ns", "Asia/Jakarta"), [datetime.datetime(2026, 1, 31), datetime.datetime(1960, 1, 1)]),
    (pa.duration("s"), [datetime.timedelta(1), datetime.timedelta(2)]),
]


@pytest.mark.parametrize(("type", "values"), KEYS, ids=[str(type) for type, _ in KEYS])
def test_values_of_other_types_are_keys_too(type: pa.DataType, values: list[Any]) -> None:
    one, other = values
    found = hashes_of(pa.array([one, other, None, one], type))
    assert (found[0], len(found)) == (found[2], 3)
    assert len(set(found)) == 2


def test_what_is_no_number_is_equal_to_nothing() -> None:
    assert hashes_of(pa.array([float("nan")])) == []


def test_types_that_may_say_the_same_in_another_way_are_of_two_kinds() -> None:
    types = [pa.int64(), pa.string(), pa.binary(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.timestamp("ms")]
    types += [pa.bool_(), pa.decimal128(10, 2), pa.decimal128(10, 3), pa.timestamp("us", "UTC")]
    assert len({kind_of(type) for type in types}) == len(types)


@pytest.mark.parametrize("type", [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.null(), pa.float16()], ids=str)
def test_some_types_are_no_keys(type: pa.DataType) -> None:
    assert kind_of(type) is None
