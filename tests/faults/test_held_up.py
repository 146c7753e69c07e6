"""A run that is held up before any one of its requests, for as long as another run takes from beginning to end.

Rows 11, 28, 29 and 35 of the matrix (README.md) in a bucket, where there is no lock and a DELETE has no condition: what
a run has looked at may be long gone when its request arrives. Every request of the one is tried against the whole of
the other, and once more with a kill behind that request, so that nobody mends what it did. The store is a real S3 over
HTTP (moto).
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.jobs import CLAIM, TIMED, arguments, finish, objects, steps, write_dump
from faults.processes import stat
from faults.stub import LABELS, label_of
from faults.zygote import Ended, Zygote
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import turn_of
from sentiment_batch.write.part import turn_in_name
from sentiment_batch.write.store import read_json

ROWS = 70  # three shards
DONE, CONFLICT = 0, 4
EVALUATED = "metrics.json"
Tier = Callable[[int, int], int]


@dataclass(frozen=True)
class Scene:
    """What there is before, which job is held up, and which one runs meanwhile. A job may be given --overwrite."""

    before: tuple[str, ...]
    slow: str
    quick: str
    cut_at: int = 0  # the last of `before` is killed behind that change


SCENES = {
    "one job": Scene((), "small", "small"),
    "one evaluation": Scene((), "evaluate", "evaluate"),
    "both replace an output": Scene(("large",), "small --overwrite", "small --overwrite"),
    "both replace what is unfinished": Scene(("large",), "small --overwrite", "small --overwrite", cut_at=8),
    "both replace an evaluation": Scene(("retest",), "evaluate --overwrite", "evaluate --overwrite"),
    "another job takes over": Scene((), "large", "small --overwrite"),
    "a larger job takes over": Scene((), "small", "large --overwrite"),
    "another evaluation takes over": Scene((), "retest", "evaluate --overwrite"),
    "another job takes over from one that replaces": Scene(("small",), "large --overwrite", "small --overwrite"),
    "the job that is replaced takes it back": Scene(("large",), "small --overwrite", "large --overwrite"),
    "evaluations take turns": Scene(("evaluate",), "retest --overwrite", "evaluate --overwrite"),
    "both of two jobs replace a third": Scene(("third",), "large --overwrite", "small --overwrite"),
    "one that replaces is asked for again": Scene(("small",), "large --overwrite", "small"),
}


EVALUATIONS = ("evaluate", "retest")


def write_labelled(path: Path, rows: int) -> Path:
    texts = [f"review {row} of {rows}" for row in range(rows)]
    labels = [label_of(text) if row % 3 else LABELS[row % 2] for row, text in enumerate(texts)]
    lines = [f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)]
    path.write_text("text\tlabel\n" + "".join(lines))
    return path


class Place:
    """Jobs, what each of them makes alone, and fresh outputs for them."""

    def __init__(self, zygote: Zygote, folder: Path):
        self.zygote, self.cases = zygote, 0
        self.url = f"s3://bucket/held-up-{random.Random().getrandbits(64):x}"
        self.dumps = {
            "small": write_dump(folder / "small.tsv", ROWS),
            "large": write_dump(folder / "large.tsv", ROWS + 70, "other "),
            "third": write_dump(folder / "third.tsv", ROWS + 35, "third "),
            "evaluate": write_labelled(folder / "labelled.tsv", 40),
            "retest": write_labelled(folder / "retest.tsv", 25),
        }
        self.record = folder / "record"
        self.expected = {}
        self.job_ids = {}
        for name in self.dumps:
            out = self.fresh()
            finish(zygote, *self.command(name, out))
            self.expected[name] = made(out)
            self.job_ids[job_id_of(out)] = name

    def fresh(self) -> str:
        self.cases += 1
        return f"{self.url}/{self.cases}"

    def command(self, job: str, out: str) -> tuple[object, ...]:
        name, *more = job.split()
        if name in EVALUATIONS:
            dump = self.dumps[name]
            return ("evaluate", "--data", dump, "--model", "stub", "--output", out, "--progress", "none", *more)
        return arguments(self.dumps[name], out, *more)

    def prepared(self, scene: Scene) -> str:
        out = self.fresh()
        for job in scene.before:
            how: dict[str, Any] = {"place": "/nowhere", "at": scene.cut_at, "fault": "killed_after", "of": "put delete"}
            ended = self.zygote.run(*self.command(job, out), **(how if scene.cut_at else {}))
            assert ended.code == (-9 if scene.cut_at else 0), ended.err
        return out

    def requests(self, scene: Scene) -> int:
        """How many the slow one makes if nothing happens."""
        self.record.unlink(missing_ok=True)
        finish(self.zygote, *self.command(scene.slow, self.prepared(scene)), place="/nowhere", record=str(self.record))
        return len(steps(self.record))

    def held_up(self, scene: Scene, out: str, at: int, fault: str) -> tuple[Ended, Ended] | None:
        """(slow, quick): how both ended; None if the slow one has no request of that number."""
        self.record.unlink(missing_ok=True)
        how = {"place": "/nowhere", "at": at, "fault": fault, "record": str(self.record)}
        slow = self.zygote.start(*self.command(scene.slow, out), **how)
        if not is_stopped(slow):
            self.zygote.wait(slow)
            return None
        quick = self.zygote.run(*self.command(scene.quick, out))
        os.kill(slow, signal.SIGCONT)
        return self.zygote.wait(slow), quick

    def check(self, name: str, out: str) -> None:
        """It is announced, and is what the job makes alone."""
        assert announced(out) == (EVALUATED if name in EVALUATIONS else TIMED[1])
        assert made(out) == self.expected[name]
        if name not in EVALUATIONS:
            verified = self.zygote.run("verify", out)
            assert verified.code == 0, verified.err


def is_stopped(pid: int) -> bool:
    """Waits until it is, or has ended."""
    while True:
        fields = stat(pid)
        assert fields, "it has not been waited for"
        if fields[0] in "TZ":
            return fields[0] == "T"
        time.sleep(0.002)


def made(out: str, but: Iterable[str] = ()) -> dict[str, str]:
    """What readers see, but for what has times in it."""
    there = objects(out, but=(EVALUATED, "report.html", *but))
    return {name: each for name, each in there.items() if not name.startswith(".")}


def job_id_of(out: str) -> str:
    """Of the job whose the output is."""
    return turn_of(read_json(Bucket(out), CLAIM))[0]


def announced(out: str) -> str:
    """The name of the marker that says that this job is done, or nothing."""
    for marker in (TIMED[1], EVALUATED):
        found = read_json(Bucket(out), marker)
        if found and found["job_id"] == read_json(Bucket(out), CLAIM)["job_id"]:
            return marker
    return ""


@pytest.fixture(scope="module")
def place(s3_zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(s3_zygote, tmp_path_factory.mktemp("held-up"))


@pytest.mark.parametrize("name", SCENES)
def test_held_up_before_any_request(place: Place, name: str, tier: Tier) -> None:
    scene = SCENES[name]
    ends: Counter[tuple[str, int, int]] = Counter()
    unannounced = strays = 0
    for at, fault in cases(place.requests(scene), tier(1, 10_000)):
        out = place.prepared(scene)
        ended = place.held_up(scene, out, at, fault)
        if ended is None:  # another run may have done some of it
            continue
        slow, quick = ended
        request, on = steps(place.record)[at - 1]
        where = f"{fault} at {at}, {request} {on}: {slow}, {quick}"
        ends[fault, slow.code, quick.code] += 1
        assert quick.code in (DONE, CONFLICT), where
        assert slow.code in (DONE, CONFLICT, -signal.SIGKILL), where
        assert "Traceback" not in slow.err + quick.err, where
        owner = place.job_ids[job_id_of(out)]
        done = (scene.slow, slow.code), (scene.quick, quick.code)
        if owner in [job.split()[0] for job, code in done if code == DONE]:
            if not announced(out):  # by the very request that was late; the next run finds all else there
                assert request == "delete", where
                assert TIMED[1] in on or EVALUATED in on, where
                unannounced += 1
            turn = turn_of(read_json(Bucket(out), CLAIM))[1]
            late = [name for name in Bucket(out).sizes() if "part-" in name and turn_in_name(name) < turn]
            if late:  # nobody is left to take it away but the next run
                assert (fault, request) == ("late", "put"), where
                assert [name in on for name in late] == [True], where
                strays += 1
            assert made(out, but=late) == place.expected[owner], where
        again = finish(place.zygote, *place.command(owner, out))
        if owner in [job.split()[0] for job, code in done if code == DONE]:
            assert "made again" not in again.err, where
        place.check(owner, out)
        assert not any(name.startswith(".") for name in objects(out)), where
    assert ends
    print(f"{name}: {dict(ends)}, {unannounced} announced by the next run only, {strays} with a file of a killed run")


def cases(requests: int, most: int) -> list[tuple[int, str]]:
    """Of each fault as many; all if there are no more. The same ones in every run."""
    chance = random.Random(requests)
    numbers = range(1, requests + 1)
    return [(at, fault) for fault in ("stopped", "late") for at in sorted(chance.sample(numbers, min(requests, most)))]
