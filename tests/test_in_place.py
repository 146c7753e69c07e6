"""write/in_place.py: outputs that grow where they will be, in a bucket or on a mount point."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from faults import stub

from sentiment_batch.errors import AccessRefused, OutputConflict, UsageError
from sentiment_batch.remote import ChangedMeanwhile
from sentiment_batch.write import in_place
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import CLAIM, PLAN, Claim, How, job_id
from sentiment_batch.write.claim import JOB as JOB_FILE
from sentiment_batch.write.commit import is_mount_point, settle_json
from sentiment_batch.write.in_place import InPlace, work_in_place
from sentiment_batch.write.manifest import MADE
from sentiment_batch.write.settle import settle
from sentiment_batch.write.store import Store, create_json, read_json

MARKER = "_SUCCESS"
JOB: dict[str, Any] = {"command": "score", "options": {"prefix": ""}}
OTHER: dict[str, Any] = {"command": "score", "options": {"prefix": "sb_"}}


def wanted(store: Store, identity: dict[str, Any] = JOB, overwrite: bool = False) -> Claim:
    return Claim(store.url, job_id(identity), identity, MARKER, overwrite, MADE)


def begin(store: Store, identity: dict[str, Any] = JOB, overwrite: bool = False) -> InPlace:
    work = work_in_place(wanted(store, identity, overwrite), store)
    assert isinstance(work, InPlace)
    return work


def add(work: InPlace, name: str) -> None:
    (work.scratch / "x").write_text(work.claim.job_id)
    work.store.create(name, work.scratch / "x")


def complete(work: InPlace) -> dict[str, Any]:
    add(work, "part-00000.parquet")
    return settle_json(work, MARKER, work.claim.content())


def publish(store: Store, identity: dict[str, Any] = JOB, overwrite: bool = False) -> dict[str, Any]:
    work = begin(store, identity, overwrite)
    marker = complete(work)
    work.publish()
    return marker


PUBLISHED = [CLAIM, MARKER, "part-00000.parquet"]  # the claim stays: it says whose the output is


def names(store: Store) -> list[str]:
    return sorted(store.sizes())


def test_the_marker_publishes_and_nothing_of_the_work_is_left(store: Store) -> None:
    work = begin(store)
    assert (work.resumed, names(store)) == (False, [".claim.json"])
    (work.scratch / "x").write_text("{}")
    store.create(".plan.json", work.scratch / "x")
    complete(work)
    work.publish()
    assert names(store) == PUBLISHED
    assert not work.scratch.exists()


def test_a_finished_job_gives_its_marker(store: Store) -> None:
    marker = publish(store)
    assert work_in_place(wanted(store), store) == marker
    assert work_in_place(wanted(store, overwrite=True), store) == marker


def test_a_killed_job_goes_on(store: Store) -> None:
    work = begin(store)
    add(work, "part-00000.parquet")
    again = begin(store)
    assert again.resumed
    again.check_held()
    assert "part-00000.parquet" in names(store)


def test_a_run_that_began_nothing_gives_its_claim_back(store: Store) -> None:
    """To any job; but a run of its own that is at work takes it again."""
    first = begin(store)
    first.release()
    assert names(store) == [CLAIM]
    other = begin(store, OTHER)
    assert other.claim.job_id == f"{job_id(OTHER)}.1", "another turn: a run of the first job may be at work"
    other.release()
    begin(store, OTHER)
    with pytest.raises(OutputConflict, match="unfinished work of another job"):
        begin(store)


def test_a_claim_that_another_run_gave_back_is_taken_again(bucket: str) -> None:
    store = Bucket(bucket)
    first, second = begin(store), begin(store)
    first.release()
    second.check_held()
    with pytest.raises(OutputConflict, match="unfinished work of another job"):
        begin(store, OTHER)
    assert second.claim.job_id == job_id(JOB)


def test_what_was_begun_meanwhile_keeps_the_place(bucket: str) -> None:
    """By another run, after its look at the claim, which is given back then."""
    store = Bucket(bucket)
    first, second = begin(store), begin(store)
    first.release()
    add(second, "part-00000.parquet")
    with pytest.raises(OutputConflict, match="unfinished work of another job"):
        begin(store, OTHER)


def test_a_claim_is_not_given_back_that_another_job_has(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes over between the look at the claim and its swap."""
    slow, put = begin(store), in_place._put_claim

    def late(*arguments: Any) -> bool:
        monkeypatch.undo()
        begin(store, OTHER, overwrite=True)
        return put(*arguments)

    monkeypatch.setattr(in_place, "_put_claim", late)
    slow.release()
    assert read_json(store, CLAIM)["job_id"] == f"{job_id(OTHER)}.1"
    assert begin(store, OTHER).resumed


@pytest.mark.parametrize("damage", ["gone", "empty", "half"])
def test_a_damaged_claim_is_mended_by_the_run_that_had_it(store: Store, tmp_path: Path, damage: str) -> None:
    work = begin(store)
    store.delete(CLAIM)
    if damage != "gone":
        (tmp_path / "x").write_text('{"job_i' if damage == "half" else "")
        store.create(CLAIM, tmp_path / "x")
    work.check_held()
    assert work.claim.is_of(read_json(store, CLAIM))


def test_a_resumed_run_leaves_the_claim(store: Store) -> None:
    """The first run may be alive."""
    begin(store)
    begin(store).release()
    assert names(store) == [".claim.json"]


@pytest.mark.parametrize("finished", [True, False])
def test_another_job_is_refused_with_what_differs(store: Store, finished: bool) -> None:
    if finished:
        publish(store, OTHER)
    else:
        add(begin(store, OTHER), "part-00000.parquet")
    before = names(store)
    with pytest.raises(OutputConflict, match=r"--prefix sb_ there, none here"):
        begin(store)
    assert names(store) == before


@pytest.mark.parametrize("finished", [True, False])
def test_overwrite_takes_the_place_of_the_other_job(store: Store, finished: bool) -> None:
    """What that one made stays until ours is there, and nothing announces it."""
    work = begin(store, OTHER)
    left = ["_rejects/_part-00007-00000000.jsonl", "part-00000.parquet", "part-00007.parquet"]
    for name in left:
        add(work, name)
    if finished:
        settle_json(work, MARKER, work.claim.content())
        work.publish()
    ours = begin(store, overwrite=True)
    assert not ours.resumed
    assert names(store) == [CLAIM, *left]
    assert read_json(store, CLAIM)["job_id"] == ours.claim.job_id
    settle_json(ours, MARKER, ours.claim.content())
    ours.publish()
    assert read_json(store, MARKER)["job_id"] == ours.claim.job_id


@pytest.mark.parametrize("finished", [True, False])
def test_no_output_of_another_command_is_overwritten(store: Store, finished: bool) -> None:
    """Their files have other names, so some would have to be deleted; and it is a mistake."""
    work = begin(store, {"command": "evaluate"})
    add(work, "predictions.parquet")
    if finished:
        settle_json(work, "metrics.json", work.claim.content())
    before = names(store)
    with pytest.raises(OutputConflict, match=r"command evaluate there, score here; .*give another --output$"):
        begin(store, overwrite=True)
    assert names(store) == before


def test_a_claim_of_another_command_that_made_nothing_may_be_removed_by_hand(store: Store) -> None:
    """--overwrite does not take it: its run may be at work, and makes files of other names."""
    begin(store, {"command": "evaluate"})  # and is killed
    for overwrite in (False, True):
        with pytest.raises(OutputConflict, match=r"or remove .*/\.claim\.json if no run of it is at work"):
            begin(store, overwrite=overwrite)
    store.delete(CLAIM)
    begin(store)


def test_a_file_that_no_such_job_makes_is_seen_before_an_output_is_taken_over(store: Store) -> None:
    work = begin(store, OTHER)
    add(work, "notes.txt")
    complete(work)
    work.publish()
    with pytest.raises(OutputConflict, match=r"notes\.txt is not of such a job; move it"):
        begin(store, overwrite=True)
    assert names(store) == sorted([*PUBLISHED, "notes.txt"])


def test_a_killed_overwrite_is_gone_on_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the option: the claim says that it replaces."""
    work = begin(store, OTHER)
    complete(work)
    work.publish()
    monkeypatch.setattr(in_place, "_check_conditions", killed)
    with pytest.raises(SystemExit):
        begin(store, overwrite=True)
    assert names(store) == PUBLISHED, "killed behind its claim"
    monkeypatch.undo()
    with pytest.raises(OutputConflict, match="unfinished work of another job"):
        begin(store, OTHER)
    ours = begin(store)
    assert (ours.resumed, names(store)) == (True, [CLAIM, "part-00000.parquet"])
    complete(ours)
    ours.publish()
    assert names(store) == PUBLISHED


def test_each_time_that_it_changes_hands_is_a_turn(store: Store) -> None:
    """So that nothing that a run has looked at in an earlier turn is there any more when its request is late."""
    first = begin(store)
    add(first, "part-00000.parquet")
    turns = [begin(store, identity, overwrite=True).claim.job_id for identity in (OTHER, JOB, JOB, OTHER)]
    assert turns == [f"{job_id(OTHER)}.1", f"{job_id(JOB)}.2", f"{job_id(JOB)}.2", f"{job_id(OTHER)}.3"]
    again = begin(store, overwrite=True)
    with pytest.raises(OutputConflict, match="taken over"):
        first.check_held()  # of the same job, and of a turn that is over
    settle_json(again, MARKER, again.claim.content())
    again.publish()
    assert work_in_place(wanted(store), store) == again.claim.content()
    with pytest.raises(OutputConflict, match="taken over"):
        first.publish()
    assert read_json(store, MARKER) == again.claim.content()


def killed(*_: Any) -> None:
    raise SystemExit


def test_the_files_of_strangers_are_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    store.create("thesis.docx", tmp_path / "x")
    for overwrite in (False, True):
        with pytest.raises(OutputConflict, match="files that are not of a finished job"):
            begin(store, overwrite=overwrite)
    assert names(store) == ["thesis.docx"]


def test_no_marker_of_a_job_outlives_the_claim_of_another(store: Store) -> None:
    """All orders of what the first one still does and what the second one, with --overwrite, does."""
    slow = begin(store, OTHER)
    add(slow, "part-00000.parquet")
    ours = begin(store, overwrite=True)  # after slow's last look at the claim, before its marker
    create_json(store, slow.scratch, MARKER, slow.claim.content())
    with pytest.raises(OutputConflict, match="taken over"):
        slow.publish()
    assert read_json(store, MARKER) is None
    with pytest.raises(OutputConflict, match="taken over"):
        slow.check_held()
    ours.check_held()
    complete(ours)
    ours.publish()
    assert read_json(store, MARKER)["job_id"] == ours.claim.job_id
    with pytest.raises(OutputConflict, match="taken over"):
        slow.check_held()  # of a finished output, too
    with pytest.raises(OutputConflict, match="taken over"):
        slow.publish()
    assert read_json(store, MARKER)["job_id"] == ours.claim.job_id, "only one's own marker is taken back"


def test_a_marker_that_comes_late_is_void_and_replaced(store: Store) -> None:
    """Its writer was killed behind it."""
    slow = begin(store, OTHER)
    ours = begin(store, overwrite=True)
    create_json(store, slow.scratch, MARKER, slow.claim.content())
    for overwrite in (False, True):  # the job of the marker is not done
        if overwrite:
            work = begin(store, OTHER, overwrite)
            assert read_json(store, MARKER) is None
            assert work.claim.is_of(read_json(store, CLAIM))
        else:
            with pytest.raises(OutputConflict, match="unfinished work of another job"):
                begin(store, OTHER)
    ours = begin(store, overwrite=True)
    create_json(store, slow.scratch, MARKER, slow.claim.content())
    complete(ours)
    ours.publish()
    assert read_json(store, MARKER)["job_id"] == ours.claim.job_id


def test_a_marker_that_comes_before_the_second_claim_is_removed_by_it(store: Store) -> None:
    slow = begin(store, OTHER)
    complete(slow)  # and no publish: it was killed, or is slow
    ours = begin(store, overwrite=True)
    assert read_json(store, MARKER) is None
    with pytest.raises(OutputConflict, match="taken over"):
        slow.publish()
    ours.check_held()


def test_a_run_whose_claim_was_removed_takes_nothing_from_who_published_since(store: Store) -> None:
    slow = begin(store, OTHER)
    ours = begin(store, overwrite=True)
    complete(ours)
    ours.publish()
    store.delete(CLAIM)  # somebody took it for a stale lock
    with pytest.raises(OutputConflict, match="taken over"):
        slow.check_held()
    assert MARKER in names(store)


def test_a_marker_that_comes_late_is_taken_away_before_the_next_shard(store: Store) -> None:
    slow = begin(store, OTHER)
    ours = begin(store, overwrite=True)
    create_json(store, slow.scratch, MARKER, slow.claim.content())
    ours.check_unannounced()
    assert names(store) == [CLAIM]
    complete(ours)
    ours.check_unannounced()
    assert MARKER in names(store), "another run of this job may have published"


def test_what_is_announced_still_is_not_withdrawn(store: Store) -> None:
    """Another run of the job has published it, and who takes it over has not removed the marker yet."""
    slow = begin(store)
    complete(slow)
    theirs = wanted(store, OTHER, overwrite=True).in_turn(1).content()
    assert in_place._put_claim(store, slow.scratch, theirs, store.version(CLAIM))
    for left in (["part-00000.parquet"], []):
        with pytest.raises(OutputConflict, match="taken over"):
            slow.check_held()
        slow.withdraw(["part-00000.parquet"])
        assert [name for name in names(store) if "part" in name] == left
        store.delete(MARKER)


def test_the_marker_of_who_took_over_just_now_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = begin(store)

    def overtaken(self: InPlace) -> None:
        """Behind the look at the claim, before the look at the marker."""
        monkeypatch.undo()
        self.check_held()
        publish(store, OTHER, overwrite=True)

    monkeypatch.setattr(InPlace, "check_held", overtaken)
    slow.check_unannounced()
    assert MARKER in names(store)


@pytest.mark.parametrize("content", ["", "{}", '{"job_'])
def test_a_damaged_marker_announces_nothing_while_it_is_overwritten(store: Store, tmp_path: Path, content: str) -> None:
    publish(store, OTHER)
    store.delete(MARKER)
    (tmp_path / "x").write_text(content)
    store.create(MARKER, tmp_path / "x")
    begin(store, overwrite=True)
    assert MARKER not in names(store)


def test_who_may_not_delete_publishes_all_the_same(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Bucket, name: str) -> None:
        raise AccessRefused(f"{name}: refused")

    store = Bucket(bucket)
    work = begin(store)
    create_json(store, work.scratch, PLAN, {})
    marker = complete(work)
    monkeypatch.setattr(Bucket, "delete", refuse)
    work.publish()
    assert "is of no use any more, and is left" in caplog.text
    assert work_in_place(wanted(store), store) == marker


def test_what_another_run_swaps_while_it_is_read_is_read_again(store: Store, tmp_path: Path) -> None:
    """An evaluation's predictions have one name in all turns."""
    work = begin(store)
    add(work, "predictions.parquet")
    (tmp_path / "ours").write_text("ours")
    reads = 0

    def found() -> str | None:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise ChangedMeanwhile("predictions.parquet changed while it was read")
        return "theirs"

    assert settle(store, "predictions.parquet", tmp_path / "ours", found, work.check_held) == "theirs"


def test_two_runs_of_one_job_share_what_they_make(bucket: str) -> None:
    """In a bucket alone: a folder has a lock, and one scratch folder."""
    store = Bucket(bucket)
    first, second = begin(store), begin(store)
    add(first, "part-00000.parquet")
    complete(second)
    second.publish()
    first.check_held()
    first.publish()
    assert names(store) == PUBLISHED


def test_of_two_that_overwrite_the_second_takes_nothing_of_the_first_away(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of one job: the first publishes while the second is held up before its next request, whichever that is."""
    at = 1
    while held_up(f"{bucket}/{at}", at, monkeypatch):
        at += 1
    assert at > 12


def held_up(url: str, at: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """False if the second has no request of that number before it is at work."""
    store = Bucket(url)
    publish(store, OTHER)
    requests = 0

    def late(self: Bucket, *rest: Any, call: Any) -> Any:
        nonlocal requests
        requests += 1
        if requests == at:
            with monkeypatch.context() as as_ever:
                for name, method in METHODS.items():
                    as_ever.setattr(Bucket, name, method)
                ours = begin(store, overwrite=True)
                replace_part(ours)
                settle_json(ours, MARKER, ours.claim.content())
                ours.publish()
        return call(self, *rest)

    with monkeypatch.context() as patch:
        for name, method in METHODS.items():
            patch.setattr(Bucket, name, partialmethod(late, call=method))
        found = work_in_place(wanted(store, overwrite=True), store)
    if requests < at:
        return False
    assert store.read("part-00000.parquet") == f"{job_id(JOB)}.1".encode()
    if isinstance(found, InPlace):
        found.check_held()
        settle_json(found, MARKER, found.claim.content())
        found.publish()
    assert names(store) == PUBLISHED
    assert read_json(store, MARKER)["job_id"] == f"{job_id(JOB)}.1"
    return True


def replace_part(work: InPlace) -> None:
    version = work.store.version("part-00000.parquet")
    assert version is not None
    (work.scratch / "x").write_text(work.claim.job_id)
    assert work.store.swap("part-00000.parquet", work.scratch / "x", version)


METHODS = {name: getattr(Bucket, name) for name in ("create", "swap", "version", "sizes", "read", "delete")}


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_a_store_that_overwrites_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch, condition: str) -> None:
    import obstore

    put = obstore.put

    def careless(*rest: Any, mode: Any, **options: Any) -> Any:
        ignored = isinstance(mode, str) == (condition == "If-None-Match")
        return put(*rest, **options) if ignored else put(*rest, mode=mode, **options)

    monkeypatch.setattr(obstore, "put", careless)
    for _ in range(2):  # the second finds the claim of the first
        with pytest.raises(UsageError, match=condition):
            begin(Bucket(bucket))


def test_a_claim_that_another_run_takes_away_meanwhile_is_no_sign_of_such_a_store(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that had begun nothing."""
    first = begin(Bucket(bucket))
    check = in_place._check_conditions

    def late(*arguments: Any) -> None:
        first.release()
        check(*arguments)

    monkeypatch.setattr(in_place, "_check_conditions", late)
    second = begin(Bucket(bucket))
    second.check_held()
    complete(second)
    second.publish()
    assert names(Bucket(bucket)) == PUBLISHED


@pytest.mark.parametrize("place", ["the claim", "the scratch folder"])
@pytest.mark.parametrize("other", [False, True])
def test_a_run_that_ends_while_another_one_begins_is_seen(
    bucket: str, monkeypatch: pytest.MonkeyPatch, place: str, other: bool
) -> None:
    """Between the second's look at the marker and its look at the claim, or its own claim."""
    store = Bucket(bucket)
    read, scratch = in_place.read_json, in_place._scratch
    marker: dict[str, Any] = {}

    def end() -> None:
        monkeypatch.undo()
        marker.update(publish(store, OTHER if other else JOB))

    def late_read(store: Store, name: str) -> Any:
        if name == CLAIM:
            end()
        return read(store, name)

    def late_scratch(store: Store, alone: bool) -> Path:
        end()
        return scratch(store, alone)

    if place == "the claim":
        monkeypatch.setattr(in_place, "read_json", late_read)
    else:
        monkeypatch.setattr(in_place, "_scratch", late_scratch)
    if other:
        with pytest.raises(OutputConflict, match="belongs to another job"):
            begin(store)
    else:
        assert work_in_place(wanted(store), store) == marker
    assert names(store) == PUBLISHED


def test_only_a_folder_has_a_folder(store: Store) -> None:
    work = begin(store)
    if store.url.startswith("/"):
        assert str(work.folder) == store.url
    else:
        with pytest.raises(UsageError, match="local folder"):
            _ = work.folder


UNSHARED = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0
needs_mounts = pytest.mark.skipif(not UNSHARED, reason="this system lets nobody mount in a namespace of their own")
SCORE = "$PROGRAM score dump.tsv --model stub --output out --shard-rows 10 --progress none"


def mounted(folder: Path, *steps: str) -> subprocess.CompletedProcess[str]:
    """The steps, each behind the success of the last, in a shell that may mount; `out` and `volume` are there."""
    for name in ("out", "volume"):
        (folder / name).mkdir()
    (folder / "dump.tsv").write_text("text\n" + "".join(f"review {row}\n" for row in range(40)))
    program = f"{sys.executable} -W ignore {stub.__file__}"
    environment = {**os.environ, "PROGRAM": program, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = ["unshare", "-rm", "sh", "-c", " && ".join(steps)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


HERE = Path(__file__).parent
PARTS = [f"part-0000{number}.parquet" for number in range(4)]


@needs_mounts
@pytest.mark.parametrize("mount", ["mount -t tmpfs none out", "mount --bind volume out"])
def test_a_mount_point_is_worked_on_in_place(tmp_path: Path, mount: str) -> None:
    """Which cannot be renamed (EBUSY, EXDEV), and of which a bind mount looks like any folder to os.path.ismount."""
    ended = mounted(tmp_path, mount, SCORE, SCORE, "$PROGRAM verify out", "ls -A out", "ls -A .")
    assert ended.returncode == 0, ended.stderr
    assert "is a mount point, which cannot be renamed" in ended.stderr
    assert "done already, at " in ended.stdout
    assert "40 in = 40 out" in ended.stdout
    listed = {CLAIM, "_metrics.json", "_report.html", MARKER, *PARTS, "dump.tsv", "out", "volume"}
    assert set(ended.stdout.split()[-len(listed) :]) == listed


@needs_mounts
def test_a_mount_below_a_linked_folder_is_seen(tmp_path: Path) -> None:
    steps = [
        "ln -s . link",
        "mount --bind volume out",
        SCORE.replace("--output out", "--output link/out"),
        "ls -A volume",
    ]
    ended = mounted(tmp_path, *steps)
    assert ended.returncode == 0, ended.stderr
    assert "is a mount point" in ended.stderr
    assert MARKER in ended.stdout.split()


@needs_mounts
def test_what_a_file_system_has_at_its_top_is_no_file_of_strangers(tmp_path: Path) -> None:
    """ext4 has lost+found, which nobody but root may read."""
    steps = ["mount --bind volume out", "mkdir out/lost+found", "touch out/lost+found/#17", "chmod 0 out/lost+found"]
    ended = mounted(tmp_path, *steps, SCORE, "$PROGRAM verify out", "ls out/lost+found")
    assert ended.returncode == 0, ended.stderr
    assert "#17" in ended.stdout


@needs_mounts
def test_a_mount_point_that_is_refused_is_left_as_it_was(tmp_path: Path) -> None:
    ended = mounted(tmp_path, "mount --bind volume out", "touch out/thesis.docx", f"({SCORE} || ls -A out)")
    assert "files that are not of a finished job" in ended.stderr
    assert ended.stdout.split() == ["thesis.docx"]


@needs_mounts
def test_what_a_kill_behind_the_marker_left_is_tidied(tmp_path: Path) -> None:
    left = "mkdir out/.scratch && touch out/.scratch/half out/.lock out/.plan.json"
    ended = mounted(tmp_path, "mount --bind volume out", SCORE, left, SCORE, "ls -A out")
    assert ended.returncode == 0, ended.stderr
    assert "done already, at " in ended.stdout
    assert set(ended.stdout.split()[-8:]) == {CLAIM, "_metrics.json", "_report.html", MARKER, *PARTS}


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "read_only"),
    [
        ("true", "mount --bind . . && mount -o remount,bind,ro . && cd $PWD"),
        ("mount --bind volume out", "mount -o remount,bind,ro out"),
    ],
)
def test_a_finished_job_needs_no_right_to_write(tmp_path: Path, mount: str, read_only: str) -> None:
    """Neither in an ordinary folder nor on a mount point."""
    ended = mounted(tmp_path, mount, SCORE, read_only, "(touch out/x || echo read-only)", SCORE)
    assert ended.returncode == 0, ended.stderr
    assert "read-only" in ended.stdout
    assert "done already, at " in ended.stdout


def test_an_ordinary_folder_is_no_mount_point(tmp_path: Path) -> None:
    assert not is_mount_point(tmp_path)
    assert is_mount_point(Path("/proc"))


# Slices


def begin_as(how: How, store: Store, identity: dict[str, Any] = JOB, overwrite: bool = False) -> InPlace:
    work = work_in_place(replace(wanted(store, identity, overwrite), how=how), store)
    assert isinstance(work, InPlace)
    return work


def test_a_slice_that_began_nothing_keeps_the_place_for_the_others(store: Store) -> None:
    first, other = begin_as("slice", store), begin_as("slice", store)
    first.release()
    assert other.claim.is_of(read_json(store, CLAIM))
    with pytest.raises(OutputConflict, match="unfinished work of another job"):
        begin(store, OTHER)
    assert other.scratch.is_dir()
    other.release()


def test_to_publish_is_to_begin_nothing(store: Store) -> None:
    with pytest.raises(OutputConflict, match="has no work of a job; run `score` to begin it"):
        begin_as("publish", store)
    begin(store, OTHER).release()
    for overwrite in (False, True):
        with pytest.raises(OutputConflict, match="was begun as another job than it would be now"):
            begin_as("publish", store, overwrite=overwrite)
    work = begin(store, OTHER)
    add(work, "part-00000.parquet")
    work.release()
    with pytest.raises(OutputConflict, match="was begun as another job than it would be now"):
        begin_as("publish", store, overwrite=True)
    begin_as("publish", store, OTHER).release()
    assert names(store) == [CLAIM, "part-00000.parquet"]


def test_what_a_late_slice_left_for_publish_goes(store: Store) -> None:
    first, late = begin_as("slice", store), begin_as("slice", store)
    settle_json(first, PLAN, first.claim.content())
    complete(first)
    assert first.take_alone()
    first.publish()
    settle_json(late, JOB_FILE, late.claim.content())
    assert late.published()
    assert late.take_alone()
    late.publish()
    assert names(store) == PUBLISHED
