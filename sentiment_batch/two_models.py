"""Two models and the data that both are to label -> its rows, with what each says of them."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch.config import CompareOptions, ComputeOptions
from sentiment_batch.errors import ModelRefused
from sentiment_batch.finished import row_numbers
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import CHUNK_ROWS, compute_of, labelled_in_turn, model_section
from sentiment_batch.measure.changes import NEW, OLD, ROW, TEXT, TRUE
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.progress import Tally
from sentiment_batch.read.chunk import Chunk
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks, rows_of, shard_sha256
from sentiment_batch.write.claim import Identity


@dataclass(frozen=True)
class TwoModels:
    """What is to be labelled, and by whom."""

    options: CompareOptions
    old: Labeller
    new: Labeller
    inputs: Inputs

    @cached_property
    def shards(self) -> list[PlannedShard]:
        """A text file is read through for them: not before the output is known to be this job's."""
        return plan(self.inputs, CHUNK_ROWS, 2**30, self.options.limit_rows)

    @property
    def labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.old.labels, self.new.labels

    @property
    def rows(self) -> int:
        return rows_of(self.shards)

    def identity(self) -> Identity:
        sides = {"old": self.old, "new": self.new}
        temperatures = {side: labeller.temperature for side, labeller in sides.items()}
        return {
            "inputs": [file.identity() for file in self.inputs.files],
            **{side: labeller.digest for side, labeller in sides.items()},
            "max_lengths": {side: labeller.max_length for side, labeller in sides.items()},
            **({"temperatures": temperatures} if self.options.calibrated else {}),
        }

    def account(self) -> dict[str, Any]:
        """What of the run must be the same for all that is made by it."""
        return {
            "input_sha256": [shard_sha256(self.inputs, planned) for planned in self.shards],
            "compute": {"old": compute_of(self.old), "new": compute_of(self.new)},
        }

    def load(self, meanwhile: Callable[[], object]) -> float:
        return self.old.load(meanwhile) + self.new.load()

    def effort(self) -> dict[str, int]:
        old, new = asdict(self.old.effort), asdict(self.new.effort)
        return {name: old[name] + new[name] for name in old}

    def true_labels(self) -> Iterator[pa.Array]:
        """The column of the true labels, piece by piece."""
        return (chunk.batch.column(TRUE) for chunk in self._chunks())

    def pairs(self, progress: Tally) -> Iterator[pa.RecordBatch]:
        """The rows, labelled by both as `score` labels them. Raises `ModelRefused` for a score that is no number."""
        chunks, labellers = self._chunks(), (self.old, self.new)
        for chunk in labelled_in_turn(chunks, labellers, progress, self.options.cache_rows):
            self._check_finite(chunk.batch)
            yield chunk.batch

    def sections(self) -> Metrics:
        sides = {"old": self.old, "new": self.new}
        found = {side: {"kind": "model", **model_section(labeller)} for side, labeller in sides.items()}
        return {**found, "input": self.inputs.section(self.inputs.rows_of(self.shards))}

    def _chunks(self) -> Iterator[Chunk]:
        """The text, the true label if there is one, and the number of each row that can be read."""
        options, first = self.options, 0
        columns = _columns(options)
        names = [TEXT, *([TRUE] if options.label_column else []), ROW]
        for planned in self.shards:
            in_file = planned.shard.first_row
            for chunk in read_chunks(self.inputs, planned, columns, options.text_column, CHUNK_ROWS):
                gaps = np.array([reject["row"] - in_file for reject in chunk.rejects], np.int64)
                rows = pa.array(row_numbers(first, 0, chunk.batch.num_rows, gaps))
                yield Chunk(pa.RecordBatch.from_arrays([*chunk.batch.columns, rows], names), chunk.rejects)
                first += chunk.rows
                in_file += chunk.rows

    def _check_finite(self, batch: pa.RecordBatch) -> None:
        for prefix, labeller in ((OLD, self.old), (NEW, self.new)):
            if "nonfinite_score" in batch.column(f"{prefix}status").unique().to_pylist():
                raise ModelRefused(
                    f"{labeller.folder.path} gives no finite score for some of the rows; the figures of the others "
                    "would flatter it; give --dtype float32, or train it again"
                )


def open_models(options: CompareOptions) -> TwoModels:
    """Raises `ModelRefused` for a folder that is no whole model, and `InputError` for data that cannot be read."""
    old, new = (_labeller(options, path, prefix) for path, prefix in ((options.old, OLD), (options.new, NEW)))
    inputs = open_inputs(options.data, options.format, options.columns, _columns(options))
    for labeller in (old, new):
        labeller.check_columns(pa.schema([(TEXT, pa.string())]))
    return TwoModels(options, old, new, inputs)


def _columns(options: CompareOptions) -> tuple[str, ...]:
    return (options.text_column, *([options.label_column] if options.label_column else []))


def _labeller(options: CompareOptions, path: str, prefix: str) -> Labeller:
    chosen = {each.name: getattr(options, each.name) for each in fields(ComputeOptions)}
    return Labeller(path, text_column=TEXT, prefix=prefix, **chosen)
