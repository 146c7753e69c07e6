"""write/store.py: a name is given once, and what has a name is whole."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentiment_batch.write.store import create, read_json, replace, write_json, write_metrics_copy


def scratch_file(folder: Path, content: str, name: str = "scratch") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_create_gives_a_free_name(tmp_path: Path) -> None:
    assert create(scratch_file(tmp_path, "new"), tmp_path / "part") is True
    assert (tmp_path / "part").read_text() == "new"
    assert names(tmp_path) == ["part"]


def test_create_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("old")
    assert create(scratch_file(tmp_path, "new"), tmp_path / "part") is False
    assert (tmp_path / "part").read_text() == "old"
    assert names(tmp_path) == ["part"]


def test_create_knows_its_own_link(tmp_path: Path) -> None:
    """NFS may make the link, lose the answer, and say "exists" to the call that it repeats."""
    scratch = scratch_file(tmp_path, "new")
    os.link(scratch, tmp_path / "part")
    assert create(scratch, tmp_path / "part") is True
    assert names(tmp_path) == ["part"]


def test_create_has_one_winner(tmp_path: Path) -> None:
    scratches = [scratch_file(tmp_path, str(number), f"scratch{number}") for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda scratch: create(scratch, tmp_path / "part"), scratches))
    assert sum(created) == 1
    assert (tmp_path / "part").read_text() == str(created.index(True))
    assert names(tmp_path) == ["part"]


@pytest.mark.parametrize(("call", "step"), [(create, "link"), (replace, "replace")])
def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object, step: str
) -> None:
    events: list[str] = []
    fsync, naming = os.fsync, getattr(os, step)

    def noted_fsync(descriptor: int) -> None:
        events.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noted_naming(*paths: Path) -> None:
        events.append("name")
        naming(*paths)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, step, noted_naming)
    call(scratch_file(tmp_path, "new"), tmp_path / "part")  # type: ignore[operator]
    assert events == ["fsync scratch", "name", f"fsync {tmp_path.name}"]


def test_replace_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("old")
    replace(scratch_file(tmp_path, "new"), tmp_path / "part")
    assert (tmp_path / "part").read_text() == "new"
    assert names(tmp_path) == ["part"]


def test_json_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"ulasan": "enak 👍", "rows": [1, 2.5, None, True], "nested": {"b": {}, "a": []}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "👍" in text
    assert text.endswith("}\n")
    assert names(tmp_path) == ["a.json"]


def test_file_names_that_are_not_utf8_come_back_as_they_were(tmp_path: Path) -> None:
    name = os.fsdecode(b"dump-\xff.tsv")
    write_json(tmp_path / "a.json", {name: name})
    assert read_json(tmp_path / "a.json") == {name: name}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), object()])
@pytest.mark.parametrize("before", [None, {"rows": 1}])
def test_json_that_cannot_be_written_leaves_everything_as_it_was(tmp_path: Path, wrong: object, before: object) -> None:
    path = tmp_path / "a.json"
    if before is not None:
        write_json(path, before)
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"first": "x" * 100_000, "wrong": wrong})  # long enough for a write before the error
    assert read_json(path) == before
    assert names(tmp_path) == ([] if before is None else ["a.json"])


def test_json_is_whole_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "a.json", {"rows": 1})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a.json", {"rows": 2})
    assert read_json(tmp_path / "a.json") == {"rows": 1}
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"not json"])
def test_what_is_no_json_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None


def test_what_is_not_there_reads_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    assert read_json(tmp_path / "missing.json") is None
    assert read_json(tmp_path / "missing" / "a.json") is None
    assert read_json(tmp_path / "file" / "a.json") is None


def test_a_file_that_may_not_be_read_is_not_taken_for_absent(tmp_path: Path) -> None:
    """It would be overwritten otherwise."""
    with pytest.raises(OSError, match="directory"):
        read_json(tmp_path)


def test_metrics_copy_goes_where_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_metrics_copy(None, {"rows": 1})
    assert names(tmp_path) == []
    write_metrics_copy("metrics.json", {"rows": 2})
    write_metrics_copy(str(tmp_path / "new" / "deep" / "metrics.json"), {"rows": 3})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"rows": 2}
    assert json.loads((tmp_path / "new" / "deep" / "metrics.json").read_text()) == {"rows": 3}
