"""SentencePiece's table of characters, which a tokenizer.json has as `precompiled_charsmap`.

A table is the size of a trie, the trie, and the strings that its leaves point into, each ended by a 0. The trie is a
double array as Darts-clone writes it (github.com/s-yata/darts-clone), which the `tokenizers` library follows without
looking where it leads: out of the array is a panic at the first text that goes there.
"""

import base64
import binascii
import unicodedata

import numpy as np

_BYTES = 2**21  # SentencePiece's own tables have 0.2 MB
_KEY = 64  # bytes
_GROWTH = 3  # characters that any one may become; more if Unicode's own compatibility forms are longer
_AT_ONCE = 1_024
_LETTERS = np.arange(1, 256, dtype=np.uint32)


def check_charsmap(encoded: str) -> None:
    """Raise `ValueError` unless every key of the table leads to a text that is hardly longer than the key's own NFKD.

    That is what the tables of SentencePiece (NFKC, with or without case folding) are, and it bounds what a text of
    any characters can become.
    """
    try:
        table = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("is no base64") from None
    size = int.from_bytes(table[:4], "little")
    if not 4 <= size <= len(table) - 4 or size % 4 or len(table) > _BYTES:
        raise ValueError(f"is no table, or larger than {_BYTES >> 20} MiB")
    trie = np.frombuffer(table, "<u4", size // 4, 4)
    strings = table[4 + size :]
    seen = 0
    pending = [(_offset(trie[:1])[0], b"")]
    while pending:
        some, pending = pending[-_AT_ONCE:], pending[:-_AT_ONCE]
        seen += len(some)
        nodes = np.array([node for node, _ in some], np.uint32)
        if seen > len(trie) or len(some[-1][1]) > _KEY or (nodes | 255).max() >= len(trie):
            raise ValueError("is damaged: its trie leads nowhere")
        places = nodes[:, None] ^ _LETTERS
        rows, columns = np.nonzero((trie[places] & 0x800000FF) == _LETTERS)
        reached = places[rows, columns]
        below = reached ^ _offset(trie[reached])
        is_leaf = trie[reached] >> 8 & 1 == 1
        for row, column, node, leaf in zip(
            rows.tolist(), columns.tolist(), below.tolist(), is_leaf.tolist(), strict=True
        ):
            key = some[row][1] + bytes((column + 1,))
            if leaf:
                if node >= len(trie):
                    raise ValueError("is damaged: its trie leads nowhere")
                _check_pair(key, strings, int(trie[node]) & 0x7FFFFFFF)
            pending.append((node, key))


def _offset(units: np.ndarray) -> np.ndarray:
    return (units >> 10) << ((units & (1 << 9)) >> 6)


def _check_pair(key: bytes, strings: bytes, start: int) -> None:
    end = strings.find(0, start)
    if start > len(strings):
        raise ValueError("is damaged: a key leads out of its strings")
    try:
        before = unicodedata.normalize("NFKD", key.decode())
        after = unicodedata.normalize("NFKD", strings[start : end if end >= 0 else len(strings)].decode())
    except UnicodeDecodeError:
        raise ValueError("is damaged: it holds what is no UTF-8") from None
    if len(after) > max(_GROWTH, len(before)):
        raise ValueError(f"makes {len(after)} characters of {len(key.decode())}")
