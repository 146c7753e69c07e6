"""The power goes at any moment: whatever the disk kept, the output is whole or absent, and the next run ends the job.

Row 5 of the matrix (README.md). The negative control counts as much: with the fsyncs of any one place of the program
taken out of the record there must be a state that fails, or the test would not notice that one is missing.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.jobs import arguments, check_finished, data_files, finish, is_published, write_dump
from faults.power import Disk, History, plain_tree, sites, states
from faults.zygote import Zygote

ROWS = 50  # two shards


class Job:
    """A recorded run, and what must be found after a crash in it.

    `then`: what the next run labels, if not the same. What is emptied may be the finished work of another job, which
    must not pass for whole when that job comes back.
    """

    def __init__(
        self,
        zygote: Zygote,
        folder: Path,
        before: Callable[[Path], None],
        *more: object,
        then: Path | None = None,
    ):
        self.zygote, self.folder = zygote, folder
        self.dump = write_dump(folder / "dump.tsv", ROWS)
        first, place, log = folder / "before", folder / "place", folder / "log"
        first.mkdir()
        before(self.out(first))
        self.old = data_files(self.out(first))
        shutil.copytree(first, place)
        ended = zygote.run(
            *arguments(self.dump, self.out(place), *more), recorder={"place": str(place), "log": str(log)}
        )
        assert ended.code == 0, ended.err
        self.expected = self.expected_then = data_files(self.out(place))
        self.then, self.more = then or self.dump, more
        if then:
            finish(zygote, *arguments(then, folder / "then"))
            self.expected_then = data_files(folder / "then")
        self.history = History(first, log)
        self.seen: dict[str, str] = {}

    def out(self, place: Path) -> Path:
        return place / "deep" / "out"

    def fault(self, disk: Disk, ended: bool) -> str:
        """What is wrong with a disk: nothing, if the output is whole or absent and the next run ends well."""
        key = hashlib.sha256(repr((plain_tree(disk), ended)).encode()).hexdigest()
        if key not in self.seen:
            try:
                self._check(disk, ended, self.folder / f"state-{len(self.seen)}")
                self.seen[key] = ""
            except AssertionError as error:
                self.seen[key] = str(error) or "?"
        return self.seen[key]

    def _check(self, disk: Disk, ended: bool, place: Path) -> None:
        place.mkdir()
        disk.write_to(place)
        out = self.out(place)
        assert is_published(out) or not (ended or self.old), "the output is gone"
        if is_published(out):
            assert data_files(out) in ((self.expected,) if ended else (self.expected, self.old)), "it is not whole"
            verified = self.zygote.run("verify", out)
            assert verified.code == 0, verified.err
        finish(self.zygote, *arguments(self.then, out, *self.more))
        check_finished(self.zygote, out, self.expected_then)

    def faults(self, most: int, without: str = "") -> tuple[int, str]:
        """How many states were looked at until one was at fault, and what was wrong with it."""
        count = 0
        last = len(self.history.events)
        for crash in range(last, -1, -1):
            for disk in states(self.history, crash, most, without):
                count += 1
                if fault := self.fault(disk, ended=crash == last):
                    return count, f"behind event {crash}: {fault}"
        return count, ""


def work_of(zygote: Zygote, dump: Path, out: Path, *kept: str, of: str = "link", at: int = 6) -> None:
    """What a run left that was killed before it published, with these files beside the parts."""
    out.parent.mkdir()
    ended = zygote.run(*arguments(dump, out), place=str(out.parent), of=of, at=at)
    assert ended.code == -9
    for name in kept:
        (out.with_name(".out.wip") / name).write_text("{}\n")


@pytest.fixture(scope="module")
def jobs(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """A run for each way to begin: nothing is there; another output, to be replaced; another job's work; that work when
    all but its rename was done; its own work.
    """

    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    other = write_dump(folder("dumps") / "other.tsv", ROWS + 40, "other ")
    same = write_dump(folder("same") / "dump.tsv", ROWS)
    stray = "_rejects/_part-00000-01234567.jsonl"
    return {
        "new": Job(zygote, folder("new"), lambda out: None),
        "output": Job(
            zygote, folder("output"), lambda out: finish(zygote, *arguments(other, out)) and None, "--overwrite"
        ),
        "work": Job(zygote, folder("work"), lambda out: work_of(zygote, other, out), "--overwrite"),
        "finished work": Job(
            zygote,
            folder("finished"),
            lambda out: work_of(zygote, other, out, of="rename", at=1),
            "--overwrite",
            then=other,
        ),
        "own work": Job(zygote, same.parent, lambda out: work_of(zygote, same, out, stray)),
    }


def test_the_power_goes_at_any_moment(jobs: dict[str, Job], tier: Callable[[int, int], int]) -> None:
    for name, job in jobs.items():
        count, fault = job.faults(tier(12, 4096))
        assert not fault, f"{name}, {fault}"
        print(f"{name}: {count:,} states, {len(job.seen):,} of them differ; {len(job.history.events)} events")


def test_every_fsync_is_needed(jobs: dict[str, Job], tier: Callable[[int, int], int]) -> None:
    """The negative control."""
    needless = {site for job in jobs.values() for site in sites(job.history)}
    for site in sorted(needless):
        for name, job in jobs.items():
            count, fault = job.faults(tier(12, 200), without=site) if site in sites(job.history) else (0, "")
            if fault:
                print(f"without {site}: {name}, {fault.splitlines()[0]}, after {count} states")
                needless.remove(site)
                break
    assert not needless
