"""kill -9 before and behind every request to an object store: announced whole or not at all, and the next run ends it.

Rows 2, 4 and 42 of the matrix for the second store. The store is a real S3 over HTTP (moto).
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.jobs import CLAIM, arguments, finish, is_announced, objects, steps, write_dump
from faults.shim import CHANGES
from faults.zygote import Zygote
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.store import read_json

ROWS = 110  # four shards


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dump(tmp_path_factory.mktemp("bucket") / "dump.tsv", ROWS)


def is_void(out: str) -> bool:
    """Whether the marker is of a job that another one replaces: it is whole, and `verify` says that it is going."""
    store = Bucket(out)
    return bool(read_json(store, "_SUCCESS")["job_id"] != read_json(store, CLAIM)["job_id"])


class Bench:
    """One job into a bucket, and what it makes when nothing happens."""

    def __init__(self, zygote: Zygote, dump: Path, url: str):
        self.zygote, self.dump, self.url, self.cases = zygote, dump, url, 0
        out = self.fresh()
        finish(zygote, *arguments(dump, out))
        self.expected = objects(out)

    def fresh(self) -> str:
        self.cases += 1
        return f"{self.url}/{self.cases}"

    def changes(self, record: Path, *more: object, out: str | None = None) -> int:
        """How many requests of the job change something."""
        out = out or self.fresh()
        ended = self.zygote.run(*arguments(self.dump, out, *more), place=str(record), record=str(record))
        assert ended.code == 0, ended.err
        return sum(name in CHANGES.split() for name, _ in steps(record))

    def killed(self, out: str, at: int, fault: str, *more: object) -> bool:
        """Killed at the change of that number; False if there are fewer."""
        ended = self.zygote.run(*arguments(self.dump, out, *more), place="/nowhere", at=at, fault=fault, of=CHANGES)
        assert ended.code in (0, -9), ended.err
        if is_announced(out) and not is_void(out):
            verified = self.zygote.run("verify", out)
            assert verified.code == 0, verified.err
        return ended.code == -9

    def check(self, out: str, *more: object) -> None:
        finish(self.zygote, *arguments(self.dump, out, *more))
        verified = self.zygote.run("verify", out)
        assert verified.code == 0, verified.err
        assert objects(out) == self.expected


@pytest.fixture(scope="module")
def bench(s3_zygote: Zygote, dump: Path) -> Bench:
    return Bench(s3_zygote, dump, f"s3://bucket/crash-{random.Random().getrandbits(64):x}")


def test_killed_at_any_request(bench: Bench, tmp_path: Path) -> None:
    """At those that change something: in between, the store is as the last of them left it."""
    changes = bench.changes(tmp_path / "record")
    assert changes > 12
    out = bench.fresh()
    assert bench.killed(out, 1, "kill")
    bench.check(out)
    for at in range(1, changes + 1):
        out = bench.fresh()
        assert bench.killed(out, at, "killed_after")
        bench.check(out)


def test_killed_again_during_recovery(bench: Bench, tmp_path: Path, tier: Callable[[int, int], int]) -> None:
    changes = bench.changes(tmp_path / "record")
    pairs = [(first, second) for first in range(1, changes + 1) for second in range(1, changes + 1)]
    for first, second in random.Random(2).sample(pairs, min(len(pairs), tier(12, 1_000))):
        out = bench.fresh()
        assert bench.killed(out, first, "killed_after")
        bench.killed(out, second, "killed_after")
        bench.check(out)


@pytest.mark.parametrize("finished", [True, False])
def test_killed_while_it_replaces_another_output(
    bench: Bench, tmp_path: Path, tier: Callable[[int, int], int], finished: bool
) -> None:
    """At each change from the claim to the last part, and at some of the rest."""
    other = write_dump(tmp_path / "other.tsv", ROWS + 70, "other ")

    def replaced() -> str:
        out = bench.fresh()
        if finished:
            finish(bench.zygote, *arguments(other, out))
        else:
            ended = bench.zygote.run(*arguments(other, out), place="/nowhere", at=10, fault="kill", of=CHANGES)
            assert ended.code == -9
        return out

    changes = bench.changes(tmp_path / "record", "--overwrite", out=replaced())
    cases = range(1, changes + 1)
    for at in sorted(random.Random(3).sample(cases, min(len(cases), tier(8, 10_000)))):
        out = replaced()
        assert bench.killed(out, at, "killed_after", "--overwrite")
        bench.check(out, "--overwrite")
