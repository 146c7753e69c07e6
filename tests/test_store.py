"""write/store.py and write/bucket.py: a name is given once, and what has a name is whole. The same tests over both."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sentiment_batch.errors import EnvironmentFailure, UsageError
from sentiment_batch.write import store as module
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.store import Folder, Store, create_json, read_json, write_metrics_copy


def scratch_file(folder: Path, content: str, name: str = "scratch") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.mark.parametrize("name", ["part", "_rejects/a.jsonl", "a b/ü%20+?#.json"])
def test_create_gives_a_free_name(store: Store, scratch: Path, name: str) -> None:
    assert store.create(name, scratch_file(scratch, "new")) is True
    assert store.read(name) == b"new"
    assert store.sizes() == {name: 3}
    assert names(scratch) == []


@pytest.mark.parametrize("name", ["part", "_rejects/a.jsonl"])
def test_create_makes_no_folder_again_that_was_moved_away(tmp_path: Path, scratch: Path, name: str) -> None:
    """With no claim in it, it would be in every job's way."""
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path / "gone").create(name, scratch_file(scratch, "new"))
    assert names(tmp_path) == ["scratch"]


def test_create_leaves_what_is_there_as_it_is(store: Store, scratch: Path) -> None:
    store.create("part", scratch_file(scratch, "old"))
    assert store.create("part", scratch_file(scratch, "new")) is False
    assert store.read("part") == b"old"
    assert names(scratch) == ["scratch"], "the caller may do something else with it"


def test_swap_takes_the_place_of_the_version_that_was_looked_at(store: Store, scratch: Path) -> None:
    store.create("claim", scratch_file(scratch, "old"))
    version = store.version("claim")
    assert version is not None
    assert store.swap("claim", scratch_file(scratch, "new"), version) is True
    assert store.read("claim") == b"new"
    assert names(scratch) == []
    assert store.swap("claim", scratch_file(scratch, "late"), version) is False
    assert store.read("claim") == b"new"
    store.delete("claim")
    assert store.version("claim") is None
    assert store.swap("claim", scratch_file(scratch, "late"), version) is False
    assert store.read("claim") is None


def test_swap_has_one_winner(bucket: str, scratch: Path) -> None:
    """In a bucket; in a folder the lock sees to it."""
    store = Bucket(bucket)
    store.create("part", scratch_file(scratch, "old"))
    version = store.version("part")
    assert version is not None
    files = [scratch_file(scratch, str(number), f"scratch{number}") for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        swapped = list(pool.map(lambda file: store.swap("part", file, version), files))
    assert sum(swapped) == 1
    assert store.read("part") == str(swapped.index(True)).encode()


def test_create_knows_its_own_link(tmp_path: Path, scratch: Path) -> None:
    """NFS may make the link, lose the answer, and say "exists" to the call that it repeats."""
    file = scratch_file(scratch, "new")
    os.link(file, tmp_path / "part")
    assert Folder(tmp_path).create("part", file) is True


def test_create_has_one_winner(store: Store, scratch: Path) -> None:
    files = [scratch_file(scratch, str(number), f"scratch{number}") for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda file: store.create("part", file), files))
    assert sum(created) == 1
    assert store.read("part") == str(created.index(True)).encode()
    assert len(names(scratch)) == 15


def test_a_request_that_got_no_answer_is_made_once_more(
    bucket: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore
    from obstore.exceptions import GenericError

    put, calls = obstore.put, []

    def lost(*arguments: Any, **options: Any) -> Any:
        calls.append(put(*arguments, **options))
        if len(calls) == 1:
            raise GenericError("no answer")

    monkeypatch.setattr(obstore, "put", lost)
    store = Bucket(bucket)
    assert store.create("part", scratch_file(scratch, "new")) is False, "it is there: the caller looks whose it is"
    assert store.read("part") == b"new"
    monkeypatch.setattr(obstore, "put", lambda *_, **__: (_ for _ in ()).throw(GenericError("never")))
    with pytest.raises(EnvironmentFailure):
        store.create("other", scratch_file(scratch, "new"))


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        events.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noted_link(*paths: Path) -> None:
        events.append("name")
        link(*paths)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    Folder(tmp_path).create("part", scratch_file(tmp_path, "new"))
    assert events == ["fsync scratch", "name", f"fsync {tmp_path.name}"]


def test_a_file_system_without_links_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(UsageError, match="no hard links"):
        Folder(tmp_path).create("part", scratch_file(tmp_path, "new"))


def test_reading_from_a_place_on(store: Store, scratch: Path) -> None:
    store.create("part", scratch_file(scratch, "0123456789"))
    assert store.read("part", 7) == b"789"
    with store.open("part") as file:
        file.seek(3)
        assert bytes(file.read(4)) == b"3456"


def test_what_is_not_there_is_not_there(store: Store) -> None:
    assert store.sizes() == {}
    assert store.read("part") is None
    store.delete("part")
    with pytest.raises(FileNotFoundError, match="part"):
        store.open("part")


def test_delete_takes_one_file_away(store: Store, scratch: Path) -> None:
    for name in ("part", "part-2", "_rejects/a"):
        store.create(name, scratch_file(scratch, "x"))
    store.delete("part")
    assert set(store.sizes()) == {"part-2", "_rejects/a"}


def test_a_file_that_goes_while_sizes_are_looked_at_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the lock of a run does which has just published, when another run of the job sees that all is done."""
    for name in (".lock", "part"):
        (tmp_path / name).write_text("x")
    listed = module._files

    def late(folder: Path) -> list[Path]:
        found = list(listed(folder))
        (tmp_path / ".lock").unlink()
        return found

    monkeypatch.setattr(module, "_files", late)
    assert Folder(tmp_path).sizes() == {"part": 1}


def test_sizes_of_a_folder_leave_hidden_folders_out(tmp_path: Path) -> None:
    for name in (".scratch/half", ".claim.json", "a/b/c", "a/.x/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert set(Folder(tmp_path).sizes()) == {".claim.json", "a/b/c"}


def test_a_bucket_knows_only_its_own_prefix(bucket: str, scratch: Path) -> None:
    """`out-2` begins with `out`, too."""
    Bucket(f"{bucket}/out-2").create("part", scratch_file(scratch, "x"))
    assert Bucket(f"{bucket}/out").sizes() == {}
    assert Bucket(f"{bucket}/out-2/").sizes() == {"part": 1}


def test_the_folder_that_a_console_makes_is_no_file(bucket: str, s3_server: str) -> None:
    """An object without bytes whose name ends in a slash, which obstore itself would cut off."""
    import boto3

    _, _, key = bucket.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.put_object(Bucket="bucket", Key=f"{key}/out/", Body=b"")
    assert Bucket(f"{bucket}/out").sizes() == {}


def test_json_is_read_back_as_it_was_written(store: Store, scratch: Path) -> None:
    value = {"ulasan": "enak 👍", "rows": [1, 2.5, None, True], "nested": {"b": {}, "a": []}}
    assert create_json(store, scratch, "a.json", value) is True
    assert create_json(store, scratch, "a.json", {}) is False
    assert read_json(store, "a.json") == value
    text = (store.read("a.json") or b"").decode()
    assert "👍" in text
    assert text.endswith("}\n")
    assert names(scratch) == []


def test_file_names_that_are_not_utf8_come_back_as_they_were(store: Store, scratch: Path) -> None:
    name = os.fsdecode(b"dump-\xff.tsv")
    create_json(store, scratch, "a.json", {name: name})
    assert read_json(store, "a.json") == {name: name}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), object()])
def test_json_that_cannot_be_written_leaves_everything_as_it_was(store: Store, scratch: Path, wrong: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        create_json(store, scratch, "a.json", {"first": "x" * 100_000, "wrong": wrong})
    assert store.sizes() == {}
    assert names(scratch) == []


def test_json_is_whole_when_the_disk_is_full(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFailure, match="No space"):
        create_json(Folder(tmp_path), scratch, "a.json", {"rows": 2})
    assert names(tmp_path) == ["scratch"]
    assert names(scratch) == []


@pytest.mark.parametrize("content", ["", "{", '{"a": 1', "not json", "[" * 100_000])
def test_what_is_no_json_reads_as_nothing(store: Store, scratch: Path, content: str) -> None:
    store.create("a.json", scratch_file(scratch, content))
    assert read_json(store, "a.json") is None
    assert read_json(store, "missing/a.json") is None


def test_what_lies_behind_a_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    assert read_json(Folder(tmp_path), "file/a.json") is None


def test_a_file_that_may_not_be_read_is_not_taken_for_absent(tmp_path: Path) -> None:
    """It would be overwritten otherwise."""
    with pytest.raises(OSError, match="directory"):
        read_json(Folder(tmp_path.parent), tmp_path.name)


def test_two_runs_with_one_process_number_may_copy_their_metrics_to_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on two hosts that share a file system."""
    replace, target = os.replace, tmp_path / "metrics.json"

    def meanwhile(*paths: Path) -> None:
        monkeypatch.undo()
        write_metrics_copy(str(target), {"rows": 2})
        replace(*paths)

    monkeypatch.setattr(os, "replace", meanwhile)
    write_metrics_copy(str(target), {"rows": 1})
    assert json.loads(target.read_text()) == {"rows": 1}
    assert names(tmp_path) == ["metrics.json"]


def test_metrics_copy_goes_where_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_metrics_copy(None, {"rows": 1})
    assert names(tmp_path) == []
    write_metrics_copy("metrics.json", {"rows": 1})
    write_metrics_copy("metrics.json", {"rows": 2})
    write_metrics_copy(str(tmp_path / "new" / "deep" / "metrics.json"), {"rows": 3})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"rows": 2}
    assert json.loads((tmp_path / "new" / "deep" / "metrics.json").read_text()) == {"rows": 3}
    assert names(tmp_path) == ["metrics.json", "new"]
    with pytest.raises(UsageError, match="local"):
        write_metrics_copy("s3://bucket/metrics.json", {})


def test_folders_that_a_console_makes_are_no_files(bucket: str) -> None:
    import obstore

    store = Bucket(bucket)
    for key in ("", "_rejects/", "_rejects/a.jsonl", "empty"):
        obstore.put(store._store, store._key(key), b"x" if key.endswith("jsonl") else b"")
    assert store.sizes() == {"_rejects/a.jsonl": 1, "empty": 0}
