"""The job that says what a job would be: rows, tokens, shards, disk and time, from samples. It leaves nothing."""

import gc
import logging
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from sentiment_batch.config import PlanOptions
from sentiment_batch.deadline import deadline_of
from sentiment_batch.dump_sample import Sample, draw_sample, texts_to_label
from sentiment_batch.job import Job
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import compute_of, model_section, open_labeller
from sentiment_batch.measure.estimate import Estimate, exactly, of_pieces, ratio
from sentiment_batch.measure.forecast import Section, calibration_section, disk_section, rows_section, time_section
from sentiment_batch.measure.forecast_doubts import doubts_of
from sentiment_batch.measure.metrics import Clock, Metrics, document, peak_rss_bytes
from sentiment_batch.model.compute import worker_computes
from sentiment_batch.read.plan import Inputs, PlannedShard, plan, rows_of
from sentiment_batch.remote import is_url
from sentiment_batch.score import job_of, open_job
from sentiment_batch.shard_slice import ShardSlice
from sentiment_batch.since import open_since, ready
from sentiment_batch.trial import calibrate, footer_bytes, row_bytes

_READ_BYTES, _PACKED = 64 * 2**20, 8  # of text that is read through in seconds, where a compressed byte counts as eight

log = logging.getLogger(__name__)


def forecast(options: PlanOptions) -> Metrics:
    """What `score` would do with the same options: a metrics JSON with the section `plan`.

    Of a slice, how long it takes by itself; the rest is of the whole job. Nothing is written but a part of sample rows,
    into the system's temporary folder, and taken away; of the output only the free disk is looked at. Two of the same
    files say the same, but for the time that things take.

    Raises what `score` raises for options, inputs and models that cannot be, and `InputError` for a file that is
    damaged where it is looked into.
    """
    clock, deadline = Clock(), deadline_of(options.deadline)
    seen = _look(options, _opened(options))
    labeller, shards = seen.labeller, seen.shards
    gc.collect()  # files and shards by the thousand, and the rows that were looked through; what comes now is the model
    pa.default_memory_pool().release_unused()
    load_seconds = labeller.load()
    log.info("calibrating for %g s", options.seconds)
    pieces = calibrate(labeller, seen.texts, options.seconds, options.chunk_rows)
    pace = of_pieces([piece.tokens for piece in pieces], [piece.seconds for piece in pieces]) if pieces else None
    devices = _devices(options, labeller, shards.get("slice", shards)["count"])
    time = time_section(
        seen.rows_here, seen.share, seen.tokens, pace, load_seconds, devices, options.shard_slice is None
    )
    in_time = {} if deadline.seconds is None else {"in_time": time["seconds"] <= deadline.seconds}
    texts, seconds = sum(piece.texts for piece in pieces), sum(piece.seconds for piece in pieces)
    found: Section = {
        "rows": seen.input,
        "sample": seen.sample,
        "shards": {**shards, "seconds_largest": _seconds_of(shards["rows_largest"], time, devices)},
        "compute": {"batch_tokens": labeller.classifier.batch_tokens, "at_once": devices},
        "calibration": calibration_section(texts, seconds, len(pieces), pace, seen.share, load_seconds),
        "time": {**time, **in_time},
        "disk": disk_section(seen.rows, seen.row_bytes, shards, seen.footer_bytes, _free_bytes(options.output)),
        "peak_rss_bytes": peak_rss_bytes(),
    }
    found["warnings"] = [*doubts_of(found, options.max_reject_rate), *seen.left_out]
    return document("plan", clock, model=model_section(labeller), plan=found, headline=_headline(found))


def _opened(options: PlanOptions) -> Job:
    """The job, looked at as `score` does; without an output it is nobody's."""
    if options.output is not None:
        return open_job(options, resumes=False)
    labeller = open_labeller(options, options.text_column)
    return job_of(replace(options, output="."), labeller, open_since(options))


def _left_out(options: PlanOptions, job: Job) -> Iterator[str]:
    """What else decides how long it takes, and cannot be seen from here, in words."""
    if job.since:
        compute = compute_of(job.labeller)
        since = ready(job.since, job.identity(), job.labeller.labels, compute, job.inputs.schema)
        most = (
            f"--since {since.output.path}: the time is that of scoring all rows; those that are kept take next to none"
        )
        yield since.why_not_in_words() if since.why_not else most
    if options.ray is not None:
        yield "--ray: the time is that of one worker like this host; N of them take about an Nth of it"


@dataclass(frozen=True)
class _Seen:
    """What is known of the inputs, of whatever size, before the model is loaded."""

    labeller: Labeller
    rows: Estimate
    rows_here: Estimate  # those of the slice, if it is one
    share: Estimate  # of the rows, that the model is asked for
    tokens: Estimate  # of a text
    texts: list[str]
    row_bytes: float
    footer_bytes: float
    input: Section
    sample: Section
    shards: Section
    left_out: list[str]


def _look(options: PlanOptions, job: Job) -> _Seen:
    inputs = job.inputs
    shards = _planned(options, inputs)
    sample = draw_sample(job, shards)
    rows = _rows(inputs, sample) if shards is None else exactly(rows_of(shards))
    of_shards = _shards_section(options, inputs, shards, rows)
    here, of_slice = _of_slice(job.shard_slice, shards, rows, of_shards["count"])
    return _Seen(
        job.labeller,
        rows,
        here,
        _share_to_label(job, shards, rows),
        sample.tokens_of_texts(),
        sample.texts.to_pylist(),
        row_bytes(job, sample),
        footer_bytes(job, of_shards["rows_mean"]),
        rows_section([(file.size, bool(file.compression)) for file in inputs.files], rows, shards is not None),
        sample.section(options.prefix),
        {**of_shards, **of_slice},
        list(_left_out(options, job)),
    )


def _of_slice(
    mine: ShardSlice | None, shards: list[PlannedShard] | None, rows: Estimate, count: int
) -> tuple[Estimate, Section]:
    """(the rows that this run is to label, what is said of its slice) of a job of so many shards."""
    if mine is None:
        return rows, {}
    taken = len(mine.taken(list(range(count))))
    here = exactly(rows_of(mine.taken(shards))) if shards else rows.times(exactly(taken / count))
    return here, {"slice": {"index": mine.index, "of": mine.of, "count": taken, "rows": round(here.value)}}


def _planned(options: PlanOptions, inputs: Inputs) -> list[PlannedShard] | None:
    """The shards, if that takes seconds or is asked for: text is read to its end for it, or to `--limit-rows`."""
    size = sum(file.size * (_PACKED if file.compression else 1) for file in inputs.files)
    soon = inputs.files[0].format == "parquet" or size <= _READ_BYTES or options.limit_rows is not None
    if not (soon or options.exact):
        return None
    return plan(inputs, options.shard_rows, options.shard_bytes, options.limit_rows)


def _rows(inputs: Inputs, sample: Sample) -> Estimate:
    """How many rows text files have, by how many there are in the bytes that were looked at."""
    total = exactly(0.0)
    for packed in (False, True):
        size = sum(
            file.size - (0 if packed else start)
            for file, (_, start) in zip(inputs.files, inputs.headers, strict=True)
            if bool(file.compression) == packed
        )
        counted = [each for each in sample.excerpts if each.packed == packed and each.bytes]
        if size and counted:
            of_byte = ratio([each.rows for each in counted], [each.bytes for each in counted])
            total = Estimate(*(one + size * end for one, end in zip(total, of_byte, strict=True)))
    return total


def _shards_section(options: PlanOptions, inputs: Inputs, shards: list[PlannedShard] | None, rows: Estimate) -> Section:
    """How many parts there will be, and how large they are."""
    size = sum(file.size for file in inputs.files)
    if shards is not None:
        count, largest = len(shards), max(planned.shard.rows for planned in shards)
    else:
        of_byte = rows.value / max(1, size)
        counts = [
            1
            if file.compression
            else max(1, math.ceil(max(file.size / options.shard_bytes, file.size * of_byte / options.shard_rows)))
            for file in inputs.files
        ]
        count = sum(counts)
        largest = round(max(file.size * of_byte / number for file, number in zip(inputs.files, counts, strict=True)))
    return {
        "count": count,
        "exact": shards is not None,
        "rows_mean": round(rows.value / count, 1),
        "rows_largest": largest,
        "bytes_mean": round(size / count),
    }


def _devices(options: PlanOptions, labeller: Labeller, shards: int) -> int:
    """How many shards are labelled at once here, each on a device of its own. Workers on a CPU share its cores."""
    if options.ray is not None:
        return 1
    workers = worker_computes(labeller.compute, options.workers, shards)
    return 1 if labeller.compute.device_kind == "cpu" else len(workers)


def _share_to_label(job: Job, shards: list[PlannedShard] | None, rows: Estimate) -> Estimate:
    """The share of the rows whose text the model is asked for: the others have none, or one that came before."""
    size = sum(file.size for file in job.inputs.files)
    found = [run for run in texts_to_label(job, shards, size / max(1.0, rows.value)) if run[1]]
    if not found:
        return exactly(0.0)
    shares = [texts / count for texts, count in found]
    return Estimate(sum(texts for texts, _ in found) / sum(count for _, count in found), min(shares), max(shares))


def _seconds_of(rows: int, time: Section, devices: int) -> float | None:
    """How long a device has a shard."""
    return round(rows * devices / time["rows_per_second"], 1) if time["rows_per_second"] else None


def _free_bytes(output: str | None) -> int | None:
    """The room on the disk of the output, which need not be there yet; None for a bucket, or without an output."""
    if output is None or is_url(output):
        return None
    folder = os.path.abspath(output)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def _headline(found: Section) -> Metrics:
    return {
        "plan_rows": found["rows"]["rows"],
        "plan_shards": found["shards"]["count"],
        "plan_seconds": found["time"]["seconds"],
        "plan_output_bytes": found["disk"]["output_bytes"],
    }
