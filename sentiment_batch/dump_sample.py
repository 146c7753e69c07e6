"""Rows from all over a dump, with what the model would see of them: how long they are, how many come again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentiment_batch.job import Job
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import open_labeller
from sentiment_batch.measure.estimate import Estimate, ratio
from sentiment_batch.measure.forecast import sample_section
from sentiment_batch.model.cache import Cache
from sentiment_batch.model.classifier import Classifier
from sentiment_batch.read.excerpts import Excerpt, excerpts, whole
from sentiment_batch.read.parquet import joined
from sentiment_batch.read.places import places
from sentiment_batch.read.plan import PlannedShard, read_chunks, rows_of
from sentiment_batch.read.texts import as_strings

_PLACES, _ROWS, _BYTES = 64, 256, 64 * 1024  # that are looked at, with so many rows, or bytes of text, from each
_RUNS, _RUN_ROWS, _RUN_BYTES = 4, 131_072, 64 * 2**20  # long stretches, to see how many texts come again


@dataclass(frozen=True)
class Sample:
    """Rows with their labels, which are guesses: all else about them is as `score` would write it."""

    batches: list[pa.RecordBatch]  # one, but for dictionaries that cannot be made one
    excerpts: list[Excerpt]
    tokens: np.ndarray  # int32 [rows]: 0 for a row without a text
    unknown: np.ndarray  # int32 [rows]
    firsts: np.ndarray  # int64: the rows in which a text comes for the first time
    drawn: bool  # by chance; else it is all there is

    @property
    def texts(self) -> pa.Array:
        """Every text of the sample once, without the blank ones."""
        texts = [as_strings(batch.column(0)) for batch in self.batches]
        return pa.chunked_array(texts, pa.string()).take(pa.array(self.firsts)).combine_chunks()

    def tokens_of_texts(self) -> Estimate:
        """How many tokens a text has that is to be labelled."""
        once = np.zeros(len(self.tokens), bool)
        once[self.firsts] = True
        return self._mean(np.where(once, self.tokens, 0), once)

    def section(self, prefix: str) -> dict[str, Any]:
        """What is told of it."""
        labelled = self.tokens > 0
        status = Counter(name for batch in self.batches for name in batch.column(f"{prefix}status").to_pylist())
        truncated = sum(pc.sum(batch.column(f"{prefix}truncated")).as_py() or 0 for batch in self.batches)
        rejected = sum(len(each.chunk.rejects) for each in self.excerpts)
        counts = {
            **{"rows": len(self.tokens) + rejected, "labelled": int(labelled.sum()), "rejected": rejected},
            **{"empty": status["empty_text"], "null": status["null_text"], "truncated": truncated},
            **{"distinct": len(self.firsts), "unknown_tokens": int(self.unknown.sum())},
        }
        return sample_section(counts, self.tokens[labelled], self._mean(self.tokens, labelled), not self.drawn)

    def _mean(self, values: np.ndarray, of: np.ndarray) -> Estimate:
        """The mean of the values over some rows; each excerpt is a cluster of them."""
        ends = list(accumulate((each.chunk.batch.num_rows for each in self.excerpts), initial=0))
        sums = [
            (float(values[start:stop][of[start:stop]].sum()), int(of[start:stop].sum()))
            for start, stop in pairwise(ends)
        ]
        return ratio([total for total, _ in sums], [count for _, count in sums], self.drawn)


def draw_sample(job: Job, shards: Sequence[PlannedShard] | None) -> Sample:
    """A sample of the job's rows, always the same one: all of them if they are few."""
    columns = tuple(dict.fromkeys((job.options.text_column, *job.needed)))
    total = rows_of(shards) if shards is not None else None
    drawn = total is None or total > _PLACES * _ROWS
    if drawn:
        found = list(excerpts(job.inputs, shards, columns, _PLACES, (_ROWS, _BYTES)))
    else:
        found = list(whole(job.inputs, shards or (), columns, _ROWS))
    guessing = _guessing(job)
    labelled = [
        guessing.label_and_count(guessing.prepare(chunk.batch)) for chunk in joined([each.chunk for each in found])
    ]
    batches = [batch for batch, _ in labelled]
    none = np.zeros(0, np.int32)
    tokens = np.concatenate([none, *(_numbers(batch.column(f"{job.options.prefix}n_tokens")) for batch in batches)])
    unknown = np.concatenate([none, *(counts for _, counts in labelled)])
    return Sample(batches, found, tokens, unknown, _firsts(batches, tokens), drawn)


def texts_to_label(job: Job, shards: Sequence[PlannedShard] | None, bytes_of_row: float) -> list[tuple[int, int]]:
    """Of some shards, or long stretches, (the texts that are labelled, the rows): the others come again."""
    return [_count(job, run) for run in _runs(job, shards, bytes_of_row)]


def _runs(job: Job, shards: Sequence[PlannedShard] | None, bytes_of_row: float) -> Iterator[Iterator[pa.Array]]:
    """The texts of each stretch, chunk by chunk."""
    options = job.options
    columns, most = (options.text_column,), min(options.shard_rows, _RUN_ROWS)
    if shards is None:
        size = int(min(options.shard_bytes, _RUN_BYTES, most * bytes_of_row))
        for each in excerpts(job.inputs, None, columns, _RUNS, (most, size)):
            texts = each.chunk.batch.column(0)
            yield (texts.slice(start, options.chunk_rows) for start in range(0, len(texts), options.chunk_rows))
        return
    for number in sorted({place.piece for place in places([planned.shard.rows for planned in shards], _RUNS)}):
        chunks = read_chunks(job.inputs, shards[number], columns, options.text_column, options.chunk_rows)
        at_most = -(-most // options.chunk_rows)
        yield (chunk.batch.column(0) for chunk in islice(chunks, at_most))


def _count(job: Job, run: Iterator[pa.Array]) -> tuple[int, int]:
    """What `Labeller.prepare` would find in the run."""
    cache = Cache(job.options.cache_rows, len(job.labeller.labels))
    labelled = rows = 0
    for column in run:
        texts = [text for text in pc.unique(as_strings(column)).to_pylist() if text and text.strip()]
        labelled += len(texts) - int(cache.places(texts).known.sum())
        rows += len(column)
    return labelled, rows


def _guessing(job: Job) -> Labeller:
    """A labeller whose model takes no time: its labels are by chance, and always the same ones."""
    labeller = open_labeller(job.options, job.options.text_column)
    labeller.tokenizer = job.labeller.tokenizer  # one is enough for two labellers that take turns
    chance, labels = np.random.default_rng(0), len(labeller.labels)

    def guess(ids: np.ndarray, _: np.ndarray | None) -> np.ndarray:
        return chance.normal(0, 3, (len(ids), labels)).astype(np.float32)

    labeller.classifier = Classifier(guess, labels, 2**20, labeller.folder.pad_token_id)
    return labeller


def _firsts(batches: list[pa.RecordBatch], tokens: np.ndarray) -> np.ndarray:
    seen: set[str] = set()
    found = []
    row = 0
    for batch in batches:
        for text in as_strings(batch.column(0)).to_pylist():
            if tokens[row] and text not in seen:
                seen.add(text)
                found.append(row)
            row += 1
    return np.array(found, np.int64)


def _numbers(column: pa.Array) -> np.ndarray:
    found: np.ndarray = column.to_numpy(zero_copy_only=False)
    return found
