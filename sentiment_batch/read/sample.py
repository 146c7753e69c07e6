"""Files -> some of their texts, to calibrate by."""

import random

from sentiment_batch.config import ReadOptions
from sentiment_batch.errors import InputError
from sentiment_batch.read.plan import open_inputs, plan, read_chunks
from sentiment_batch.read.texts import as_strings

_ROWS = 131_072  # that are looked at: of a larger file its beginning
_CHUNK_ROWS = 32_768


def sample_texts(paths: tuple[str, ...], how: ReadOptions, count: int) -> list[str]:
    """So many different texts of the first 131,072 rows, by chance, and always the same ones; all if there are fewer.

    Rows that cannot be read and blank texts are passed over. Raises `InputError` if no text is left.
    """
    inputs = open_inputs(paths, how.format, how.columns, (how.text_column,))
    found: dict[str, None] = {}
    for planned in plan(inputs, _CHUNK_ROWS, 2**30, min(how.limit_rows or _ROWS, _ROWS)):
        for chunk in read_chunks(inputs, planned, (how.text_column,), how.text_column, _CHUNK_ROWS):
            texts = as_strings(chunk.batch.column(how.text_column)).to_pylist()
            found.update(dict.fromkeys(text for text in texts if text and text.strip()))
    if not found:
        raise InputError(f"{', '.join(paths)}: no rows with a text")
    texts = list(found)
    return random.Random(0).sample(texts, min(count, len(texts)))  # noqa: S311 - no secret
