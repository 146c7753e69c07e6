"""publish.py: a job whose parts are all there is published, and nothing else is; no option and no engine is needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome, Program, faults_of, random_texts
from faults import stub
from faults.jobs import data_files, objects, write_dump
from test_sliced import ROWS, during, on_another_machine, parts_in, run, work_of

from sentiment_batch import sliced
from sentiment_batch.config import PublishOptions
from sentiment_batch.errors import InputError, OutputConflict, TooManyRejects
from sentiment_batch.publish import publish as publish_job
from sentiment_batch.write import beside, commit, shared
from sentiment_batch.write.beside import Beside
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import CLAIM, JOB, LOCK, PLAN
from sentiment_batch.write.lock import lock


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the model, which is put back afterwards."""
    stub.install_for(monkeypatch)
    monkeypatch.setattr(shared, "_PATIENCE", 0.0)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "dump.tsv", ROWS)


@pytest.fixture
def expected(dump: Path, tmp_path: Path) -> dict[str, str]:
    run(dump, tmp_path / "whole" / "out")
    return data_files(tmp_path / "whole" / "out")


def publish(out: Path | str) -> dict[str, Any]:
    return publish_job(PublishOptions(output=str(out), progress="none"))


def leave_all(dump: Path, out: Path | str, **more: Any) -> None:
    """All parts sealed by slices, the last of which was killed then."""

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        run(dump, out, "1/2", **more)
        patch.setattr(sliced, "count_parts", killed)
        with pytest.raises(Killed):
            run(dump, out, "2/2", **more)


def test_what_the_last_slice_left_is_published(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    leave_all(dump, out)
    assert not out.exists()
    monkeypatch.chdir("/")
    with monkeypatch.context() as patch:  # nothing is labelled, and no engine is loaded
        for name in ("load", "logits"):
            patch.setattr(stub.StubLabeller, name, None)
        on_another_machine(patch)
        told = publish(out)
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["dump.tsv", "out", "whole"]
    assert not [name for name in os.listdir(out) if name.startswith(".")]
    published = json.loads((out / "_metrics.json").read_text())
    assert told == published
    assert not faults_of(told)
    assert told["rows"] == json.loads((tmp_path / "whole" / "out" / "_metrics.json").read_text())["rows"]
    assert (told["run"]["resumed"], told["model"]["dtype"], "slice" in told) == (True, "float32", False)
    assert publish(out) == {**published, "already_done": True}


def test_as_a_command(expected: dict[str, str], dump: Path, tmp_path: Path, program: Program) -> None:
    def published() -> Outcome:
        return program("publish", tmp_path / "out", "--metrics", tmp_path / "m.json", "--xcom", tmp_path / "x.json")

    def told() -> dict[str, Any]:
        return dict(json.loads((tmp_path / "m.json").read_text()))

    unknown = published()
    assert (unknown.code, told()["command"], told()["exit_code"]) == (3, "publish", 3)
    assert f"{tmp_path}/out: nothing to publish: no job has been begun there" in unknown.err
    run(dump, tmp_path / "out", "1/3")
    lacking = published()
    assert (lacking.code, told()["status"]) == (3, "failed")
    assert (
        "out.wip lacks 4 of 7 parts: 1, 2, 4, 5; run their slices again (--shard-slice 2/3, 3/3), or `score` without "
        "--shard-slice, which does all that is left"
    ) in lacking.err
    assert parts_in(work_of(tmp_path / "out")) == [0, 3, 6]
    leave_all(dump, tmp_path / "out")
    done = published()
    assert (done.code, told()["status"]) == (0, "done")
    assert done.out.startswith(f"status    done: {tmp_path}/out\nrows      200 in = ")
    assert data_files(tmp_path / "out") == expected
    again = published()
    assert (again.code, told()["already_done"]) == (0, True)
    assert "done already" in again.out


def test_while_slices_are_at_work_it_is_busy(
    expected: dict[str, str], dump: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, ended = tmp_path / "out", []
    run(dump, out, "1/3")
    during(monkeypatch, lambda: ended.append(program("publish", out)))
    run(dump, out, "2/3")
    assert ended[0].code == 5
    assert "is held by another run (for slices of a job); wait for it to end" in ended[0].err
    assert run(dump, out, "3/3")["slice"]["published"]
    assert data_files(out) == expected


def test_a_slice_that_comes_meanwhile_waits_and_is_done(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    leave_all(dump, out)
    slept: list[float] = []
    held = lock(work_of(out), of_slices=True)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            held.release()
            publish(out)

    monkeypatch.setattr(shared.time, "sleep", sleep)
    assert run(dump, out, "1/2")["already_done"]
    assert len(slept) == 3
    assert data_files(out) == expected


def test_many_missing_parts_are_named_by_the_first_of_them(dump: Path, tmp_path: Path) -> None:
    run(dump, tmp_path / "out", "1/20", shard_rows=10)
    with pytest.raises(
        InputError,
        match=r"lacks 19 of 20 parts: 1, 2, 3, 4, 5, \.\.\.; .*-slice 2/20, 3/20, 4/20, 5/20, 6/20, \.\.\.\)",
    ):
        publish(tmp_path / "out")


@pytest.mark.parametrize("name", ["part-00003.parquet", "part-00004.parquet"])
@pytest.mark.parametrize("damage", ["a bit", "all"])
def test_a_damaged_part_is_a_missing_one(
    name: str, damage: str, expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    """Its slice, run again, makes it again."""
    out = tmp_path / "out"
    leave_all(dump, out)
    part = work_of(out) / name
    content = bytearray(part.read_bytes())
    content[5] ^= 1
    part.unlink()
    part.write_bytes(b"" if damage == "all" else bytes(content))
    number = int(name[5:10])
    with pytest.raises(InputError, match=rf"lacks 1 of 7 parts: {number}; .*--shard-slice {number % 2 + 1}/2\)"):
        publish(out)
    assert not out.exists()
    assert run(dump, out, f"{number % 2 + 1}/2")["slice"]["published"]
    assert data_files(out) == expected


def test_what_changed_since_is_not_published(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the work lost, though the slices were given --overwrite."""
    out = tmp_path / "out"
    leave_all(dump, out, overwrite=True)
    times = dump.stat()
    os.utime(dump, ns=(1, 1))
    with pytest.raises(
        OutputConflict, match=r"was begun as another job than it would be now: dump\.tsv was written again"
    ):
        publish(out)
    dump.rename(tmp_path / "elsewhere.tsv")
    with pytest.raises(InputError, match=r"dump\.tsv"):
        publish(out)
    (tmp_path / "elsewhere.tsv").rename(dump)
    os.utime(dump, ns=(times.st_atime_ns, times.st_mtime_ns))
    begin = stub.StubLabeller.__init__

    def another(self: Any, *rest: Any) -> None:
        begin(self, *rest)
        self.folder.digest = "another"

    with monkeypatch.context() as patch:
        patch.setattr(stub.StubLabeller, "__init__", another)
        patch.setattr(stub.StubLabeller, "digest", "another")
        with pytest.raises(OutputConflict, match="another model"):
            publish(out)
    assert parts_in(work_of(out)) == list(range(7))
    publish(out)
    assert data_files(out) == expected


def test_an_input_that_was_edited_in_place(tmp_path: Path) -> None:
    dump, out = tmp_path / "dump.tsv", tmp_path / "out"
    lines = [f"{row}\treview {row} {'x' * 60}\n" for row in range(3_000)]
    dump.write_text("".join(["id\ttext\n", *lines]))
    times = dump.stat()
    leave_all(dump, out, shard_rows=500)
    dump.write_bytes(dump.read_bytes().replace(b"review 1400 ", b"REVIEW 1400 "))
    os.utime(dump, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match=r"was edited since part-00002\.parquet was made from it"):
        publish(out)
    assert not out.exists()


def test_parts_of_two_kinds_of_machines(dump: Path, tmp_path: Path) -> None:
    run(dump, tmp_path / "out", "1/2")
    (work_of(tmp_path / "out") / JOB).unlink()
    with pytest.MonkeyPatch.context() as patch:
        on_another_machine(patch)
        patch.setattr(sliced, "count_parts", lambda *_: 0)
        run(dump, tmp_path / "out", "2/2")
    with pytest.raises(OutputConflict, match=r"float32 auto, part-00001\.parquet with torch cpu bfloat16 auto, and an"):
        publish(tmp_path / "out")


def test_too_many_rejects(dump: Path, tmp_path: Path) -> None:
    leave_all(dump, tmp_path / "out", max_reject_rate=0.04)
    with pytest.raises(TooManyRejects, match=r"12 of 200 rows are rejected, more than --max-reject-rate 0\.04 allows"):
        publish(tmp_path / "out")


def test_a_limit_of_rejects_may_be_raised(dump: Path, tmp_path: Path) -> None:
    """It is no part of the job; the first slice's is the one that was left."""
    leave_all(dump, tmp_path / "out", max_reject_rate=0.04)
    options = PublishOptions(output=str(tmp_path / "out"), progress="none", max_reject_rate=0.1)
    assert publish_job(options)["rows"]["rejected"] == 12


def test_another_jobs_output_is_replaced_if_the_slices_were_to(
    expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(dump, out, prefix="other_")
    before = data_files(out)
    leave_all(dump, out, overwrite=True)
    assert data_files(out) == before
    publish(out)
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["dump.tsv", "out", "whole"]


def test_and_if_whoever_publishes_wants_it(expected: dict[str, str], dump: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    leave_all(dump, out)
    run(dump, tmp_path / "other", prefix="other_")
    (tmp_path / "other").rename(out)
    with pytest.raises(OutputConflict, match=r"belongs to another job: .*, or --overwrite"):
        publish(out)
    publish_job(PublishOptions(output=str(out), progress="none", overwrite=True))
    assert data_files(out) == expected


@pytest.mark.parametrize("relative", [True, False])
def test_a_finished_output_on_a_mount_point(
    relative: bool, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "is_mount_point", lambda path: path.name == "out")
    (tmp_path / "out").mkdir()
    run(dump, tmp_path / "out", "1/1")
    monkeypatch.chdir(tmp_path)
    assert publish(Path("out") if relative else tmp_path / "out")["already_done"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"job_id": "f0'])
def test_a_damaged_marker_in_the_work_is_made_again(
    content: bytes, expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    leave_all(dump, out)
    (work_of(out) / "_SUCCESS").write_bytes(content)
    publish(out)
    assert data_files(out) == expected


def test_the_work_folder_is_not_the_output(dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when it is finished work."""
    out = tmp_path / "out"
    run(dump, out, "1/2")
    hint = rf"it is where the work on an output lies; give {out}$"
    with pytest.raises(InputError, match=hint):
        publish(work_of(out))
    leave_all(dump, out)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", None)
        with pytest.raises(TypeError):
            publish(out)
    assert (work_of(out) / "_SUCCESS").exists()
    with pytest.raises(InputError, match=hint):
        publish(work_of(out))
    publish(out)


def test_finished_work_needs_no_inputs(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is a rename, as another job's output came in between."""
    out = tmp_path / "out"
    leave_all(dump, out)
    run(dump, tmp_path / "other", prefix="other_")

    def comes(work: Beside) -> None:
        (tmp_path / "other").rename(out)
        publish_beside(work)

    publish_beside = Beside.publish
    with monkeypatch.context() as patch:
        patch.setattr(Beside, "publish", comes)
        with pytest.raises(OutputConflict):
            publish(out)
    assert {JOB, "_SUCCESS"} <= set(os.listdir(work_of(out)))
    shutil.rmtree(out)
    dump.rename(tmp_path / "archived")
    publish(out)
    (tmp_path / "archived").rename(dump)
    assert data_files(out) == expected


def test_work_without_slices_is_for_its_own_command(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(dump, out, prefix="other_")
    leave_all(dump, out, overwrite=True)
    (work_of(out) / JOB).unlink()
    with pytest.raises(InputError, match="its job was not begun by slices; run the same command again to finish it"):
        publish(out)
    shutil.rmtree(work_of(out))
    assert publish(out)["already_done"]
    (out / "part-00000.parquet").unlink()
    with pytest.raises(OutputConflict, match=r"was published, but part-00000\.parquet is not as it was"):
        publish(out)
    with pytest.raises(InputError, match="nothing to publish"):
        publish(dump)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"job_id": "f00", "format": 1}'])
def test_a_damaged_job_file_tells_how_to_do_without(
    content: bytes, expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    leave_all(dump, out)
    (work_of(out) / JOB).write_bytes(content)
    with pytest.raises(InputError, match="run `score` with the options of its slices, without --shard-slice"):
        publish(out)
    run(dump, out)
    assert data_files(out) == expected


def test_a_slice_mends_a_damaged_job_file(dump: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(dump, out, "1/3")
    kept = (work_of(out) / JOB).read_bytes()
    (work_of(out) / JOB).write_bytes(kept[:-9])
    run(dump, out, "2/3")
    assert (work_of(out) / JOB).read_bytes() == kept


def test_a_job_file_that_leads_elsewhere_publishes_nothing(dump: Path, tmp_path: Path) -> None:
    """It can name another input, and then it is another job than the claim's."""
    out = tmp_path / "out"
    leave_all(dump, out)
    other = write_dump(tmp_path / "other.tsv", ROWS, "other ")
    told = json.loads((work_of(out) / JOB).read_text())
    told["options"] |= {"input": [str(other)], "overwrite": True}
    (work_of(out) / JOB).write_text(json.dumps(told))
    with pytest.raises(OutputConflict, match=r"the input dump\.tsv there, other\.tsv here"):
        publish(out)
    assert parts_in(work_of(out)) == list(range(7))


@pytest.mark.parametrize(
    ("step", "replaces"),
    [
        (step, replaces)
        for replaces, steps in (
            (False, [(Beside, "publish"), (os, "rename")]),
            (True, [(Beside, "publish"), (beside, "exchange"), (beside, "_set_aside"), (beside, "sync_folder")]),
        )
        for step in steps
    ],
)
def test_a_publish_that_was_stopped_is_finished_by_the_next(
    step: tuple[Any, str],
    replaces: bool,
    expected: dict[str, str],
    dump: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When all but the rename is done, the inputs are not asked for any more."""
    out = tmp_path / "out"
    if replaces:
        run(dump, out, prefix="other_")
    leave_all(dump, out, overwrite=replaces)

    def broken(*_: Any) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(*step, broken)
        with pytest.raises(KeyError):
            publish(out)
    elsewhere = dump if step == (Beside, "publish") else dump.rename(tmp_path / "elsewhere.tsv")
    if step[1] in ("exchange", "sync_folder"):
        with pytest.raises(OutputConflict, match=r"belongs to another job: .*, or --overwrite"):
            publish(out)  # that the slices were to replace it cannot be seen any more
        publish_job(PublishOptions(output=str(out), progress="none", overwrite=True))
    publish(out)
    elsewhere.rename(dump)
    assert data_files(out) == expected
    assert not [name for name in os.listdir(out) if name.startswith(".")]
    assert sorted(os.listdir(tmp_path)) == ["dump.tsv", "out", "whole"]


def test_the_lock_of_a_run_that_was_killed_behind_its_rename_goes(dump: Path, tmp_path: Path) -> None:
    run(dump, tmp_path / "out")
    (tmp_path / "out" / LOCK).write_text("")
    assert publish(tmp_path / "out")["already_done"]
    assert LOCK not in os.listdir(tmp_path / "out")


def test_in_a_bucket(dump: Path, bucket: str) -> None:
    run(dump, f"{bucket}/whole")
    out = f"{bucket}/out"
    with pytest.raises(InputError, match="no job has been begun there"):
        publish(out)
    run(dump, out, "1/2")
    with pytest.raises(InputError, match="lacks 3 of 7 parts: 1, 3, 5; "):
        publish(out)
    leave_all(dump, out)
    assert JOB in Bucket(out).sizes()
    publish(out)
    assert objects(out) == objects(f"{bucket}/whole")
    assert not {JOB, PLAN} & Bucket(out).sizes().keys()
    assert publish(out)["already_done"]


def test_on_a_mount_point(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "is_mount_point", lambda path: path.name == "out")
    out = tmp_path / "out"
    out.mkdir()
    leave_all(dump, out)
    assert {CLAIM, JOB, PLAN} <= set(os.listdir(out))
    publish(out)
    assert data_files(out) == expected
    assert [name for name in os.listdir(out) if name.startswith(".")] == [CLAIM]
    assert publish(out)["already_done"]


def test_it_needs_no_pytorch(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (tmp_path / "dump.tsv").write_text("text\n" + "".join(f"{text}\n" for text in random_texts(20)))
    leave_all(tmp_path / "dump.tsv", tmp_path / "out", model=str(tiny_model), shard_rows=7)
    code = (
        "import sys\n"
        "from sentiment_batch.config import PublishOptions\n"
        "from sentiment_batch.publish import publish\n"
        "assert publish(PublishOptions(output=sys.argv[1]))['rows']['in'] == 20\n"
        "sys.exit(bool({'torch', 'transformers', 'openvino'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False).returncode == 0
    assert (tmp_path / "out" / "_SUCCESS").exists()
