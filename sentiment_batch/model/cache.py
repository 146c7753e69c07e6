"""Texts that come again -> the answers that the model gave before, so that it is asked once."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import compress
from typing import NamedTuple

import numpy as np

_HASH_BYTES = 32  # nobody finds two texts of one hash


class Places(NamedTuple):
    """Where a cache has what it knows of the distinct texts of a chunk."""

    known: np.ndarray  # bool [texts]: answered in an earlier chunk
    rows: np.ndarray  # int64 [texts]: where the answer is kept, or will be; -1 if it will not


class Kept(NamedTuple):
    """What an earlier output says of rows of a batch."""

    rows: np.ndarray  # int64: which of the rows
    said: np.ndarray  # of each of them, as `said_type` has it


class Cache:
    """The answers to the texts of earlier chunks: to as many as `size`, those that were seen last.

    `places` decides chunk by chunk, by the texts and their order alone, what is known and what is forgotten. It may run
    ahead, in a thread of its own, of `answers`, which is asked for the same chunks in the same order. There is no lock,
    for neither touches what the other one does: a row that `places` gave to another text has the answer to the old one
    until `answers` comes to the chunk of the new one. A text is kept as its hash, so a long one takes no more memory.
    """

    def __init__(self, size: int, labels: int):
        self._rows: OrderedDict[bytes, int] = OrderedDict()  # by the hash of the text; the one seen last is the last
        self._kept = np.zeros(size, _answer(labels))

    def places(self, texts: Sequence[str]) -> Places:
        """The places of the distinct texts of the next chunk."""
        size, rows = len(self._kept), np.full(len(texts), -1)
        if not size:
            return Places(rows >= 0, rows)
        keys = [blake2b(text.encode(), digest_size=_HASH_BYTES).digest() for text in texts]
        rows = np.fromiter((self._rows.get(key, -1) for key in keys), np.int64, len(keys))
        known = rows >= 0
        for key in compress(keys, known):
            self._rows.move_to_end(key)
        for number in np.flatnonzero(~known).tolist():
            row = len(self._rows) if len(self._rows) < size else self._rows.popitem(last=False)[1]
            self._rows[keys[number]] = rows[number] = row
        return Places(known, rows)

    def answers(self, places: Places, fresh: np.ndarray) -> np.ndarray:
        """The answers to all texts of the next chunk; `fresh` are those to the texts that were not known, in order."""
        known, rows = places
        answers = np.empty(len(known), self._kept.dtype)
        answers[known] = self._kept[rows[known]]
        answers[~known] = fresh
        new = ~known & (rows >= 0)
        self._kept[rows[new]] = answers[new]  # of a row that went from text to text in this chunk the last is kept
        return answers


def answers_of(said: np.ndarray, lengths: np.ndarray, unknown: np.ndarray, truncated: np.ndarray) -> np.ndarray:
    """What the model said of each text, and what it saw of it, as one array."""
    answers = np.empty(len(said), _answer(said["probabilities"].shape[1]))
    answers["said"], answers["length"], answers["unknown"], answers["truncated"] = said, lengths, unknown, truncated
    return answers


def said_type(labels: int) -> np.dtype[np.void]:
    """What the model says of a text: the number of its label, or -1 if a score is no number, and all probabilities."""
    return np.dtype([("label", np.int32), ("probabilities", np.float32, (labels,))])


def _answer(labels: int) -> np.dtype[np.void]:
    seen = [("length", np.int32), ("unknown", np.int32), ("truncated", np.bool_)]
    return np.dtype([("said", said_type(labels)), *seen])
