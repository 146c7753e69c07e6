"""What a run does with what it made too late, in place, where another job has the output by now."""

from sentiment_batch.write.claim import CLAIM, JOB_ID, PLAN, is_claim
from sentiment_batch.write.commit import Work
from sentiment_batch.write.manifest import MARKER
from sentiment_batch.write.part import PartWriter, read_part
from sentiment_batch.write.store import read_json


def take_back(work: Work, shard: int, part: PartWriter) -> None:
    """Delete the part of that shard, if it was made, and its rejects, if the other job has no use for the names.

    What it makes itself it swaps for its own, now or later: that may have been done by the time that a DELETE arrives.
    A job that labels looks for all else before it publishes.
    """
    holder, planned, published = (read_json(work.store, name) for name in (CLAIM, PLAN, MARKER))
    if not is_claim(holder) or work.claim.is_of(holder):
        return
    parts: list[dict[str, object]] = []
    if is_claim(published) and published[JOB_ID] == holder[JOB_ID]:
        parts = published["parts"]
        shards = len(parts)
    elif is_claim(planned) and planned[JOB_ID] == holder[JOB_ID]:
        shards = len(planned["shards"])
    elif holder["identity"]["command"] == "score":
        return
    else:
        shards = 0
    there = read_part(work.store, part.name)
    if shard >= shards and there and there.seal["job_id"] == work.claim.job_id:
        work.store.delete(part.name)
    rejects = part.rejects_file
    if rejects and (shard >= shards or (parts and parts[shard]["rejects"] != rejects)):
        work.store.delete(rejects["name"])
