"""What somebody should know of a plan before the job begins, in words."""

from collections.abc import Iterator
from typing import Any

_MUCH = 0.1  # of the rows, that are cut, or refused
_MOST = 0.5
_SHORT_PART_ROWS, _MANY_PARTS = 32_768, 1_000
_LONG_SECONDS = 3600.0


def doubts_of(plan: dict[str, Any], max_reject_rate: float) -> Iterator[str]:
    """One sentence for each of them, with what helps."""
    rows, sample, shards = plan["rows"], plan["sample"], plan["shards"]
    if not rows["rows"]:
        yield "there are no rows"
        return
    yield from _of_shards(rows, shards)
    if plan["disk"]["enough"] is False:
        yield "the output needs more disk than is free there: make room, or keep fewer columns with --keep-columns"
    blank = (sample["empty_share"] or 0) + (sample["null_share"] or 0)
    if blank > _MOST:
        yield f"{blank:.0%} of the sample have no text: is --text-column the right one?"
    if (sample["rejected_share"] or 0) > max_reject_rate:
        yield (
            f"{sample['rejected_share']:.1%} of the sample are rows that cannot be read, more than --max-reject-rate "
            "allows: nothing would be published"
        )
    if (sample["truncated_share"] or 0) > _MUCH:
        share = f"{sample['truncated_share']:.0%} of the texts"
        yield f"{share} are longer than --max-length: the model sees their beginnings alone"
    if (sample["unknown_token_share"] or 0) > _MUCH:
        yield (
            f"{sample['unknown_token_share']:.0%} of the tokens are unknown to the model: another language, or broken "
            "characters?"
        )
    if plan["time"].get("in_time") is False:
        yield "it will not be done by --deadline: it stops there, and the same command goes on"


def _of_shards(rows: dict[str, Any], shards: dict[str, Any]) -> Iterator[str]:
    if rows["compressed_files"] and rows["high"] is None:
        yield "of a compressed file only the beginning was looked at: --exact reads all of it"
    long = (shards["seconds_largest"] or 0) > _LONG_SECONDS
    if rows["compressed_files"] and (long or shards["count"] == 1):
        yield (
            "a compressed file is one shard, however large: a kill costs all of it, and workers share none; give it as "
            "Parquet, or as plain text"
        )
    elif long:
        yield "a shard takes more than an hour, which is what a kill can cost: give a smaller --shard-rows"
    if shards["count"] > _MANY_PARTS and shards["rows_mean"] < _SHORT_PART_ROWS:
        parts = f"{shards['count']:,} parts of {shards['rows_mean']:,.0f} rows"
        yield f"{parts} are many small files: join small inputs (a shard is of one), or give a larger --shard-rows"
