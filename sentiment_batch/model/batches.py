"""Token ids -> padded batches, rows of near-equal length together under a budget of tokens."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sentiment_batch.model.tokens import TokenIds

# An engine prepares for each shape that it has not seen: on a CPU as long as 200 to 700 tokens take. Shapes come again
# from chunk to chunk and padding does not end, so less is spent on padding: 2 % of 5,000 reviews.
_SHAPE_TOKENS = 32
# Two values of bfloat16 lie in one place of a matrix tile (AMX). Where the number of keys is odd OpenVINO multiplies
# the attention without tiles: with 61 tokens a batch took 6 % longer for each token than with 62. So widths are even,
# for every engine alike; elsewhere it is half a token of a text, on average, for fewer shapes.
_WIDTH_STEP = 2


class Batch(NamedTuple):
    """Texts that the model is given together."""

    rows: np.ndarray  # their numbers, int64
    width: int  # tokens of each, padding included


def plan_batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[Batch]:
    """The batches, longest rows first; rows x width is at most `batch_tokens`, or one row.

    Longest first, so that memory peaks at the start and not after hours. Every batch but the last is full, and has the
    shape of the one before until `_SHAPE_TOKENS` were spent on padding for that (the ski-rental rule): the texts of a
    small dump have few shapes, and those of a chunk of 32,768 still hardly any padding. Widths are even, but for the
    longest row's, which may have all tokens that the model takes.
    """
    order = np.argsort(-lengths, kind="stable")
    widest = int(lengths.max(initial=0))
    first = width = count = spent = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        even = min(-(-longest // _WIDTH_STEP) * _WIDTH_STEP, widest)
        spent += (width - even) * count
        if not width or spent > _SHAPE_TOKENS:
            width, count, spent = even, max(1, batch_tokens // even), 0
        yield Batch(order[first : first + count], width)
        first += count


def pad(
    tokens: TokenIds, rows: np.ndarray, pad_token_id: int, width: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(input_ids, attention_mask), both int64 [rows, width]; no mask where no row is padded.

    `width` is that of the longest row by default.
    """
    lengths = tokens.lengths[rows]
    width = width or int(lengths.max())
    columns = np.arange(width)
    places = tokens.starts[rows][:, None] + columns
    if (lengths == width).all():
        return tokens.flat[places].astype(np.int64), None
    mask = columns < lengths[:, None]
    ids = np.where(mask, tokens.flat[np.where(mask, places, 0)], pad_token_id)
    return ids.astype(np.int64), mask.astype(np.int64)
