"""write/shared.py and lock.py: slices hold a folder together, any other run alone, and the last of them is told so."""

import fcntl
import os
import re
from pathlib import Path
from typing import Any

import pytest
from test_commit import JOB, MARKER, OTHER, complete, publish, without_locks

from sentiment_batch.errors import Busy, OutputConflict
from sentiment_batch.write import beside, shared, store
from sentiment_batch.write import lock as module
from sentiment_batch.write.beside import Beside, work_folder
from sentiment_batch.write.claim import CLAIM, LOCK, SCRATCH, How
from sentiment_batch.write.commit import claim
from sentiment_batch.write.lock import Lock, lock
from sentiment_batch.write.store import Folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_PATIENCE", 0.0)


def begin(out: Path, how: How = "slice", identity: dict[str, Any] = JOB, overwrite: bool = False) -> Beside:
    work = claim(str(out), identity, MARKER, overwrite, how=how)
    assert isinstance(work, Beside)
    return work


def test_two_slices_hold_what_nobody_else_may_have(out: Path) -> None:
    one, other = begin(out), begin(out)
    assert (one.resumed, other.resumed, one.scratch == other.scratch) == (False, True, False)
    for how in ("whole", "publish"):
        with pytest.raises(Busy, match=r"is held by another run \(for slices of a job\)"):
            begin(out, how)
    one.release()
    with pytest.raises(Busy):
        begin(out, "whole")
    other.release()
    assert not work_folder(out).exists(), "nothing was begun, and the last one leaves nothing"


def test_a_slice_waits_for_no_whole_run(out: Path) -> None:
    whole = begin(out, "whole")
    with pytest.raises(Busy, match=rf"\(process {os.getpid()} on [^,]*\); wait for it to end"):
        begin(out)
    whole.release()


def test_of_two_that_want_to_be_alone_the_last_one_is(out: Path) -> None:
    """Whichever comes first has let go, and so is not in the other's way."""
    one, other = begin(out), begin(out)
    (one.folder / "part-00000.parquet").write_text("")
    assert not one.take_alone()
    assert other.take_alone()
    assert other.lock.alone
    assert re.fullmatch(r"process \d+ on .*, for slices of a job", (one.folder / LOCK).read_text())
    with pytest.raises(Busy, match="for slices of a job"):
        begin(out, "whole")
    one.release()
    assert (other.folder / "part-00000.parquet").exists()
    other.check_held()
    other.release()


def test_a_lock_is_let_go_before_it_is_wanted_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS, where a lock that cannot be changed stays as it was, would else have two that are in each other's way."""
    done: list[int] = []
    flock = fcntl.flock

    def recorded(descriptor: int, operation: int) -> None:
        done.append(operation)
        flock(descriptor, operation)

    work = begin(out)
    monkeypatch.setattr(fcntl, "flock", recorded)
    assert work.take_alone()
    assert done == [fcntl.LOCK_UN, fcntl.LOCK_EX | fcntl.LOCK_NB]
    work.release()


def test_one_that_only_looks_is_waited_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, looking = begin(out), begin(out)
    (work.folder / "part-00000.parquet").write_text("")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            looking.release()

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert work.take_alone()
    assert len(waited) == 3
    work.release()


def test_a_slice_waits_while_another_is_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committing = begin(out)
    complete(committing)
    assert committing.take_alone()
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 4:
            committing.publish()

    monkeypatch.setattr(shared.time, "sleep", sleep)
    done = claim(str(out), JOB, MARKER, how="slice")
    assert isinstance(done, dict), "it was published meanwhile"
    assert len(waited) == 4
    assert sorted(os.listdir(out.parent)) == ["out"]


def test_but_not_for_ever(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_up = begin(out)
    assert held_up.take_alone()
    waited: list[float] = []
    monkeypatch.setattr(shared.time, "sleep", waited.append)
    with pytest.raises(Busy, match="for slices of a job"):
        begin(out)
    assert 600 <= sum(waited) < 700
    monkeypatch.setattr(shared, "_PATIENCE", 3.0)
    waited.clear()
    held_up.release()
    whole = begin(out, "whole")
    with pytest.raises(Busy):
        begin(out)
    assert 3 <= sum(waited) < 5
    whole.release()


def test_what_another_job_left_is_taken_away_by_one_that_is_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And then the others come in."""
    old = begin(out, identity=OTHER)
    (old.folder / "part-00000.parquet").write_text("")
    with pytest.raises(Busy, match="slices of another job"):
        begin(out, overwrite=True)
    old.release()
    one = begin(out, overwrite=True)
    assert not (one.folder / "part-00000.parquet").exists()
    assert not one.lock.alone
    assert (one.folder / LOCK).read_text() == "for slices of a job"
    other = begin(out, overwrite=True)
    assert other.resumed
    assert len(os.listdir(one.folder / SCRATCH)) == 2
    one.release()
    other.release()


def test_two_that_begin_at_once_are_both_in(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes between the first one's look and its claim."""
    create, second = shared.lock_for_slices, []

    def held(*rest: Any) -> Lock:
        found = create(*rest)
        monkeypatch.undo()
        second.append(begin(out))
        return found

    monkeypatch.setattr("sentiment_batch.write.beside.lock_for_slices", held)
    first = begin(out)
    assert (first.resumed, second[0].resumed) == (True, False)
    first.check_held()
    second[0].check_held()
    second[0].release()
    first.check_held()
    first.release()


def test_one_that_is_late_takes_nothing_from_one_that_was_first(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw that nothing is there, and the other one has begun by now."""
    read, seen, quick = beside.read_json, [], []

    def held_up(store: Folder, name: str) -> Any:
        found = read(store, name)
        seen.append(name)
        if seen.count(CLAIM) == 2:
            monkeypatch.undo()
            quick.append(begin(out))
            (quick[0].folder / "part-00000.parquet").write_text("sealed")
        return found

    monkeypatch.setattr(beside, "read_json", held_up)
    late = begin(out)
    assert quick
    assert late.resumed, "it looked again"
    assert (late.folder / "part-00000.parquet").read_text() == "sealed"
    quick[0].check_held()
    assert sorted(os.listdir(late.folder / SCRATCH)) == sorted([late.scratch.name, quick[0].scratch.name])
    quick[0].release()
    late.release()


@pytest.mark.parametrize("other", ["of another job", "of this job"])
def test_a_run_that_comes_when_a_slice_lets_others_in(other: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock does not go from one kind to the other in one step."""
    begin(out, identity=OTHER).release()
    left = begin(out, identity=OTHER)
    (left.folder / "part-00000.parquet").write_text("")
    left.release()
    flocked, came = module._flocked, []

    def late(descriptor: int, operation: int) -> bool:
        if operation == fcntl.LOCK_SH and not came:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            came.append(1)
            whole = begin(out, "whole", OTHER if other == "of another job" else JOB, overwrite=True)
            if other == "of another job":
                (whole.folder / "part-00001.parquet").write_text("theirs")
                whole.release()
            else:
                complete(whole)
                whole.publish()
        return flocked(descriptor, operation)

    monkeypatch.setattr(module, "_flocked", late)
    found = claim(str(out), JOB, MARKER, overwrite=True, how="slice")
    assert came
    if other == "of this job":
        assert isinstance(found, dict)
        assert sorted(os.listdir(out.parent)) == ["out"]
    else:
        assert isinstance(found, Beside)
        assert not (found.folder / "part-00001.parquet").exists(), "it was asked to replace that"
        found.check_held()
        found.release()


@pytest.mark.parametrize("when", ["before", "between"])
def test_what_another_run_had_but_to_rename_is_renamed_by_one_that_is_alone(
    when: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it that the other run came, and was killed, when the slice had looked and had no lock yet."""

    def leave_marker() -> None:
        killed = begin(out, "whole")
        complete(killed)
        killed.lock.release()

    def late(*rest: Any, **named: Any) -> Lock:
        monkeypatch.setattr(shared, "lock", lock)
        leave_marker()
        return lock(*rest, **named)

    def published(self: Beside) -> None:
        assert self.lock.alone
        done(self)

    done = Beside.publish
    monkeypatch.setattr(Beside, "publish", published)
    if when == "before":
        leave_marker()
    else:
        monkeypatch.setattr(shared, "lock", late)
    assert isinstance(claim(str(out), JOB, MARKER, how="slice"), dict)
    assert sorted(os.listdir(out.parent)) == ["out"]


def test_the_lock_of_a_folder_that_went_is_none(out: Path) -> None:
    one, other = begin(out), begin(out)
    complete(one)
    fcntl.flock(other.lock.descriptor, fcntl.LOCK_UN)  # it has let go, and is held up before it tries
    assert one.take_alone()
    one.publish()
    assert not other.take_alone()
    assert not other.lock.alone
    assert other.published()
    other.release()
    assert sorted(os.listdir(out.parent)) == ["out"]


def test_one_that_comes_when_all_is_published_takes_no_folder_that_another_holds(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = publish(tmp_path / "elsewhere")
    other, locked = begin(out), shared.lock_for_slices

    def late(*rest: Any) -> Lock:
        os.rename(tmp_path / "elsewhere", out)
        return locked(*rest)

    monkeypatch.setattr("sentiment_batch.write.beside.lock_for_slices", late)
    assert claim(str(out), JOB, MARKER, how="slice") == marker
    assert other.lock.is_held()
    other.release()
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_a_worker_holds_it_with_its_slice(out: Path) -> None:
    """A lock that is sent is the same lock: its slice can have it alone when the worker has ended."""
    work = begin(out)
    (work.folder / "part-00000.parquet").write_text("")
    make, given = work.lock.__reduce__()
    again = make(*given)
    assert (again.alone, again.works, again.of_slices) == (False, True, True)
    assert work.take_alone()
    work.release()
    with pytest.raises(Busy):
        begin(out, "whole")
    again.release()
    begin(out, "whole").release()


def test_one_of_several_leaves_no_lock_of_the_others(tmp_path: Path) -> None:
    one, other = (lock(tmp_path, shared=True, of_slices=True) for _ in range(2))
    one.leave()
    assert other.is_held()
    other.leave()
    assert not (tmp_path / LOCK).exists()
    other.leave()
    assert not other.take()


def test_without_locks_nothing_is_taken_away_by_a_slice(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch)
    one = begin(out)
    other = begin(out)
    other.release()
    one.check_held()
    assert one.take_alone()
    complete(one)
    one.publish()
    assert isinstance(claim(str(out), JOB, MARKER, how="slice"), dict)


def test_to_publish_is_to_begin_nothing(out: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputConflict, match=r"out\.wip has no work of a job; run `score` to begin it"):
        begin(out, "publish")
    old = begin(out, identity=OTHER)
    (old.folder / "part-00000.parquet").write_text("")
    old.release()
    for overwrite in (False, True):
        with pytest.raises(OutputConflict, match=r"was begun as another job than it would be now: --prefix sb_ there"):
            begin(out, "publish", overwrite=overwrite)
    assert (old.folder / "part-00000.parquet").exists()
    assert (old.folder / CLAIM).exists()
    going_on = begin(out, "publish", OTHER)
    assert going_on.lock.alone
    going_on.release()


def test_a_claim_is_known_again_without_reading_it_as_json(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one that takes its place is not."""
    work = begin(out, "whole")
    work.check_held()
    with monkeypatch.context() as patch:
        patch.setattr(store.json, "loads", None)
        work.check_held()
    path = work.folder / CLAIM
    path.write_text(path.read_text().replace(work.claim.job_id, "0" * 32))
    with pytest.raises(OutputConflict, match="another job took it"):
        work.check_held()
    assert work.lock
    work.lock.release()


@pytest.mark.parametrize("how", ["whole", "slice"])
def test_one_that_is_refused_leaves_nothing(how: How, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it looked first nothing was there; when it holds the work folder, which it made, another job was done."""
    publish(out, OTHER)
    looked: list[int] = []
    look = beside.finished

    def first_sees_nothing(*given: Any) -> Any:
        looked.append(1)
        return None if len(looked) == 1 else look(*given)

    monkeypatch.setattr(beside, "finished", first_sees_nothing)
    with pytest.raises(OutputConflict, match="belongs to another job"):
        begin(out, how)
    assert len(looked) > 1
    assert os.listdir(out.parent) == [out.name]


def test_one_that_is_refused_takes_nothing_of_a_job_that_has_but_begun(out: Path) -> None:
    work = begin(out, "slice", OTHER)
    for how in ("whole", "slice", "publish"):
        with pytest.raises((OutputConflict, Busy)):
            begin(out, how)
    work.check_held()
    work.release()
