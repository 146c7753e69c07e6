"""Token ids -> padded batches, by rows of near-equal length under a budget of tokens."""

from collections.abc import Iterator

import numpy as np

from sentiment_batch.model.tokens import TokenIds


def plan_batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers of each batch, longest rows first; rows x longest is at most `batch_tokens`, or one row.

    Longest first, so that memory peaks at the start and not after hours. A batch ends early where the length changes
    if it is at least half full by then: equal lengths need no padding and no mask.
    """
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    first = 0
    while first < len(order):
        room = max(1, batch_tokens // int(ordered[first]))
        last = min(first + room, len(order))
        changes = np.flatnonzero(np.diff(ordered[first:last])) + 1
        enough = changes[changes >= room / 2]
        if last < len(order) and len(enough):
            last = first + int(enough[0])
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
