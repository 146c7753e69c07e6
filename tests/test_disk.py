"""disk.py: what has its name is on the disk, and so is the name."""

import os
from pathlib import Path

import pytest

from sentiment_batch.disk import make_folders, replace_file


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every fsync, by the name of what was synced, and every rename."""
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        seen.append("fsync " + os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def noted_replace(*paths: Path) -> None:
        seen.append("rename")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return seen


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, events: list[str]
) -> None:
    scratch, path = tmp_path / "scratch", tmp_path / "file"
    path.write_text("old")
    scratch.write_text("new")
    replace_file(scratch, path)
    assert events == [f"fsync {scratch}", "rename", f"fsync {tmp_path}"]
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"file": "new"}


def test_folders_on_the_way_are_made_and_each_is_durable(tmp_path: Path, events: list[str]) -> None:
    make_folders(tmp_path / "a" / "b" / "c")
    assert events == [f"fsync {folder}" for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")]
    make_folders(tmp_path / "a" / "b" / "c")
    assert len(events) == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_folders(tmp_path / "file" / "x")
