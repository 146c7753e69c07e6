"""Inputs that change while a job runs or between two runs of it, and a disk that fails while they are read."""

import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Program

from faults import stub
from faults.jobs import OPTIONS, is_published
from sentiment_batch import labeller, labelling, score, shards
from sentiment_batch.errors import EnvironmentFailure, Stopped
from sentiment_batch.logs import plain
from sentiment_batch.read import source
from sentiment_batch.read.source import open_source

Edit = Callable[[Path], None]


@pytest.fixture(autouse=True)
def the_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the model, for one test."""
    for module in (labelling, score, labeller):
        if hasattr(module, "tokenise"):
            monkeypatch.setattr(module, "tokenise", stub._tokenise)
        if hasattr(module, "open_labeller"):
            monkeypatch.setattr(module, "open_labeller", lambda options, column: stub.StubLabeller(options, column))


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """200 rows of one length: seven shards."""
    path = tmp_path / "dump.tsv"
    path.write_text("id\ttext\n" + "".join(f"{row:03d}\treview {row:03d}\n" for row in range(200)))
    return path


def before_shard(monkeypatch: pytest.MonkeyPatch, index: int, action: Callable[[], None]) -> None:
    """Do something when the shard of that number is to be labelled."""
    real = shards._label_shard

    def label(job: Any, work: Any, planned: Any, progress: Any) -> Any:
        if planned.index == index:
            action()
        return real(job, work, planned, progress)

    monkeypatch.setattr(shards, "_label_shard", label)


def stop_before_shard(program: Program, dump: Path, out: Path, index: int) -> None:
    def stop() -> None:
        raise Stopped(15)

    with pytest.MonkeyPatch.context() as patch:
        before_shard(patch, index, stop)
        assert program(*arguments(dump, out)).code == 143


def arguments(dump: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("score", dump, *more, "--model", "stub", "--output", out, *OPTIONS)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"review", b"rebiew"))
    os.replace(other, path)


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"200\treview 200\n")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("change", [replaced, appended, cut, Path.unlink])
@pytest.mark.parametrize("index", [0, 2, 6])
def test_an_input_that_changes_during_the_run(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dump: Path, change: Edit, index: int
) -> None:
    before_shard(monkeypatch, index, lambda: change(dump))
    ended = program(*arguments(dump, tmp_path / "out"))
    assert ended.code == 3
    assert str(dump) in ended.err
    assert "during the run" in ended.err
    assert not is_published(tmp_path / "out")


def edited_quietly(path: Path, old: bytes, new: bytes) -> None:
    """Bytes in the middle of the file, where nothing but a look at all of it can tell; size and times as before."""
    stat = path.stat()
    data = path.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    with path.open("r+b") as file:
        file.seek(data.index(old))
        file.write(new)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("row", [0, 29, 45, 89])
def test_an_input_that_is_edited_between_two_runs_and_looks_the_same(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: int
) -> None:
    from sentiment_batch.read import inputs

    monkeypatch.setattr(inputs, "_EDGE_BYTES", 8)  # the edges of a large file
    dump, out = tmp_path / "dump.tsv", tmp_path / "out"
    dump.write_text("id\ttext\n" + "".join(f"{row:03d}\treview {row:03d}\n" for row in range(200)))
    stop_before_shard(program, dump, out, 3)
    edited_quietly(dump, b"review %03d" % row, b"rebiew %03d" % row)
    ended = program(*arguments(dump, out))
    assert ended.code == 3, ended.err
    assert str(dump) in ended.err
    assert "edited" in ended.err
    assert not is_published(out)


def test_rows_that_nothing_was_made_of_yet_may_be_edited_and_are_read_as_they_are(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dump: Path
) -> None:
    from sentiment_batch.read import inputs

    monkeypatch.setattr(inputs, "_EDGE_BYTES", 8)
    stop_before_shard(program, dump, tmp_path / "out", 3)
    edited_quietly(dump, b"review 100", b"rebiew 100")
    assert program(*arguments(dump, tmp_path / "out")).code == 0
    assert program("verify", tmp_path / "out").code == 0


@pytest.mark.parametrize("more", [("b.tsv",), ("b.tsv", "c.tsv")])
@pytest.mark.parametrize("done", [True, False])
def test_another_list_of_files_is_another_job(
    program: Program, tmp_path: Path, dump: Path, more: tuple[str, ...], done: bool
) -> None:
    out = tmp_path / "out"
    others = [tmp_path / name for name in more]
    for other in others:
        other.write_bytes(dump.read_bytes())
    if done:
        assert program(*arguments(dump, out)).code == 0
    else:
        stop_before_shard(program, dump, out, 2)
    for files in ((dump, *others), (*others, dump), others):
        ended = program(*arguments(files[0], out, *files[1:]))
        assert ended.code == 4, ended.err
        assert "another job" in ended.err
    assert program(*arguments(dump, out)).code == 0, "the job itself is as it was"
    assert program("verify", out).code == 0


def test_a_folder_with_one_file_more_is_another_job(program: Program, tmp_path: Path, dump: Path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "out"
    folder.mkdir()
    dump.rename(folder / "a.tsv")
    stop_before_shard(program, folder, out, 2)
    (folder / "_SUCCESS").touch()
    (folder / "b.tsv").write_bytes((folder / "a.tsv").read_bytes())
    assert program(*arguments(folder, out)).code == 4
    (folder / "b.tsv").unlink()
    assert program(*arguments(folder, out)).code == 0, "what is not data is no other file"


ODD_NAMES = [b"a\nb.tsv", b"a\"b'.tsv", b"\xff\xfe.tsv", b"\x1b[31m.tsv", "é 評 😀.tsv".encode()]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_name_of_any_bytes_is_exact_in_the_manifest_and_escaped_in_lines(
    program: Program, tmp_path: Path, dump: Path, name: bytes
) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(dump.read_bytes() + b"no tab\n")
    out = tmp_path / "out"
    assert program(*arguments(Path(os.fsdecode(path)), out)).code == 0
    manifest = json.loads((out / "_SUCCESS").read_bytes())
    assert os.fsencode(manifest["inputs"][0]["path"]) == path
    assert os.fsencode(manifest["identity"]["inputs"][0]["name"]) == name
    (rejects,) = (out / "_rejects").iterdir()
    assert os.fsencode(json.loads(rejects.read_bytes())["file"]) == path
    assert program("verify", out).code == 0
    assert program(*arguments(Path(os.fsdecode(path)), out)).code == 0, "done already"
    os.truncate(path, 4)
    ended = program(*arguments(Path(os.fsdecode(path)), tmp_path / "other"))
    assert ended.code == 3
    assert len(ended.err.strip().splitlines()) == 1
    assert not set(ended.err.strip()) & set(map(chr, range(32)))
    assert plain(os.fsdecode(name)) in ended.err


class Failing:
    """Reads of one file that fail: `times` of them, behind the first `after`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, number: int, times: int, after: int = 0):
        self.reads = 0

        class Disk(io.FileIO):
            def readinto(raw, buffer: Any) -> int | None:  # noqa: N805
                if str(raw.name) == str(path):
                    self.reads += 1
                    if after < self.reads <= after + times:
                        raise OSError(number, os.strerror(number), str(path))
                return super().readinto(buffer)

        monkeypatch.setattr(source, "LocalInput", type("LocalInput", (source.LocalInput, Disk), {}))


passing = pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])


@passing
@pytest.mark.parametrize("times", [1, 2])
def test_a_disk_that_gets_over_it_is_read_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dump: Path, number: int, times: int
) -> None:
    failing = Failing(monkeypatch, dump, number, times)
    with open_source(str(dump)) as file:
        assert file.read() == dump.read_bytes()
    assert failing.reads > times
    assert len(caplog.records) == times
    assert all(str(dump) in record.getMessage() and "byte 0" in record.getMessage() for record in caplog.records)


@passing
def test_a_disk_that_fails_three_times_is_the_environments_fault(
    monkeypatch: pytest.MonkeyPatch, dump: Path, number: int
) -> None:
    failing = Failing(monkeypatch, dump, number, 1000)
    with open_source(str(dump)) as file:
        file.seek(77)
        with pytest.raises(EnvironmentFailure, match="byte 77: the disk failed 3 times") as caught:
            file.read(1)
    assert failing.reads == 3
    assert str(dump) in str(caught.value)


def test_an_error_that_does_not_pass_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, dump: Path) -> None:
    failing = Failing(monkeypatch, dump, errno.EBADF, 1000)
    with open_source(str(dump)) as file, pytest.raises(OSError, match="Bad file descriptor"):
        file.read(1)
    assert failing.reads == 1


@pytest.mark.parametrize("name", ["dump.tsv", "dump.parquet", "dump.tsv.gz"])
def test_a_job_whose_input_cannot_be_read_is_worth_a_retry(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The first read of all, one in the plan, one in a shard: exit 7 with the file and the byte, nothing published."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f"review {row}" for row in range(200)]
    if name.endswith("parquet"):
        pq.write_table(pa.table({"text": texts}), tmp_path / name)
    else:
        data = "\n".join(["text", *texts, ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.MonkeyPatch.context() as patch:
        sound = Failing(patch, tmp_path / name, errno.EIO, 0)
        assert program(*arguments(tmp_path / name, tmp_path / "all")).code == 0
    assert sound.reads > 3
    for after in range(0, sound.reads, max(1, sound.reads // 12)):
        out = tmp_path / f"out-{after}"
        with pytest.MonkeyPatch.context() as patch:
            Failing(patch, tmp_path / name, errno.EIO, 1000, after)
            ended = program(*arguments(tmp_path / name, out))
        assert ended.code == 7, (after, ended.err)
        assert f"{tmp_path / name} cannot be read at byte" in ended.err
        assert not is_published(out)
    assert program(*arguments(tmp_path / name, out)).code == 0, "and goes on where it was"
    assert program("verify", out).code == 0
