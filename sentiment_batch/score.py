"""The job that labels a dump: every row of the input once, in order, into sealed parts, then one rename."""

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import pyarrow as pa

from sentiment_batch import MADE_BY
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import OutputConflict, TooManyRejects, UsageError
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import compute_of, device_kind, labelled_chunks, model_section, open_labeller
from sentiment_batch.measure.counts import Counts, add, count_rows
from sentiment_batch.measure.metrics import (
    Clock,
    Metrics,
    document,
    evaluation_section,
    headline,
    performance_section,
    predictions_section,
    rows_section,
)
from sentiment_batch.measure.progress import Progress
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks, shard_sha256
from sentiment_batch.write.commit import Identity, Work, claim
from sentiment_batch.write.manifest import MARKER, METRICS, write_manifest
from sentiment_batch.write.part import PartWriter, Seal, part_name, read_seal
from sentiment_batch.write.store import read_json, write_json

PLAN = ".plan.json"
ROW_FORMAT = 1  # goes up when the same job would give other rows: part of every job's identity
# What may differ between two runs of one job: none of it changes a row. The model counts by its digest, the inputs by
# their content.
_NOT_IDENTITY = {
    *("model", "input", "format", "output", "device", "max_reject_rate", "overwrite"),
    *("metrics", "progress", "log_format", "debug"),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One job: what to label, with what, and which columns to keep."""

    options: ScoreOptions
    labeller: Labeller
    inputs: Inputs
    columns: tuple[str, ...]  # of the input, in its order, that the output has

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns to read: those that are kept, and those that are only looked at."""
        return tuple(dict.fromkeys((*self.columns, *required_columns(self.options))))

    @property
    def schema(self) -> pa.Schema:
        """Of the output."""
        kept = pa.schema([self.inputs.schema.field(name) for name in self.columns], self.inputs.schema.metadata)
        return self.labeller.labelled_schema(kept)

    def identity(self) -> Identity:
        """All that can change a row, and nothing else."""
        chosen = {name: value for name, value in asdict(self.options).items() if name not in _NOT_IDENTITY}
        return {
            "row_format": ROW_FORMAT,
            "command": "score",
            "inputs": [file.identity() for file in self.inputs.files],
            "model": self.labeller.folder.digest,
            "options": {**chosen, "max_length": self.labeller.max_length, "device": device_kind(self.options.device)},
        }

    def count(self, batch: pa.RecordBatch) -> Counts:
        return count_rows(batch, self.labeller.labels, self.options.prefix, self.options.label_column)


def score(options: ScoreOptions) -> Metrics:
    """Label the inputs into `options.output` and return the metrics; those of the finished job if it was done before.

    Raises `InputError`, `ModelRefused`, `OutputConflict`, `Busy`, `TooManyRejects`, `EnvironmentFailure` or `Stopped`;
    whichever it is, nothing was published, and the same call again goes on behind the last sealed part.
    """
    clock = Clock()
    _check_output(options)
    labeller = open_labeller(options, options.text_column)
    inputs = open_inputs(options.input, options.format, options.columns, required_columns(options))
    job = Job(options, labeller, inputs, kept_columns(options, inputs.schema))
    labeller.check_columns(pa.schema([inputs.schema.field(name) for name in job.needed]))
    claimed = claim(options.output, job.identity(), MARKER, options.overwrite)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        return {**(read_json(Path(options.output) / METRICS) or {}), "already_done": True}
    try:
        return _label(job, claimed, clock)
    finally:
        claimed.release()


def _label(job: Job, work: Work, clock: Clock) -> Metrics:
    shards = _plan(job, work)
    total = sum(planned.shard.rows for planned in shards)
    seals = [_adopted(job, work, planned) for planned in shards]
    adopted = [seal for seal in seals if seal]
    if adopted:
        log.info("going on: %d of %d parts were sealed by an earlier run", len(adopted), len(shards))
    load_seconds = job.labeller.load() if len(adopted) < len(shards) else 0.0
    started = time.perf_counter()
    done = sum(seal["rows_in"] for seal in adopted)
    with Progress(total, job.options.progress, done=done) as progress:
        for number, planned in enumerate(shards):
            seals[number] = seals[number] or _label_shard(job, work, planned, progress)
            _check_rejects(job, seals, total, work)
    sealed = [seal for seal in seals if seal]
    performance = performance_section(
        progress.done_here, asdict(job.labeller.effort), time.perf_counter() - started, load_seconds
    )
    metrics = document("score", clock, bool(adopted), job_id=work.job_id, **_sections(job, sealed, performance))
    metrics["headline"] = headline(metrics)
    write_json(work.folder / METRICS, metrics)
    write_manifest(work.folder, MADE_BY, work.job_id, job.identity(), sealed)
    work.publish()
    return metrics


def _label_shard(job: Job, work: Work, planned: PlannedShard, progress: Progress) -> Seal:
    """Read, label and seal one shard; dropped as a whole if anything goes wrong in it."""
    chunks = read_chunks(job.inputs, planned, job.needed, job.options.text_column, job.options.chunk_rows)
    counts: Counts = job.count(job.labeller(_no_rows(job)))
    counts |= {"rows_in": 0, "rejected": 0, "distinct_texts": 0}
    with PartWriter(work.folder, work.scratch, part_name(planned.index), job.schema) as part:
        for batch, rejects, distinct_texts in labelled_chunks(chunks, job.labeller, progress):
            rows = batch.num_rows + len(rejects)
            part.write(batch.select(job.schema.names), rejects)
            counts = add(counts, job.count(batch))
            counts = add(counts, {"rows_in": rows, "rejected": len(rejects), "distinct_texts": distinct_texts})
        if not counts["rows_in"] == planned.shard.rows == part.rows + len(part.rejects):
            raise AssertionError(
                f"shard {planned.index}: {planned.shard.rows} rows in, {part.rows} out: rows were lost"
            )
        return part.seal(
            {
                "job_id": work.job_id,
                "shard": planned.index,
                "file": planned.file,
                "range": astuple(planned.shard),
                "input_sha256": shard_sha256(job.inputs, planned),
                "compute": compute_of(job.labeller),
                "rows_in": counts["rows_in"],
                "counts": counts,
            }
        )


def _check_output(options: ScoreOptions) -> None:
    """An output inside an input folder would be an input of the next run."""
    output = os.path.realpath(options.output)
    for given in options.input:
        if os.path.isdir(given) and os.path.commonpath([output, os.path.realpath(given)]) == os.path.realpath(given):
            raise UsageError(f"--output {options.output} lies in the input folder {given}; put it elsewhere")


def _no_rows(job: Job) -> pa.RecordBatch:
    schema = pa.schema([job.inputs.schema.field(name) for name in job.needed])
    return pa.RecordBatch.from_pylist([], schema=schema)


def _plan(job: Job, work: Work) -> list[PlannedShard]:
    """The job's shards, as an earlier run planned them if there was one: a text file is read through to plan it."""
    rows = read_json(work.folder / PLAN)
    if rows is not None:
        return [PlannedShard(index, file, Shard(*shard)) for index, (file, shard) in enumerate(rows)]
    shards = plan(job.inputs, job.options.shard_rows, job.options.shard_bytes, job.options.limit_rows)
    write_json(work.folder / PLAN, [(planned.file, astuple(planned.shard)) for planned in shards])
    return shards


def _adopted(job: Job, work: Work, planned: PlannedShard) -> Seal | None:
    """The seal of the shard's part if an earlier run of this job made it; anything else of that name goes."""
    path = work.folder / part_name(planned.index)
    if not path.exists():
        return None
    seal = read_seal(path)
    if seal is None or not _is_of(work, planned, seal):
        log.warning("%s is not a whole part of this job: it is made again", path.name)
        path.unlink()
        return None
    compute = compute_of(job.labeller)
    if seal["compute"] != compute:
        theirs, ours = (" ".join(map(str, each.values())) for each in (seal["compute"], compute))
        raise OutputConflict(
            f"{path} was made with {theirs}, this run would go on with {ours}, and an output has one: "
            f"go on where it was begun, or remove {work.folder} to begin again"
        )
    return seal


def _is_of(work: Work, planned: PlannedShard, seal: Seal) -> bool:
    """Whether the seal is of this shard of this job, and the rejects that it names are there."""
    rejects = seal["rejects"]
    same = seal["job_id"] == work.job_id and seal["range"] == list(astuple(planned.shard))
    return same and (rejects is None or (work.folder / rejects["name"]).is_file())


def _check_rejects(job: Job, seals: Iterable[Seal | None], total: int, work: Work) -> None:
    """Stop as soon as it is certain that too many rows have no label for a fault in them."""
    bad = sum(seal["rejected"] + seal["counts"]["nonfinite"] for seal in seals if seal)
    if bad > job.options.max_reject_rate * total:
        raise TooManyRejects(
            f"{bad} of {total} rows are rejected or have no finite score, more than --max-reject-rate "
            f"{job.options.max_reject_rate:g} allows; see {work.folder / '_rejects'}; nothing was published; "
            "raise the limit, or mend the input or the command and run it with --overwrite"
        )


def _sections(job: Job, seals: list[Seal], performance: Metrics) -> Metrics:
    """The metrics of the whole job, as the sum of its seals."""
    counts: Counts = {}
    rows = [0] * len(job.inputs.files)
    for seal in seals:
        counts = add(counts, seal["counts"])
        rows[seal["file"]] += seal["rows_in"]
    sections: Metrics = {
        "model": model_section(job.labeller),
        "input": job.inputs.section(rows),
        "rows": rows_section(counts),
        "predictions": predictions_section(counts),
        "performance": performance,
    }
    if "confusion" in counts:
        sections["evaluation"] = {
            **evaluation_section(counts["confusion"], job.labeller.labels),
            "rows_without_known_label": counts["unknown_labels"],
        }
    return sections


def required_columns(options: ScoreOptions) -> tuple[str, ...]:
    """The columns that the job looks at, the text first."""
    return (options.text_column, *([options.label_column] if options.label_column else []))


def kept_columns(options: ScoreOptions, schema: pa.Schema) -> tuple[str, ...]:
    """The input columns that the output has, in the input's order. Raises `UsageError` for one that is not there."""
    if options.keep_columns == ("all",):
        return tuple(schema.names)
    if options.keep_columns == ("none",):
        return ()
    for name in options.keep_columns:
        if name not in schema.names:
            raise UsageError(f"--keep-columns: no column {name!r}; there are: {', '.join(map(repr, schema.names))}")
    return tuple(name for name in schema.names if name in options.keep_columns)
