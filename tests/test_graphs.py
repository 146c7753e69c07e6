"""model/graphs.py: which graphs a model folder has, by its record."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.model.graphs import FLOAT, GRAPHS, INT8, RECORD, GraphFiles, find_graphs, graph_files

MAKE = "sentiment-batch optimize --model "
SHA = "0" * 64


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


def found(model: Path, record: Any = None) -> dict[str, GraphFiles]:
    """What the folder has by this record; `digest` in it stands for the folder's own."""
    folder = read_model_folder(str(model))
    if record is not None:
        (model / RECORD).write_text(json.dumps(record).replace('"digest"', f'"{folder.digest}"'))
    return find_graphs(folder)


def test_a_folder_without_a_record_has_no_graphs_whatever_lies_in_it(model: Path) -> None:
    for name in graph_files(FLOAT):
        (model / name).write_text("")
    assert found(model) == {}


def test_the_graphs_of_a_record_and_their_hashes(model: Path) -> None:
    graphs = found(model, {"model": "digest", "graphs": {"float": ["a" * 64, "b" * 64], "int8": ["c" * 64, "d" * 64]}})
    assert list(graphs) == [FLOAT, INT8]
    assert graphs[FLOAT] == GraphFiles(model / "openvino_model.xml", ("a" * 64, "b" * 64))
    assert graphs[INT8] == GraphFiles(model / "openvino_int8.xml", ("c" * 64, "d" * 64))
    assert found(model, {"model": "digest", "graphs": {"float": [SHA, SHA]}}).keys() == {FLOAT}


def test_the_names_of_the_files() -> None:
    assert graph_files(FLOAT) == ("openvino_model.xml", "openvino_model.bin")
    assert graph_files(INT8) == ("openvino_int8.xml", "openvino_int8.bin")
    assert GRAPHS.keys() == {FLOAT, INT8}


def test_graphs_of_weights_that_were_trained_again_are_refused(model: Path) -> None:
    assert found(model, {"model": "digest", "graphs": {"float": [SHA, SHA]}})
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    with pytest.raises(
        ModelRefused, match=r"of another model than the one in .*; make its graphs again with: "
    ) as refused:
        found(model)
    assert f"{MAKE}{model}, or remove {RECORD}" in str(refused.value)


@pytest.mark.parametrize("digest", [None, 3, "", ["digest"], {"digest": 1}])
def test_a_record_of_no_model_is_of_another(model: Path, digest: Any) -> None:
    with pytest.raises(ModelRefused, match=f"{RECORD} is of another model"):
        found(model, {"model": digest, "graphs": {"float": [SHA, SHA]}})


@pytest.mark.parametrize(
    "graphs",
    [
        *(None, 3, "float", [], {}, ["float"]),
        *(
            {"int8": [SHA, SHA]},
            {"float": [SHA, SHA], "int4": [SHA, SHA]},
            {"float": [SHA, SHA], "../float": [SHA] * 2},
        ),
        *({"float": each} for each in (None, 3, SHA, [], [SHA], [SHA] * 3, [SHA, None], [SHA, 3], [SHA, "0"])),
        *({"float": each} for each in ({SHA: SHA}, [SHA, "z" * 64], [SHA, "A" * 64], [SHA, [SHA]])),
        {"float": [SHA, SHA], "int8": None},
    ],
)
def test_a_record_without_graphs_or_their_hashes_says_what_to_do(model: Path, graphs: Any) -> None:
    with pytest.raises(ModelRefused, match=f"{RECORD} ") as refused:
        found(model, {"model": "digest", "graphs": graphs})
    assert MAKE + str(model) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b'{"model": 1, "model": 2}', b"{}" * 2**20])
def test_a_record_that_cannot_be_read_is_refused(model: Path, content: bytes) -> None:
    (model / RECORD).write_bytes(content)
    with pytest.raises(ModelRefused, match=RECORD):
        found(model)


def test_a_record_that_is_no_file_is_refused(model: Path) -> None:
    os.mkfifo(model / RECORD)
    with pytest.raises(ModelRefused, match=f"{RECORD} is not an ordinary file"):
        found(model)
