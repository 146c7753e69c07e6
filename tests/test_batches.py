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


def planned(lengths: list[int], budget: int) -> list[tuple[list[int], int]]:
    return [(rows.tolist(), width) for rows, width in plan_batches(np.array(lengths, np.int32), budget)]


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 200))
def test_every_row_once_within_the_budget_longest_first(lengths: list[int], budget: int) -> None:
    batches = planned(lengths, budget)
    order = [row for rows, _ in batches for row in rows]
    assert sorted(order) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * width <= budget for rows, width in batches)
    assert all(width >= lengths[rows[0]] for rows, width in batches)
    assert order == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 200))
def test_every_batch_but_the_last_is_full(lengths: list[int], budget: int) -> None:
    for rows, width in planned(lengths, budget)[:-1]:
        assert len(rows) == max(1, budget // width)


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 200))
def test_a_shape_costs_at_most_32_tokens_of_padding_beyond_even_widths(lengths: list[int], budget: int) -> None:
    spent: dict[int, int] = {}
    for rows, width in planned(lengths, budget):
        longest = lengths[rows[0]]
        even = min(longest + longest % 2, max(lengths))
        assert width == even or width in spent, "a new shape is that of its longest text, in even numbers"
        spent[width] = spent.get(width, 0) + (width - even) * len(rows)
    assert all(each <= 32 for each in spent.values())


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 200))
def test_no_batch_is_wider_than_the_longest_text_which_may_have_all_tokens_of_a_model(
    lengths: list[int], budget: int
) -> None:
    widths = [width for _, width in planned(lengths, budget)]
    assert widths[:1] == ([max(lengths)] if lengths else [])
    assert all(width % 2 == 0 for width in widths if width < max(lengths))


def test_batches_by_hand() -> None:
    assert planned([3, 9, 3, 4, 9, 1], 18) == [([1, 4], 9), ([3, 0], 9), ([2, 5], 9)]
    assert planned([4, 4, 4, 5, 5, 4], 20) == [([3, 4, 0, 1], 5), ([2, 5], 5)]
    assert planned([300, 100, 2, 1], 300) == [([0], 300), ([1, 2, 3], 100)]
    assert planned([300, 270, 268, 267], 300) == [([0], 300), ([1], 300), ([2], 268), ([3], 268)]
    assert planned([200, 170, 175, 3], 1) == [([0], 200), ([2], 200), ([1], 170), ([3], 4)]
    assert [width for _, width in planned([9] + [5] * 300, 20)] == [9] * 6 + [6] * 97
    assert planned([103, 51, 51, 51], 103) == [([0], 103), ([1], 52), ([2], 52), ([3], 52)]
    assert planned([7], 1) == [([0], 7)]
    assert planned([], 100) == []


def test_a_shuffled_dump_has_few_shapes_and_hardly_any_padding() -> None:
    """Texts as long as SmSA's, in a chunk of the default size: at most 2 % of the tokens are padding."""
    lengths = np.random.default_rng(1).gamma(2.5, 28, 32_768).clip(3, 512).astype(np.int32)
    batches = list(plan_batches(lengths, 2_048))
    shapes = {(len(rows), width) for rows, width in batches}
    padded = sum(len(rows) * width for rows, width in batches)
    assert padded < 1.01 * lengths.sum()
    assert len(shapes) < len(batches) / 7
    few = list(plan_batches(lengths[:8_000], 2_048))
    assert sum(len(rows) * width for rows, width in few) < 1.02 * lengths[:8_000].sum()


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
    wider, mask = pad(token_ids(texts), np.array(rows), pad_token_id, width + 2)
    assert wider.tolist() == [each + [pad_token_id] * 2 for each in ids.tolist()]
    assert mask is not None
    assert mask.sum(axis=1).tolist() == [len(texts[row]) for row in rows]


@pytest.mark.parametrize("pad_token_id", [0, 1, 50_283])
def test_padding_by_hand(pad_token_id: int) -> None:
    tokens = token_ids([[2, 10, 3], [2, 11, 12, 13, 3], [2, 3]])
    ids, mask = pad(tokens, np.array([2, 0]), pad_token_id)
    assert ids.tolist() == [[2, 3, pad_token_id], [2, 10, 3]]
    assert mask is not None
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert pad(tokens, np.array([1]), pad_token_id)[1] is None
