"""shard_slice.py: which shards of a job a slice has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_batch.errors import UsageError
from sentiment_batch.parameters import parse_options
from sentiment_batch.shard_slice import ShardSlice, slice_of


@pytest.mark.parametrize(("text", "index", "of"), [("1/1", 1, 1), ("2/8", 2, 8), ("08/8", 8, 8), ("100/999", 100, 999)])
def test_a_slice_is_written_as_its_number_and_how_many_there_are(text: str, index: int, of: int) -> None:
    assert slice_of(text) == ShardSlice(index, of)
    assert str(slice_of(text)) == f"{index}/{of}"


@pytest.mark.parametrize(
    "text",
    ["0/8", "9/8", "0/0", "-1/8", "1/-8", "1", "/", "1/", "/8", "1/8/2", "1 / 8", "a/b", "1.0/8", "²/8", "1/8\n"],
)
def test_what_is_no_slice_is_shown_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard-slice .*: write it as I/N, with I from 1 to N: 1/8 to 8/8"):
        slice_of(text)
    with pytest.raises(UsageError, match="counts from 0"):
        parse_options("score", {"input": ["x"], "model": "m", "output": "o", "shard_slice": text}, {})


def test_an_index_of_kubernetes_comes_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_SHARD_SLICE", "3/8")
    assert parse_options("score", {"input": ["x"], "model": "m", "output": "o"}, {}).shard_slice == "3/8"


@given(st.lists(st.integers()), st.integers(1, 20))
def test_every_shard_is_in_one_slice_and_they_differ_by_one_at_most(shards: list[int], of: int) -> None:
    slices = [ShardSlice(index, of).taken(list(enumerate(shards))) for index in range(1, of + 1)]
    assert sorted(each for taken in slices for each in taken) == list(enumerate(shards))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_neighbours_are_in_different_slices() -> None:
    assert ShardSlice(2, 3).taken(list("abcdefgh")) == ["b", "e", "h"]
