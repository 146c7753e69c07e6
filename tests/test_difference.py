"""write/difference.py: what makes two jobs two."""

import json
from typing import Any

import pytest

from sentiment_batch.write.difference import difference

FILE: dict[str, Any] = {"name": "a.tsv", "format": "tsv", "size": 26, "mtime_ns": 1, "edges_sha256": "0" * 64}
JOB: dict[str, Any] = {
    "command": "score",
    "row_format": 1,
    "model": "1" * 64,
    "inputs": [FILE, {**FILE, "name": "b.tsv"}],
    "options": {"columns": (), "max_length": 64, "prefix": ""},
}


def changed(**file: Any) -> list[dict[str, Any]]:
    return [FILE, {**FILE, "name": "b.tsv", **file}]


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"inputs": [FILE]}, "1 input files there, 2 here"),
        ({"inputs": changed(name="c.tsv", size=1)}, "the input c.tsv there, b.tsv here"),
        ({"inputs": changed(format="csv")}, "b.tsv read as csv there, as tsv here"),
        ({"inputs": changed(size=25, mtime_ns=2, edges_sha256="")}, "b.tsv had 25 bytes, it has 26 now"),
        ({"inputs": changed(mtime_ns=2, edges_sha256="")}, "the content of b.tsv is another now"),
        ({"inputs": changed(mtime_ns=2)}, "b.tsv was written again since"),
        ({"options": {**JOB["options"], "columns": ["text", "label"]}}, "--columns text,label there, none here"),
        ({"options": {**JOB["options"], "max_length": 32}}, "--max-length 32 there, 64 here"),
        ({"model": "2" * 64}, "another model (2222222222222222 there, 1111111111111111 here)"),
        ({"row_format": 0}, "another version of the program"),
        (
            {"command": "evaluate", "row_format": 0},
            "command evaluate there, score here",
        ),
        ({}, "another version made it"),
    ],
)
def test_it_is_said_in_words(theirs: dict[str, Any], words: str) -> None:
    found = json.loads(json.dumps({"identity": {**JOB, **theirs}}))
    assert difference(found, JOB) == words


@pytest.mark.parametrize("identity", [None, [], "", 7, {"inputs": 7, "options": 7}, {"inputs": [7], "options": [None]}])
def test_an_identity_that_is_none_is_no_error(identity: Any) -> None:
    found = {"identity": identity}
    assert difference(found, JOB)
    assert found == {"identity": identity}


def test_only_the_first_three_are_said() -> None:
    other = {**JOB, "inputs": changed(size=1), "model": "", "row_format": 2, "seed": "y" * 90}
    assert difference({"identity": other}, JOB).count("; ") == 2
