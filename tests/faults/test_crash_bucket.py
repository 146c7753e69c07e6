"""kill -9 before and behind every request to an object store: announced whole or not at all, and the next run ends it.

Rows 2, 4 and 42 of the matrix for the second store. The store is a real S3 over HTTP (moto).
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.jobs import arguments, finish, is_announced, objects, steps, write_dump
from faults.zygote import Zygote

ROWS = 110  # four shards


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dump(tmp_path_factory.mktemp("bucket") / "dump.tsv", ROWS)


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

    def requests(self, record: Path, *more: object, out: str | None = None) -> int:
        out = out or self.fresh()
        ended = self.zygote.run(*arguments(self.dump, out, *more), place=str(record), record=str(record))
        assert ended.code == 0, ended.err
        return len(steps(record))

    def killed(self, out: str, at: int, fault: str, *more: object) -> bool:
        ended = self.zygote.run(*arguments(self.dump, out, *more), place="/nowhere", at=at, fault=fault)
        assert ended.code in (0, -9), ended.err
        if is_announced(out):
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


def test_killed_at_any_request(bench: Bench, tmp_path: Path, tier: Callable[[int, int], int]) -> None:
    requests = bench.requests(tmp_path / "record")
    assert requests > 30
    cases = [(at, fault) for at in range(1, requests + 1) for fault in ("kill", "killed_after")]
    for at, fault in random.Random(1).sample(cases, min(len(cases), tier(10_000, 10_000))):
        out = bench.fresh()
        assert bench.killed(out, at, fault)
        bench.check(out)


def test_killed_again_during_recovery(bench: Bench, tmp_path: Path, tier: Callable[[int, int], int]) -> None:
    requests = bench.requests(tmp_path / "record")
    pairs = [(first, second) for first in range(1, requests + 1) for second in range(1, requests + 1)]
    for first, second in random.Random(2).sample(pairs, min(len(pairs), tier(15, 1_000))):
        out = bench.fresh()
        assert bench.killed(out, first, "kill")
        bench.killed(out, second, "killed_after")
        bench.check(out)


@pytest.mark.parametrize("finished", [True, False])
def test_killed_while_it_replaces_another_output(
    bench: Bench, tmp_path: Path, tier: Callable[[int, int], int], finished: bool
) -> None:
    """At each request from the look at the other claim to the end of the clearing, and at some of the rest."""
    other = write_dump(tmp_path / "other.tsv", ROWS + 70, "other ")

    def replaced() -> str:
        out = bench.fresh()
        if finished:
            finish(bench.zygote, *arguments(other, out))
        else:
            assert bench.zygote.run(*arguments(other, out), place="/nowhere", at=30, fault="kill").code == -9
        return out

    requests = bench.requests(tmp_path / "record", "--overwrite", out=replaced())
    calls: list[Any] = steps(tmp_path / "record")
    first_part = next(at for at, (name, path) in enumerate(calls, 1) if name == "put" and "part-" in path)
    clearing = [at for at, (name, _) in enumerate(calls, 1) if name == "delete" and at < first_part]
    assert len(clearing) > 3
    others = [at for at in range(1, requests + 1) if not clearing[0] <= at < first_part]
    few = random.Random(3).sample(others, min(len(others), tier(3, 10_000)))
    for at in [*range(clearing[0], first_part), *few]:
        out = replaced()
        assert bench.killed(out, at, "kill", "--overwrite")
        bench.check(out, "--overwrite")
