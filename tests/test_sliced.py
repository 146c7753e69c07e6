"""sliced.py and `score --shard-slice`: the same bytes by however many runs, and one of them publishes."""

import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome, Program, faults_of
from faults import stub
from faults.jobs import data_files, objects, write_dump
from test_commit import without_locks
from test_readme import README

from sentiment_batch import deadline, sliced
from sentiment_batch.cli import cli
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import Busy, DeadlineReached, InputError, OutputConflict, TooManyRejects
from sentiment_batch.model.compute import Compute
from sentiment_batch.score import score
from sentiment_batch.write import commit, shared
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import CLAIM, JOB, LOCK, PLAN, SCRATCH

ROWS, SHARDS = 200, 7
OPTIONS = {"shard_rows": 30, "chunk_rows": 10, "max_reject_rate": 0.5, "progress": "none"}


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the model, which is put back afterwards; and nobody waits for long."""
    stub.install_for(monkeypatch)
    monkeypatch.setattr(shared, "_PATIENCE", 0.0)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dump(tmp_path_factory.mktemp("dump") / "dump.tsv", ROWS)


def run(dump: Path, out: Path | str, shard_slice: str | None = None, **more: Any) -> dict[str, Any]:
    options = {"input": (str(dump),), "model": "stub", "output": str(out), "shard_slice": shard_slice}
    return score(ScoreOptions(**{**options, **OPTIONS, **more}))


@pytest.fixture
def expected(dump: Path, tmp_path: Path) -> dict[str, str]:
    """The files of a run that does all of it."""
    run(dump, tmp_path / "whole" / "out")
    return data_files(tmp_path / "whole" / "out")


def during(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> None:
    """Have that done once, in the middle of the next run."""

    def hook() -> None:
        stub.install()
        monkeypatch.setattr(stub.StubLabeller, "logits", logits)
        work()

    logits = stub.StubLabeller.logits
    done: list[int] = []

    def interrupted(self: Any, *rest: Any) -> Any:
        if not done:
            done.append(1)
            hook()
        return logits(self, *rest)

    monkeypatch.setattr(stub.StubLabeller, "logits", interrupted)


def work_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.wip")


def parts_in(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.parquet"))


# One after another


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_slices_in_any_order_make_what_a_whole_run_makes(
    order: tuple[int, ...], expected: dict[str, str], dump: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = []
    for index in order:
        assert not out.exists()
        told.append(run(dump, out, f"{index}/3"))
        if index != order[-1]:
            assert set(range(index - 1, SHARDS, 3)) <= set(parts_in(work_of(out)))
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["out", "whole"]
    assert [each["slice"]["published"] for each in told] == [False, False, True]
    assert [each["slice"]["parts_there"] for each in told][-1] == SHARDS
    assert not [name for name in os.listdir(out) if name.startswith(".")]
    published = json.loads((out / "_metrics.json").read_text())
    assert "slice" not in published
    assert {**told[-1], "slice": None} == {**published, "slice": None}


def test_a_slice_tells_of_its_own_rows_and_the_last_one_of_all(dump: Path, tmp_path: Path) -> None:
    whole = run(dump, tmp_path / "whole")
    told = [run(dump, tmp_path / "out", f"{index}/4") for index in (1, 2, 3, 4)]
    assert not any(map(faults_of, told))
    assert [each["slice"] for each in told] == [
        {"index": 1, "of": 4, "shards": 2, "parts": 7, "parts_there": 2, "published": False},
        {"index": 2, "of": 4, "shards": 2, "parts": 7, "parts_there": 4, "published": False},
        {"index": 3, "of": 4, "shards": 2, "parts": 7, "parts_there": 6, "published": False},
        {"index": 4, "of": 4, "shards": 1, "parts": 7, "parts_there": 7, "published": True},
    ]
    assert [each["rows"]["in"] for each in told[:3]] == [60, 60, 50]
    assert [each["input"]["files"][0]["rows"] for each in told[:3]] == [60, 60, 50]
    for section in ("rows", "predictions", "profile", "input"):
        assert told[3][section] == whole[section]
    assert {each["job_id"] for each in told} == {whole["job_id"]}
    assert told[1]["headline"]["rows_in"] == 60


def test_what_a_slice_says(dump: Path, tmp_path: Path, program: Program) -> None:
    def slice_ends(text: str) -> Outcome:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
        files = ("--metrics", tmp_path / "m.json", "--xcom", tmp_path / "x.json", "--prometheus", tmp_path / "p.prom")
        return program("score", dump, "--model", "stub", "--output", "out", "--shard-slice", text, *options, *files)

    os.chdir(tmp_path)
    first = slice_ends("1/2")
    assert first.code == 0
    assert (
        f"slice 1/2: 4 of 4 parts sealed; 4 of 7 parts are in {tmp_path}/.out.wip; the last slice publishes, or "
        "sentiment-batch publish out\n"
    ) in first.err
    assert first.out.startswith(
        "status    slice 1/2 is done, and the job is not published yet: out\n"
        "parts     4 of this slice are sealed; 4 of 7 of the job are there\n"
        "rows      110 in = "
    )
    assert json.loads((tmp_path / "x.json").read_text())["slice"]["published"] is False
    again = slice_ends("1/2")
    assert again.code == 0
    assert "going on: 4 of 4 parts were sealed by an earlier run" in again.err
    last = slice_ends("2/2")
    assert last.code == 0
    assert last.out.startswith("status    done: out\nrows      200 in = ")
    assert json.loads((tmp_path / "x.json").read_text())["slice"]["published"] is True
    late = slice_ends("1/2")
    assert late.code == 0
    assert "done already: out" in late.err
    assert json.loads((tmp_path / "m.json").read_text())["slice"] == {
        **{"index": 1, "of": 2, "shards": 4, "parts": 7, "parts_there": 7, "published": True}
    }
    refused = slice_ends("3/2")
    assert (refused.code, json.loads((tmp_path / "m.json").read_text())["exit_code"]) == (2, 2)
    assert "write it as I/N" in refused.err


def test_slices_need_not_be_as_many_each_time(expected: dict[str, str], dump: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(dump, out, "1/3")["slice"]["parts_there"] == 3
    assert run(dump, out, "2/2")["slice"]["parts_there"] == 5
    assert run(dump, out, "1/1")["slice"]["published"]
    assert data_files(out) == expected


def test_a_whole_run_goes_on_behind_slices_and_slices_behind_a_whole_run(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(dump, tmp_path / "one", "2/3")
    assert run(dump, tmp_path / "one")["run"]["resumed"]
    assert data_files(tmp_path / "one") == expected
    with monkeypatch.context() as patch:
        patch.setattr(stub.StubLabeller, "logits", after(5))
        with pytest.raises(KeyError):
            run(dump, tmp_path / "two")
    assert parts_in(work_of(tmp_path / "two")) == [0]
    for index in (1, 2, 3):
        run(dump, tmp_path / "two", f"{index}/3")
    assert data_files(tmp_path / "two") == expected


def after(calls: int) -> Callable[..., Any]:
    """Logits so often, and then a bug."""
    logits, left = stub.StubLabeller.logits, [0] * calls

    def broken(self: Any, *rest: Any) -> Any:
        if not left:
            raise KeyError("a bug")
        left.pop()
        return logits(self, *rest)

    return broken


def test_a_slice_that_failed_goes_on(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stub.StubLabeller, "logits", after(4))
        with pytest.raises(KeyError):
            run(dump, tmp_path / "out", "1/2")
    assert parts_in(work_of(tmp_path / "out")) == [0]
    run(dump, tmp_path / "out", "2/2")
    again = run(dump, tmp_path / "out", "1/2")
    assert (again["run"]["resumed"], again["slice"]["published"]) == (True, True)
    assert data_files(tmp_path / "out") == expected


def test_a_slice_may_have_workers(expected: dict[str, str], dump: Path, tmp_path: Path) -> None:
    run(dump, tmp_path / "out", "2/2")
    assert run(dump, tmp_path / "out", "1/2", workers=2)["slice"]["published"]
    assert data_files(tmp_path / "out") == expected


def test_a_slice_of_the_first_rows(dump: Path, tmp_path: Path) -> None:
    run(dump, tmp_path / "whole", limit_rows=100)
    for index in (1, 2):
        told = run(dump, tmp_path / "out", f"{index}/2", limit_rows=100)
    assert told["rows"]["in"] == 100
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")


# Slices without a shard


def test_more_slices_than_shards(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(stub.StubLabeller, "load", None)  # no model is needed
        told = run(dump, out, "9/9")
        assert not out.parent.joinpath(".out.wip").exists(), "it began nothing, and leaves nothing"
        assert (told["slice"]["shards"], told["rows"]["in"], told["rows"]["out"]) == (0, 0, 0)
        assert not faults_of(told)
    run(dump, out, "1/9")
    run(dump, out, "8/9")
    assert parts_in(work_of(out)) == [0]
    for index in range(2, 8):
        told = run(dump, out, f"{index}/9")
    assert told["slice"]["published"]
    assert data_files(out) == expected
    assert run(dump, out, "9/9")["already_done"]


def test_a_slice_without_a_shard_takes_nothing_from_one_that_just_began(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    during(monkeypatch, lambda: run(dump, out, "9/9"))
    run(dump, out, "1/9")
    assert parts_in(work_of(out)) == [0]
    assert run(dump, out)["run"]["resumed"]
    assert data_files(out) == expected


def test_no_rows_are_one_shard(tmp_path: Path) -> None:
    (tmp_path / "empty.tsv").write_text("id\ttext\n")
    assert run(tmp_path / "empty.tsv", tmp_path / "out", "2/2")["slice"] == {
        **{"index": 2, "of": 2, "shards": 0, "parts": 1, "parts_there": 0, "published": False}
    }
    assert run(tmp_path / "empty.tsv", tmp_path / "out", "1/2")["slice"]["published"]


# Side by side


def test_slices_of_one_job_side_by_side(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inner ones begin and end while the outer one is in its first shard, and the last to end publishes."""
    out, told = tmp_path / "out", []

    def others() -> None:
        assert (work_of(out) / LOCK).read_text() == "for slices of a job"
        assert len(os.listdir(work_of(out) / SCRATCH)) == 1
        told.extend(run(dump, out, f"{index}/3") for index in (2, 3))
        assert len(os.listdir(work_of(out) / SCRATCH)) == 1, "the outer one's is left"

    during(monkeypatch, others)
    outer = run(dump, out, "1/3")
    assert [each["slice"]["published"] for each in (*told, outer)] == [False, False, True]
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["out", "whole"]


def test_a_whole_run_and_a_slice_exclude_each_other(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(shard_slice: str | None, holder: str) -> Callable[[], None]:
        def work() -> None:
            with pytest.raises(Busy, match=rf"out\.wip is held by another run \({holder}\)"):
                run(dump, tmp_path / "out", shard_slice)

        return work

    during(monkeypatch, refused(None, "for slices of a job"))
    run(dump, tmp_path / "out", "1/2")
    during(monkeypatch, refused("1/2", r"process \d+ on [^,]*"))
    run(dump, tmp_path / "out")
    assert data_files(tmp_path / "out") == expected


def test_slices_of_another_job_are_refused(dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While slices are at work they are in the way of all, and afterwards what they made is."""
    out = tmp_path / "out"

    def other() -> None:
        for overwrite in (False, True):
            with pytest.raises(Busy, match="is held by slices of another job; wait for them to end"):
                run(dump, out, "1/2", prefix="other_", overwrite=overwrite)
        assert parts_in(work_of(out)) == []
        with pytest.raises(Busy, match="for slices of a job"):
            run(dump, out, prefix="other_", overwrite=True)

    during(monkeypatch, other)
    run(dump, out, "1/2")
    assert parts_in(work_of(out)) == [0, 2, 4, 6]
    with pytest.raises(OutputConflict, match=r"unfinished work of another job: --prefix none there, other_ here"):
        run(dump, out, "1/2", prefix="other_")
    assert parts_in(work_of(out)) == [0, 2, 4, 6]
    run(dump, out, "2/2", prefix="other_", overwrite=True)
    assert parts_in(work_of(out)) == [1, 3, 5]
    assert run(dump, out, "1/2", prefix="other_", overwrite=True)["slice"]["published"]


def test_slices_replace_an_output_of_another_job(expected: dict[str, str], dump: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(dump, out, prefix="other_")
    before = data_files(out)
    with pytest.raises(OutputConflict, match="belongs to another job"):
        run(dump, out, "1/2")
    run(dump, out, "1/2", overwrite=True)
    assert data_files(out) == before, "it is there until the new one is"
    run(dump, out, "2/2", overwrite=True)
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["out", "whole"]


def test_one_that_cannot_be_alone_leaves_the_commit_to_who_is_there(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Another run of the same slice comes when all is sealed: whoever lets go last publishes."""
    out, gathered, told = tmp_path / "out", sliced.count_parts, []
    run(dump, out, "1/2")

    def late(*rest: Any) -> int:
        monkeypatch.setattr(sliced, "count_parts", gathered)
        with caplog.at_level(logging.INFO):
            told.append(run(dump, out, "2/2"))
        return gathered(*rest)

    monkeypatch.setattr(sliced, "count_parts", late)
    told.append(run(dump, out, "2/2"))
    assert [each["slice"]["published"] for each in told] == [False, True]
    assert "7 of 7 parts are in" in caplog.text
    assert "a run that is at work there publishes, or sentiment-batch publish" in caplog.text
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["out", "whole"]


def test_one_that_comes_when_all_is_published_is_done(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, count = tmp_path / "out", sliced.count_parts
    run(dump, out, "1/2")

    def late(work: Any, shards: Any) -> int:
        monkeypatch.setattr(sliced, "count_parts", count)
        found = count(work, shards)
        work.lock.release()  # it is held up when it has let go
        assert run(dump, out, "2/2")["slice"]["published"]
        return found

    monkeypatch.setattr(sliced, "count_parts", late)
    told = run(dump, out, "2/2")
    assert told["already_done"]
    assert told["slice"]["published"]
    assert data_files(out) == expected
    assert sorted(os.listdir(tmp_path)) == ["out", "whole"]


def test_the_line_of_the_readme_gives_each_index_of_kubernetes_its_slice() -> None:
    (line,) = re.findall(r"^sentiment-batch (score .*JOB_COMPLETION_INDEX.*)$", README, re.MULTILINE)
    slices = []
    for index in range(8):
        found = subprocess.run(
            ["/bin/sh", "-c", f"printf '%s\\n' {line}"],
            **{"env": {"JOB_COMPLETION_INDEX": str(index)}, "capture_output": True, "text": True, "check": True},
        )
        name, *arguments = found.stdout.splitlines()
        slices.append(cli.commands[name].make_context(name, arguments).params["shard_slice"])
    assert slices == [f"{index}/8" for index in range(1, 9)]


# What a slice cannot know, and what it can


def test_rejects_are_held_against_the_rows_of_the_whole_job(dump: Path, tmp_path: Path) -> None:
    """12 of 200 rows are rejected, 7 of them in the first slice: one slice alone says nothing, both say too many."""
    run(dump, tmp_path / "out", "1/2", max_reject_rate=0.04)
    with pytest.raises(TooManyRejects, match=r"12 of 200 rows are rejected, more than --max-reject-rate 0\.04 allows"):
        run(dump, tmp_path / "out", "2/2", max_reject_rate=0.04)
    assert not (tmp_path / "out").exists()
    with pytest.raises(TooManyRejects, match="of 200 rows are rejected"):
        run(dump, tmp_path / "other", "1/2", max_reject_rate=0.01)
    assert len(parts_in(work_of(tmp_path / "other"))) < 4, "as soon as it is certain"


def test_a_slice_stops_at_its_deadline(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 0.0, *(each / 2 for each in range(10_000))])
    with monkeypatch.context() as clock:
        clock.setattr(deadline, "monotonic", lambda: float(next(times)))
        with pytest.raises(DeadlineReached, match=r"[123] of 4 parts of slice 1/2 are in .*; run the same command"):
            run(dump, tmp_path / "out", "1/2", deadline="2s")
    run(dump, tmp_path / "out", "2/2")
    assert run(dump, tmp_path / "out", "1/2")["slice"]["published"]
    assert data_files(tmp_path / "out") == expected


def on_another_machine(patch: pytest.MonkeyPatch) -> None:
    begin = stub.StubLabeller.__init__

    def other(self: Any, *rest: Any) -> None:
        begin(self, *rest)
        self.compute = Compute("torch", "cpu", "bfloat16")

    patch.setattr(stub.StubLabeller, "__init__", other)


def test_a_machine_of_another_kind_is_refused_before_it_labels(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(dump, tmp_path / "out", "1/2")
    with monkeypatch.context() as patch:
        on_another_machine(patch)
        patch.setattr(stub.StubLabeller, "logits", None)
        with pytest.raises(
            OutputConflict, match=r"\.job\.json was made with torch cpu float32 auto, this run would go"
        ):
            run(dump, tmp_path / "out", "2/2")
        assert run(dump, tmp_path / "out", "1/2")["slice"]["shards"] == 4, "one that has nothing to do may be on any"
    assert run(dump, tmp_path / "out", "2/2")["slice"]["published"]


def test_parts_of_two_kinds_of_machines_are_not_mixed(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(dump, out, "1/2")
    (work_of(out) / JOB).unlink()
    on_another_machine(monkeypatch)
    with pytest.raises(OutputConflict, match=r"part-00000\.parquet was made with torch cpu float32 auto, part-00001"):
        run(dump, out, "2/2")
    assert not out.exists()


@pytest.mark.parametrize("damage", ["a bit", "all", "gone"])
def test_a_part_that_was_spoilt_is_made_again_by_the_last_slice(
    damage: str, expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, count = tmp_path / "out", sliced.count_parts
    run(dump, out, "1/2")
    part = work_of(out) / "part-00002.parquet"
    content = bytearray(part.read_bytes())
    content[5] ^= 1
    part.unlink()
    part.write_bytes(b"" if damage == "all" else bytes(content))

    def counted(*rest: Any) -> int:
        found = count(*rest)
        part.unlink()
        return found

    if damage == "gone":
        monkeypatch.setattr(sliced, "count_parts", counted)
    assert run(dump, out, "2/2")["slice"]["published"]
    assert data_files(out) == expected


def test_a_spoilt_part_is_not_made_again_on_another_kind_of_machine(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a one may publish, but not label."""
    out = tmp_path / "out"
    run(dump, out, "1/2")
    shutil.copytree(work_of(out), tmp_path / "kept")
    run(dump, out, "2/2")
    shutil.copytree(out, work_of(out))
    for name in (CLAIM, PLAN, JOB):
        shutil.copy(tmp_path / "kept" / name, work_of(out))
    for name in ("_SUCCESS", "_metrics.json", "_report.html"):
        (work_of(out) / name).unlink()
    shutil.rmtree(out)
    shutil.copytree(work_of(out), tmp_path / "again")
    on_another_machine(monkeypatch)
    (work_of(out) / "part-00002.parquet").write_bytes(b"")
    with pytest.raises(
        OutputConflict, match=r"part-0000\d\.parquet was made with torch cpu float32 auto, this run would"
    ):
        run(dump, out, "2/2")
    shutil.rmtree(work_of(out))
    shutil.copytree(tmp_path / "again", work_of(out))
    assert run(dump, out, "2/2")["slice"]["published"]
    assert json.loads((out / "_metrics.json").read_text())["model"]["dtype"] == "float32"


def test_an_input_that_is_edited_between_two_slices(tmp_path: Path) -> None:
    dump, out = tmp_path / "dump.tsv", tmp_path / "out"
    lines = [f"{row}\treview {row} {'x' * 60}\n" for row in range(3_000)]  # the identity looks at the edges alone
    dump.write_text("".join(["id\ttext\n", *lines]))
    times = dump.stat()
    run(dump, out, "1/2", shard_rows=500)
    dump.write_bytes(dump.read_bytes().replace(b"review 1400 ", b"REVIEW 1400 "))
    os.utime(dump, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match=r"was edited since part-00002\.parquet was made from it"):
        run(dump, out, "2/2", shard_rows=500)
    assert not out.exists()


# Other places


def test_in_a_bucket(dump: Path, bucket: str) -> None:
    run(dump, f"{bucket}/whole")
    told = [run(dump, f"{bucket}/out", f"{index}/3") for index in (2, 1, 3)]
    assert [each["slice"]["published"] for each in told] == [False, False, True]
    assert objects(f"{bucket}/out") == objects(f"{bucket}/whole")
    assert not [name for name in Bucket(f"{bucket}/out").sizes() if name in (JOB, PLAN)]
    assert run(dump, f"{bucket}/out", "1/3")["already_done"]


def test_in_a_bucket_two_may_be_the_last(dump: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has found all parts before the other published."""
    out, adopted = f"{bucket}/out", sliced.adopted_parts
    run(dump, f"{bucket}/whole")
    run(dump, out, "1/2")
    told = []

    def late(*rest: Any) -> Any:
        monkeypatch.setattr(sliced, "adopted_parts", adopted)
        told.append(run(dump, out, "2/2"))
        return adopted(*rest)

    monkeypatch.setattr(sliced, "adopted_parts", late)
    told.append(run(dump, out, "2/2"))
    assert [each["slice"]["published"] for each in told] == [True, True]
    assert told[0]["run"] == told[1]["run"], "the metrics are those of the first"
    assert objects(out) == objects(f"{bucket}/whole")
    assert JOB not in Bucket(out).sizes()


def test_in_a_bucket_a_slice_without_a_shard_leaves_the_claim(
    dump: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another() -> None:
        run(dump, f"{bucket}/out", "9/9")
        with pytest.raises(OutputConflict, match="unfinished work of another job"):
            run(dump, f"{bucket}/out", "1/2", prefix="other_")

    during(monkeypatch, another)
    run(dump, f"{bucket}/out", "1/9")


def test_on_a_mount_point(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its lock, which no slice takes away while another one holds it."""
    monkeypatch.setattr(commit, "is_mount_point", lambda path: path.name == "out")
    out = tmp_path / "out"
    out.mkdir()

    def others() -> None:
        run(dump, out, "2/3")
        with pytest.raises(Busy, match="for slices of a job"):
            run(dump, out)
        assert (out / LOCK).exists()
        with pytest.raises(Busy, match="is held by slices of another job"):
            run(dump, out, "1/3", prefix="other_", overwrite=True)
        run(dump, out, "3/3")
        run(dump, out, "9/9")

    during(monkeypatch, others)
    assert run(dump, out, "1/3")["slice"]["published"]
    assert {name: each for name, each in data_files(out).items() if not name.startswith(".")} == expected
    assert [name for name in os.listdir(out) if name.startswith(".")] == [CLAIM]
    assert run(dump, out, "1/3")["already_done"]
    run(dump, out, "2/2", prefix="other_", overwrite=True)
    assert run(dump, out, "1/2", prefix="other_", overwrite=True)["slice"]["published"]
    assert sorted(name for name in os.listdir(out) if name.startswith(".")) == [CLAIM]


def test_without_locks(
    expected: dict[str, str], dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """As in a bucket: nothing is taken away by a slice that cannot know whether it is alone."""
    without_locks(monkeypatch)
    out = tmp_path / "out"

    def others() -> None:
        run(dump, out, "9/9")
        run(dump, out, "2/3")
        run(dump, out, "3/3")

    during(monkeypatch, others)
    assert run(dump, out, "1/3")["slice"]["published"]
    assert data_files(out) == expected
    assert re.search("has no locks: see to it that no run but slices of one job works there", caplog.text)


def test_the_first_reject_that_is_named_is_the_first_of_the_job(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever slice finds it."""
    told: list[str] = []
    for index in (1, 2):
        out = tmp_path / f"out{index}"
        run(dump, out, f"{index}/2")
        parts = sorted(work_of(out).glob("part-*"))
        with monkeypatch.context() as patch:  # a slice of a limit that its own parts hold, and all together do not
            patch.setattr(sliced, "count_parts", lambda *_: 0)
            run(dump, out, f"{3 - index}/2")
        assert len(parts) < SHARDS
        with pytest.raises(TooManyRejects) as raised:
            run(dump, out, f"{3 - index}/2", max_reject_rate=0.04)
        told.append(str(raised.value).replace(str(work_of(out)), ""))
    assert told[0] == told[1]
