"""write/commit.py, beside.py, lock.py: one run at a time, one job for an output, and an output whole or not there."""

import errno
import fcntl
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.errors import Busy, OutputConflict, UsageError
from sentiment_batch.write import beside
from sentiment_batch.write.beside import Beside
from sentiment_batch.write.claim import job_id
from sentiment_batch.write.commit import claim
from sentiment_batch.write.lock import Lock
from sentiment_batch.write.store import Folder, create_json, json_scratch
from sentiment_batch.write.store import read_json as read_stored

MARKER = "_SUCCESS"
JOB: dict[str, Any] = {
    "command": "score",
    "inputs": [{"name": "a.tsv", "bytes": 10}, {"name": "b.tsv", "bytes": 20}],
    "options": {"prefix": "", "label_column": None, "keep_columns": ["all"]},
}
OTHER: dict[str, Any] = {**JOB, "options": {**JOB["options"], "prefix": "sb_"}}


def begin(output: Path, identity: dict[str, Any] = JOB, overwrite: bool = False) -> Beside:
    work = claim(str(output), identity, MARKER, overwrite)
    assert isinstance(work, Beside)
    return work


def read_json(path: Path) -> Any:
    return read_stored(Folder(path.parent), path.name)


def complete(work: Beside, identity: dict[str, Any] = JOB) -> dict[str, Any]:
    """Make everything that an output has, the marker last."""
    (work.folder / "part-00000.parquet").write_text(work.claim.job_id)
    (work.scratch / "rest").write_text("of a part")
    marker = {"job_id": work.claim.job_id, "identity": identity, "rows": 3}
    create_json(work.store, work.scratch, MARKER, marker)
    return marker


def publish(output: Path, identity: dict[str, Any] = JOB) -> dict[str, Any]:
    work = begin(output, identity)
    marker = complete(work, identity)
    work.publish()
    return marker


def leave(output: Path, identity: dict[str, Any] = JOB) -> Path:
    """A run that stops behind its first part; the folder that it leaves."""
    work = begin(output, identity)
    (work.folder / "part-00000.parquet").write_text(work.claim.job_id)
    work.release()
    return work.folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# Identity


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5), st.randoms(use_true_random=False))
def test_job_id_does_not_depend_on_the_order_of_keys(identity: dict[str, Any], chance: random.Random) -> None:
    assert job_id(shuffled(identity, chance)) == job_id(identity)


def test_job_id_depends_on_every_value_and_its_kind() -> None:
    identities = [JOB, OTHER, {**JOB, "inputs": JOB["inputs"][::-1]}, {"a": 1}, {"a": "1"}, {"a": None}, {"a": []}, {}]
    assert len({job_id(identity) for identity in identities}) == len(identities)


def test_job_id_is_the_same_in_every_version() -> None:
    """A change of it would make every finished output another job's."""
    assert job_id({"b": [1, None], "a": "é"}) == "3d92f6368f93f3cb36a4e7a721098054"


# The ordinary way


def test_an_output_is_there_when_it_is_published_and_not_before(out: Path) -> None:
    work = begin(out)
    assert work.resumed is False
    complete(work)
    assert not out.exists()
    work.publish()
    assert sorted(content(out)) == [MARKER, "part-00000.parquet"]
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_finished_job_gives_its_marker_and_touches_nothing(out: Path) -> None:
    marker = publish(out)
    before = os.stat(out).st_mtime_ns
    assert claim(str(out), JOB, MARKER) == marker
    assert claim(str(out), JOB, MARKER, overwrite=True) == marker
    assert os.stat(out).st_mtime_ns == before
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_the_same_folder_by_another_path_is_the_same_output(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = begin(out)
    monkeypatch.chdir(out.parent)
    for path in ("out", "out/", "./x/../out"):
        with pytest.raises(Busy):
            claim(path, JOB, MARKER)
    assert [entry.name for entry in out.parent.iterdir()] == [".out.wip"]
    complete(work)
    work.release()
    assert claim("out/", JOB, MARKER) == read_json(out / MARKER)


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    publish(tmp_path / "2026" / "01" / "31")
    assert (tmp_path / "2026" / "01" / "31" / MARKER).is_file()


def test_nothing_lies_in_a_published_output(out: Path, tmp_path: Path) -> None:
    """Who reads that with all that is below it would have rows of both."""
    publish(out)
    (tmp_path / "link").symlink_to(out)
    before = content(out)
    for path in (out / "in", out / "of" / "it", tmp_path / "link" / "in"):
        with pytest.raises(UsageError, match=rf"lies in {out}, which is published and never changes"):
            claim(str(path), OTHER, "metrics.json")
    assert content(out) == before
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / MARKER).touch()  # of a table, which may have partitions of ours
    publish(tmp_path / "spark" / "day=2026-01-31")


def test_an_empty_folder_is_a_fine_output(out: Path) -> None:
    out.mkdir()
    publish(out)
    assert sorted(content(out)) == [MARKER, "part-00000.parquet"]


def test_a_job_goes_on_with_its_parts_but_an_empty_scratch(out: Path) -> None:
    work = begin(out)
    (work.folder / "part-00000.parquet").write_text("sealed")
    (work.scratch / "part-00001.parquet.17").write_text("half")
    work.release()
    again = begin(out)
    assert again.resumed is True
    assert (again.folder / "part-00000.parquet").read_text() == "sealed"
    assert list(again.scratch.iterdir()) == []


def test_a_run_that_stops_before_there_is_something_to_go_on_with_leaves_nothing(out: Path) -> None:
    work = begin(out)
    (work.scratch / "part-00000.parquet.17").write_text("half")
    work.release()
    assert list(out.parent.iterdir()) == []
    assert begin(out, OTHER).resumed is False


def test_a_killed_run_that_had_nothing_to_go_on_with_is_in_no_other_jobs_way(out: Path) -> None:
    work = begin(out, OTHER)
    os.close(work.lock.descriptor)  # as the kernel does
    again = begin(out)
    assert again.resumed is False
    complete(again)
    again.release()
    assert claim(str(out), JOB, MARKER) == read_json(out / MARKER)


def test_a_checkpoint_is_something_to_go_on_with(out: Path) -> None:
    work = begin(out)
    (work.folder / ".checkpoint").mkdir()
    create_json(Folder(work.folder / ".checkpoint"), work.scratch, "state.json", {"epoch": 1})
    work.release()
    with pytest.raises(OutputConflict, match="unfinished work of another job"):
        claim(str(out), OTHER, MARKER)
    assert begin(out).resumed is True
    assert read_json(work.folder / ".checkpoint" / "state.json") == {"epoch": 1}


def test_the_lock_goes_last(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds no lock makes a new one, and what is removed after that is theirs."""
    work = begin(out)
    (work.scratch / "part-00000.parquet.17").write_text("half")
    unguarded: list[set[str]] = []

    def watched(call: Callable[..., None], *args: Any, **options: Any) -> None:
        call(*args, **options)
        left = set(os.listdir(work.folder)) if work.folder.exists() else set()
        if left and ".lock" not in left:
            unguarded.append(left)

    for name in ("unlink", "rmdir"):
        monkeypatch.setattr(os, name, partial(watched, getattr(os, name)))
    work.release()
    assert unguarded == []
    assert not work.folder.exists()


# Whose output it is


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("files", [{"thesis.docx": "mine"}, {MARKER: ""}, {MARKER: '{"rows": 3}'}, {".hidden": ""}])
def test_the_files_of_strangers_are_left_alone(out: Path, files: dict[str, str], overwrite: bool) -> None:
    out.mkdir()
    for name, text in files.items():
        (out / name).write_text(text)
    before = content(out)
    with pytest.raises(OutputConflict, match="out has files that are not of a finished job"):
        claim(str(out), JOB, MARKER, overwrite)
    assert content(out) == before
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_the_files_of_strangers_are_left_alone_when_they_come_during_the_work(out: Path) -> None:
    work = begin(out)
    complete(work)
    out.mkdir()
    (out / "thesis.docx").write_text("mine")
    with pytest.raises(OutputConflict, match="out has files that are not of a finished job"):
        work.publish()
    work.release()
    assert content(out) == {"thesis.docx": b"mine"}


def test_another_job_that_was_published_during_the_work_is_left_alone(out: Path, tmp_path: Path) -> None:
    """As it may be where the lock does not reach: from another host, on a file system without locks."""
    work = begin(out)
    complete(work)
    publish(tmp_path / "elsewhere", OTHER)
    os.rename(tmp_path / "elsewhere", out)
    before = content(out)
    with pytest.raises(OutputConflict, match="belongs to another job"):
        work.publish()
    work.release()
    assert content(out) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "link to a folder", "dangling link"])
def test_an_output_that_is_no_folder_is_refused(out: Path, kind: str, overwrite: bool) -> None:
    if kind == "file":
        out.write_text("mine")
    else:
        target = out.with_name("target")
        if kind == "link to a folder":
            target.mkdir()
        out.symlink_to(target)
    with pytest.raises(OutputConflict, match="out is not a folder; move it, or give another --output"):
        claim(str(out), JOB, MARKER, overwrite)
    assert os.path.lexists(out)
    assert not out.with_name(".out.wip").exists()


def test_a_file_in_the_work_folders_place_is_refused(out: Path) -> None:
    out.with_name(".out.wip").write_text("mine")
    with pytest.raises(OutputConflict, match=r"\.out\.wip is not a folder; move it"):
        claim(str(out), JOB, MARKER)
    assert out.with_name(".out.wip").read_text() == "mine"


def test_an_empty_folder_that_a_late_run_left_is_in_nobodys_way(out: Path) -> None:
    (out.with_name(".out.wip") / "_rejects").mkdir(parents=True)
    publish(out)
    assert sorted(content(out)) == [MARKER, "part-00000.parquet"]
    assert os.listdir(out.parent) == ["out"]


def test_the_output_of_another_job_is_refused_with_what_differs(out: Path) -> None:
    publish(out, OTHER)
    before = content(out)
    with pytest.raises(OutputConflict) as refused:
        claim(str(out), JOB, MARKER)
    assert "belongs to another job: --prefix sb_ there, none here; " in str(refused.value)
    assert "--overwrite" in str(refused.value)
    assert content(out) == before


def test_unfinished_work_of_another_job_is_refused_with_what_differs(out: Path) -> None:
    work = leave(out, {**JOB, "inputs": [JOB["inputs"][0], {"name": "c.tsv", "bytes": 20}]})
    before = content(work)
    with pytest.raises(OutputConflict) as refused:
        claim(str(out), JOB, MARKER)
    assert "unfinished work of another job: the input c.tsv there, b.tsv here; " in str(refused.value)
    assert {**content(work), ".lock": b""} == {**before, ".lock": b""}


def test_a_refusal_lets_go_of_the_lock(out: Path) -> None:
    leave(out, OTHER)
    with pytest.raises(OutputConflict):
        claim(str(out), JOB, MARKER)
    assert begin(out, OTHER).resumed


def test_at_most_three_differences_are_named(out: Path) -> None:
    publish(out, {"options": dict.fromkeys("abcde", 1)})
    with pytest.raises(OutputConflict) as refused:
        claim(str(out), {"options": dict.fromkeys("abcde", 2)}, MARKER)
    assert str(refused.value).count(" there, ") == 3


# --overwrite


def test_overwrite_replaces_the_output_of_another_job_when_the_new_one_is_there(out: Path) -> None:
    publish(out, OTHER)
    work = begin(out, overwrite=True)
    complete(work)
    assert read_json(out / MARKER)["job_id"] == job_id(OTHER)
    work.publish()
    assert read_json(out / MARKER)["job_id"] == job_id(JOB)
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_overwrite_replaces_unfinished_work_of_another_job(out: Path) -> None:
    work = begin(out, OTHER)
    (work.folder / "part-00007.parquet").write_text("theirs")
    (work.folder / "_rejects").mkdir()
    (work.folder / "_rejects" / "a.jsonl").write_text("theirs")
    work.release()
    ours = begin(out, overwrite=True)
    assert ours.resumed is False
    assert sorted(content(ours.folder)) == [".claim.json", ".lock"]
    (ours.folder / "part-00000.parquet").write_text("ours")
    ours.release()
    assert begin(out).resumed  # the claim is ours now


# One run at a time


HOLDER = """
import sys
from sentiment_batch.write.commit import claim
work = claim(sys.argv[1], {identity!r}, {marker!r})
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the output until it is killed."""
    code = HOLDER.format(identity=JOB, marker=MARKER)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_run_is_told_who_holds_the_output_and_a_killed_one_holds_nothing(out: Path) -> None:
    with held_elsewhere(out) as process:
        for identity, overwrite in ((JOB, False), (JOB, True), (OTHER, True)):
            with pytest.raises(Busy) as busy:
                claim(str(out), identity, MARKER, overwrite)
            assert f"(process {process.pid} on {socket.gethostname()})" in str(busy.value)
        process.kill()
        process.wait()
        assert begin(out).resumed is True


def test_a_run_that_ends_lets_the_next_one_in(out: Path) -> None:
    work = begin(out)
    with pytest.raises(Busy, match=f"process {os.getpid()} on"):
        claim(str(out), JOB, MARKER)
    work.release()
    work.release()  # twice is once
    begin(out)


def test_the_holder_is_named_without_the_rest_of_an_earlier_one(out: Path) -> None:
    wip = out.with_name(".out.wip")
    wip.mkdir()
    (wip / ".lock").write_text("process 99999999 on " + "x" * 100)
    begin(out)
    with pytest.raises(Busy, match=rf"\(process {os.getpid()} on {re.escape(socket.gethostname())}\)"):
        claim(str(out), JOB, MARKER)


@pytest.mark.parametrize("before", ["nothing", "another job"])
def test_nobody_gets_in_while_a_run_publishes(out: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    if before == "another job":
        publish(out, OTHER)
    work = begin(out, overwrite=True)
    complete(work)
    rename, exchange, answers = os.rename, beside.exchange, []

    def asked() -> None:
        with pytest.raises(Busy):
            claim(str(out), JOB, MARKER, overwrite=True)
        answers.append("busy")

    monkeypatch.setattr(os, "rename", lambda *paths: (None if answers else asked(), rename(*paths))[1])
    monkeypatch.setattr(beside, "exchange", lambda *paths: (asked(), exchange(*paths))[1])
    work.publish()
    assert answers == ["busy"]


def test_a_run_that_comes_for_the_lock_while_another_publishes_is_done(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = beside.lock

    def late(folder: Path) -> Lock:
        monkeypatch.undo()
        publish(out)
        return lock(folder)

    monkeypatch.setattr(beside, "lock", late)
    found = claim(str(out), JOB, MARKER)
    assert found == read_json(out / MARKER)
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_lock_on_a_folder_that_was_published_meanwhile_is_no_lock(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor was opened in time, but its file is now in the output, or gone."""
    other = begin(out)
    complete(other)
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        other.publish()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    found = claim(str(out), JOB, MARKER)
    assert found == read_json(out / MARKER)
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


# Crashes


class Crash(BaseException):
    """The power goes."""


@contextmanager
def crash_at(step: int) -> Iterator[None]:
    """Every change of the file system from the n-th on fails."""
    steps = count()

    def counted(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if next(steps) >= step:
            raise Crash
        return call(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "unlink", "fsync", "mkdir", "rmdir"):
            patch.setattr(os, name, partial(counted, getattr(os, name)))
        patch.setattr(beside, "exchange", partial(counted, beside.exchange))
        yield


def visible(out: Path) -> dict[str, bytes] | None:
    if not out.exists():
        return None
    return {name: data for name, data in content(out).items() if not name.startswith(".")}


@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("before", ["nothing", "an empty folder", "another job"])
def test_a_crash_in_publish_is_mended_by_the_next_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, swap: bool
) -> None:
    """With renameat2 the old output is there until the new one is; without it there may be none for a moment."""
    if not swap:
        monkeypatch.setattr(beside, "exchange", lambda *_: False)
    for step in range(50):
        out = tmp_path / str(step) / "out"
        if before == "an empty folder":
            out.mkdir(parents=True)
        if before == "another job":
            publish(out, OTHER)
        old = visible(out)
        work = begin(out, overwrite=True)
        marker = complete(work)
        new = {name: data for name, data in content(work.folder).items() if not name.startswith(".")}
        crashed = False
        with crash_at(step):
            try:
                work.publish()
            except Crash:
                crashed = True
        work.release()
        assert visible(out) in ((old, new) if swap else (old, None, new))
        assert claim(str(out), JOB, MARKER, overwrite=True) == marker
        assert visible(out) == new
        if not crashed:
            break
        assert [entry.name for entry in out.parent.iterdir()] == ["out"]
        assert ".lock" not in content(out)
    assert not crashed
    assert step > 3


def test_the_rest_of_an_output_that_was_replaced_before_a_crash_is_in_nobodys_way(out: Path) -> None:
    publish(out, OTHER)
    old = out.with_name(".out.old")
    old.mkdir()
    (old / "part-00000.parquet").write_text("half removed")
    (old / ".claim.json").write_text(json.dumps({"job_id": job_id(OTHER), "identity": OTHER}))
    work = begin(out, overwrite=True)
    complete(work)
    work.publish()
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_crash_between_the_marker_and_the_rename_is_finished_by_the_next_claim(out: Path) -> None:
    work = begin(out)
    marker = complete(work)
    work.release()
    assert claim(str(out), JOB, MARKER) == marker
    assert sorted(content(out)) == [MARKER, "part-00000.parquet"]
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_finished_work_of_another_job_that_was_not_renamed_is_refused(out: Path) -> None:
    work = begin(out, OTHER)
    complete(work, OTHER)
    work.release()
    (work.folder / ".claim.json").unlink()  # publish removes it before it renames
    with pytest.raises(OutputConflict, match=r"unfinished work of another job: --prefix"):
        claim(str(out), JOB, MARKER)
    assert begin(out, overwrite=True).resumed is False


# What else may be there


def test_exchange_swaps_two_folders_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("x")
    assert beside.exchange(tmp_path / "one", tmp_path / "other")
    assert os.listdir(tmp_path / "one") == ["other"]
    assert os.listdir(tmp_path / "other") == ["one"]
    with pytest.raises(FileNotFoundError, match="one"):  # no reason to do it in two steps
        beside.exchange(tmp_path / "one", tmp_path / "missing")


@pytest.mark.parametrize("leftover", ["work", "finished work", "a replaced output"])
def test_what_is_left_by_a_crash_while_a_folder_is_emptied_is_unfinished_work(tmp_path: Path, leftover: str) -> None:
    """It must not pass for finished, and must say whose it is to the very end."""
    refused = 0
    for step in range(50):
        out = tmp_path / str(step) / "out"
        wip = out.with_name(".out.wip")
        work = begin(out, OTHER)
        (work.folder / "_rejects").mkdir()
        (work.folder / "_rejects" / "a.jsonl").write_text("theirs")
        (work.folder / "part-00001.parquet").write_text("theirs")
        if leftover != "work":
            complete(work, OTHER)
        work.lock.release()
        if leftover == "a replaced output":
            claim(str(out), OTHER, MARKER)
            publish(out.with_name("newer"))
            os.rename(out, wip)
            os.rename(out.with_name("newer"), out)
        before, crashed = set(content(wip)), False
        with crash_at(step):
            try:
                claim(str(out), JOB, MARKER, overwrite=True)
            except Crash:
                crashed = True
        if not crashed:
            break
        if out.exists():
            shutil.rmtree(out)
        if (wip / MARKER).exists():
            assert set(content(wip)) >= before - {".claim.json", ".lock"}
        begun = wip.exists() and any(not name.startswith(".") for name in content(wip))  # an empty folder is nothing
        if begun:
            with pytest.raises(OutputConflict, match=r"is the unfinished work of another job: --prefix"):
                claim(str(out), JOB, MARKER)
            refused += 1
        else:
            begin(out)
    assert not crashed
    assert refused > (0 if leftover == "a replaced output" else 2), "that one is given another name first"


DAMAGE = {"no claim": None, "an empty one": b"", "half of one": b'{"job_id": "', "another JSON": b"{}"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["part-00000.parquet", ".hidden", "_rejects/a.jsonl", ".checkpoint/state.json"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_work_whose_claim_is_lost_is_left_alone(out: Path, damage: bytes | None, name: str, overwrite: bool) -> None:
    """Whether it is hours of a job or the files of strangers, nobody can tell."""
    wip = out.with_name(".out.wip")
    (wip / name).parent.mkdir(parents=True)
    (wip / name).write_text("worth something")
    if damage is not None:
        (wip / ".claim.json").write_bytes(damage)
    before = content(wip)
    with pytest.raises(OutputConflict, match=r"\.out\.wip has files that are not of a finished job"):
        claim(str(out), JOB, MARKER, overwrite)
    assert content(wip) == before
    assert list(out.parent.iterdir()) == [wip]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_a_run_leaves_before_its_claim_is_in_nobodys_way(out: Path, damage: bytes | None) -> None:
    wip = out.with_name(".out.wip")
    for folder in (".scratch", ".checkpoint"):
        (wip / folder).mkdir(parents=True)
        (wip / folder / "half").write_text("x")
    (wip / ".lock").write_text("process 1 on elsewhere")
    if damage is not None:
        (wip / ".claim.json").write_bytes(damage)
    work = begin(out)
    assert not work.resumed
    assert sorted(content(wip)) == [".claim.json", ".lock"]


@pytest.mark.parametrize("suffix", ["wip", "old"])
@pytest.mark.parametrize("kind", ["folder", "link to a folder"])
def test_what_strangers_have_beside_the_output_is_left_alone(out: Path, suffix: str, kind: str) -> None:
    theirs = out.with_name(f".out.{suffix}")
    target = out.with_name("target") if kind == "link to a folder" else theirs
    publish(out, OTHER)
    target.mkdir()
    (target / "notes").write_text("theirs")
    if target != theirs:
        theirs.symlink_to(target)
    before = content(out.parent)
    assert isinstance(claim(str(out), OTHER, MARKER), dict)
    assert content(out.parent) == before
    with pytest.raises(OutputConflict, match=rf"\.out\.{suffix} (has files that are not of a|is not a folder)"):
        begin(out, overwrite=True)
    after = content(out.parent)
    after.pop(".out.wip/.lock", None)
    assert after == before
    if suffix == "old":
        shutil.rmtree(out)
        publish(out)  # which has no need of the name
        assert content(target) == {"notes": b"theirs"}


def test_work_that_is_taken_away_is_noticed(out: Path) -> None:
    work = begin(out)
    work.check_held()
    os.rename(work.folder, out.with_name("elsewhere"))
    with pytest.raises(OutputConflict, match="moved or removed"):
        work.check_held()


def test_what_a_killed_run_was_about_to_write_is_taken_away_by_the_next_one(out: Path) -> None:
    work = leave(out)
    (work / ".scratch" / "killed").mkdir(parents=True)
    (work / ".scratch" / "killed" / "half").write_text("of a part")
    assert begin(out).resumed
    assert sorted(content(work)) == [".claim.json", ".lock", "part-00000.parquet"]


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlocked(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unlocked)


def test_without_locks_each_run_has_scratch_of_its_own(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be on two hosts, and have one process number: here they are one process."""
    without_locks(monkeypatch)
    first = begin(out)
    (first.scratch / "half").write_text("of a part")
    second = begin(out)
    assert second.resumed
    (second.scratch / "half").write_text("of another")
    assert (first.scratch / "half").read_text() == "of a part"
    with json_scratch(first.scratch, "a.json", 1) as one, json_scratch(second.scratch, "a.json", 2) as other:
        assert (second.store.create("a.json", other), first.store.create("a.json", one)) == (True, False)
    second.release()
    assert not second.scratch.exists()
    assert (first.scratch / "half").read_text() == "of a part"
    first.check_held()


def test_without_locks_a_run_that_another_job_overtook_does_not_publish_its_work(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    overtaken = begin(out)
    other = begin(out, OTHER, overwrite=True)
    complete(other, OTHER)
    with pytest.raises(OutputConflict, match="another job took it"):
        overtaken.publish()
    assert not out.exists()
    other.publish()
    assert (out / "part-00000.parquet").read_text() == job_id(OTHER)


def test_a_folder_where_everybody_may_rename_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UsageError, match="may be written by everybody"):
        claim(str(tmp_path / "open" / "out"), JOB, MARKER)
    (tmp_path / "open").chmod(0o1777)
    begin(tmp_path / "open" / "out").release()


@pytest.mark.parametrize("output", ["file/out", "file/new/out", "gone/out", "/dev/null/out"])
def test_an_output_in_what_is_no_folder_is_refused(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"(file|gone|/dev/null) is not a folder, so no output can be in it"):
        claim(str(tmp_path / output), JOB, MARKER)


def test_an_output_that_was_published_by_another_run_of_the_job_meanwhile_is_kept(out: Path, tmp_path: Path) -> None:
    """As may be where there are no locks."""
    work = begin(out)
    complete(work)
    marker = publish(tmp_path / "elsewhere")
    os.rename(tmp_path / "elsewhere", out)
    work.publish()
    assert claim(str(out), JOB, MARKER) == marker
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_file_system_without_locks_is_worked_on_all_the_same(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_locks(monkeypatch)
    publish(out)
    assert "has no locks" in caplog.text


def test_overwrite_takes_no_file_of_a_user_with_it(out: Path) -> None:
    publish(out, OTHER)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputConflict, match=r"notes\.txt is not of such a job; move it"):
        claim(str(out), JOB, MARKER, overwrite=True, made=r"part-.*")
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("where", ["out/.notes", "out/.inner.wip", ".out.wip"])
def test_overwrite_takes_no_folder_of_a_user_or_of_another_output_with_it(out: Path, where: str) -> None:
    """Nor what somebody put beside the unfinished work of another job."""
    folder = out.parent / where
    if folder.parent == out:
        publish(out, OTHER)
        folder.mkdir()
    else:
        leave(out, OTHER)
    (folder / "notes.txt").write_text("mine")
    before = content(out.parent)
    with pytest.raises(OutputConflict, match=r"(notes|notes\.txt|inner\.wip) is not of such a job; move it"):
        claim(str(out), JOB, MARKER, overwrite=True, made=r"part-.*")
    after = content(out.parent)
    assert before.items() - after.items() <= {(".out.wip/.lock", before.get(".out.wip/.lock"))}
    (folder / "notes.txt").unlink()
    if folder.parent == out:
        folder.rmdir()
    assert isinstance(claim(str(out), JOB, MARKER, overwrite=True, made=r"part-.*"), Beside)


def test_a_run_of_the_same_job_that_tidies_while_another_publishes(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees that the output is there, and takes away what it was before, which the other one is about to move."""
    publish(out, OTHER)
    work = claim(str(out), JOB, MARKER, overwrite=True)
    assert isinstance(work, Beside)
    create_json(work.store, work.scratch, MARKER, work.claim.content())
    exchange = beside.exchange

    def late(one: Path, other: Path) -> bool:
        done = exchange(one, other)
        assert isinstance(claim(str(out), JOB, MARKER, overwrite=True), dict)
        return done

    monkeypatch.setattr(beside, "exchange", late)
    work.publish()
    assert isinstance(claim(str(out), JOB, MARKER), dict)
    assert os.listdir(out.parent) == [out.name]


# A replaced output lies without a lock where the next work begins


THIRD: dict[str, Any] = {**JOB, "options": {**JOB["options"], "prefix": "third_"}}


def replacing(out: Path, identity: dict[str, Any]) -> Beside:
    work = begin(out, identity, overwrite=True)
    complete(work, identity)
    return work


def published_by(out: Path) -> set[Any]:
    """Whose marker and parts are there."""
    return {read_json(out / MARKER)["job_id"], (out / "part-00000.parquet").read_text()}


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_that_is_held_up_when_it_has_replaced_an_output_takes_no_work_of_the_next_one(
    out: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """Be that one still at work, or about to publish, or done."""
    publish(out, OTHER)
    exchange, other = beside.exchange, []

    def late(one: Path, two: Path) -> bool:
        monkeypatch.undo()
        done = exchange(one, two)
        other.append(replacing(out, THIRD))
        if ended:
            other[0].publish()
        return done

    work = replacing(out, JOB)
    monkeypatch.setattr(beside, "exchange", late)
    work.publish()
    if not ended:
        assert published_by(out) == {work.claim.job_id}
        other[0].publish()
    assert published_by(out) == {job_id(THIRD)}
    assert os.listdir(out.parent) == [out.name]


def test_a_finished_job_that_is_held_up_while_it_tidies_makes_no_hole_in_the_work_of_the_next_one(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen the files of a replaced output in the work folder, and another job makes some of the same name."""
    publish(out, OTHER)
    work = replacing(out, JOB)
    with monkeypatch.context() as patch:
        patch.setattr(beside, "_set_aside", crashed)
        with pytest.raises(Crash):
            work.publish()
    remove, others = beside._remove, []

    def late(path: Path) -> None:
        if path.name == "part-00000.parquet" and not others:
            monkeypatch.undo()
            others.append(replacing(out, THIRD))
        remove(path)

    monkeypatch.setattr(beside, "_remove", late)
    assert isinstance(claim(str(out), JOB, MARKER), dict)
    others[0].publish()
    assert published_by(out) == {job_id(THIRD)}
    assert os.listdir(out.parent) == [out.name]


def crashed(*_: Any) -> None:
    raise Crash


def test_an_output_stays_in_its_place_when_the_work_that_is_to_replace_it_is_gone(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the last look at it."""
    publish(out, OTHER)
    before, work, filled = content(out), replacing(out, JOB), beside._is_filled

    def late(folder: Path) -> bool:
        shutil.rmtree(work.folder)
        return filled(folder)

    monkeypatch.setattr(beside, "_is_filled", late)
    with pytest.raises(FileNotFoundError):
        work.publish()
    assert content(out) == before
