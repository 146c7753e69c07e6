"""The shards of a job, one by one: planned, found sealed by an earlier run, or labelled and sealed by this one."""

import errno
import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch import stop
from sentiment_batch.ahead import in_threads
from sentiment_batch.config import ScoreOptions
from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import InputError, OutputConflict
from sentiment_batch.job import Job, identity_of
from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import check_compute, compute_of, labelled_chunks
from sentiment_batch.measure.counts import Counts, add
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.progress import Tally
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.inputs import InputFile
from sentiment_batch.read.plan import PlannedShard, plan, read_chunks, shard_sha256
from sentiment_batch.since import Since, ready, with_index
from sentiment_batch.write.claim import JOB_ID, PLAN, is_claim, job_id, turn_of
from sentiment_batch.write.commit import Work, settle_json, work_store
from sentiment_batch.write.manifest import missing
from sentiment_batch.write.part import Part, PartWriter, Seal, hashed, part_name, read_part
from sentiment_batch.write.store import read_json

_FOOTERS_AT_ONCE = 8
_READ_AT_ONCE = 8
_LONG_PLAN_BYTES = 100 * 10**6  # from here on a text file takes seconds to read through: say what is going on

log = logging.getLogger(__name__)


def noted_by_earlier_run(
    options: ScoreOptions, labeller: Labeller, since: Since | None, files: tuple[InputFile, ...]
) -> dict[str, Any] | None:
    """What an earlier run of this very job noted of its inputs, if it came as far as a plan (`Inputs.noted`)."""
    there = read_json(work_store(options.output), PLAN)
    if not is_claim(there):  # as in most runs: the identity of thousands of files takes a moment
        return None
    known = job_id(identity_of(options, labeller, since.identity() if since else {}, files))
    return dict(there["inputs"]) if turn_of(there)[0] == known and _is_whole_plan(there) else None


def planned_shards(job: Job, work: Work) -> list[PlannedShard]:
    """The job's shards, as an earlier run planned them if there was one: a text file is read through to plan it."""
    there = read_json(work.store, PLAN)
    if not (work.claim.is_of(there) and _is_whole_plan(there)):
        if (size := sum(file.size for file in job.inputs.files)) >= _LONG_PLAN_BYTES:
            log.info("planning the shards: %d input files, %d MB", len(job.inputs.files), size // 10**6)
        shards = plan(job.inputs, job.options.shard_rows, job.options.shard_bytes, job.options.limit_rows)
        listed = [[planned.file, list(astuple(planned.shard))] for planned in shards]
        noted = job.inputs.noted()
        made = {JOB_ID: work.claim.job_id, "inputs": noted, "shards": listed, "sha256": _plan_sha256(noted, listed)}
        there = settle_json(work, PLAN, made, _is_whole_plan)
    return [PlannedShard(index, file, Shard(*shard)) for index, (file, shard) in enumerate(there["shards"])]


def _is_whole_plan(there: Metrics) -> bool:
    """Whether a plan that was found is as it was written: without one of its shards, rows would be missing."""
    return there.get("sha256") == _plan_sha256(there.get("inputs"), there.get("shards"))


def _plan_sha256(inputs: object, shards: object) -> str:
    return hashlib.sha256(json.dumps([inputs, shards]).encode()).hexdigest()


def adopted_parts(work: Work, shards: list[PlannedShard]) -> list[Part | None]:
    """The part of each of the shards if a run of this job made it; anything else of its name will be replaced."""
    sizes = work.store.sizes()
    work.claim.check_names(sizes, work.store.url)  # now, and not when all is labelled
    turn = work.claim.turn
    there = [planned for planned in shards if part_name(planned.index, turn) in sizes]

    def look(planned: PlannedShard) -> Part | None:
        return read_part(work.store, part_name(planned.index, turn))

    adopted: dict[int, Part] = {}
    with closing(in_threads(look, there, _FOOTERS_AT_ONCE)) as found:  # each is a request or two in a bucket
        for planned, part in found:
            stop.check()
            if part is None or not _is_of(work, planned, part.seal, sizes):
                log.warning(
                    "%s is not a whole part of this job: it is to be made again", part_name(planned.index, turn)
                )
            else:
                adopted[planned.index] = part
    return [adopted.get(planned.index) for planned in shards]


def count_parts(work: Work, shards: list[PlannedShard]) -> int:
    """How many of the shards have a part by now, by their names alone."""
    names = work.store.sizes().keys()
    return sum(part_name(planned.index, work.claim.turn) in names for planned in shards)


def _is_of(work: Work, planned: PlannedShard, seal: Seal, sizes: dict[str, int]) -> bool:
    """Whether the seal is of this shard of this job, and the rejects that it names are there."""
    rejects = seal["rejects"]
    same = seal["job_id"] == work.claim.job_id and seal["range"] == list(astuple(planned.shard))
    return same and (rejects is None or sizes.get(rejects["name"]) == rejects["bytes"])


def ready_job(job: Job, work: Work, compute: dict[str, Any], indexed: bool) -> Job:
    """The job, which knows what it may keep of an earlier output, and, if there are rows to look up in it, an index.

    `compute` is what its parts are made with.
    """
    if job.since is None:
        return job
    since = ready(job.since, job.identity(), job.labeller.labels, compute, job.inputs.schema)
    if since.why_not:
        log.warning("%s", since.why_not_in_words())
    return replace(job, since=with_index(since, work.scratch) if indexed else since)


def settled_parts(
    job: Job,
    work: Work,
    shards: list[PlannedShard],
    parts: list[Part | None],
    again: Callable[[PlannedShard], Part],
) -> list[Part]:
    """The parts of all shards, each there and whole; what was lost or spoilt since it was sealed is made `again`.

    Parts of other runs are read through for this, and their input too: it may have been edited in place. Several at a
    time, for reading them takes a core each.
    """
    work.check_unannounced()
    gone = missing(work.store, [part for part in parts if part], work.check_held)

    def whole(planned: PlannedShard) -> Part | None:
        part = parts[planned.index]
        if part is None or part.name in gone:
            return None
        if part.sha256 is not None:
            return part
        _check_input(job, work, planned, part, shard_sha256(job.inputs, planned))
        return hashed(work.store, part)

    settled = []
    unread = sum(part is not None and part.sha256 is None for part in parts)
    threads = min(_READ_AT_ONCE, unread, usable_cores()) if unread > 1 else 1
    with closing(in_threads(whole, shards, threads)) as found:
        for planned, part in found:
            stop.check()
            if part is None:
                name = part_name(planned.index, work.claim.turn)
                log.warning("%s was lost or damaged after it was sealed: it is made again", name)
                part = again(planned)
            settled.append(part)
    return settled


def _check_input(job: Job, work: Work, planned: PlannedShard, part: Part, sha256: str) -> None:
    if sha256 != part.seal["input_sha256"]:
        raise InputError(
            f"{job.inputs.files[planned.file].path} was edited since {part.name} was made from it, though its size and "
            f"time are the same; nothing was published; remove {work.store.url} to begin again"
        )


def sealed_part(job: Job, work: Work, planned: PlannedShard, progress: Tally) -> Part:
    """Label a shard; once more only if the disk failed: a new file lies on other blocks of it."""
    work.check_unannounced()
    try:
        return _label_shard(job, work, planned, progress)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        log.warning("shard %d: %s; it is labelled once more", planned.index, error)
    return _label_shard(job, work, planned, progress)


def _label_shard(job: Job, work: Work, planned: PlannedShard, progress: Tally) -> Part:
    """Read, label and seal one shard; dropped as a whole if anything goes wrong in it.

    If another job took the output meanwhile, what comes too late for it is taken back.
    """
    chunks = read_chunks(job.inputs, planned, job.needed, job.options.text_column, job.options.chunk_rows)
    counts = no_counts(job)
    since = with_index(job.since, work.scratch) if job.since else None
    found = labelled_chunks(
        chunks, job.labeller, progress, job.options.cache_rows, since.kept if since and since.known else None
    )
    with PartWriter(work.store, work.scratch, part_name(planned.index, work.claim.turn), job.schema) as part:
        for batch, rejects, texts, unknown in found:
            rows = batch.num_rows + len(rejects)
            part.write(batch.select(job.schema.names), rejects)
            counts = add(counts, job.count(batch, unknown))
            counts = add(counts, {"rows_in": rows, "rejected": len(rejects), **texts})
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
    check_compute(sealed, account["compute"], work.store.url)
    return sealed


def no_counts(job: Job) -> Counts:
    """The counts of no rows."""
    schema = pa.schema([job.inputs.schema.field(name) for name in job.needed])
    labelled = pa.RecordBatch.from_pylist([], schema=job.labeller.labelled_schema(schema))
    nothing = {"rows_in": 0, "rejected": 0, "distinct_texts": 0, "cached_texts": 0}
    nothing |= {"rows_kept": 0} if job.since else {}
    return {**job.count(labelled, np.zeros(0, np.int32)), **nothing}
