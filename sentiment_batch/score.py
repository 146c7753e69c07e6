"""The job that labels a dump: every row of the input once, in order, into sealed parts, then one rename."""

import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass

import pyarrow as pa

from sentiment_batch import MADE_BY
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import InputError, OutputConflict, TooManyRejects, UsageError
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import (
    check_compute,
    compute_of,
    device_kind,
    labelled_chunks,
    model_section,
    open_labeller,
    rejects_in_words,
)
from sentiment_batch.measure.counts import Counts, add, count_rows
from sentiment_batch.measure.doubts import say_doubts
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
from sentiment_batch.read.columns import shown_columns
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks, say_if_empty, shard_sha256
from sentiment_batch.remote import is_url, lies_in
from sentiment_batch.write.claim import CONTROL, JOB_ID, PLAN, Identity, is_claim, turn_of
from sentiment_batch.write.commit import Work, claim, open_store, settle_json
from sentiment_batch.write.manifest import MADE, MARKER, METRICS, manifest, missing, remove_earlier
from sentiment_batch.write.part import REJECTS, Part, PartWriter, Seal, hashed, part_name, read_part
from sentiment_batch.write.store import Store, read_json

ROW_FORMAT = 1  # goes up when the same job would give other rows: part of every job's identity
# What may differ between two runs of one job: none of it changes a row. The model counts by its digest, the inputs by
# their content.
_NOT_IDENTITY = {
    *("model", "input", "format", "output", "device", "max_reject_rate", "overwrite"),
    *("metrics", "progress", "log_format", "debug"),
}

_FOOTERS_AT_ONCE = 8

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

    Raises `UsageError`, `InputError`, `ModelRefused`, `OutputConflict`, `Busy`, `TooManyRejects`, `EnvironmentFailure`
    or `Stopped`, and `OSError` or `MemoryError` of the machine. Whichever it is, this job's output is published whole
    (something failed behind its commit) or not at all; and, unless the error says otherwise, its sealed parts are kept,
    and the same call, when what the error names is mended, goes on behind them.
    """
    clock = Clock()
    _check_output(options)
    labeller = open_labeller(options, options.text_column)
    inputs = open_inputs(options.input, options.format, options.columns, required_columns(options))
    _check_inputs_outside(options.output, inputs)
    job = Job(options, labeller, inputs, kept_columns(options, inputs.schema))
    labeller.check_columns(pa.schema([inputs.schema.field(name) for name in job.needed]))
    claimed = claim(options.output, job.identity(), MARKER, options.overwrite, MADE)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        return {**_published_metrics(open_store(options.output), claimed), "already_done": True}
    try:
        return _label(job, claimed, clock)
    finally:
        claimed.release()


def _label(job: Job, work: Work, clock: Clock) -> Metrics:
    shards = _plan(job, work)
    say_if_empty(job.inputs, shards)
    total = sum(planned.shard.rows for planned in shards)
    parts = _adopted(job, work, shards)
    adopted = [part.seal for part in parts if part]
    if adopted:
        log.info("going on: %d of %d parts were sealed by an earlier run", len(adopted), len(shards))
    load_seconds = job.labeller.load() if len(adopted) < len(shards) else 0.0
    started = time.perf_counter()
    done = sum(seal["rows_in"] for seal in adopted)
    with Progress(total, job.options.progress, done=done) as progress:
        for number, planned in enumerate(shards):
            parts[number] = parts[number] or _sealed(job, work, planned, progress)
            _check_rejects(job, parts, total, work)
        sealed = _settled(job, work, shards, parts, progress)
    performance = performance_section(
        progress.done_here, asdict(job.labeller.effort), time.perf_counter() - started, load_seconds
    )
    sections = _sections(job, [part.seal for part in sealed], performance)
    metrics = document("score", clock, bool(adopted), job_id=work.claim.job_id, **sections)
    metrics["headline"] = headline(metrics)
    metrics = settle_json(work, METRICS, metrics, lambda there: _same_rows(there, metrics))
    say_doubts(metrics)
    head = {"made_by": MADE_BY, **work.claim.content()}
    inputs = [{"path": file.path if is_url(file.path) else os.path.abspath(file.path)} for file in job.inputs.files]
    settle_json(work, MARKER, manifest(work.store, head, sealed, inputs))
    work.publish()
    return metrics


def _same_rows(there: Metrics, ours: Metrics) -> bool:
    """Whether metrics that were found are those of the same parts: all else in them may differ from run to run."""
    plain = json.loads(json.dumps(ours))  # as the others come from their file: lists, not tuples
    return all(there.get(name) == plain.get(name) for name in ("rows", "predictions", "evaluation"))


def _published_metrics(store: Store, manifest: Metrics) -> Metrics:
    """The metrics of a finished output. Raises `OutputConflict` if a file of its manifest is not there as it was.

    A reader of the whole folder would take what else is there for ours: what another job left too late is removed, the
    rest is said.
    """
    sizes, metrics = store.sizes(), read_json(store, METRICS)
    try:
        files = [*manifest["parts"], *(part["rejects"] for part in manifest["parts"] if part["rejects"])]
        gone = [file["name"] for file in [*files, manifest["metrics"]] if sizes.get(file["name"]) != file["bytes"]]
    except (KeyError, TypeError):
        gone = [MARKER]
    if gone or not is_claim(metrics):
        raise OutputConflict(
            f"{store.url} was published, but {(gone or [METRICS])[0]} is not as it was; see what is left with "
            "sentiment-batch verify, then remove the output and run again"
        )
    others = sorted(sizes.keys() - {file["name"] for file in files} - {MARKER, METRICS, *CONTROL})
    for name in remove_earlier(store, others, turn_of(manifest)[1]):
        log.warning("%s/%s is not of the published output: take it away", store.url, name)
    return dict(metrics)


def _settled(
    job: Job, work: Work, shards: list[PlannedShard], parts: list[Part | None], progress: Progress
) -> list[Part]:
    """The parts of all shards, each there and whole; what was lost or spoilt since it was sealed is made again.

    Parts of an earlier run are read through for this, and their input too: it may have been edited in place.
    """
    work.check_held()
    gone = missing(work.store, [part for part in parts if part], work.check_held)
    settled = []
    for planned, part in zip(shards, parts, strict=True):
        assert part, "every shard has its part by now"
        whole: Part | None = None if part.name in gone else part
        if whole and whole.sha256 is None:
            _check_input(job, work, planned, whole, shard_sha256(job.inputs, planned))
            whole = hashed(work.store, whole)
        if whole is None:
            log.warning("%s was lost or damaged after it was sealed: it is made again", part.name)
            whole = _sealed(job, work, planned, progress)
        settled.append(whole)
    return settled


def _check_input(job: Job, work: Work, planned: PlannedShard, part: Part, sha256: str) -> None:
    if sha256 != part.seal["input_sha256"]:
        raise InputError(
            f"{job.inputs.files[planned.file].path} was edited since {part.name} was made from it, though its size and "
            f"time are the same; nothing was published; remove {work.store.url} to begin again"
        )


def _sealed(job: Job, work: Work, planned: PlannedShard, progress: Progress) -> Part:
    """Label a shard; once more only if the disk failed: a new file lies on other blocks of it."""
    work.check_held()
    try:
        return _label_shard(job, work, planned, progress)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        log.warning("shard %d: %s; it is labelled once more", planned.index, error)
    return _label_shard(job, work, planned, progress)


def _label_shard(job: Job, work: Work, planned: PlannedShard, progress: Progress) -> Part:
    """Read, label and seal one shard; dropped as a whole if anything goes wrong in it.

    If another job took the output meanwhile, what comes too late for it is taken back.
    """
    chunks = read_chunks(job.inputs, planned, job.needed, job.options.text_column, job.options.chunk_rows)
    counts: Counts = job.count(job.labeller(_no_rows(job)))
    counts |= {"rows_in": 0, "rejected": 0, "distinct_texts": 0}
    with PartWriter(work.store, work.scratch, part_name(planned.index, work.claim.turn), job.schema) as part:
        for batch, rejects, distinct_texts in labelled_chunks(chunks, job.labeller, progress):
            rows = batch.num_rows + len(rejects)
            part.write(batch.select(job.schema.names), rejects)
            counts = add(counts, job.count(batch))
            counts = add(counts, {"rows_in": rows, "rejected": len(rejects), "distinct_texts": distinct_texts})
        if not counts["rows_in"] == planned.shard.rows == part.rows + len(part.rejects):
            raise AssertionError(
                f"shard {planned.index}: {planned.shard.rows} rows in, {part.rows} out: rows were lost"
            )
        account = {
            "job_id": work.claim.job_id,
            "shard": planned.index,
            "file": planned.file,
            "range": astuple(planned.shard),
            "input_sha256": shard_sha256(job.inputs, planned),
            "compute": compute_of(job.labeller),
            "rows_in": counts["rows_in"],
            "counts": counts,
        }
        try:
            sealed = part.seal(account, work.check_held)
            work.check_held()
        except OutputConflict:
            work.withdraw(part.made)
            raise
    _check_input(job, work, planned, sealed, account["input_sha256"])  # of another run, if that one was first
    check_compute(sealed, job.labeller, work.store.url)
    return sealed


def _check_output(options: ScoreOptions) -> None:
    """An output in an input folder would be an input of the next run."""
    for given in options.input:
        if is_url(given) and lies_in(options.output, given):
            raise UsageError(f"--output {options.output} lies in the input {given}; put it elsewhere")
        if os.path.isdir(given) and lies_in(options.output, given):
            raise UsageError(f"--output {options.output} lies in the input folder {given}; put it elsewhere")


def _check_inputs_outside(output: str, inputs: Inputs) -> None:
    """An input inside the output would be removed with it by --overwrite."""
    for file in inputs.files:
        if lies_in(file.path, output):
            raise UsageError(f"the input {file.path} lies in --output {output}; put the output elsewhere")


def _no_rows(job: Job) -> pa.RecordBatch:
    schema = pa.schema([job.inputs.schema.field(name) for name in job.needed])
    return pa.RecordBatch.from_pylist([], schema=schema)


def _plan(job: Job, work: Work) -> list[PlannedShard]:
    """The job's shards, as an earlier run planned them if there was one: a text file is read through to plan it."""
    there = read_json(work.store, PLAN)
    if not (work.claim.is_of(there) and _is_whole_plan(there)):
        shards = plan(job.inputs, job.options.shard_rows, job.options.shard_bytes, job.options.limit_rows)
        listed = [[planned.file, list(astuple(planned.shard))] for planned in shards]
        made = {JOB_ID: work.claim.job_id, "shards": listed, "sha256": _plan_sha256(listed)}
        there = settle_json(work, PLAN, made, _is_whole_plan)
    return [PlannedShard(index, file, Shard(*shard)) for index, (file, shard) in enumerate(there["shards"])]


def _is_whole_plan(there: Metrics) -> bool:
    """Whether a plan that was found is as it was written: without one of its shards, rows would be missing."""
    return there.get("sha256") == _plan_sha256(there.get("shards"))


def _plan_sha256(shards: object) -> str:
    return hashlib.sha256(json.dumps(shards).encode()).hexdigest()


def _adopted(job: Job, work: Work, shards: list[PlannedShard]) -> list[Part | None]:
    """The part of each shard if an earlier run of this job made it; anything else of its name will be replaced."""
    sizes = work.store.sizes()
    names = [part_name(planned.index, work.claim.turn) for planned in shards]
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:  # each is a request or two where the output is in a bucket
        found = list(pool.map(lambda name: read_part(work.store, name) if name in sizes else None, names))
    for planned, name, part in zip(shards, names, found, strict=True):
        if part is None or not _is_of(work, planned, part.seal, sizes):
            found[planned.index] = None
            if name in sizes:
                log.warning("%s is not a whole part of this job: it is made again", name)
        else:
            check_compute(part, job.labeller, work.store.url)
    return found


def _is_of(work: Work, planned: PlannedShard, seal: Seal, sizes: dict[str, int]) -> bool:
    """Whether the seal is of this shard of this job, and the rejects that it names are there."""
    rejects = seal["rejects"]
    same = seal["job_id"] == work.claim.job_id and seal["range"] == list(astuple(planned.shard))
    return same and (rejects is None or sizes.get(rejects["name"]) == rejects["bytes"])


def _check_rejects(job: Job, parts: Iterable[Part | None], total: int, work: Work) -> None:
    """Stop as soon as it is certain that too many rows have no label for a fault in them."""
    made = [part for part in parts if part]
    rejected = sum(part.seal["rejected"] for part in made)
    nonfinite = sum(part.seal["counts"]["nonfinite"] for part in made)
    if rejected + nonfinite <= job.options.max_reject_rate * total:
        return
    counts = {"are rejected": rejected, "have no finite score": nonfinite}
    bad = " and ".join(f"{count:,} of {total:,} rows {what}" for what, count in counts.items() if count)
    words = rejects_in_words(work.store, made)
    raise TooManyRejects(
        f"{bad}, more than --max-reject-rate {job.options.max_reject_rate:g} allows{words and f': {words}'}; "
        f"{f'see {work.store.url}/{REJECTS}; ' if rejected else ''}nothing was published; "
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
        "predictions": predictions_section(counts, job.labeller.labels),
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
            there = shown_columns(schema.names, sure=bool(options.columns))
            raise UsageError(f"--keep-columns: no column {name!r}; there are: {there}")
    return tuple(name for name in schema.names if name in options.keep_columns)
