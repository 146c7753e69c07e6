"""Texts -> token ids, by the `tokenizers` library alone: importing transformers for it would cost seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from sentiment_batch import stop
from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.folder import TOKENIZER
from sentiment_batch.model.inspection import read_again

_CHARACTERS_PER_TOKEN = 64
_TEXTS_AT_ONCE = 1024
# Words that no vocabulary has, one that is too long for many, and characters of one to four bytes.
_TRIED = ("", "a", "\U0010ffff", "a" * 1_000, "\u00e9\u5473 \ue000!", "qzx" * 9, "\r\n\x00 \u0301")


@dataclass(frozen=True)
class TokenIds:
    """The token ids of n texts, one behind the other, unpadded."""

    flat: np.ndarray  # int32 [sum of lengths]
    starts: np.ndarray  # int64 [n]: where each text begins in `flat`
    lengths: np.ndarray  # int32 [n]: tokens of each text, special ones included
    truncated: np.ndarray  # bool [n]


def chosen(tokens: TokenIds, which: np.ndarray) -> TokenIds:
    """Those of some of the texts: bool [n]."""
    if which.all():
        return tokens
    lengths = tokens.lengths[which]
    flat, starts = tokens.flat[np.repeat(which, tokens.lengths)], np.cumsum(lengths, dtype=np.int64) - lengths
    return TokenIds(flat, starts, lengths, tokens.truncated[which])


def load_tokenizer(folder: str, vocab_size: int, sha256: str | None = None) -> Tokenizer:
    """The folder's tokenizer with its own cutting and padding off: both are ours.

    Raises `ModelRefused` if it cannot be read, is not the file of that hash, makes ids that the model's embeddings do
    not have, or fails on a text.
    """
    path = Path(folder) / TOKENIZER
    try:
        tokenizer = Tokenizer.from_buffer(read_again(path, sha256))
    except (KeyboardInterrupt, SystemExit, ModelRefused):
        raise
    except BaseException as error:  # the library raises plain Exception, and panics are not even that
        raise ModelRefused(f"{path} cannot be read: {' '.join(str(error).split()):.200}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    check_ids(tokenizer, vocab_size, folder)
    return tokenizer


def check_ids(tokenizer: Tokenizer, vocab_size: int, where: str) -> None:
    """Raise `ModelRefused` if the tokenizer makes ids that the model's embeddings do not have, or fails on a text."""
    tried = [each for encoding in _encode(tokenizer, list(_TRIED), special=True) for each in encoding.ids]
    largest = max(*tokenizer.get_vocab(with_added_tokens=True).values(), *tried, -1)
    if largest >= vocab_size:
        raise ModelRefused(
            f"{where}: {TOKENIZER} makes ids up to {largest}, the model knows {vocab_size}: they are not of one model"
        )


def _encode(tokenizer: Tokenizer, texts: list[str], *, special: bool) -> list[Any]:
    """What the library makes of the texts. Any text is one, so that a failure is the tokenizer's."""
    try:
        return list(tokenizer.encode_batch_fast(texts, add_special_tokens=special))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # its message may hold the text
        raise ModelRefused(
            f"{TOKENIZER} fails on a text ({type(error).__name__}); save the tokenizer again, with its unknown token"
        ) from None


def tokenise(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> TokenIds:
    """The ids of every text with the special tokens around it, at most `max_length` of them.

    A longer text is cut at its end, inside the special tokens, as transformers does. Characters beyond 64 for each
    token are not even looked at: some tokenizers take quadratic time on a megabyte without a space. Not safe in two
    threads at once.
    """
    before, after = _special_tokens(tokenizer)
    room = max_length - len(before) - len(after)
    if room < 0:
        raise ModelRefused(f"{TOKENIZER} puts more special tokens around a text than the {max_length} that it may have")
    limit = max_length * _CHARACTERS_PER_TOKEN
    characters = np.fromiter(map(len, texts), np.int64, len(texts))
    found = np.zeros(len(texts), np.int32)
    pieces = [np.zeros(0, np.int32)]  # arrays, because a list of Python numbers takes nine times the memory
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        stop.check()
        encodings = _encode(tokenizer, [text[:limit] for text in texts[first : first + _TEXTS_AT_ONCE]], special=False)
        found[first : first + len(encodings)] = [len(each) for each in encodings]
        rows = (each.ids if len(each) <= room else each.ids[:room] for each in encodings)
        pieces.append(np.fromiter(chain.from_iterable(rows), np.int32))
    lengths = np.minimum(found, room).astype(np.int32) + np.int32(len(before) + len(after))
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    flat = _between(before, np.concatenate(pieces), after, starts, lengths)
    return TokenIds(flat, starts, lengths, (found > room) | (characters > limit))


def count_token(tokens: TokenIds, token_id: int | None) -> np.ndarray:
    """int32 [n]: how often each text has the token; 0 for no token."""
    if token_id is None:
        return np.zeros(len(tokens.lengths), np.int32)
    before = np.append(0, np.cumsum(tokens.flat == token_id))
    counts: np.ndarray = (before[tokens.starts + tokens.lengths] - before[tokens.starts]).astype(np.int32)
    return counts


def _between(
    before: list[int], ids: np.ndarray, after: list[int], starts: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """The ids of all texts with the special ones around each of them: int32 [sum of lengths]."""
    flat = np.empty(int(lengths.sum()), np.int32)
    special = np.zeros(len(flat), bool)
    for place, token in enumerate(before):
        flat[starts + place], special[starts + place] = token, True
    for place, token in enumerate(reversed(after), 1):
        flat[starts + lengths - place], special[starts + lengths - place] = token, True
    flat[~special] = ids
    return flat


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a single text."""
    bare, full = _bare_and_full(tokenizer, "a")
    if not bare:
        for text in sorted(tokenizer.get_vocab())[:_TEXTS_AT_ONCE]:
            bare, full = _bare_and_full(tokenizer, text)
            if bare:
                break
    if len(full) == len(bare):
        raise ModelRefused(f"{TOKENIZER} puts no special tokens around a text; it is not that of an encoder")
    for first in range(len(full) - len(bare) + 1):
        if full[first : first + len(bare)] == bare:
            return full[:first], full[first + len(bare) :]
    raise ModelRefused(f"{TOKENIZER} changes a text when it adds special tokens; that is not supported")


def _bare_and_full(tokenizer: Tokenizer, text: str) -> tuple[list[int], list[int]]:
    bare, full = (_encode(tokenizer, [text], special=special)[0].ids for special in (False, True))
    return bare, full
