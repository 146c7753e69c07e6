"""`score --since`: what an earlier output says of the rows that are in it with the same key and the same text.

What the model says of a text follows from the text, but for the last bits of a probability, which follow from the batch
that it was in. So what is kept is what a run over all rows would give, under the same model, computed in the same way.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch.ahead import ahead
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import InputError
from sentiment_batch.finished import Finished, open_finished
from sentiment_batch.known import Known, Rows, build
from sentiment_batch.labelling import compute_in_words
from sentiment_batch.logs import shown
from sentiment_batch.measure.counts import Counts, positions
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.model.cache import Kept, said_type
from sentiment_batch.pair_hashes import kind_of, pair_hashes
from sentiment_batch.read.columns import shown_columns
from sentiment_batch.write.claim import Identity
from sentiment_batch.write.part import read_part

log = logging.getLogger(__name__)


class NoOutput(InputError):
    """What --since names is no finished output, or is none any more."""


@dataclass(frozen=True)
class Since:
    """An earlier output of which a job keeps what it can. Pickles, for the workers of the job."""

    output: Finished
    key: tuple[str, ...]
    text_column: str  # of the job; the output has its own
    why_not: str | None = None  # nothing of it can be kept
    known: Known | None = None  # once it is made, if anything can

    def identity(self) -> dict[str, Any]:
        """What of a job's identity says of which output it keeps what: the last bits of its rows follow from that."""
        return identity_with(self.output.sha256, self.key)

    def has_index(self) -> bool:
        """Whether its index is within reach, or none is needed."""
        return self.why_not is not None or (self.known is not None and self.known.folder.is_dir())

    def why_not_in_words(self) -> str:
        """What somebody should know if nothing can be kept."""
        return f"--since {self.output.path}: {self.why_not}; nothing of it is kept, and all rows are scored"

    def kept(self, batch: pa.RecordBatch) -> Kept:
        """What the output says of rows of the batch. The index must be there."""
        assert self.known, "something can be kept"
        rows, hashes = pair_hashes([batch.column(name) for name in self.key], batch.column(self.text_column))
        places, said = self.known.find(hashes)
        return Kept(rows[places], said)

    def section(self, counts: Counts) -> Metrics:
        """The `since` of the metrics JSON."""
        kept = counts["rows_kept"]
        return {
            "path": self.output.path,
            "job_id": self.output.job_id,
            "key": list(self.key),
            "rows_kept": kept,
            "rows_scored": counts["scored"] + counts["nonfinite"] - kept,
            **({"why_none_kept": self.why_not} if self.why_not else {}),
        }


def identity_with(sha256: str, key: tuple[str, ...]) -> dict[str, Any]:
    """`Since.identity` of an output whose manifest has this hash."""
    return {"since": sha256, "key": list(key)}


def check_key(key: tuple[str, ...], schema: pa.Schema) -> None:
    """Raise `InputError` for a column of the inputs, which have this schema, that is none to tell rows by."""
    for name in key:
        if kind_of(schema.field(name).type) is None:
            raise InputError(f"--key: the column {shown(name)!r} holds {schema.field(name).type}, not single values")


def open_since(options: ScoreOptions) -> Since | None:
    """The earlier output of the options, if they name one.

    Raises `NoOutput` if it is not a finished output of `score`, and `InputError` if it lacks a column that rows are
    told by.
    """
    if options.since is None:
        return None
    path = options.since
    output = open_finished(path)
    if output is None or output.command != "score":
        raise NoOutput(f"--since {path} is not a finished output of `score`; give one, or leave --since out this once")
    there = output.schema().names
    for name in (*options.key, output.text_column):
        if name not in there:
            raise InputError(
                f"--since {path} has no column {shown(name)!r}, by which its rows are told; there are: "
                f"{shown_columns(there, sure=True)}; label once without --since, and let --keep-columns have it"
            )
    return Since(output, options.key, options.text_column)


def ready(
    since: Since, identity: Identity, labels: tuple[str, ...], compute: dict[str, Any], schema: pa.Schema
) -> Since:
    """It knows whether something of the output can be kept by a job of this identity, labels, compute, and columns.

    If nothing can, all rows are scored: a new model must not stop a job that runs by itself.
    """
    return replace(since, why_not=next(_differences(since, identity, labels, compute, schema), None))


def _differences(
    since: Since, identity: Identity, labels: tuple[str, ...], compute: dict[str, Any], schema: pa.Schema
) -> Iterator[str]:
    """What says that the job would give other labels than the output has, or that no key of it can be one of these."""
    output = since.output
    if output.identity.get("row_format") != identity["row_format"]:
        yield "another version of the program made it"
    part = read_part(output.store, output.parts[0]["name"])
    made = part.seal.get("compute") if part else None
    if made != compute:
        words = (shown(compute_in_words(each)) if isinstance(each, dict) else "none" for each in (made, compute))
        yield f"it was computed with {' there, '.join(words)} here"
    if output.identity.get("model") != identity["model"]:
        theirs, ours = (str(each.get("model")) for each in (output.identity, identity))
        yield f"it is of another model ({shown(theirs):.16} there, {ours:.16} here)"
    if output.labels != labels:
        yield "its labels are others"
    for name in ("max_length", "calibrated"):
        there, here = (each["options"].get(name) for each in (output.identity, identity))
        if there != here:
            words = (shown(str(each)) if each is not None else "none" for each in (there, here))
            yield f"--{name.replace('_', '-')} {' there, '.join(words)} here"
    theirs = output.schema()
    for name in since.key:
        if kind_of(theirs.field(name).type) != kind_of(schema.field(name).type):
            kinds = (str(each.field(name).type) for each in (theirs, schema))
            yield f"the key {shown(name)!r} holds {' there, '.join(kinds)} here"


def with_index(since: Since, scratch: Path) -> Since:
    """It has its index, made in the scratch folder if it is not there yet: where it was made before, it may be out of
    reach.
    """
    if since.has_index():
        return since
    output, started = since.output, time.perf_counter()
    counts = output.rows()
    rows = counts["rows_in"] - counts["rejected"]
    log.info("--since %s: reading its %s rows", output.path, f"{rows:,}")
    known = build(Path(tempfile.mkdtemp(prefix="since-", dir=scratch)), _rows(since), rows, len(output.labels))
    size = sum(file.stat().st_size for file in os.scandir(known.folder))
    seconds = time.perf_counter() - started
    log.info("--since %s: read in %.1f s; its index takes %d MB", output.path, seconds, size // 10**6)
    return replace(since, known=known)


def _rows(since: Since) -> Iterator[Rows]:
    """The rows of the output that have a label."""
    output = since.output
    predicted, _, *probabilities = output.added()
    columns = list(dict.fromkeys([*since.key, output.text_column, predicted, *probabilities]))
    with closing(ahead(output.batches(columns))) as batches:
        for _, batch in batches:
            rows, hashes = pair_hashes([batch.column(name) for name in since.key], batch.column(output.text_column))
            said = np.empty(batch.num_rows, said_type(len(output.labels)))
            said["label"] = positions(batch.column(predicted), output.labels)
            for place, name in enumerate(probabilities):
                said["probabilities"][:, place] = batch.column(name).to_numpy(zero_copy_only=False)
            labelled = said["label"][rows] >= 0
            yield Rows(hashes[labelled], said[rows[labelled]])
