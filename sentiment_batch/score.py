"""The job that labels a dump: every row of the input once, in order, into sealed parts, then one rename."""

import json
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sentiment_batch import MADE_BY
from sentiment_batch.config import RAY_HERE, ScoreOptions
from sentiment_batch.deadline import Deadline, deadline_of
from sentiment_batch.errors import AccessRefused, DeadlineReached, OutputConflict, UsageError
from sentiment_batch.job import Job, identity_of, kept_columns, required_columns
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import (
    check_alike,
    check_compute,
    compute_of,
    model_section,
    open_labeller,
)
from sentiment_batch.measure.counts import Counts, add
from sentiment_batch.measure.doubts import say_doubts
from sentiment_batch.measure.evaluation import quality_section
from sentiment_batch.measure.metrics import (
    Clock,
    Metrics,
    document,
    headline,
    performance_section,
    predictions_section,
    rows_section,
)
from sentiment_batch.measure.profile import profile_section
from sentiment_batch.measure.progress import Progress
from sentiment_batch.read.inputs import find_inputs
from sentiment_batch.read.plan import Inputs, PlannedShard, Recall, nothing_noted, open_inputs, rows_of, say_if_empty
from sentiment_batch.reject_limit import RejectLimit
from sentiment_batch.remote import is_url, lies_in, real_paths
from sentiment_batch.report import prepare_page, settle_report
from sentiment_batch.shards import (
    adopted_parts,
    no_counts,
    noted_by_earlier_run,
    planned_shards,
    ready_job,
    settled_parts,
)
from sentiment_batch.since import NoOutput, Since, check_key, identity_with, open_since
from sentiment_batch.sliced import agree_on_job, gathered_parts, say_end, slice_section
from sentiment_batch.workers import Crew, open_crew
from sentiment_batch.write.claim import CLAIM, CONTROL, How, is_claim, job_id, turn_of
from sentiment_batch.write.commit import Work, claim, open_store, settle_json
from sentiment_batch.write.manifest import MADE, MARKER, METRICS, REPORT, manifest, remove_earlier
from sentiment_batch.write.part import Part, Seal
from sentiment_batch.write.store import Store, read_json

if TYPE_CHECKING:
    from sentiment_batch.ray_workers import RayCrew

_COUNTED = ("rows", "predictions", "profile", "evaluation")  # the sections that follow from the seals

log = logging.getLogger(__name__)


def score(options: ScoreOptions) -> Metrics:
    """Label the inputs into `options.output` and return the metrics; those of the finished job if it was done before.

    Of a slice they are those of its own parts, unless it or another one has published the job.
    Raises `UsageError`, `InputError`, `ModelRefused`, `OutputConflict`, `Busy`, `TooManyRejects`, `EnvironmentFailure`,
    `DeadlineReached` or `Stopped`, and `OSError` or `MemoryError` of the machine. Whichever it is, this job's output is
    published whole (something failed behind its commit) or not at all; and, unless the error says otherwise, its sealed
    parts are kept, and the same call, when what the error names is mended, goes on behind them.
    """
    clock, deadline = Clock(), deadline_of(options.deadline)
    try:
        job = open_job(options)
    except NoOutput:
        if (done := _done_since(options)) is None:
            raise
        return done_already(options, done)
    how: How = "slice" if job.shard_slice else "whole"
    claimed = claim(options.output, job.identity(), MARKER, options.overwrite, MADE, how)
    if isinstance(claimed, dict):
        return done_already(options, claimed)
    try:
        return _label(job, claimed, clock, deadline)
    finally:
        claimed.release()


def open_job(options: ScoreOptions, resumes: bool = True) -> Job:
    """The job of the options: its model and its inputs were looked at, and nothing was done.

    The output is not, unless what an earlier run knew of the inputs is to be taken from there.
    """
    _check_output(options)
    labeller = open_labeller(options, options.text_column)
    since = open_since(options)
    recall = partial(noted_by_earlier_run, options, labeller, since) if resumes else nothing_noted
    job = job_of(options, labeller, since, recall)
    _check_inputs_outside(options.output, job.inputs)
    return job


def job_of(options: ScoreOptions, labeller: Labeller, since: Since | None, recall: Recall = nothing_noted) -> Job:
    """The job of a model that is open, wherever its output is to go. `recall` is that of `open_inputs`."""
    inputs = open_inputs(options.input, options.format, options.columns, required_columns(options), recall)
    check_key(options.key, inputs.schema)
    job = Job(options, labeller, inputs, kept_columns(options, inputs.schema), since)
    labeller.check_columns(pa.schema([inputs.schema.field(name) for name in job.needed]))
    return job


def done_already(options: ScoreOptions, manifest: Metrics) -> Metrics:
    """The metrics of an output that is published. Raises `OutputConflict` if it is not as it was."""
    metrics = published_metrics(open_store(options.output), manifest)
    log.info("done already: %s", options.output)
    return {**metrics, "already_done": True, **slice_section(options, len(manifest["parts"]))}


def _done_since(options: ScoreOptions) -> Metrics | None:
    """The manifest of the output, if the job made it when its earlier output was there, which may go then.

    That this was the one that is not there any more nobody can tell.
    """
    store = open_store(options.output)
    there, claimed = read_json(store, MARKER), read_json(store, CLAIM)
    if not is_claim(there) or (is_claim(claimed) and turn_of(claimed) != turn_of(there)):
        return None
    chosen = there["identity"].get("options") if isinstance(there.get("identity"), dict) else None
    if not isinstance(chosen, dict) or "since" not in chosen or os.path.lexists(options.since or ""):
        return None
    labeller = open_labeller(options, options.text_column)
    since, files = identity_with(chosen["since"], options.key), find_inputs(options.input, options.format)
    identity = identity_of(options, labeller, since, files)
    return dict(there) if turn_of(there)[0] == job_id(identity) else None


def _label(job: Job, work: Work, clock: Clock, deadline: Deadline) -> Metrics:
    shards = planned_shards(job, work)
    say_if_empty(job.inputs, shards)
    mine = job.shard_slice.taken(shards) if job.shard_slice else shards
    parts: list[Part | None] = [None] * len(shards)
    for planned, part in zip(mine, adopted_parts(work, mine), strict=True):
        parts[planned.index] = part
    adopted = [part for part in parts if part]
    left = [planned for planned in mine if parts[planned.index] is None]
    if adopted:
        log.info("going on: %d of %d parts were sealed by an earlier run", len(adopted), len(mine))
    done, rows = sum(part.seal["rows_in"] for part in adopted), rows_of(mine)
    limit = RejectLimit(job.options.max_reject_rate, rows_of(shards), work.store)
    with open_crew(job, work, len(left), partial(_agreed, job, work, adopted), prepare_page) as crew:
        job, started = crew.job, time.perf_counter()
        with Progress(rows, job.options.progress, done=done) as progress:
            limit.add(*adopted)
            has_time = deadline.has_time(lambda: progress.done_here, crew.at_once)
            for part in crew.sealed(left, progress, has_time):
                parts[part.seal["shard"]] = part
                limit.add(part)
            _check_deadline(job, work, [parts[planned.index] for planned in mine])
            there, gathered = gathered_parts(work, shards, parts) if job.shard_slice else (len(shards), parts)
            sealed = [part for part in parts if part]
            if gathered:
                limit.add(*(part for part, ours in zip(gathered, parts, strict=True) if part and not ours))
                again = partial(_made_again, crew, sealed or gathered, progress)
                sealed = settled_parts(job, work, shards, gathered, again)
    seconds, effort = time.perf_counter() - started, asdict(job.labeller.effort)
    performance = performance_section(
        progress.done_here, effort, seconds, crew.load_seconds, of_workers=crew.peak_rss_bytes
    )
    metrics = account(job, work, clock, sealed, performance, bool(adopted))
    if gathered:
        return {**commit(job, work, metrics, sealed), **slice_section(job.options, len(shards))}
    return _end_of_slice(job, work, metrics, len(shards), there)


def _end_of_slice(job: Job, work: Work, metrics: Metrics, parts: int, there: int) -> Metrics:
    """The metrics of a slice that is not the one which commits; so many of the job's parts are there by now."""
    if there == parts and (finished := work.published()) is not None:
        return done_already(job.options, finished)
    section = slice_section(job.options, parts, there)
    say_end(section, work)
    return {**metrics, **section}


def _agreed(job: Job, work: Work, made: list[Part], compute: dict[str, Any] | None) -> Job:
    """The job, all parts of which are made with this compute; with None no more of them are made.

    Where all is made, whatever made it, it may be published anywhere. Raises `OutputConflict` for parts that were made
    with another compute.
    """
    if compute is None:
        check_alike(made, work.store.url)
        return ready_job(job, work, made[0].seal["compute"] if made else compute_of(job.labeller), indexed=False)
    for part in made:
        check_compute(part, compute, work.store.url)
    if job.shard_slice:
        agree_on_job(job, work, compute)
    for_all = job.options.ray in (None, RAY_HERE) or not is_url(job.options.output)  # else each worker makes its own
    return ready_job(job, work, compute, indexed=for_all)


def _made_again(
    crew: "Crew | RayCrew", parts: Iterable[Part | None], progress: Progress, planned: PlannedShard
) -> Part:
    """A part that was lost; not by a machine of another kind than made the others."""
    for part in islice(filter(None, parts), 1):
        check_compute(part, crew.compute, crew.work.store.url)
    return crew.again(planned, progress)


def account(job: Job, work: Work, clock: Clock, sealed: list[Part], performance: Metrics, resumed: bool) -> Metrics:
    """The metrics JSON of the parts."""
    sections = _sections(job, [part.seal for part in sealed], performance)
    metrics = document("score", clock, resumed, job_id=work.claim.job_id, **sections)
    return {**metrics, "headline": headline(metrics)}


def commit(job: Job, work: Work, metrics: Metrics, sealed: list[Part]) -> Metrics:
    """Publish the parts, which are all of the job's and whole; the metrics of the output."""
    metrics = settle_json(work, METRICS, metrics, lambda there: _same_rows(there, metrics))
    say_doubts(metrics)
    settle_report(work, REPORT, metrics)
    head = {"made_by": MADE_BY, **work.claim.content()}
    inputs = [{"path": file.path if is_url(file.path) else os.path.abspath(file.path)} for file in job.inputs.files]
    made = manifest(work.store, head, sealed, inputs)
    work.check_held()  # parts were read through since it was looked at
    settle_json(work, MARKER, made)
    work.publish()
    return metrics


def _check_deadline(job: Job, work: Work, parts: list[Part | None]) -> None:
    """Raise if there was no time for some of the parts."""
    if lacking := sum(part is None for part in parts):
        of = f" of slice {job.shard_slice}" if job.shard_slice else ""
        raise DeadlineReached(
            f"stopped for --deadline {job.options.deadline}: {len(parts) - lacking:,} of {len(parts):,} parts{of} are "
            f"in {work.store.url}, and nothing is published; run the same command to go on"
        )


def _same_rows(there: Metrics, ours: Metrics) -> bool:
    """Whether metrics that were found are those of the same parts: all else in them may differ from run to run."""
    plain = json.loads(json.dumps(ours))  # as the others come from their file: lists, not tuples
    return all(_counted(there, name) == _counted(plain, name) for name in _COUNTED)


def _counted(metrics: Metrics, section: str) -> Metrics:
    """What of a section follows from counts alone: intervals are drawn, perhaps by another NumPy."""
    return {name: value for name, value in metrics.get(section, {}).items() if name != "intervals"}


def published_metrics(store: Store, manifest: Metrics) -> Metrics:
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
    report = {REPORT} if manifest.get("report") else set()
    others = sorted(sizes.keys() - {file["name"] for file in files} - {MARKER, METRICS, *report, *CONTROL})
    with suppress(AccessRefused):  # who may only read is told of it by verify
        others = remove_earlier(store, others, turn_of(manifest)[1])
    for name in others:
        log.warning("%s/%s is not of the published output: take it away", store.url, name)
    return dict(metrics)


def _check_output(options: ScoreOptions) -> None:
    """An output in an input folder would be an input of the next run; one in an earlier output would be of that."""
    since = options.since
    if since is not None and (lies_in(options.output, since) or lies_in(since, options.output)):
        raise UsageError(f"--since {since} and --output {options.output}: neither can lie in the other")
    for given in options.input:
        if is_url(given) and lies_in(options.output, given):
            raise UsageError(f"--output {options.output} lies in the input {given}; put it elsewhere")
        if os.path.isdir(given) and lies_in(options.output, given):
            raise UsageError(f"--output {options.output} lies in the input folder {given}; put it elsewhere")


def _check_inputs_outside(output: str, inputs: Inputs) -> None:
    """An input inside the output would be removed with it by --overwrite."""
    folder = (output if is_url(output) else os.path.realpath(output)).rstrip("/")
    for file, path in zip(inputs.files, real_paths(file.path for file in inputs.files), strict=True):
        if f"{path}/".startswith(f"{folder}/"):
            raise UsageError(f"the input {file.path} lies in --output {output}; put the output elsewhere")


def _sections(job: Job, seals: list[Seal], performance: Metrics) -> Metrics:
    """The metrics of the whole job, as the sum of its seals."""
    counts: Counts = {} if seals else no_counts(job)
    rows = [0] * len(job.inputs.files)
    for seal in seals:
        counts = add(counts, seal["counts"])
        rows[seal["file"]] += seal["rows_in"]
    predictions = predictions_section(counts, job.labeller.labels)
    sections: Metrics = {
        "model": model_section(job.labeller, seals[0]["compute"] if seals else None),
        "input": job.inputs.section(rows),
        "rows": rows_section(counts),
        "predictions": predictions,
        "profile": profile_section(counts["profile"], predictions["counts"]),
        "performance": performance,
    }
    if job.since:
        sections["since"] = job.since.section(counts)
    if "confusion" in counts:
        sections["evaluation"] = {
            **quality_section(counts, job.labeller.labels, job.labeller.temperature),
            "rows_without_known_label": counts["unknown_labels"],
        }
    return sections
