"""reject_limit.py: when too many rows of a job have no label."""

from pathlib import Path

import pytest

from sentiment_batch.errors import TooManyRejects
from sentiment_batch.reject_limit import RejectLimit
from sentiment_batch.write.part import Part
from sentiment_batch.write.store import Folder


def part(rejected: int, nonfinite: int) -> Part:
    return Part(
        "part", 0, {"shard": 0, "rejected": rejected, "rejects": None, "counts": {"nonfinite": nonfinite}}, None
    )


def test_it_is_of_all_parts_together_and_of_all_rows_of_the_job(tmp_path: Path) -> None:
    """As many as the limit are none too many."""
    limit = RejectLimit(0.01, 300, Folder(tmp_path))
    limit.add()
    limit.add(part(1, 0), part(0, 1))
    limit.add(part(1, 0))
    said = (
        rf"^2 of 300 rows are rejected and 2 of 300 rows have no finite score, .* see {tmp_path}/_rejects; nothing was"
    )
    with pytest.raises(TooManyRejects, match=said):
        limit.add(part(0, 1))


@pytest.mark.parametrize(("rate", "bad", "fails"), [(0.0, 0, False), (0.0, 1, True), (1.0, 100, False)])
def test_its_ends(rate: float, bad: int, fails: bool, tmp_path: Path) -> None:
    limit = RejectLimit(rate, 100, Folder(tmp_path))
    if not fails:
        limit.add(part(bad, 0))
        return
    with pytest.raises(TooManyRejects):
        limit.add(part(bad, 0))
