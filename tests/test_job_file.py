"""job_file.py: the options of a job come back as they were, and nothing else comes for them."""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sentiment_batch.config import LogOptions, MetricsOptions, ScoreOptions
from sentiment_batch.errors import InputError
from sentiment_batch.job_file import JobFile, fits, job_file, read_job_file
from sentiment_batch.write.claim import CLAIM, JOB
from sentiment_batch.write.store import Folder, json_bytes

COMPUTE = {"engine": "torch", "device": "cpu", "dtype": "float32", "batch_tokens": "auto"}
OPTIONS = ScoreOptions(
    input=("/data/a.tsv", "s3://lake/b.tsv"),
    model="/models/m",
    output="out",
    columns=("id", "text"),
    label_column="label",
    max_reject_rate=0.25,
    limit_rows=7,
    calibrated=True,
    overwrite=True,
)


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    (tmp_path / "work").mkdir()
    return Folder(tmp_path / "work")


def content(options: ScoreOptions = OPTIONS) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json_bytes(job_file("f00", options, 8, COMPUTE)))
    return made


def written(store: Folder, value: Any) -> JobFile | None:
    (store.path / JOB).write_bytes(value if isinstance(value, bytes) else json_bytes(value))
    return read_job_file(store, "out")


def test_what_was_written_is_read(store: Folder) -> None:
    assert read_job_file(store, "out") is None
    assert written(store, content()) == ("f00", OPTIONS, 8, COMPUTE)


def test_there_is_nothing_where_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_job_file(Folder(tmp_path / "none"), "out") is None
    assert read_job_file(Folder(tmp_path / "file"), "out") is None


def test_what_is_of_a_single_run_is_left_out(store: Folder) -> None:
    run = {
        "shard_slice": "2/8",
        "workers": 2,
        "deadline": "05:30",
        "metrics": "m.json",
        "progress": "none",
        "debug": True,
    }
    options = ScoreOptions(**{**{each.name: getattr(OPTIONS, each.name) for each in fields(OPTIONS)}, **run})
    assert content(options) == content()
    of_a_run = {each.name for kind in (MetricsOptions, LogOptions) for each in fields(kind)}
    assert not content()["options"].keys() & {"output", *run, *of_a_run}


def test_local_paths_are_read_from_anywhere(store: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"\xff.tsv")
    given = ("a.tsv", "days/*/b.tsv", "../c", "s3://lake/d.tsv", "sample:test", odd)
    made = content(ScoreOptions(input=given, model="m", output="out"))
    monkeypatch.chdir("/")
    found = written(store, made)
    assert found
    assert found.options.model == f"{tmp_path}/m"
    assert found.options.input == (
        *(f"{tmp_path}/a.tsv", f"{tmp_path}/days/*/b.tsv", f"{tmp_path.parent}/c"),
        *("s3://lake/d.tsv", "sample:test", f"{tmp_path}/{odd}"),
    )


REFUSED = r"work/\.job\.json cannot be used: .*; run `score` with the options of its slices, without --shard-slice"
WRONG = (None, "x", "", -1, 0.5, True, [], [1], ["a\0b"], {}, 10**400, "ftp://x/y", float("nan"))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    return [path, *(found for key, each in inner for found in leaves(each, (*path, key)))]


@pytest.mark.parametrize("path", [path for path in leaves(content()) if path], ids=lambda path: ".".join(path))
def test_a_value_of_another_kind_is_refused_or_is_one_that_the_option_takes(
    store: Folder, path: tuple[str, ...]
) -> None:
    refused = 0
    for wrong in WRONG:
        made = content()
        inner = made
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong
        text = json.dumps(made).encode()
        try:
            found = written(store, text)
        except InputError:
            refused += 1
            continue
        assert found
        kept = content(found.options) | {"job_id": found.job_id, "slices": found.slices, "compute": found.compute}
        assert json.dumps(kept) == text.decode(), "what is taken is what was there"
    assert refused >= 5, path
    del inner[path[-1]]
    with pytest.raises(InputError, match=REFUSED):
        written(store, made)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b'{"job_id": "f00"}', b"[" * 100_000, json_bytes(content())[:-20]]
)
def test_what_is_damaged_is_refused(store: Folder, data: bytes) -> None:
    with pytest.raises(InputError, match=REFUSED):
        written(store, data)


def test_the_file_of_another_version_is_refused(store: Folder) -> None:
    newer = content()
    newer["options"]["later"] = 1
    with pytest.raises(InputError, match="its options are those of another version"):
        written(store, newer)
    assert not fits(newer)
    assert not fits({**content(), "format": 2})
    assert fits(content())
    with pytest.raises(InputError, match="format is 2"):
        written(store, {**content(), "format": 2})


def test_it_is_of_the_job_that_has_the_place(store: Folder) -> None:
    (store.path / CLAIM).write_text('{"job_id": "f00"}')
    assert written(store, content())
    (store.path / CLAIM).write_text('{"job_id": "another"}')
    with pytest.raises(InputError, match=r"it is of another job than \.claim\.json"):
        written(store, content())
