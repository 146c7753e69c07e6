"""Labelled texts -> the dumps that every way labels: distinct texts, and the same with duplicates."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.read.plan import open_inputs, plan, read_chunks

_CHUNK_ROWS = 10_000
_SEED = 1


def read_texts(path: str, columns: tuple[str, ...], text_column: str) -> list[str]:
    """The distinct texts of a TSV, CSV or Parquet that are not blank, shuffled, each time alike."""
    inputs = open_inputs((path,), "auto", columns, (text_column,))
    found: dict[str, None] = {}
    for shard in plan(inputs, 2**40, 2**60):
        for chunk in read_chunks(inputs, shard, (text_column,), text_column, _CHUNK_ROWS):
            texts = chunk.batch.column(0).cast(pa.string()).to_pylist()
            found.update(dict.fromkeys(text for text in texts if text and text.strip()))
    return random.Random(_SEED).sample(list(found), len(found))


def with_duplicates(texts: list[str], share: float) -> list[str]:
    """As many texts, of which so large a share repeat the text of another row, anywhere."""
    repeats = round(len(texts) * share)
    chance = random.Random(_SEED)
    kept = texts[: len(texts) - repeats]
    found = kept + chance.choices(kept, k=repeats)
    chance.shuffle(found)
    return found


def write_dump(texts: list[str], path: Path) -> None:
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, compression="zstd")


def write_long_dump(texts: list[str], rows: int, path: Path) -> None:
    """So many rows, all distinct and of the texts' lengths throughout: the texts in turn, each behind its number."""
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, rows, _CHUNK_ROWS):
            numbers = range(first, min(first + _CHUNK_ROWS, rows))
            numbered = [f"{number} {texts[number % len(texts)]}" for number in numbers]
            writer.write_table(pa.table({"id": numbers, "text": numbered}, schema))
