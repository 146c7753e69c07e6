"""--shard-slice: which shards of a job a run labels, where several runs share it and nobody hands them out."""

import re
from dataclasses import dataclass
from typing import TypeVar

from sentiment_batch.errors import UsageError

Item = TypeVar("Item")

_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class ShardSlice:
    """One of so many slices, counted from 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def taken(self, items: list[Item]) -> list[Item]:
        """Every `of`-th of a job's shards: neighbours in a sorted dump are alike, and each slice gets some of all."""
        return items[self.index - 1 :: self.of]


def slice_of(text: str) -> ShardSlice:
    """What `--shard-slice` says. Raises `UsageError` for what is no slice."""
    found = _FORM.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(
            f"--shard-slice {text!r}: write it as I/N, with I from 1 to N: 1/8 to 8/8 (of an index that counts from 0: "
            "$((JOB_COMPLETION_INDEX + 1))/8)"
        )
    return ShardSlice(int(found[1]), int(found[2]))
