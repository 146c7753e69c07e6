"""A job that several runs share, each a slice of its shards: what they agree on, and which of them ends it.

Each run labels its shards as a job without slices does, in the same place. write/shared.py says why the last of them is
sure to find that all is there.
"""

import logging
from typing import Any

from sentiment_batch.config import ScoreOptions
from sentiment_batch.job import Job
from sentiment_batch.job_file import fits, job_file
from sentiment_batch.labelling import check_alike, check_made_with
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.read.plan import PlannedShard
from sentiment_batch.shard_slice import slice_of
from sentiment_batch.shards import adopted_parts, count_parts
from sentiment_batch.write.claim import JOB
from sentiment_batch.write.commit import Work, settle_json
from sentiment_batch.write.part import Part

log = logging.getLogger(__name__)


def agree_on_job(job: Job, work: Work, compute: dict[str, Any]) -> None:
    """Leave the job's options for whoever publishes it, and have its parts made by one kind of machine.

    `compute` is what this slice's parts are made with. Raises `OutputConflict` if the slice that was here first
    computes otherwise than this one.
    """
    assert job.shard_slice, "this run does a slice"
    made = job_file(work.claim.job_id, job.options, job.shard_slice.of, compute)
    there = settle_json(work, JOB, made, fits)
    check_made_with(there["compute"], JOB, compute, work.store.url)


def gathered_parts(
    work: Work, shards: list[PlannedShard], parts: list[Part | None]
) -> tuple[int, list[Part | None] | None]:
    """How many parts the job has by now, and all of them if this run, which has sealed its own, is to commit them.

    None among them stands for a part that is not whole. Raises `OutputConflict` if machines of two kinds made them.
    """
    there = count_parts(work, shards)
    if there < len(shards) or not work.take_alone():
        return there, None
    others = [planned for planned in shards if parts[planned.index] is None]
    gathered = list(parts)
    for planned, part in zip(others, adopted_parts(work, others), strict=True):
        gathered[planned.index] = part
    check_alike(filter(None, gathered), work.store.url)
    return there, gathered


def slice_section(options: ScoreOptions, parts: int, there: int | None = None) -> Metrics:
    """What the metrics JSON of a slice says of it; nothing for a run that does the whole job.

    `parts` are those of the job, and so many of them are `there`, if it is not published yet.
    """
    if options.shard_slice is None:
        return {}
    mine = slice_of(options.shard_slice)
    counts = {
        "shards": len(mine.taken(list(range(parts)))),
        "parts": parts,
        "parts_there": parts if there is None else there,
    }
    return {"slice": {"index": mine.index, "of": mine.of, **counts, "published": there is None}}


def say_end(section: Metrics, work: Work) -> None:
    """Log how a slice ended that did not publish."""
    mine = section["slice"]
    shards, parts, there = (mine[name] for name in ("shards", "parts", "parts_there"))
    next_one = "the last slice publishes" if there < parts else "a run that is at work there publishes"
    log.info(
        "slice %d/%d: %d of %d parts sealed; %d of %d parts are in %s; %s, or sentiment-batch publish %s",
        *(mine["index"], mine["of"], shards, shards, there, parts, work.store.url, next_one, work.claim.output),
    )
