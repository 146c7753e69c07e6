"""model/batches.py: every row once, within the budget, longest first, and padded as a plain loop would."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.model.batches import pad, plan_batches
from sentiment_batch.model.tokens import TokenIds

some_lengths = st.lists(st.integers(1, 20) | st.sampled_from([5, 6, 512]), max_size=60)
some_ids = st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=9), min_size=1, max_size=12)


def token_ids(texts: list[list[int]]) -> TokenIds:
    lengths = np.array([len(ids) for ids in texts], np.int32)
    flat = np.array([token for ids in texts for token in ids], np.int32)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return TokenIds(flat, starts, lengths, np.zeros(len(texts), bool))


def planned(lengths: list[int], budget: int) -> list[list[int]]:
    return [batch.tolist() for batch in plan_batches(np.array(lengths, np.int32), budget)]


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 200))
def test_every_row_once_within_the_budget_longest_first(lengths: list[int], budget: int) -> None:
    batches = planned(lengths, budget)
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)
    assert order == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 200))
def test_a_batch_is_full_or_ends_where_the_length_changes_when_half_full(lengths: list[int], budget: int) -> None:
    batches = planned(lengths, budget)
    for batch, following in pairwise(batches):
        room = max(1, budget // lengths[batch[0]])
        changes = [place for place in range(1, len(batch)) if lengths[batch[place]] != lengths[batch[place - 1]]]
        if len(batch) == room:
            assert not any(place >= room / 2 for place in changes)
        else:
            assert len(batch) >= room / 2
            assert lengths[following[0]] < lengths[batch[-1]]


def test_batches_by_hand() -> None:
    assert planned([3, 9, 3, 4, 9, 1], 18) == [[1, 4], [3, 0, 2, 5]]
    assert planned([4, 4, 4, 5, 5, 4], 20) == [[3, 4], [0, 1, 2, 5]]  # half full of 5s: cut there
    assert planned([5, 5, 4, 3, 3, 3], 20) == [[0, 1], [2, 3, 4, 5]]  # at the first change behind the half
    assert planned([4, 4, 4, 5, 4], 20) == [[3, 0, 1, 2], [4]]  # less than half full: padded
    assert planned([7], 1) == [[0]]
    assert planned([], 100) == []


@settings(max_examples=100, deadline=None)
@given(some_ids, st.integers(0, 3), st.data())
def test_padding_is_that_of_a_plain_loop(texts: list[list[int]], pad_token_id: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, unique=True))
    ids, mask = pad(token_ids(texts), np.array(rows), pad_token_id)
    width = max(len(texts[row]) for row in rows)
    missing = [width - len(texts[row]) for row in rows]
    assert ids.dtype == np.int64
    assert ids.tolist() == [texts[row] + [pad_token_id] * gap for row, gap in zip(rows, missing, strict=True)]
    if any(missing):
        assert mask is not None
        assert mask.dtype == np.int64
        assert mask.tolist() == [[1] * (width - gap) + [0] * gap for gap in missing]
    else:
        assert mask is None


@pytest.mark.parametrize("pad_token_id", [0, 1, 50_283])
def test_padding_by_hand(pad_token_id: int) -> None:
    tokens = token_ids([[2, 10, 3], [2, 11, 12, 13, 3], [2, 3]])
    ids, mask = pad(tokens, np.array([2, 0]), pad_token_id)
    assert ids.tolist() == [[2, 3, pad_token_id], [2, 10, 3]]
    assert mask is not None
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert pad(tokens, np.array([1]), pad_token_id)[1] is None
