"""Token ids -> padded batches, rows of near-equal length together under a budget of tokens."""

from collections.abc import Iterator

import numpy as np

from sentiment_batch.model.tokens import TokenIds


def plan_batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers of each batch, longest rows first; rows x longest is at most `batch_tokens`, or one row.

    Longest first, so that memory peaks at the start and not after hours. Of one length all batches but one have the
    same number of rows: of a chunk of 32,768 texts nearly all batches have a shape that the engine has seen before, and
    that it need not prepare for again. Hardly any row is padded: where there are more rows of a length than fit in a
    batch, one batch in so many has two lengths.
    """
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        last = first + max(1, batch_tokens // int(lengths[order[first]]))
        yield order[first:last]
        first = last


def pad(tokens: TokenIds, rows: np.ndarray, pad_token_id: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(input_ids, attention_mask), both int64 [rows, longest]; no mask where no row is padded."""
    lengths = tokens.lengths[rows]
    width = int(lengths.max())
    columns = np.arange(width)
    places = tokens.starts[rows][:, None] + columns
    if (lengths == width).all():
        return tokens.flat[places].astype(np.int64), None
    mask = columns < lengths[:, None]
    ids = np.where(mask, tokens.flat[np.where(mask, places, 0)], pad_token_id)
    return ids.astype(np.int64), mask.astype(np.int64)
