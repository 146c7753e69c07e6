"""A job that labels a dump: what to label, with what, and what makes it this job."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import UsageError
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import calibration_of
from sentiment_batch.measure.counts import Counts, count_rows
from sentiment_batch.model.compute import device_kind
from sentiment_batch.read.columns import shown_columns
from sentiment_batch.read.inputs import InputFile
from sentiment_batch.read.plan import Inputs
from sentiment_batch.shard_slice import ShardSlice, slice_of
from sentiment_batch.since import Since
from sentiment_batch.write.claim import Identity

ROW_FORMAT = 6  # goes up when the same job would give other rows or counts: part of every job's identity
# What may differ between two runs of one job: none of it changes a row. The model counts by its digest, its calibration
# by its temperature, the inputs by their content, an earlier output by its manifest.
_NOT_IDENTITY = {
    *("model", "calibrated", "input", "format", "output", "device", "max_reject_rate", "deadline", "overwrite"),
    *("workers", "ray", "shard_slice", "since", "key"),
    *("metrics", "prometheus", "xcom", "progress", "log_format", "log_file", "debug"),
}


@dataclass(frozen=True)
class Job:
    """One job: what to label, with what, and which columns to keep."""

    options: ScoreOptions
    labeller: Labeller
    inputs: Inputs
    columns: tuple[str, ...]  # of the input, in its order, that the output has
    since: Since | None = None  # an earlier output, of which it keeps what it can

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns to read: those that are kept, and those that are only looked at."""
        return tuple(dict.fromkeys((*self.columns, *required_columns(self.options))))

    @property
    def shard_slice(self) -> ShardSlice | None:
        """The part of its shards that this run is to label, if not all of them."""
        return slice_of(self.options.shard_slice) if self.options.shard_slice else None

    @property
    def schema(self) -> pa.Schema:
        """Of the output."""
        kept = pa.schema([self.inputs.schema.field(name) for name in self.columns], self.inputs.schema.metadata)
        return self.labeller.labelled_schema(kept)

    def identity(self) -> Identity:
        """All that can change a row, and nothing else."""
        since = self.since.identity() if self.since else {}
        return identity_of(self.options, self.labeller, since, self.inputs.files)

    def count(self, batch: pa.RecordBatch, unknown: np.ndarray) -> Counts:
        return count_rows(batch, unknown, self.labeller.labels, self.options.prefix, self.options.label_column)


def identity_of(options: ScoreOptions, labeller: Labeller, since: Identity, files: Iterable[InputFile]) -> Identity:
    """The identity of a job, which follows from its files before anything is known of their columns.

    `since` is what is in it of an earlier output, if it keeps rows of one.
    """
    chosen = {name: value for name, value in asdict(options).items() if name not in _NOT_IDENTITY}
    return {
        "row_format": ROW_FORMAT,
        "command": "score",
        "inputs": [file.identity() for file in files],
        "model": labeller.digest,
        "options": {
            **chosen,
            **calibration_of(labeller),
            **since,
            "max_length": labeller.max_length,
            "device": device_kind(options.device),
        },
    }


def required_columns(options: ScoreOptions) -> tuple[str, ...]:
    """The columns that the job looks at, the text first."""
    return (options.text_column, *([options.label_column] if options.label_column else []), *options.key)


def kept_columns(options: ScoreOptions, schema: pa.Schema) -> tuple[str, ...]:
    """The input columns that the output has, in the input's order. Raises `UsageError` for one that is not there."""
    if options.keep_columns == ("all",):
        return tuple(schema.names)
    if options.keep_columns == ("none",):
        return ()
    for name in options.keep_columns:
        if name not in schema.names:
            there = shown_columns(schema.names, sure=bool(options.columns))
            raise UsageError(f"--keep-columns: no column {name!r}; there are: {there}")
    return tuple(name for name in schema.names if name in options.keep_columns)
