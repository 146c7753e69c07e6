"""kill -9 at every call that changes an output, on both stores: absent or complete, and the next run ends it.

Rows 1, 2, 4, 30, 42, 57 of the matrix (README.md). Hadoop's committers are tested at some ten chosen points; here it is
every occurrence of every call in a job of four shards.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.jobs import arguments, check_finished, data_files, finish, is_published, steps, write_dump
from faults.zygote import Zygote

ROWS = 110  # four shards
Tier = Callable[[int, int], int]


class Bench:
    """One job in a folder of its own, and what it makes when nothing happens."""

    def __init__(self, zygote: Zygote, folder: Path, *more: object):
        self.zygote, self.folder, self.more = zygote, folder, more
        self.dump = write_dump(folder / "dump.tsv", ROWS)
        self.cases = 0
        self.place, out = self.fresh()
        finish(zygote, *arguments(self.dump, out))
        self.expected = data_files(out)
        assert json.loads((out / "_metrics.json").read_text())["rows"]["cached_texts"] > 0

    def fresh(self) -> tuple[Path, Path]:
        """A new folder, and the output in it, which is not there yet."""
        self.cases += 1
        place = self.folder / f"case-{self.cases}"
        place.mkdir()
        return place, place / "out"

    def record(self, prepare: Callable[[Path], None] = lambda out: None) -> list[tuple[str, str]]:
        """The calls of a run that nothing happens to."""
        place, out = self.fresh()
        prepare(out)
        record = self.folder / f"record-{self.cases}"
        ended = self.zygote.run(*arguments(self.dump, out, *self.more), place=str(place), record=str(record))
        assert ended.code == 0, ended.err
        return steps(record)


@pytest.fixture(scope="module")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(zygote, tmp_path_factory.mktemp("crash"))


def killed(bench: Bench, out: Path, at: int, fault: str = "kill") -> bool:
    """Run the job with a kill at the call of that number; False if it has no such call."""
    ended = bench.zygote.run(*arguments(bench.dump, out, *bench.more), place=str(out.parent), at=at, fault=fault)
    assert ended.code in (0, -9), ended.err
    if is_published(out):  # it is there whole, or not at all
        verified = bench.zygote.run("verify", out)
        assert verified.code == 0, verified.err
    return ended.code == -9


def numbers(calls: int, count: int) -> Iterator[int]:
    """All of the calls, or as many as the tier allows, drawn evenly and always in the same way."""
    yield from range(1, calls + 1) if count >= calls else sorted(random.Random(7).sample(range(1, calls + 1), count))


def test_killed_at_any_call(bench: Bench) -> None:
    calls = bench.record()
    assert len(calls) > 100
    for at in range(1, len(calls) + 1):
        _place, out = bench.fresh()
        assert killed(bench, out, at)
        finish(bench.zygote, *arguments(bench.dump, out))
        check_finished(bench.zygote, out, bench.expected)
    assert not killed(bench, bench.fresh()[1], len(calls) + 1)


def test_killed_again_during_recovery(bench: Bench, tier: Tier) -> None:
    """In the long tier every pair of calls that there is: the second of the run that goes on behind the first."""
    calls = len(bench.record())
    pairs = sum(
        killed_after(bench, first, numbers(calls, tier(3, 10_000))) for first in numbers(calls, tier(8, 10_000))
    )
    assert pairs > 8
    print(f"{pairs} pairs of kills")


def killed_after(bench: Bench, first: int, seconds: Iterator[int]) -> int:
    """How many of the second kills there were, up to the end of what a first one leaves to be done."""
    for pairs, second in enumerate(seconds):
        place, out = bench.fresh()
        assert killed(bench, out, first)
        again = killed(bench, out, second)
        finish(bench.zygote, *arguments(bench.dump, out))
        check_finished(bench.zygote, out, bench.expected)
        shutil.rmtree(place)
        if not again:
            return pairs
    return pairs + 1


def other_job(bench: Bench) -> Callable[[Path], None]:
    """What makes the output of another job at a place."""
    other = write_dump(bench.folder / "other.tsv", ROWS + 70, "other ")
    return lambda out: finish(bench.zygote, *arguments(other, out)) and None


@pytest.mark.parametrize("swap", ["exchange", "two renames"])
def test_killed_while_it_replaces_another_output(zygote: Zygote, tmp_path: Path, tier: Tier, swap: str) -> None:
    """The old output or the new one, whole, at every moment; without renameat2, or neither for the one between."""
    bench = Bench(zygote, tmp_path, "--overwrite")
    prepare = other_job(bench)
    calls = bench.record(prepare)
    first = next(number for number, (name, _) in enumerate(calls, 1) if name == "exchange")
    for at in [*numbers(first - 1, tier(6, 10_000)), *range(first, len(calls) + 1)]:
        place, out = bench.fresh()
        prepare(out)
        old = data_files(out)
        command = arguments(bench.dump, out, "--overwrite")
        ended = zygote.run(*command, place=str(place), at=at, fault="kill", swap=swap == "exchange")
        assert ended.code == -9
        if swap == "exchange":
            assert data_files(out) == (old if at <= first else bench.expected)
        elif is_published(out):
            assert data_files(out) in (old, bench.expected)
        finish(zygote, *command)
        check_finished(zygote, out, bench.expected)


def test_a_stale_lock_is_in_nobodys_way(bench: Bench) -> None:
    _place, out = bench.fresh()
    assert killed(bench, out, 70)
    assert (out.parent / ".out.wip" / ".lock").exists()
    assert finish(bench.zygote, *arguments(bench.dump, out)).seconds < 30
    check_finished(bench.zygote, out, bench.expected)
