"""model/inspection.py: JSON from strangers, and the entries of their folders."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from conftest import time_limit

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.inspection import check_entries, parse_json, read_again, read_json


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def test_nesting_of_32_is_read_and_no_deeper() -> None:
    parse_json(nested(32), "a")
    with pytest.raises(ModelRefused, match="a is nested deeper than 32 levels"):
        parse_json(nested(33), "a")


def test_keys_that_are_tokens_may_be_any() -> None:
    text = b'{"vocab": {"auto_map": 1, "x_internal": 2}}'
    assert parse_json(text, "a", keys_are_ours=False)["vocab"] == {"auto_map": 1, "x_internal": 2}
    with pytest.raises(ModelRefused, match="'auto_map'"):
        parse_json(text, "a")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": [-1e999]}'])
def test_numbers_that_are_not_finite(text: str) -> None:
    with pytest.raises(ModelRefused, match="cannot be read as JSON"):
        parse_json(text.encode(), "a")


def test_finite_numbers_keep_their_value() -> None:
    assert parse_json(b'{"a": 1e-12, "b": 1e30, "c": -3}', "a") == {"a": 1e-12, "b": 1e30, "c": -3}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with time_limit(5), pytest.raises(ModelRefused, match="not an ordinary file"):
        read_json(tmp_path / "config.json")


def test_a_snapshot_of_the_hub_is_links_into_its_blobs(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    (blobs / "1").write_text(json.dumps({}))
    (snapshot / "config.json").symlink_to("../../blobs/1")
    check_entries(snapshot)
    (tmp_path / "models--a--b" / "refs").write_text("")
    (snapshot / "other.json").symlink_to("../../refs")
    with pytest.raises(ModelRefused, match=r"other\.json is a link that leads out"):
        check_entries(snapshot)


def test_links_inside_the_folder_and_a_link_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.json").write_text("{}")
    (tmp_path / "model" / "b.json").symlink_to("a.json")
    (tmp_path / "latest").symlink_to("model")
    check_entries(tmp_path / "latest")


def test_the_type_of_a_token_is_no_code() -> None:
    """As transformers 4 wrote tokens into tokenizer_config.json."""
    token = b'{"unk_token": {"__type": "AddedToken", "content": "<unk>"}}'
    assert parse_json(token, "a")["unk_token"]["content"] == "<unk>"


def test_a_file_is_read_again_only_if_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"{}")
    inspected = hashlib.sha256(b"{}").hexdigest()
    assert read_again(tmp_path / "a", inspected) == read_again(tmp_path / "a", None) == b"{}"
    (tmp_path / "a").write_bytes(b"[]")
    with pytest.raises(ModelRefused, match="a changed while it was loaded; run again when nobody writes to it"):
        read_again(tmp_path / "a", inspected)
