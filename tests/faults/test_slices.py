"""Slices of one job: killed at every call, at random, beside each other; whatever happened, one of them publishes.

Rows "slices", "last slice", "publish" and "slices race" of the matrix (README.md). That all slices have ended well and
nobody has published is the fault that is looked for: so a job is ended by those runs alone that its scheduler would
begin, and by `publish` where a test says so.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.jobs import (
    arguments,
    check_finished,
    data_files,
    finish,
    is_announced,
    is_published,
    objects,
    steps,
    write_dump,
)
from faults.processes import stat
from faults.shim import CHANGES
from faults.zygote import Ended, Zygote

ROWS = 110  # four shards
DONE, BAD_INPUT, CONFLICT, BUSY, RETRY = 0, 3, 4, 5, 7
Tier = Callable[[int, int], int]


class Bench:
    """A job in slices, and what it makes without slices when nothing happens. `how` is for the shim."""

    def __init__(self, zygote: Zygote, folder: Path, place: Path | str, **how: Any):
        self.zygote, self.place, self.how, self.cases = zygote, place, how, 0
        self.folder = folder
        self.dump = write_dump(folder / "dump.tsv", ROWS)
        self.other = write_dump(folder / "other.tsv", ROWS, "other ")
        out = self.fresh()
        finish(zygote, *arguments(self.dump, out))
        self.expected = self.files(out)

    def fresh(self) -> Path | str:
        self.cases += 1
        if not isinstance(self.place, Path):
            return f"{self.place}/{self.cases}"
        (self.place / str(self.cases)).mkdir(parents=True)
        return self.place / str(self.cases) / "out"

    def command(self, out: Path | str, shard_slice: str, *more: object) -> tuple[object, ...]:
        return arguments(self.dump, out, "--shard-slice", shard_slice, *more)

    def faulty(self, out: Path | str, **fault: Any) -> dict[str, Any]:
        """What the shim is told."""
        return {"place": str(out.parent) if isinstance(out, Path) else "/nowhere", **self.how, **fault}

    def start(self, out: Path | str, shard_slice: str, *more: object, **fault: Any) -> int:
        return self.zygote.start(*self.command(out, shard_slice, *more), **self.faulty(out, **fault))

    def files(self, out: Path | str) -> dict[str, str]:
        return data_files(out) if isinstance(out, Path) else objects(out)

    def is_there(self, out: Path | str) -> bool:
        return is_published(out) if isinstance(out, Path) else is_announced(out)

    def check(self, out: Path | str) -> None:
        """It is published, with the bytes of a whole run, and nothing else is left."""
        if isinstance(out, Path):
            check_finished(self.zygote, out, self.expected)
            return
        verified = self.zygote.run("verify", out)
        assert verified.code == 0, verified.err
        assert self.files(out) == self.expected
        assert not any(name.startswith(".") for name in self.files(out))

    def forget(self, out: Path | str) -> None:
        if isinstance(out, Path):
            shutil.rmtree(out.parent)


@pytest.fixture(scope="module")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("slices")
    return Bench(zygote, folder, folder / "cases")


@pytest.fixture(params=["folder", "folder without locks", "bucket"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "bucket":
        url = f"s3://bucket/slices-{random.Random().getrandbits(64):x}"
        return Bench(request.getfixturevalue("s3_zygote"), tmp_path, url, jitter=0.002)
    zygote = request.getfixturevalue("zygote")
    return Bench(zygote, tmp_path, tmp_path / "cases", jitter=0.002, lock=request.param == "folder")


def numbers(last: int, count: int) -> Iterator[int]:
    """So many of 1 to `last` in order, the same ones in every run; all of them if there are no more."""
    yield from sorted(random.Random(last).sample(range(1, last + 1), min(last, count)))


# Killed


def killed_at_any_call(bench: Bench, of: int, which: int, cases: int, prepare: Callable[[Path], None]) -> None:
    """The slice is killed at a call; then it, as its scheduler would, or `publish` if that is all there is to do."""
    record = bench.folder / f"record-{of}-{which}"
    out = bench.fresh()
    assert isinstance(out, Path)
    prepare(out)
    command = bench.command(out, f"{which}/{of}")
    assert bench.zygote.run(*command, place=str(out.parent), record=str(record)).code == DONE
    calls = len(steps(record))
    published = 0
    for at in numbers(calls, cases):
        out = bench.fresh()
        assert isinstance(out, Path)
        prepare(out)
        command = bench.command(out, f"{which}/{of}")
        ended = bench.zygote.run(*command, place=str(out.parent), at=at)
        assert ended.code == -9, ended.err
        if is_published(out):
            assert data_files(out) == bench.expected
            assert bench.zygote.run("verify", out).code == 0
        if at % 2:
            by_hand = bench.zygote.run("publish", out)
            assert by_hand.code in (DONE, BAD_INPUT), by_hand.err
            published += by_hand.code == DONE
        for index in range(1, of + 1):
            if index >= which:
                finish(bench.zygote, *bench.command(out, f"{index}/{of}"))
        bench.check(out)
        bench.forget(out)
    print(f"slice {which}/{of}: {calls} calls, published by hand {published} times")


def test_the_last_slice_is_killed_at_any_call(bench: Bench, tier: Tier) -> None:
    """It has a shard to label, and all to publish."""

    def others(out: Path) -> None:
        for index in (1, 2, 3):
            finish(bench.zygote, *bench.command(out, f"{index}/4"))

    killed_at_any_call(bench, 4, 4, tier(12, 10_000), others)


def test_the_first_slice_is_killed_at_any_call(bench: Bench, tier: Tier) -> None:
    killed_at_any_call(bench, 2, 1, tier(6, 10_000), lambda out: None)


def test_a_slice_that_replaces_the_work_of_another_job_is_killed_at_any_call(bench: Bench, tier: Tier) -> None:
    """What there was of the other job may go; nothing that is not of either may come."""

    def left(out: Path) -> None:
        ended = bench.zygote.run(*arguments(bench.other, out), place=str(out.parent), at=70)
        assert ended.code == -9

    out = bench.fresh()
    assert isinstance(out, Path)
    left(out)
    record = bench.folder / "record-replaced"
    again = bench.command(out, "1/2", "--overwrite")
    assert bench.zygote.run(*again, place=str(out.parent), record=str(record)).code == DONE
    for at in numbers(len(steps(record)), tier(6, 10_000)):
        out = bench.fresh()
        assert isinstance(out, Path)
        left(out)
        assert bench.zygote.run(*bench.command(out, "1/2", "--overwrite"), place=str(out.parent), at=at).code == -9
        for index in (2, 1):
            finish(bench.zygote, *bench.command(out, f"{index}/2", "--overwrite"))
        bench.check(out)
        bench.forget(out)


def test_publish_is_killed_at_any_call(bench: Bench, tier: Tier) -> None:
    kept = bench.fresh()
    assert isinstance(kept, Path)
    finish(bench.zygote, *bench.command(kept, "1/2"))
    record = bench.folder / "record-last"
    copy = kept.with_name("copy")
    shutil.copytree(kept.with_name(".out.wip"), copy.with_name(".copy.wip"))
    ended = bench.zygote.run(*bench.command(copy, "2/2"), place=str(copy.parent), record=str(record))
    assert ended.code == DONE, ended.err
    made = steps(record)
    last_seal = max(at for at, (name, path) in enumerate(made, 1) if name == "link" and "part-" in path)
    assert bench.zygote.run(*bench.command(kept, "2/2"), place=str(kept.parent), at=last_seal + 3).code == -9

    def prepared() -> Path:
        out = bench.fresh()
        assert isinstance(out, Path)
        shutil.copytree(kept.with_name(".out.wip"), out.with_name(".out.wip"))
        return out

    out = prepared()
    record = bench.folder / "record-publish"
    ended = bench.zygote.run("publish", out, place=str(out.parent), record=str(record))
    assert ended.code == DONE, ended.err
    bench.check(out)
    calls = len(steps(record))
    for at in numbers(calls, tier(12, 10_000)):
        out = prepared()
        assert bench.zygote.run("publish", out, place=str(out.parent), at=at).code == -9
        if is_published(out):
            assert data_files(out) == bench.expected
        finish(bench.zygote, "publish", out)
        bench.check(out)
        bench.forget(out)


def test_killed_at_random_beside_each_other(anywhere: Bench, tier: Tier) -> None:
    """Three slices at once; some of them are killed at any time; a scheduler runs those again that did not end well."""
    bench = anywhere
    certain = isinstance(bench.place, str) or bench.how["lock"]
    alone = finish(bench.zygote, *arguments(bench.dump, bench.fresh())).seconds
    chance = random.Random(5)
    seen: Counter[int] = Counter()
    for _ in range(tier(4, 200)):
        out = bench.fresh()
        waiting = ["1/3", "2/3", "3/3"]
        for turn in range(20):
            running = {each: bench.start(out, each) for each in waiting}
            time.sleep(alone * chance.random())
            for pid in chance.sample(sorted(running.values()), chance.randint(0, len(running)) if turn < 4 else 0):
                os.kill(pid, signal.SIGKILL)
            ended = {each: bench.zygote.wait(pid) for each, pid in running.items()}
            seen.update(each.code for each in ended.values())
            fine = {DONE, -9} if certain else {DONE, -9, CONFLICT, BUSY, RETRY}
            assert {each.code for each in ended.values()} <= fine, ended
            assert not any("Traceback" in each.err for each in ended.values()), ended
            waiting = [each for each, how in ended.items() if how.code != DONE]
            if not waiting:
                break
        if not certain and not bench.is_there(out):
            finish(bench.zygote, *arguments(bench.dump, out))
        assert bench.is_there(out), "all slices ended well, and nobody published"
        bench.check(out)
        bench.forget(out)
    assert seen[-9]
    print(f"ends: {dict(seen)}")


# Races


def race(bench: Bench, out: Path | str, slices: list[str], seconds: float, *more: object) -> list[Ended]:
    """How the slices end, which begin within those seconds."""
    chance = random.Random(bench.cases)
    running = []
    for each in chance.sample(slices, len(slices)):
        time.sleep(seconds / len(slices) * chance.random())
        running.append(bench.start(out, each, *more))
    return [bench.zygote.wait(pid) for pid in running]


def test_all_at_once(anywhere: Bench, tier: Tier) -> None:
    """Six slices of four shards: all end well, one of them publishes (in a bucket perhaps two, which is the same)."""
    bench, seen = anywhere, Counter[int]()
    certain = isinstance(bench.place, str) or bench.how["lock"]
    for number in range(tier(4, 300)):
        out = bench.fresh()
        ended = race(bench, out, [f"{index}/6" for index in range(1, 7)], 0.3 * (number % 3))
        seen.update(each.code for each in ended)
        assert not any("Traceback" in each.err for each in ended), ended
        if certain:
            assert {each.code for each in ended} == {DONE}, ended
            assert bench.is_there(out), ended
        else:
            assert {each.code for each in ended} <= {DONE, CONFLICT, BUSY, RETRY}, ended
            finish(bench.zygote, *arguments(bench.dump, out))
        bench.check(out)
        bench.forget(out)
    print(f"ends: {dict(seen)}")


def test_two_last_ones(bench: Bench, tier: Tier) -> None:
    """Each has one shard to label, begun at the same moment: they come for the commit together."""
    kept = bench.fresh()
    assert isinstance(kept, Path)
    for index in (1, 2):
        finish(bench.zygote, *bench.command(kept, f"{index}/4"))
    committed: Counter[int] = Counter()
    for number in range(tier(8, 500)):
        out = bench.fresh()
        assert isinstance(out, Path)
        shutil.copytree(kept.with_name(".out.wip"), out.with_name(".out.wip"))
        running = [bench.start(out, each, jitter=0.003 * (number % 2)) for each in ("3/4", "4/4")]
        ended = [bench.zygote.wait(pid) for pid in running]
        assert [each.code for each in ended] == [DONE, DONE], ended
        assert is_published(out), ended
        bench.check(out)
        committed[sum("the last slice publishes" in each.err for each in ended)] += 1
        bench.forget(out)
    print(f"how many of the two left it to the other: {dict(committed)}")


def test_all_at_once_where_another_job_left_its_work(bench: Bench, tier: Tier) -> None:
    """One of them takes it away, while none of the others has begun."""
    for _ in range(tier(4, 200)):
        out = bench.fresh()
        assert isinstance(out, Path)
        assert bench.zygote.run(*arguments(bench.other, out), place=str(out.parent), at=70).code == -9
        ended = race(bench, out, ["1/4", "2/4", "3/4", "4/4"], 0.05, "--overwrite")
        assert {each.code for each in ended} == {DONE}, ended
        bench.check(out)
        bench.forget(out)


def test_beside_whole_runs_and_another_job(bench: Bench, tier: Tier) -> None:
    """Slices wait for a whole run for a moment, a whole run for nobody; another job is refused; no slice is lost."""
    seen: Counter[tuple[str, int]] = Counter()
    for _ in range(tier(4, 200)):
        out = bench.fresh()
        assert isinstance(out, Path)
        chance = random.Random(bench.cases)
        commands = {
            **{each: bench.command(out, each) for each in ("1/2", "2/2")},
            **{"whole": arguments(bench.dump, out), "other": arguments(bench.other, out)},
            **{"other 1/2": arguments(bench.other, out, "--shard-slice", "1/2")},
            "publish": ("publish", out),
        }
        running = {}
        for name in chance.sample(sorted(commands), len(commands)):
            time.sleep(0.1 * chance.random())
            running[name] = bench.zygote.start(*commands[name], place=str(out.parent), jitter=0.002)
        ended = {name: bench.zygote.wait(pid) for name, pid in running.items()}
        seen.update((name, each.code) for name, each in ended.items())
        assert not any("Traceback" in each.err for each in ended.values()), ended
        assert {each.code for each in ended.values()} <= {DONE, BAD_INPUT, CONFLICT, BUSY}, ended
        assert {name for name, each in ended.items() if each.code == BAD_INPUT} <= {"publish"}
        ours = DONE in {ended[name].code for name in ("1/2", "2/2", "whole")}
        theirs = DONE in {ended[name].code for name in ("other", "other 1/2")}
        assert not (ours and theirs), ended
        if theirs:
            assert bench.zygote.run(*arguments(bench.dump, out)).code == CONFLICT
            finish(bench.zygote, *arguments(bench.other, out))
        else:
            for each in ("1/2", "2/2"):  # as a scheduler does with those that were busy
                if ended[each].code != DONE:
                    finish(bench.zygote, *commands[each])
            finish(bench.zygote, "verify", out)
            assert data_files(out) == bench.expected
            left = out.with_name(".out.wip")  # of a run of the other job, which came for it when this one was published
            assert not left.exists() or os.listdir(left) in ([], [".lock"]), (os.listdir(left), ended)
        bench.forget(out)
    print(f"ends: {dict(seen)}")


def test_stopped_before_any_change_while_the_other_ends(s3_zygote: Zygote, tmp_path: Path, tier: Tier) -> None:
    """In a bucket, where nothing keeps one away: the other one ends meanwhile, and whoever looks last publishes."""
    bench = Bench(s3_zygote, tmp_path, f"s3://bucket/slices-{random.Random().getrandbits(64):x}")
    record, out = tmp_path / "record", bench.fresh()
    finish(s3_zygote, *bench.command(out, "2/2"))
    command = bench.command(out, "1/2")
    assert s3_zygote.run(*command, place="/nowhere", record=str(record)).code == DONE
    calls = sum(name in CHANGES.split() for name, _ in steps(record))
    for at in numbers(calls, tier(4, 10_000)):
        out = bench.fresh()
        slow = s3_zygote.start(*bench.command(out, "1/2"), place="/nowhere", at=at, fault="stopped", of=CHANGES)
        began = time.monotonic()
        while state(slow) not in "TZ":
            assert time.monotonic() - began < 60
            time.sleep(0.01)
        quick = s3_zygote.run(*bench.command(out, "2/2"))
        os.kill(slow, signal.SIGCONT)
        ended = s3_zygote.wait(slow)
        assert (quick.code, ended.code) == (DONE, DONE), (quick, ended)
        assert is_announced(out), (at, quick, ended)
        bench.check(out)


def state(pid: int) -> str:
    """As ps shows it: T is stopped, Z has ended."""
    found = stat(pid)
    return found[0] if found else "Z"
