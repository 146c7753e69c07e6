"""A trial of a job on some of its texts: how fast the model labels them here, and what their rows take on a disk."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from sentiment_batch.dump_sample import Sample
from sentiment_batch.job import Job
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import labelled_chunks
from sentiment_batch.read.chunk import Chunk
from sentiment_batch.worker import Rows
from sentiment_batch.write.part import PartWriter, part_name
from sentiment_batch.write.store import Folder

_FIRST_TEXTS = 16
_PIECES = 8  # of the whole time
_FEWEST, _MOST = 4, 64
_FOOTER_BYTES, _COLUMN_BYTES = 6_000, 200  # of a part: the seal and all else, and each column in each row group


class Piece(NamedTuple):
    """What was labelled, in one go."""

    texts: int
    tokens: int
    seconds: float


def calibrate(labeller: Labeller, texts: list[str], seconds: float, most: int) -> list[Piece]:
    """The pace of the labeller on the texts, piece by piece, for about so many seconds; nothing for no texts.

    The pieces go one behind the other through what `score` has for its chunks, and each is a mix of all texts, which
    are gone through again if they are few. At most `most` texts are labelled together. The first piece, in which
    everything is new, is left out, and so are those before it that find how large one is to be.
    """
    if not texts:
        return []
    texts = random.Random(0).sample(texts, len(texts))  # noqa: S311 - no secret
    size = _piece_size(labeller, texts, seconds, most)
    end = time.perf_counter() + seconds
    found: list[Piece] = []
    column = labeller.text_column
    chunks = _pieces(
        texts, size, column, lambda: len(found) < _MOST and (len(found) < _FEWEST or time.perf_counter() < end)
    )
    before = None
    for labelled in labelled_chunks(chunks, labeller, Rows(lambda _: None), 0):
        now = time.perf_counter()
        tokens = labelled.batch.column(f"{labeller.options.prefix}n_tokens")
        if before is not None:
            found.append(Piece(len(tokens), int(tokens.to_numpy().sum()), now - before))
        before = now
    return found


def _piece_size(labeller: Labeller, texts: list[str], seconds: float, most: int) -> int:
    """How many texts take about an eighth of the time; with small batches a GPU looks slower than it is."""
    size, most = min(_FIRST_TEXTS, len(texts)), min(most, len(texts))
    labeller(_rows(texts[:size], labeller.text_column))
    while True:
        started = time.perf_counter()
        labeller(_rows(texts[:size], labeller.text_column))
        taken = time.perf_counter() - started
        if taken > seconds / _PIECES / 4 or size == most:
            return max(1, min(most, int(size * seconds / _PIECES / max(taken, 1e-6))))
        size = min(most, size * 4)


def _pieces(texts: list[str], size: int, column: str, goes_on: Callable[[], bool]) -> Iterator[Chunk]:
    start = 0
    while goes_on():
        stop = start + size
        piece = texts[start:stop] + texts[: max(0, stop - len(texts))]
        start = stop % len(texts)
        yield Chunk(_rows(piece, column), [])


def _rows(texts: list[str], column: str) -> pa.RecordBatch:
    return pa.record_batch({column: pa.array(texts, pa.string())})


def row_bytes(job: Job, sample: Sample) -> float:
    """What a row takes in a part, its footer left aside: some are written, into the system's temporary folder."""
    rows = sum(batch.num_rows for batch in sample.batches)
    if not rows:
        return 0.0
    with tempfile.TemporaryDirectory(prefix="sentiment-batch-") as folder:
        scratch = Path(folder)
        with PartWriter(Folder(scratch), scratch, part_name(0), job.schema) as part:
            for batch in sample.batches:
                part.write(batch.select(job.schema.names), [])
            return float(part.data_bytes / rows)


def footer_bytes(job: Job, rows: float) -> float:
    """What the footer of a part with so many rows takes, more or less: its seal, and the places of its columns."""
    groups = -(-rows // job.options.chunk_rows)
    return _FOOTER_BYTES + _COLUMN_BYTES * len(job.schema.names) * groups
