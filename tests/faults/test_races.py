"""Runs that race for one output: one result, which is that of a run alone, and everybody else is told.

Rows 11, 28 to 32 of the matrix, and "Race to publish" of its figures (README.md): Delta Lake lets 8 threads and 4
processes race once, Iceberg 5 times 10. Here 8 processes race in each round, on a folder with a lock, on one without,
and in a bucket, which has none.
"""

import os
import random
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.jobs import arguments, data_files, finish, is_announced, is_published, objects, write_dump
from faults.zygote import Ended, Zygote
from sentiment_batch.remote import is_url

ROWS = 110  # four shards
RACERS = 8
DONE, CONFLICT, BUSY, RETRY = 0, 4, 5, 7
Tier = Callable[[int, int], int]


class Track:
    """Where they race, how, and what each of the jobs makes alone. `how` is for the shim."""

    def __init__(self, zygote: Zygote, place: Path | str, dumps: list[Path], **how: Any):
        self.zygote, self.place, self.dumps, self.how, self.rounds = zygote, place, dumps, how, 0
        self.expected = []
        for dump in dumps:
            out = self.fresh()
            finish(zygote, *arguments(dump, out))
            self.expected.append(files(out))
        assert len({tuple(each.items()) for each in self.expected}) == len(dumps)

    def fresh(self) -> Path | str:
        self.rounds += 1
        if not isinstance(self.place, Path):
            return f"{self.place}/{self.rounds}"
        (self.place / str(self.rounds)).mkdir()
        return self.place / str(self.rounds) / "out"

    def start(self, job: int, out: Path | str) -> int:
        """The process of a run that has begun."""
        place = str(out.parent) if isinstance(out, Path) else "/nowhere"
        return self.zygote.start(*arguments(self.dumps[job], out), place=place, **self.how)

    def race(self, out: Path | str, racers: list[int], seconds: float) -> list[tuple[int, int, Ended]]:
        """(job, process, end) of each racer, which all begin within those seconds."""
        chance = random.Random(self.rounds)
        running = []
        for job in racers:
            time.sleep(seconds / len(racers) * chance.random())
            running.append((job, self.start(job, out)))
        return [(job, pid, self.zygote.wait(pid)) for job, pid in running]

    @contextmanager
    def stopped(self, out: Path | str, after: float, other: int) -> Iterator[tuple[int, Ended]]:
        """(process, end of the other): a run of the first job, stopped after so many seconds, and one of the other job
        from beginning to end meanwhile; the first goes on behind the block.
        """
        first = self.start(0, out)
        time.sleep(after)
        os.kill(first, signal.SIGSTOP)
        yield first, self.zygote.wait(self.start(other, out))
        os.kill(first, signal.SIGCONT)

    def check(self, out: Path | str, job: int) -> None:
        """Its result is published, as a run alone makes it, and nothing else is."""
        verified = self.zygote.run("verify", out)
        assert verified.code == 0, verified.err
        assert files(out) == self.expected[job]


def files(out: Path | str) -> dict[str, str]:
    """A hash of every file of an output but for those with times in them."""
    return data_files(out) if isinstance(out, Path) else objects(out)


def is_there(out: Path | str) -> bool:
    return is_published(out) if isinstance(out, Path) else is_announced(out)


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of two jobs with the same number of rows and shards."""
    folder = tmp_path_factory.mktemp("dumps")
    return [write_dump(folder / f"{name}.tsv", ROWS, name) for name in ("a", "b")]


@pytest.fixture(params=["folder", "folder without locks", "bucket"])
def track(request: pytest.FixtureRequest, dumps: list[Path], tmp_path: Path) -> Track:
    if request.param == "bucket":
        url = f"s3://bucket/races-{random.Random().getrandbits(64):x}"
        return Track(request.getfixturevalue("s3_zygote"), url, dumps, jitter=0.002)
    return Track(request.getfixturevalue("zygote"), tmp_path, dumps, jitter=0.002, lock=request.param == "folder")


def has_lock(track: Track) -> bool:
    return track.how.get("lock", False)


def test_one_job(track: Track, tier: Tier) -> None:
    seen: Counter[int] = Counter()
    for _ in range(tier(3, 100 if is_url(str(track.place)) else 200)):
        out = track.fresh()
        ended = track.race(out, [0] * RACERS, 0.3)
        pids = [pid for _, pid, _ in ended]
        seen.update(each.code for _, _, each in ended)
        if isinstance(out, Path) and not has_lock(track):
            assert {each.code for _, _, each in ended} <= {DONE, CONFLICT, BUSY, RETRY}, ended
        else:
            assert {each.code for _, _, each in ended} <= {DONE, BUSY}, ended
            assert DONE in {each.code for _, _, each in ended}
            worked = [each for _, _, each in ended if each.code == DONE and "done already" not in each.err]
            assert len(worked) == 1 or not has_lock(track), ended
        for _, pid, each in ended:
            assert "Traceback" not in each.err, each.err
            if each.code == BUSY:
                holders = [f"(process {other} on {socket.gethostname()})" for other in pids if other != pid]
                assert any(holder in each.err for holder in [*holders, "()"]), each.err
        if is_there(out):
            track.check(out, 0)
        finish(track.zygote, *arguments(track.dumps[0], out))
        track.check(out, 0)
        if isinstance(out, Path):
            assert os.listdir(out.parent) == ["out"]
            shutil.rmtree(out.parent)
    print(f"ends: {dict(seen)}")


def test_two_jobs(track: Track, tier: Tier) -> None:
    seen: Counter[int] = Counter()
    for number in range(tier(3, 100 if is_url(str(track.place)) else 200)):
        out = track.fresh()
        racers = random.Random(number).sample([0, 1] * (RACERS // 2), RACERS)
        ended = track.race(out, racers, 0.3)
        seen.update(each.code for _, _, each in ended)
        winners = {job for job, _, each in ended if each.code == DONE}
        unsure = isinstance(out, Path) and not has_lock(track)
        fine = {DONE, CONFLICT, BUSY, *([RETRY] if unsure else [])}
        assert {each.code for _, _, each in ended} <= fine, ended
        assert all("Traceback" not in each.err for _, _, each in ended), ended
        assert len(winners) <= 1, ended
        assert len(winners) == 1 or unsure, ended
        for job in winners:
            track.check(out, job)
            loser = track.zygote.run(*arguments(track.dumps[1 - job], out))
            assert loser.code == CONFLICT, loser.err
            assert "belongs to another job" in loser.err
            track.check(out, job)
        if not winners:
            assert not is_there(out)
            codes = [track.zygote.run(*arguments(dump, out)).code for dump in track.dumps]
            assert sorted(codes) == [DONE, CONFLICT], "one of them goes on, and the other is refused"
            track.check(out, codes.index(DONE))
        if isinstance(out, Path):
            shutil.rmtree(out.parent)
    print(f"ends: {dict(seen)}")


def test_a_run_that_is_stopped_while_another_takes_over(track: Track, tier: Tier) -> None:
    """SIGSTOP, a second run from beginning to end, SIGCONT. With a lock the second is told who holds it."""
    alone = finish(track.zygote, *arguments(track.dumps[0], track.fresh())).seconds
    folder = isinstance(track.place, Path)
    seen: Counter[tuple[int, int]] = Counter()
    cases = tier(6, 100)
    for case in range(cases):
        out = track.fresh()
        with track.stopped(out, alone * (case + 0.5) / cases, 0) as (first, second):
            pass
        ended = track.zygote.wait(first)
        seen[ended.code, second.code] += 1
        if has_lock(track):
            assert (ended.code, second.code) in ((DONE, BUSY), (BUSY, DONE), (DONE, DONE)), (ended, second)
        else:
            assert second.code == DONE, second.err
            assert ended.code in (DONE, *((CONFLICT, BUSY, RETRY) if folder else ())), ended.err
        track.check(out, 0)
        if isinstance(out, Path):
            finish(track.zygote, *arguments(track.dumps[0], out))
            assert os.listdir(out.parent) == ["out"]
    print(f"ends of the first and the second: {dict(seen)}")


def test_a_run_that_is_stopped_while_another_job_takes_the_place(track: Track, tier: Tier) -> None:
    """Whichever claimed it has it; the other one neither publishes nor takes anything away."""
    alone = finish(track.zygote, *arguments(track.dumps[0], track.fresh())).seconds
    seen: Counter[tuple[int, int]] = Counter()
    cases = tier(6, 100)
    for case in range(cases):
        out = track.fresh()
        # most of them before it has made anything
        with track.stopped(out, alone * (case / cases) ** 2, 1) as (first, second):
            if second.code == DONE:
                track.check(out, 1)
        ended = track.zygote.wait(first)
        seen[ended.code, second.code] += 1
        assert {ended.code, second.code} <= {DONE, CONFLICT, BUSY, RETRY}, (ended, second)
        assert (ended.code, second.code) != (DONE, DONE)
        if DONE in (ended.code, second.code):
            track.check(out, 0 if ended.code == DONE else 1)
    print(f"ends of the first and the second: {dict(seen)}")


def test_the_lock_of_a_killed_run_is_free_at_once(zygote: Zygote, dumps: list[Path], tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        out = tmp_path / str(number) / "out"
        pid = zygote.start(*arguments(dumps[0], out), place=str(out.parent), at=60, fault="killed_after", jitter=0.001)
        assert zygote.wait(pid).code == -signal.SIGKILL
        assert (out.parent / ".out.wip" / ".lock").exists()
        began = time.monotonic()
        next_one = zygote.start(*arguments(dumps[0], out))
        while f"process {next_one} on" not in lock_text(out):
            assert time.monotonic() - began < 1
        assert zygote.wait(next_one).code == DONE


def lock_text(out: Path) -> str:
    for folder in (out.parent / ".out.wip", out):
        try:
            return (folder / ".lock").read_text()
        except FileNotFoundError:
            continue
    return ""
