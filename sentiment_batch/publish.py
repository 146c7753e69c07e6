"""The command that publishes what the slices of a job have labelled, if none of them could."""

import logging
import os
import re
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

from sentiment_batch.config import PublishOptions
from sentiment_batch.errors import InputError
from sentiment_batch.job import Job
from sentiment_batch.job_file import read_job_file
from sentiment_batch.labelling import check_alike
from sentiment_batch.measure.metrics import Clock, Metrics, performance_section
from sentiment_batch.published import read_manifest
from sentiment_batch.read.objects import first_few
from sentiment_batch.read.plan import PlannedShard, rows_of
from sentiment_batch.reject_limit import RejectLimit
from sentiment_batch.remote import is_url
from sentiment_batch.score import account, commit, done_already, open_job, published_metrics
from sentiment_batch.shards import adopted_parts, planned_shards, ready_job, settled_parts
from sentiment_batch.write.claim import CLAIM, LOCK, is_claim
from sentiment_batch.write.commit import Work, claim, open_store, work_store
from sentiment_batch.write.manifest import MADE, MARKER
from sentiment_batch.write.part import Part
from sentiment_batch.write.store import Folder, Store, read_json

log = logging.getLogger(__name__)


def publish(options: PublishOptions) -> Metrics:
    """Commit the job whose slices have left all its parts there, and return its metrics; those of a finished output.

    The options are those that the slices left (job_file.py). Nothing is labelled; model and inputs are looked at as
    `score` does, unless a rename is all that is left to do. Raises as `score`: `InputError` for parts that are missing
    or damaged, `Busy` while slices are at work.
    """
    clock = Clock()
    _check_no_work_folder(options.output)
    place = work_store(options.output)
    begun = read_job_file(place, options.output)
    replaces = options.overwrite or (begun is not None and begun.options.overwrite)
    unrenamed = _unrenamed(place, options.output)
    if begun is None or unrenamed:
        return _finished(options.output, place, unrenamed, replaces)
    rate = begun.options.max_reject_rate if options.max_reject_rate is None else options.max_reject_rate
    job = open_job(replace(begun.options, progress=options.progress, max_reject_rate=rate, overwrite=replaces))
    claimed = claim(options.output, job.identity(), MARKER, job.options.overwrite, MADE, "publish")
    if isinstance(claimed, dict):
        return done_already(job.options, claimed)
    try:
        return _commit(job, claimed, begun.slices, clock)
    finally:
        claimed.release()


def _check_no_work_folder(output: str) -> None:
    """Raise `InputError` for the folder in which the work on an output lies: messages name it."""
    folder, name = os.path.split(os.path.normpath(output))
    found = None if is_url(output) else re.fullmatch(r"\.(.+)\.wip", name)
    if found and os.path.exists(os.path.join(output, LOCK)):
        given = os.path.join(folder, found[1])
        raise InputError(f"{output}: nothing to publish: it is where the work on an output lies; give {given}")


def _is_beside(place: Store, output: str) -> bool:
    """Whether the work lies beside the output, and a rename shows it."""
    return isinstance(place, Folder) and place.path != Path(os.path.abspath(output))


def _unrenamed(place: Store, output: str) -> Metrics | None:
    """The manifest of work that is done but for the rename. A finished folder without a lock was just replaced."""
    if not _is_beside(place, output) or place.version(LOCK) is None:
        return None
    try:
        return read_manifest(place)
    except InputError:
        return None


def _finished(output: str, place: Store, manifest: Metrics | None, overwrite: bool) -> Metrics:
    """The metrics of an output that needs no more than a rename, if that. Raises `InputError` if there is none."""
    store = open_store(output)
    if manifest is None:
        unfinished = _is_beside(place, output) and is_claim(read_json(place, CLAIM))
        there = is_url(output) or os.path.isdir(output)
        if not there or unfinished or store.version(MARKER) is None:
            raise _nothing(output, begun=unfinished or is_claim(read_json(store, CLAIM)))
        manifest = read_manifest(store)
    claim(output, manifest["identity"], MARKER, overwrite, MADE, "publish")  # finishes it, and what is behind it
    log.info("done already: %s", output)
    return {**published_metrics(store, manifest), "already_done": True}


def _nothing(output: str, begun: bool) -> InputError:
    what = "its job was not begun by slices; run the same command again to finish it"
    return InputError(f"{output}: nothing to publish: {what if begun else 'no job has been begun there'}")


def _commit(job: Job, work: Work, slices: int, clock: Clock) -> Metrics:
    started = time.perf_counter()
    shards = planned_shards(job, work)
    parts = adopted_parts(work, shards)
    _check_all_there(work, shards, parts, slices)
    made = [part for part in parts if part]
    check_alike(made, work.store.url)
    RejectLimit(job.options.max_reject_rate, rows_of(shards), work.store).add(*made)
    job = ready_job(job, work, made[0].seal["compute"], indexed=False)

    def refuse(planned: PlannedShard) -> NoReturn:
        raise _lacking(work, [planned], len(shards), slices)

    sealed = settled_parts(job, work, shards, parts, refuse)
    seconds, effort = time.perf_counter() - started, asdict(job.labeller.effort)
    metrics = account(job, work, clock, sealed, performance_section(0, effort, seconds, 0.0), resumed=True)
    return commit(job, work, metrics, sealed)


def _check_all_there(work: Work, shards: list[PlannedShard], parts: list[Part | None], slices: int) -> None:
    if lacking := [planned for planned, part in zip(shards, parts, strict=True) if part is None]:
        raise _lacking(work, lacking, len(shards), slices)


def _lacking(work: Work, lacking: list[PlannedShard], parts: int, slices: int) -> InputError:
    """Which parts are not there, or not whole, and which slices would make them."""
    numbers = [planned.index for planned in lacking]
    of = [f"{index}/{slices}" for index in sorted({number % slices + 1 for number in numbers})]
    lacks = f"lacks {len(numbers):,} of {parts:,} parts: {first_few(list(map(str, numbers)))}"
    return InputError(
        f"{work.store.url} {lacks}; run their slices again (--shard-slice {first_few(of)}), or `score` without "
        "--shard-slice, which does all that is left"
    )
