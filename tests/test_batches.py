"""model/batches.py: every row once, within the budget, longest first, and padded as a plain loop would."""

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
def test_every_batch_but_the_last_is_full(lengths: list[int], budget: int) -> None:
    for batch in planned(lengths, budget)[:-1]:
        assert len(batch) == max(1, budget // lengths[batch[0]])


def test_batches_by_hand() -> None:
    assert planned([3, 9, 3, 4, 9, 1], 18) == [[1, 4], [3, 0, 2, 5]]
    assert planned([4, 4, 4, 5, 5, 4], 20) == [[3, 4, 0, 1], [2, 5]]
    assert planned([7], 1) == [[0]]
    assert planned([], 100) == []


def test_a_shuffled_dump_has_few_shapes_and_hardly_any_padding() -> None:
    """Texts as long as SmSA's, in a chunk of the default size: at most 2 % of the tokens are padding."""
    lengths = np.random.default_rng(1).gamma(2.5, 28, 32_768).clip(3, 512).astype(np.int32)
    batches = list(plan_batches(lengths, 2_048))
    shapes = {(len(batch), lengths[batch[0]]) for batch in batches}
    padded = sum(len(batch) * int(lengths[batch[0]]) for batch in batches)
    assert padded < 1.02 * lengths.sum()
    assert len(shapes) < len(batches) / 3


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
